//! How much a scheduler holds, for metrics. Costs nothing but a count of what is due: all else is counted anyway.

use crate::scheduler::Scheduler;
use crate::time::{At, Seconds};

/// Sizes, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gauges {
    /// Requests without a driver.
    pub pending: usize,
    /// Of those, requests close to being due that nobody free within their radius may take.
    pub stranded: usize,
    /// Orders with a driver, not delivered.
    pub assigned: usize,
    /// Drivers on duty without a trip whose position is known.
    pub candidates: usize,
}

impl Scheduler {
    /// How many requests wait, how many orders are under way, how many drivers could be asked, and for
    /// how many requests nobody within reach is free.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            pending: self.queue.len(),
            stranded: self.queue.stranded(),
            assigned: self.trips.len(),
            candidates: self.fleet.candidates(),
        }
    }

    /// For how long the oldest of the waiting requests has been due for a driver at the door.
    pub fn oldest_due(&self, now: At) -> Seconds {
        let first = self.queue.first_ready().next();
        let due_at = first.map(|first| first.request.ready_at.minus(self.tolerance()));
        due_at.map_or(Seconds::ZERO, |at| now.since(at).max(Seconds::ZERO))
    }

    /// How many of the waiting requests are due for a driver at the door, whether anybody is free or not.
    pub fn due_at_door(&self, now: At) -> usize {
        self.queue.ready_by(now.plus(self.tolerance()))
    }

    /// That of the last tick, or as configured where the policy knows none.
    fn tolerance(&self) -> Seconds {
        let tolerance = self.rules.tolerance;
        if tolerance.0.is_finite() {
            tolerance
        } else {
            Seconds(self.rules.config.tolerance_s)
        }
    }
}
