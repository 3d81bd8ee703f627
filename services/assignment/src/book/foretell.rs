//! Whether a message would be told of: what a replay compares with what was told.

use contracts::streams::{DriverAssignmentEvent as Fact, DriverAssignmentRequest};
use dispatch::{DriverId, OrderId, Phase};
use uuid::Uuid;

use super::Book;
use super::drivers::{Spoken, spoken};
use crate::decide::{Outcome, decide};
use crate::event::{Event, happened_at};
use crate::units;

/// The message that the fact answers, if it answers one.
pub fn caused_by(fact: &Fact) -> Option<Uuid> {
    match fact {
        Fact::AssignmentReleased(fact) => fact.correlation_id,
        Fact::DriverAtRestaurant(fact) => Some(fact.correlation_id),
        Fact::PickupConfirmed(fact) => Some(fact.correlation_id),
        Fact::DeliveryConfirmed(fact) => Some(fact.correlation_id),
        Fact::DriverMissing(fact) => fact.correlation_id,
        Fact::DriverAssigned(_) | Fact::AssignmentFailed(_) => None,
    }
}

impl Book {
    /// Whether the message, heard now, would cause a fact: that an order in a driver's hands has come further or left them.
    /// `timestamp_ms`: broker time.
    pub fn would_tell(&self, event: &Event, timestamp_ms: i64) -> bool {
        match event {
            Event::Request(DriverAssignmentRequest::AssignmentCancelled(event)) => {
                let order_id = OrderId(event.order_id);
                let known = self.orders.get(&order_id);
                let stale = known.is_some_and(|known| event.order_version < known.order_version);
                let held = self.scheduler.assignment_of(order_id);
                !stale && held.is_some_and(|held| held.phase < Phase::PickedUp)
            }
            Event::Driver(event) => match spoken(event) {
                Spoken::Offline(event) => {
                    let driver_id = DriverId::new(&*event.driver_id);
                    let at = happened_at(event.occurred_at, timestamp_ms);
                    let known = self.drivers.get(&driver_id);
                    let mut legs = self.scheduler.trip_of(&driver_id).iter();
                    known.is_some_and(|known| known.duty_at <= at)
                        && legs.any(|leg| leg.phase < Phase::PickedUp || !leg.reported)
                }
                Spoken::OfOrder(said) => {
                    if said.location.is_some_and(|it| units::point(it).is_err()) {
                        return false;
                    }
                    let driver_id = DriverId::new(said.driver_id);
                    let standing = self.standing(OrderId(said.order_id), &driver_id);
                    match decide(standing, said.word) {
                        Outcome::GiveBack => true,
                        Outcome::Reach(phase) => phase > Phase::Accepted,
                        Outcome::Skip(_) | Outcome::Reject(_) => false,
                    }
                }
                Spoken::Online(_) | Spoken::Announced(_) => false,
            },
            Event::Request(DriverAssignmentRequest::AssignmentRequested(_))
            | Event::Kitchen(_)
            | Event::Location(_) => false,
        }
    }
}
