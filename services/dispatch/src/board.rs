//! What a policy sees of a tick, and where it puts what it wants.
//!
//! A claim takes effect at once: the driver is gone from the board, so no policy can give him away
//! twice. A claim that would break an invariant is refused and counted as the policy's violation.

use std::collections::{BTreeMap, BTreeSet};

use crate::audit::Audit;
use crate::decision::{Hold, TripSlot};
use crate::driver::Driver;
use crate::fleet::{Candidate, Fleet, Stir};
use crate::ids::{DriverId, OrderId, TripId};
use crate::queue::{Due, Pending, Queue};
use crate::request::Request;
use crate::rules::Rules;
use crate::time::{At, Seconds};
use crate::trip::Trips;

/// A tick as a policy sees it.
#[derive(Debug)]
pub struct Board<'a> {
    pub(crate) now: At,
    pub(crate) due: Vec<Due>,
    pub(crate) queue: &'a Queue,
    pub(crate) fleet: &'a mut Fleet,
    pub(crate) trips: &'a Trips,
    pub(crate) rules: &'a Rules,
    pub(crate) audit: &'a mut Audit,
    /// In the order in which they were made.
    pub(crate) claims: Vec<Claim>,
    pub(crate) claimed: BTreeSet<OrderId>,
    pub(crate) holds: BTreeMap<OrderId, Hold>,
    /// Free drivers whom the policy keeps for known orders that are not due for them yet.
    pub(crate) promised: BTreeSet<DriverId>,
    /// Requests that counted on drivers who have been claimed.
    pub(crate) stirs: Vec<Stir>,
}

/// A pair the policy wants, checked.
#[derive(Debug)]
pub(crate) struct Claim {
    pub order_id: OrderId,
    pub slot: TripSlot,
    pub driver_id: DriverId,
    pub driver_free_since: At,
    pub eta: Seconds,
    pub score: f64,
}

impl<'a> Board<'a> {
    pub fn now(&self) -> At {
        self.now
    }

    /// The requests that are due and had a feasible driver when the tick began, in the policy's order.
    pub fn due(&self) -> &[Due] {
        &self.due
    }

    /// The nearest unclaimed driver who may take this request.
    pub fn nearest(&self, order: OrderId) -> Option<Candidate> {
        self.nearest_but(order, &BTreeSet::new())
    }

    /// The same among those who are not excepted.
    pub(crate) fn nearest_but(
        &self,
        order: OrderId,
        except: &BTreeSet<DriverId>,
    ) -> Option<Candidate> {
        let pending = self.queue.get(order)?;
        self.fleet
            .nearest_but(pending, self.now, self.rules, except)
            .map(|(candidate, _)| candidate)
    }

    /// Whether the request is due for a driver, if one is at the edge of its search radius: if not, it is due for nobody.
    pub(crate) fn may_send(&self, request: &Request) -> bool {
        let edge = self.rules.travel.seconds(request.search_radius_m, self.now);
        self.now >= request.due_at(self.rules.tolerance, edge)
    }

