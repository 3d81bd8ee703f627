//! Everything that can happen to a scheduler between two ticks.
//!
//! An input carries its own event time and nothing is read off a clock, so the state after a sequence of
//! inputs does not depend on when they were applied.
//!
//! Inputs of one source keep that source's order. Those of different sources may be interleaved in any
//! way: what overwrites is ordered by event time (positions, duty, ready instants), and whatever ends an
//! order's trip ends it alike. Only `driver_free_since`, which decides nothing, can tell the difference.
//! Event times are trusted: a ping from the future makes its driver deaf to all that follows until then,
//! so the border must bound them (by the broker's timestamp, which a replay sees again).

use serde::{Deserialize, Serialize};

use crate::driver::Shift;
use crate::drives::Drive;
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
    /// The driver will come on duty: plans count on him before he does. What was announced later replaces it; `None`: he
    /// will not after all.
    ShiftAnnounced {
        driver_id: DriverId,
        shift: Option<Shift>,
    },
    DriverPing {
        driver_id: DriverId,
        position: Point,
        at: At,
    },
    /// Where the driver came on duty or delivered. It counts before a ping of the same instant, whichever is heard first: the one
    /// outlives a take-over, the other may not.
    DriverStood {
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
    /// Positions are followed from here on: a driver's silence before it says nothing of him.
    Listening {
        at: At,
    },
    /// The order has come this far with this driver.
    Progress {
        order_id: OrderId,
        driver_id: DriverId,
        phase: Phase,
        at: At,
    },
    /// A driver was seen to need so long: estimates learn from it.
    Driven(Drive),
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
