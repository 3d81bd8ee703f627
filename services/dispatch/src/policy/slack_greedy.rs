//! `slack-greedy`: the request with the least slack first, each to the nearest driver who may take it.
//! The plain reading of what was asked for.
//!
//! Slack is that of the nearest free driver as the tick begins; it is not recomputed while the tick
//! hands out drivers, which keeps a tick of n requests at n searches of the index.

use std::cmp::Ordering;

use super::{Policy, PolicyId, serve_in_order};
use crate::board::Board;
use crate::queue::Due;

#[derive(Debug, Clone, Copy)]
pub struct SlackGreedy;

impl Policy for SlackGreedy {
    fn id(&self) -> PolicyId {
        PolicyId {
            name: "slack-greedy",
            version: 1,
        }
    }

    fn before(&self, a: &Due, b: &Due) -> Ordering {
        let by_slack = a.slack.total_cmp(&b.slack);
        by_slack
            .then(a.ready_at.cmp(&b.ready_at))
            .then(a.order_id.cmp(&b.order_id))
    }

    fn choose(&self, board: &mut Board<'_>) {
        serve_in_order(board);
    }
}
