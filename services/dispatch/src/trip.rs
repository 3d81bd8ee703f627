//! A trip: the orders one driver carries between two stretches of being free, and when it will end.
//!
//! A driver has at most one trip, an order is in at most one. Today a trip is one order long; the type
//! holds several of one restaurant, delivered in the order of its legs.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::ids::{DriverId, OrderId, TripId};
use crate::point::{Place, Point};
use crate::request::Request;
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

/// All trips of a geo.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trips {
    /// Legs by trip, in delivery order; never empty.
    legs: BTreeMap<TripId, Vec<Assignment>>,
    by_order: BTreeMap<OrderId, TripId>,
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
        let legs = self.legs.entry(assignment.trip_id).or_default();
        let place = legs.partition_point(|leg| leg.position <= assignment.position);
        legs.insert(place, assignment);
    }

    pub fn get(&self, order: OrderId) -> Option<&Assignment> {
        self.legs
            .get(self.by_order.get(&order)?)?
            .iter()
            .find(|leg| leg.request.order_id == order)
    }

    fn get_mut(&mut self, order: OrderId) -> Option<&mut Assignment> {
        let legs = self.legs.get_mut(self.by_order.get(&order)?)?;
        legs.iter_mut().find(|leg| leg.request.order_id == order)
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

    /// Takes an order off its trip, or marks it delivered; a trip without open orders is over.
    pub fn finish(
        &mut self,
        order: OrderId,
        delivered: bool,
        config: &Config,
    ) -> Option<(Assignment, Remainder)> {
        let trip = *self.by_order.get(&order)?;
        let legs = self.legs.get_mut(&trip)?;
        let place = legs.iter().position(|leg| leg.request.order_id == order)?;
        let leg = legs[place].clone();
        if let Some(deadline) = leg.deadline(config) {
            self.deadlines.remove(&(deadline, order));
        }
        if !delivered {
            legs.remove(place);
        }
        if legs.iter().any(|leg| leg.phase < Phase::Delivered) {
            if !delivered {
                self.by_order.remove(&order);
            }
            return Some((leg, Remainder::Underway));
        }
        for leg in self.legs.remove(&trip).unwrap_or_default() {
            self.by_order.remove(&leg.request.order_id);
        }
        self.by_order.remove(&order);
        Some((leg, Remainder::Over))
    }

    /// The orders of a trip that are not delivered.
    pub fn open_legs(&self, trip: TripId) -> impl Iterator<Item = &Assignment> {
        let legs = self.legs.get(&trip).into_iter().flatten();
        legs.filter(|leg| leg.phase < Phase::Delivered)
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

    pub fn iter(&self) -> impl Iterator<Item = &Assignment> {
        self.legs.values().flatten()
    }

    /// Orders that are not delivered yet.
    pub fn open(&self) -> usize {
        self.iter()
            .filter(|leg| leg.phase < Phase::Delivered)
            .count()
    }

    /// When and where the trip's driver will be free, from what has been seen of it so far.
    pub fn ends(&self, trip: TripId, rules: &Rules) -> Option<(At, Point, Place)> {
        self.legs.get(&trip).map(|legs| estimate_end(legs, rules))
    }
}

/// pickup = max(ready, arrival + half the service), leave after the other half; each drop-off alike.
fn estimate_end(legs: &[Assignment], rules: &Rules) -> (At, Point, Place) {
    let half_pickup = Seconds(rules.config.pickup_service_s / 2.0);
    let dropoff = Seconds(rules.config.dropoff_service_s);
    let mut at = At::MIN;
    let mut point = legs[0].request.restaurant;
    for leg in legs.iter().filter(|leg| leg.phase < Phase::Delivered) {
        let picked_up = match leg.phase {
            Phase::PickedUp | Phase::Delivered => leg.phase_at,
            Phase::AtRestaurant => leg.phase_at.plus(half_pickup).max(leg.request.ready_at),
            Phase::Offered | Phase::Accepted => {
                leg.arrives_at.plus(half_pickup).max(leg.request.ready_at)
            }
        };
        at = at.max(picked_up.plus(half_pickup));
    }
    if let Some(last) = legs
        .iter()
        .filter(|leg| leg.phase == Phase::Delivered)
        .max_by_key(|leg| leg.phase_at)
    {
        at = at.max(last.phase_at.plus(dropoff / 2.0));
        point = last.request.customer;
    }
    let mut place = rules.travel.place(point);
    for leg in legs.iter().filter(|leg| leg.phase < Phase::Delivered) {
        let next = rules.travel.place(leg.request.customer);
        at = at.plus(rules.eta(place, next, at)).plus(dropoff);
        (point, place) = (leg.request.customer, next);
    }
    (at, point, place)
}
