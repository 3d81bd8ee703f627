//! What a tick decides.

use serde::{Deserialize, Serialize};

use crate::ids::{DriverId, OrderId, TripId};
use crate::policy::PolicyId;
use crate::time::At;

impl TripSlot {
    /// How many orders a trip carries at most.
    pub const MOST: usize = 3;
}

/// An order is committed to a driver; what DriverAssigned says.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decision {
    pub order_id: OrderId,
    /// Version and attempt of the request that was decided.
    pub version: i32,
    pub attempt: u32,
    pub driver_id: DriverId,
    pub trip: TripSlot,
    pub driver_eta_to_restaurant_s: f64,
    pub restaurant_to_customer_s: f64,
    /// Positive: the driver will wait so long for the food; negative: the food for the driver.
    pub slack_s: f64,
    /// The instant of the tick.
    pub released_at: At,
    /// When it fell due for the nearest free driver, as they stand at this tick; at most `released_at`,
    /// at least the request's `requested_at`.
    pub due_at: At,
    /// Since when the driver had been free: before the later of this and `due_at` nothing could be decided.
    pub driver_free_since: At,
    /// The cost at which the policy chose this pair, in its own unit (seconds).
    pub score: f64,
    pub policy: PolicyId,
}

/// Where an order sits in its trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TripSlot {
    pub id: TripId,
    /// From 0, in order of delivery.
    pub position: u8,
    /// How many orders the trip carries.
    pub size: u8,
}

/// A due request that is left waiting although a feasible driver is free, and whom it waits for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hold {
    pub order_id: OrderId,
    pub waits_for: DriverId,
    /// When that driver should pick it up; no later than any free driver would who is not promised.
    pub pickup_at: At,
}

/// A driver lost an order that he had not picked up; it competes again under a new version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Release {
    pub order_id: OrderId,
    pub driver_id: DriverId,
    pub reason: ReleaseReason,
    /// Of the request that competes now.
    pub version: i32,
    pub attempt: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseReason {
    /// He did not answer the offer in time.
    OfferExpired,
    /// He has been silent for too long.
    DriverVanished,
}

/// A driver has been silent for too long with a meal in the bag: nobody can replace him, somebody must look for him.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Missing {
    pub order_id: OrderId,
    pub driver_id: DriverId,
    /// When he was last heard, or we began to listen, whichever is later.
    pub silent_since: At,
}

/// An order for which no driver will be looked for any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    pub order_id: OrderId,
    pub version: i32,
    pub attempt: u32,
    pub reason: FailureReason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// No driver is free at all.
    NoAvailableDriver,
    /// Drivers are free, but none who may take it is within its radius.
    NoDriverInRadius,
    /// A driver was free, but went to others, until the order was too old.
    Expired,
    /// Too many drivers declined or ignored it.
    AttemptsExhausted,
    /// Its driver has picked it up and not delivered it in a long time.
    Abandoned,
}

/// The outcome of a tick. One that decided nothing has changed nothing that a later decision could see.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Tick {
    pub at: At,
    pub policy: PolicyId,
    /// Requests that were due and had a feasible free driver when the tick began.
    pub due: usize,
    /// How many of all requests were committed.
    pub matched: usize,
    /// Requests that still wait after the tick.
    pub pending: usize,
    /// Slack at which requests were due; infinite where the policy knows none.
    pub tolerance_s: f64,
    /// By what travel times were multiplied, from the drives seen in this hour of day.
    pub travel_factor: f64,
    /// Sum of the decisions' scores.
    pub cost: f64,
    pub releases: Vec<Release>,
    pub missing: Vec<Missing>,
    pub decisions: Vec<Decision>,
    pub holds: Vec<Hold>,
    /// Free drivers whom the policy keeps for orders that are not due for them yet: a held order is picked
    /// up no later than by any free driver but these.
    pub promised: Vec<DriverId>,
    pub failures: Vec<Failure>,
}

impl Tick {
    /// Whether it changed anything: such a tick is to be recorded, or a replay would miss it.
    pub fn decided(&self) -> bool {
        !(self.releases.is_empty()
            && self.missing.is_empty()
            && self.decisions.is_empty()
            && self.failures.is_empty())
    }
}