    /// Whether any of these may be sent, the first to be ready first: none is looked at whose food is ready too late for the
    /// widest search radius.
    pub(crate) fn may_send_any<'r>(&self, first_ready: impl Iterator<Item = &'r Request>) -> bool {
        let widest_m = self.queue.widest_radius_m();
        let edge = self.rules.travel.seconds(widest_m, self.now);
        let early = |request: &&Request| self.now >= request.due_at(self.rules.tolerance, edge);
        let mut candidates = first_ready.take_while(early);
        candidates.any(|request| self.may_send(request))
    }

    /// Whether the driver may take all these orders now, and each is due for him.
    pub fn fits(&self, orders: &[OrderId], driver: &DriverId) -> bool {
        orders.iter().all(|order| {
            let Some(pending) = self.queue.get(*order) else {
                return false;
            };
            let candidate = self.fleet.candidate(driver, pending, self.now, self.rules);
            !self.claimed.contains(order)
                && candidate.is_some_and(|fit| is_due(pending, self.now, fit.eta, self.rules))
        })
    }

    /// Commits the order to the driver, at this cost. False if that must not be.
    pub fn claim(&mut self, order: OrderId, driver: &DriverId, score: f64) -> bool {
        self.claim_trip(&[order], driver, score)
    }

    /// Commits orders of one restaurant to the driver as one trip, in the order of delivery, at this cost
    /// for all of them together. False, and nothing is committed, if that must not be.
    pub fn claim_trip(&mut self, orders: &[OrderId], driver: &DriverId, score: f64) -> bool {
        let Some(pendings) = self.one_trip(orders) else {
            return self.audit.exclusive.holds(false);
        };
        let trip_id = TripId::starting_with(orders[0], driver, self.now);
        let mut claims = Vec::new();
        let bound_for = pendings.last().map(|last| last.dropoff);
        for (position, pending) in (0..).zip(pendings) {
            let Some((eta, driver_free_since)) = self.vet(pending, driver) else {
                return false;
            };
            claims.push(Claim {
                order_id: pending.request.order_id,
                slot: TripSlot {
                    id: trip_id,
                    position,
                    size: orders.len() as u8,
                },
                driver_id: driver.clone(),
                driver_free_since,
                eta,
                score: score / orders.len() as f64,
            });
        }
        let take = |driver: &mut Driver| driver.set_out(trip_id, bound_for);
        self.stirs.push(self.fleet.update(driver, self.rules, take));
        self.claimed.extend(orders);
        self.claims.extend(claims);
        true
    }

    /// The requests, if one trip may carry them: few enough, each once, of one restaurant.
    fn one_trip(&self, orders: &[OrderId]) -> Option<Vec<&'a Pending>> {
        let queue: &'a Queue = self.queue;
        let pendings: Vec<&'a Pending> = orders
            .iter()
            .map(|order| queue.get(*order))
            .collect::<Option<_>>()?;
        let door = |pending: &Pending| {
            let request = &pending.request;
            (request.restaurant_id.clone(), request.restaurant)
        };
        let first = door(pendings.first()?);
        let distinct: BTreeSet<&OrderId> = orders.iter().collect();
        (orders.len() <= TripSlot::MOST
            && distinct.len() == orders.len()
            && pendings.iter().all(|pending| door(pending) == first))
        .then_some(pendings)
    }

    /// The driver's eta, and since when he has been free, if the pair keeps the invariants.
    fn vet(&mut self, pending: &Pending, driver: &DriverId) -> Option<(Seconds, At)> {
        let known = self.fleet.get(driver);
        let free_since = known.filter(|d| d.trip.is_none()).map(|d| d.free_since);
        let unclaimed = !self.claimed.contains(&pending.request.order_id);
        let single = free_since.filter(|_| unclaimed);
        self.audit.exclusive.holds(single.is_some());
        let free_since = single?;
        let candidate = self.fleet.candidate(driver, pending, self.now, self.rules);
        self.audit.feasible.holds(candidate.is_some());
        let eta = candidate?.eta;
        let due = is_due(pending, self.now, eta, self.rules);
        self.audit
            .never_early
            .holds(due)
            .then_some((eta, free_since))
    }

    /// Lets a due order wait, although a driver may be free, for one who should pick it up at that
    /// instant. Without this a due order must not be left; nor with it if a free driver is earlier.
    pub fn hold(&mut self, order: OrderId, waits_for: DriverId, pickup_at: At) {
        self.holds.insert(
            order,
            Hold {
                order_id: order,
                waits_for,
                pickup_at,
            },
        );
    }

    /// Gives the orders that would fail now the nearest driver that the policy left.
    pub(crate) fn rescue_expired(&mut self) {
        for index in 0..self.due.len() {
            let order = self.due[index].order_id;
            let expired = self
                .queue
                .get(order)
                .is_some_and(|pending| self.now >= pending.request.expires_at(&self.rules.config));
            if expired
                && !self.claimed.contains(&order)
                && let Some(nearest) = self.nearest(order)
            {
                self.claim(order, &nearest.driver_id, nearest.eta.0);
            }
        }
    }
}

fn is_due(pending: &Pending, now: At, eta: Seconds, rules: &Rules) -> bool {
    now >= pending.request.due_at(rules.tolerance, eta)
}
