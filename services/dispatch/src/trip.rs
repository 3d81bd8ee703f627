//! A trip: the orders one driver carries between two stretches of being free, and when it will end.
//!
//! A driver has at most one trip, an order is in at most one. A trip carries up to three orders of one restaurant,
//! delivered in the order of its legs. Each leg is answered, cancelled, released and delivered for itself; the trip goes
//! on with the others and is over when the last one has left it.

use std::collections::BTreeSet;

use foldhash::HashMap;
use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::ids::{DriverId, OrderId, TripId};
use crate::point::{Place, Point};
use crate::request::{Placed, Request};
use crate::rules::Rules;
use crate::time::{At, Seconds};

/// How far an order is on its trip. Later ones imply the earlier, and none is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Offered,
    Accepted,
    AtRestaurant,
    PickedUp,
    Delivered,
}

/// An order and its driver; what `assignments` stores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    pub request: Request,
    pub driver_id: DriverId,
    pub trip_id: TripId,
    /// Place in the trip's order of delivery, from 0.
    pub position: u8,
    pub decided_at: At,
    /// When the driver should be at the restaurant, as estimated at the decision.
    pub arrives_at: At,
    pub phase: Phase,
    /// When that phase was reached.
    pub phase_at: At,
    /// Whether it has been reported that its driver is gone with it.
    pub reported: bool,
}

impl Assignment {
    /// Until when the driver may answer, or deliver what he has picked up.
    fn deadline(&self, config: &Config) -> Option<At> {
        let (since, allowed_s) = match self.phase {
            Phase::Offered => (self.decided_at, config.offer_timeout_s?),
            Phase::PickedUp => (self.phase_at, config.abandon_after_s?),
            Phase::Accepted | Phase::AtRestaurant | Phase::Delivered => return None,
        };
        Some(since.plus(Seconds(allowed_s)))
    }
}

/// A delivery on a trip that is not over: when, and at whose door.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LastDrop {
    pub at: At,
    pub customer: Point,
}

/// What one driver has before him.
#[derive(Debug, Clone, Default)]
struct Trip {
    /// The orders that are not delivered, in delivery order; never empty.
    legs: Vec<Assignment>,
    /// Where and when he delivered last, if he has on this trip.
    last_drop: Option<LastDrop>,
}

/// All trips of a geo.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trips {
    /// Looked up, and gone through where the order does not matter.
    trips: HashMap<TripId, Trip>,
    by_order: HashMap<OrderId, TripId>,
    by_placed: Placed,
    /// Unanswered offers, and meals under way, by deadline.
    deadlines: BTreeSet<(At, OrderId)>,
}

/// What became of a trip when one of its orders left it.
#[derive(Debug, PartialEq)]
pub(crate) enum Remainder {
    Underway,
    Over,
}

impl Trips {
    pub fn add(&mut self, assignment: Assignment, config: &Config) {
        let order = assignment.request.order_id;
        if let Some(deadline) = assignment.deadline(config) {
            self.deadlines.insert((deadline, order));
        }
        self.by_order.insert(order, assignment.trip_id);
        self.by_placed.insert(&assignment.request);
        let legs = &mut self.trips.entry(assignment.trip_id).or_default().legs;
        let place = legs.partition_point(|leg| leg.position <= assignment.position);
        // As a rule it stays the only one.
        legs.reserve_exact(1);
        legs.insert(place, assignment);
    }

    /// Says where and when the trip's driver delivered last; only of a trip that is under way.
    pub fn dropped(&mut self, trip: TripId, drop: LastDrop) {
        if let Some(trip) = self.trips.get_mut(&trip) {
            let newest = trip.last_drop.is_none_or(|known| known.at <= drop.at);
            trip.last_drop = if newest { Some(drop) } else { trip.last_drop };
        }
    }

    pub fn last_drop(&self, trip: TripId) -> Option<LastDrop> {
        self.trips.get(&trip)?.last_drop
    }

    pub fn get(&self, order: OrderId) -> Option<&Assignment> {
        let trip = self.trips.get(self.by_order.get(&order)?)?;
        trip.legs.iter().find(|leg| leg.request.order_id == order)
    }

    fn get_mut(&mut self, order: OrderId) -> Option<&mut Assignment> {
        let trip = self.trips.get_mut(self.by_order.get(&order)?)?;
        trip.legs
            .iter_mut()
            .find(|leg| leg.request.order_id == order)
    }

    /// Changes an assignment in place.
    pub fn update(
        &mut self,
        order: OrderId,
        config: &Config,
        change: impl FnOnce(&mut Assignment),
    ) {
        let Some(leg) = self.get_mut(order) else {
            return;
        };
        let before = leg.deadline(config);
        change(leg);
        let after = leg.deadline(config);
        if before != after {
            before.map(|deadline| self.deadlines.remove(&(deadline, order)));
            after.map(|deadline| self.deadlines.insert((deadline, order)));
        }
    }

