//! Everything that can happen to a scheduler between two ticks.
//!
//! An input carries its own event time and nothing is read off a clock, so the state after a set of
//! inputs does not depend on when they were applied. Nor does it depend on how inputs of different
//! sources were interleaved: facts about one thing that come from one source are applied in that
//! source's order, and facts that overwrite each other are ordered by event time, latest wins.

use serde::{Deserialize, Serialize};

use crate::ids::{DriverId, OrderId};
use crate::point::Point;
use crate::request::Request;
use crate::time::At;
use crate::trip::Phase;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Input {
    /// An order wants a driver; a newer version of a pending request replaces it.
    Requested(Request),
    /// An order wants no driver any more; one that is on his way is freed.
    Withdrawn {
        order_id: OrderId,
        at: At,
    },
    /// The kitchen says when the food is ready.
    ReadyAt {
        order_id: OrderId,
        ready_at: At,
        at: At,
    },
    DriverOnline {
        driver_id: DriverId,
        at: At,
        shift_end: Option<At>,
    },
    DriverOffline {
        driver_id: DriverId,
        at: At,
    },
    DriverPing {
        driver_id: DriverId,
        position: Point,
        at: At,
    },
    /// The driver was seen in another geo: he is no candidate here until a later ping.
    DriverLeft {
        driver_id: DriverId,
        at: At,
    },
    /// The driver gives the order back before he has picked it up; it competes again.
    Declined {
        order_id: OrderId,
        driver_id: DriverId,
        at: At,
    },
    /// The order has come this far with this driver.
    Progress {
        order_id: OrderId,
        driver_id: DriverId,
        phase: Phase,
        at: At,
    },
}

/// What an input did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    Changed,
    /// Something later was known already, or it cannot happen any more; nothing changed.
    Stale,
    /// No such order or driver here; nothing changed. A ready instant that comes before its request
    /// must be kept by the caller and put into the request.
    Unknown,
}

impl Applied {
    pub(crate) fn changed_if(changed: bool) -> Applied {
        if changed {
            Applied::Changed
        } else {
            Applied::Stale
        }
    }
}
