//! What a policy sees of a tick, and where it puts what it wants.
//!
//! A claim takes effect at once: the driver is gone from the board, so no policy can give him away
//! twice. A claim that would break an invariant is refused and counted as the policy's violation.

use crate::audit::Audit;
use crate::decision::Hold;
use crate::fleet::{Candidate, Fleet, Stir};
use crate::ids::{DriverId, OrderId, TripId};
use crate::queue::{Due, Pending, Queue};
use crate::rules::Rules;
use crate::time::{At, Seconds};

/// A tick as a policy sees it.
#[derive(Debug)]
pub struct Board<'a> {
    pub(crate) now: At,
    pub(crate) due: Vec<Due>,
    pub(crate) queue: &'a Queue,
    pub(crate) fleet: &'a mut Fleet,
    pub(crate) rules: &'a Rules,
    pub(crate) audit: &'a mut Audit,
    pub(crate) claims: Vec<Claim>,
    pub(crate) holds: Vec<Hold>,
    /// Requests that counted on drivers who have been claimed.
    pub(crate) stirs: Vec<Stir>,
}

/// A pair the policy wants, checked.
#[derive(Debug)]
pub(crate) struct Claim {
    pub order_id: OrderId,
    pub trip_id: TripId,
    pub driver_id: DriverId,
    pub driver_free_since: At,
    pub eta: Seconds,
    pub score: f64,
}

impl Board<'_> {
    pub fn now(&self) -> At {
        self.now
    }

    /// The requests that are due and had a feasible driver when the tick began, in the policy's order.
    pub fn due(&self) -> &[Due] {
        &self.due
    }

    /// The nearest unclaimed driver who may take this request.
    pub fn nearest(&self, order: OrderId) -> Option<Candidate> {
        let pending = self.queue.get(order)?;
        self.fleet
            .nearest(pending, self.now, self.rules)
            .map(|(candidate, _)| candidate)
    }

    /// Commits the order to the driver, at this cost. False if that must not be.
    pub fn claim(&mut self, order: OrderId, driver: &DriverId, score: f64) -> bool {
        let unclaimed = self.claims.iter().all(|claim| claim.order_id != order);
        let Some(pending) = self.queue.get(order).filter(|_| unclaimed) else {
            return self.audit.exclusive.holds(false);
        };
        let Some((driver_free_since, free)) = self
            .fleet
            .get(driver)
            .map(|d| (d.free_since, d.trip.is_none()))
        else {
            return self.audit.feasible.holds(false);
        };
        if !self.audit.exclusive.holds(free) {
            return false;
        }
        let candidate = self.fleet.candidate(driver, pending, self.now, self.rules);
        self.audit.feasible.holds(candidate.is_some());
        let Some(Candidate { eta, .. }) = candidate else {
            return false;
        };
        if !self
            .audit
            .never_early
            .holds(is_due(pending, self.now, eta, self.rules))
        {
            return false;
        }
        let trip_id = TripId::starting_with(order, pending.request.attempt);
        self.stirs.push(
            self.fleet
                .update(driver, self.rules, |d| d.trip = Some(trip_id)),
        );
        let driver_id = driver.clone();
        self.claims.push(Claim {
            order_id: order,
            trip_id,
            driver_id,
            driver_free_since,
            eta,
            score,
        });
        true
    }
}

fn is_due(pending: &Pending, now: At, eta: Seconds, rules: &Rules) -> bool {
    now >= pending.request.due_at(rules.tolerance, eta)
}
