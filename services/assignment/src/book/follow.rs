//! Following the recorded facts of a tick instead of letting the scheduler decide: how a replay keeps its state at what
//! really happened, whatever it would have decided itself.

use contracts::driver_assignment::{DriverAssigned, MissingReason, ReleaseReason};
use contracts::streams::DriverAssignmentEvent as Fact;
use dispatch::{Applied, At, DriverId, Input, OrderId, Seconds, TripId, TripSlot};

use super::Book;
use crate::order::Held;
use crate::units;

/// Whether the fact comes from a tick; the others answer a message, and a book that hears the message states them itself.
pub fn is_of_tick(fact: &Fact) -> bool {
    match fact {
        Fact::DriverAssigned(_) | Fact::AssignmentFailed(_) => true,
        Fact::AssignmentReleased(fact) => matches!(
            fact.reason,
            ReleaseReason::OfferExpired | ReleaseReason::DriverVanished
        ),
        Fact::DriverMissing(fact) => fact.reason == MissingReason::Silent,
        Fact::DriverAtRestaurant(_) | Fact::PickupConfirmed(_) | Fact::DeliveryConfirmed(_) => {
            false
        }
    }
}

impl Book {
    /// The live lane estimated travel times by this factor at `at`; true if what was heard here says otherwise, and it is taken
    /// over.
    pub fn follow_correction(&mut self, at: At, factor: f64) -> bool {
        self.scheduler.follow_correction(at, factor)
    }

    /// Takes over a fact of the tick at `at`; `false` if it contradicts what the book knows, which then stays as it is.
    /// Facts have to come in the order in which they were told.
    pub fn follow(&mut self, fact: &Fact, at: At) -> bool {
        let now = units::instant(at);
        match fact {
            Fact::DriverAssigned(fact) => self.follow_assigned(fact, at),
            Fact::AssignmentReleased(fact) => {
                let (order_id, driver_id) =
                    (OrderId(fact.order_id), DriverId::new(&*fact.driver_id));
                let held = self.scheduler.assignment_of(order_id);
                let his = held.is_some_and(|held| held.driver_id == driver_id);
                if his {
                    self.give_back(order_id, &driver_id, at, (fact.reason, None), now);
                }
                his
            }
            Fact::AssignmentFailed(fact) => {
                let order_id = OrderId(fact.order_id);
                let Some(order) = self.orders.get(&order_id).filter(|o| o.open().is_some()) else {
                    return false;
                };
                let (row_version, order_version) = (order.row_version, order.order_version);
                self.scheduler.apply(Input::Withdrawn { order_id, at });
                self.put_down(order_id, at, "released", None, now);
                self.close(order_id, row_version, order_version, None);
                true
            }
            Fact::DriverMissing(fact) => {
                self.scheduler.follow_report(OrderId(fact.order_id));
                true
            }
            Fact::DriverAtRestaurant(_) | Fact::PickupConfirmed(_) | Fact::DeliveryConfirmed(_) => {
                true
            }
        }
    }

    fn follow_assigned(&mut self, fact: &DriverAssigned, at: At) -> bool {
        let (order_id, driver_id) = (OrderId(fact.order_id), DriverId::new(&*fact.driver_id));
        let Some(request) = self.scheduler.request_of(order_id) else {
            return false;
        };
        // The record rounds the way to seconds; where the driver is later than the food, the expected pickup tells it exactly. (Of
        // several orders of a trip the food of another may be the last.)
        let half_pickup = Seconds(self.scheduler.config().pickup_service_s / 2.0);
        let pickup_at = fact.expected_pickup_at.map(units::at);
        let late = |pickup_at: &At| fact.trip_id.is_none() && *pickup_at > request.ready_at;
        let arrives_at = pickup_at.filter(late);
        let arrives_at = arrives_at.map_or_else(
            || at.plus(Seconds(f64::from(fact.driver_eta_to_restaurant_s))),
            |pickup_at| pickup_at.minus(half_pickup),
        );
        let slot = TripSlot {
            id: fact
                .trip_id
                .map_or_else(|| TripId::starting_with(order_id, &driver_id, at), TripId),
            position: u8::try_from(fact.trip_position).unwrap_or(0),
            size: 1,
        };
        let followed = self
            .scheduler
            .follow_commitment(order_id, &driver_id, slot, at, arrives_at);
        if followed != Applied::Changed {
            return false;
        }
        if let Some(open) = self.orders.get_mut(&order_id).and_then(|o| o.open_mut()) {
            let attempt = u32::try_from(fact.attempt).unwrap_or(1);
            open.held = Some(Held {
                row_version: 1,
                attempt,
                driver_id: driver_id.clone(),
            });
        }
        if let Some(driver) = self.drivers.get_mut(&driver_id) {
            driver.take_up(order_id, slot.id);
            self.touched.drivers.insert(driver_id);
        }
        true
    }
}
