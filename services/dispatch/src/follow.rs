//! Following what was decided elsewhere: a scheduler that mirrors another one takes over its decisions instead of making them.
//!
//! For replays whose state has to be what it really was. What is followed is not checked against any policy; it only has to
//! be possible: the order waits, and its driver has no other trip.

use crate::decision::TripSlot;
use crate::driver::Driver;
use crate::ids::{DriverId, OrderId};
use crate::input::Applied;
use crate::scheduler::Scheduler;
use crate::time::At;
use crate::trip::{Assignment, Phase};

impl Scheduler {
    /// The order was committed to the driver at `decided_at`, who was expected at the restaurant at `arrives_at`.
    /// `Unknown` when it does not wait, `Stale` when he is on another trip.
    pub fn follow_commitment(
        &mut self,
        order_id: OrderId,
        driver_id: &DriverId,
        slot: TripSlot,
        decided_at: At,
        arrives_at: At,
    ) -> Applied {
        let trip = self.fleet.get(driver_id).and_then(|driver| driver.trip);
        if trip.is_some_and(|trip| trip != slot.id) {
            return Applied::Stale;
        }
        let Some(request) = self.queue.remove(order_id, &mut self.fleet) else {
            return Applied::Unknown;
        };
        let assignment = Assignment {
            request,
            driver_id: driver_id.clone(),
            trip_id: slot.id,
            position: slot.position,
            decided_at,
            arrives_at,
            phase: Phase::Offered,
            phase_at: decided_at,
            reported: false,
        };
        self.trips.add(assignment, &self.rules.config);
        let bound_for = self.trips.ends(slot.id, &self.rules).map(|(_, door)| door);
        let take = |driver: &mut Driver| driver.set_out(slot.id, bound_for);
        let stir = self.fleet.update(driver_id, &self.rules, take);
        self.queue.stir(stir, &self.rules, &mut self.fleet);
        self.redirect(driver_id, slot.id);
        Applied::Changed
    }

    /// It was reported that the driver of this order is gone with it.
    pub fn follow_report(&mut self, order_id: OrderId) {
        self.report(order_id);
    }
}