    /// Takes an order off its trip, delivered or not; a trip without orders is over.
    pub fn finish(
        &mut self,
        order: OrderId,
        delivered_at: Option<At>,
        config: &Config,
    ) -> Option<(Assignment, Remainder)> {
        let id = self.by_order.remove(&order)?;
        let trip = self.trips.get_mut(&id)?;
        let place = trip
            .legs
            .iter()
            .position(|leg| leg.request.order_id == order)?;
        let leg = trip.legs.remove(place);
        self.by_placed.remove(&leg.request);
        if let Some(deadline) = leg.deadline(config) {
            self.deadlines.remove(&(deadline, order));
        }
        if trip.legs.is_empty() {
            self.trips.remove(&id);
            return Some((leg, Remainder::Over));
        }
        if let Some(at) = delivered_at {
            let customer = leg.request.customer;
            self.dropped(id, LastDrop { at, customer });
        }
        Some((leg, Remainder::Underway))
    }

    /// The orders of a trip, in delivery order.
    pub fn legs(&self, trip: TripId) -> &[Assignment] {
        self.trips.get(&trip).map_or(&[], |trip| &trip.legs)
    }

    /// Orders whose deadline has passed by `now`, by deadline.
    pub fn overdue(&self, now: At) -> Vec<OrderId> {
        self.deadlines
            .iter()
            .take_while(|(deadline, _)| *deadline <= now)
            .map(|(_, order)| *order)
            .collect()
    }

    pub fn next_deadline(&self) -> Option<At> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    /// By trip, in delivery order.
    pub fn iter(&self) -> impl Iterator<Item = &Assignment> {
        let mut trips: Vec<(&TripId, &Trip)> = self.trips.iter().collect();
        trips.sort_unstable_by_key(|(id, _)| **id);
        trips.into_iter().flat_map(|(_, trip)| &trip.legs)
    }

    /// The requests that were placed last, from this instant back.
    pub fn last_placed(&self, now: At) -> impl Iterator<Item = &Request> {
        let orders = self.by_placed.last(now);
        orders.filter_map(|order| self.get(order).map(|leg| &leg.request))
    }

    /// Orders under way.
    pub fn len(&self) -> usize {
        self.by_order.len()
    }

    /// When and where the trip's driver will be free, from what has been seen of it so far.
    pub fn ends(&self, trip: TripId, rules: &Rules) -> Option<(At, Place)> {
        self.run(trip, rules, |_, _| {})
    }

    /// When the order should be picked up and when it should be at its customer's door, likewise.
    pub fn expected(&self, order: OrderId, rules: &Rules) -> Option<(At, At)> {
        let trip = *self.by_order.get(&order)?;
        let mut door = None;
        self.run(trip, rules, |leg, at| {
            if leg.request.order_id == order {
                door = Some(at);
            }
        })?;
        Some((self.trips.get(&trip)?.picked_up(rules), door?))
    }

    /// Follows a trip to its end, telling each leg and when its meal is handed over.
    fn run(
        &self,
        trip: TripId,
        rules: &Rules,
        mut tell: impl FnMut(&Assignment, At),
    ) -> Option<(At, Place)> {
        let trip = self.trips.get(&trip)?;
        let half_pickup = Seconds(rules.config.pickup_service_s / 2.0);
        let half_dropoff = Seconds(rules.config.dropoff_service_s / 2.0);
        let mut at = trip.picked_up(rules).plus(half_pickup);
        let mut point = trip.legs.first()?.request.restaurant;
        if let Some(last) = trip.last_drop {
            at = at.max(last.at.plus(half_dropoff));
            point = last.customer;
        }
        let mut place = rules.travel.place(point);
        for leg in &trip.legs {
            let next = rules.travel.place(leg.request.customer);
            let door = at.plus(rules.eta(place, next, at)).plus(half_dropoff);
            tell(leg, door);
            at = door.plus(half_dropoff);
            place = next;
        }
        Some((at, place))
    }
}

impl Trip {
    /// When its driver should have all that he carries: pickup = max(ready, arrival + half the service).
    fn picked_up(&self, rules: &Rules) -> At {
        let half_pickup = Seconds(rules.config.pickup_service_s / 2.0);
        let pickups = self.legs.iter().map(|leg| match leg.phase {
            Phase::PickedUp | Phase::Delivered => leg.phase_at,
            Phase::AtRestaurant => leg.phase_at.plus(half_pickup).max(leg.request.ready_at),
            Phase::Offered | Phase::Accepted => {
                leg.arrives_at.plus(half_pickup).max(leg.request.ready_at)
            }
        });
        pickups.fold(At::MIN, At::max)
    }
}
