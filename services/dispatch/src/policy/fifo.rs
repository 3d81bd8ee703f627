//! `fifo`: first come first served, as soon as placed, by the nearest free driver. The baseline that
//! shows what waiting for the right moment is worth.

use std::cmp::Ordering;

use super::{Policy, PolicyId, serve_in_order};
use crate::board::Board;
use crate::queue::Due;
use crate::time::Seconds;

#[derive(Debug, Clone, Copy)]
pub struct Fifo;

impl Policy for Fifo {
    fn id(&self) -> PolicyId {
        PolicyId {
            name: "fifo",
            version: 1,
        }
    }

    /// No slack is too much: an order is due when it is placed.
    fn tolerance(&self, _configured: Seconds) -> Seconds {
        Seconds(f64::INFINITY)
    }

    fn before(&self, a: &Due, b: &Due) -> Ordering {
        a.placed_at
            .cmp(&b.placed_at)
            .then(a.order_id.cmp(&b.order_id))
    }

    fn choose(&self, board: &mut Board<'_>) {
        serve_in_order(board);
    }
}
