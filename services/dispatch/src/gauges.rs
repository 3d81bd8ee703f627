//! How much a scheduler holds, for metrics. Costs nothing: all of it is counted anyway.

use crate::scheduler::Scheduler;

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
}
