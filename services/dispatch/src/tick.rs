//! A tick: lapse unanswered offers, take orders from drivers who are gone, look at the requests that may be
//! due, let the policy choose, commit, give up on what is too old, and check the invariants on the way.
//!
//! Costs one search of the driver index per request looked at; requests at rest cost nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::board::{Board, Claim};
use crate::decision::{
    Decision, Failure, FailureReason, Hold, Missing, Release, ReleaseReason, Tick,
};
use crate::fleet::{Stir, pickup_at};
use crate::ids::{DriverId, OrderId};
use crate::queue::{Appraisal, Due, Pending, Rest};
use crate::scheduler::Scheduler;
use crate::time::{At, Seconds};
use crate::trip::{Assignment, Phase};
use crate::widening::Widening;

/// What the policy keeps for later: orders, and the drivers it has promised to known orders.
struct KeptBack {
    holds: BTreeMap<OrderId, Hold>,
    promised: BTreeSet<DriverId>,
}

impl Scheduler {
    /// Decides what is due at `now`. Instants of successive ticks must not go back.
    pub fn tick(&mut self, now: At) -> Tick {
        self.correct_travel(now);
        let mut failures = Vec::new();
        let mut releases = self.lapse(now, &mut failures);
        let missing = self.miss_drivers(now, &mut releases);
        let watchers = self.fleet.drop_silent(now, &self.rules);
        self.stir(Stir {
            watchers,
            stands: None,
        });
        self.rules.tolerance = self.tolerance_at(now);
        let due = self.look(now, &mut failures);
        let (claims, kept_back) = self.consult(now, due.clone());
        let decisions: Vec<Decision> = claims
            .into_iter()
            .filter_map(|claim| self.commit(now, claim))
            .collect();
        let promised = kept_back.promised.iter().cloned().collect();
        let holds = self.settle(now, &due, &decisions, kept_back, &mut failures);
        self.last_tick = now;
        let open = (self.queue.len() + self.trips.len()) as u64;
        self.audit.conserved.holds(self.entered == self.left + open);
        Tick {
            at: now,
            policy: self.policy.id(),
            due: due.len(),
            matched: decisions.len(),
            pending: self.queue.len(),
            tolerance_s: self.rules.tolerance.0,
            travel_factor: self.rules.factor,
            cost: decisions.iter().map(|decision| decision.score).sum(),
            releases,
            missing,
            decisions,
            holds,
            promised,
            failures,
        }
    }

    /// The slack at which requests are due now, under the pressure that there is.
    fn tolerance_at(&self, now: At) -> Seconds {
        let config = &self.rules.config;
        let configured = Seconds(config.tolerance_s);
        if config.widening == Widening::None {
            return self.policy.tolerance(configured);
        }
        let waiting = self.queue.ready_by(now.plus(configured));
        let free = self.fleet.candidates();
        let extra = config.widening.extra(config, waiting, free);
        self.policy.tolerance(configured + extra)
    }

    /// Takes back the offers that were not answered in time, and gives up the meals that never arrived.
    fn lapse(&mut self, now: At, failures: &mut Vec<Failure>) -> Vec<Release> {
        let mut releases = Vec::new();
        for order in self.trips.overdue(now) {
            let phase = self.trips.get(order).map(|leg| leg.phase);
            if phase == Some(Phase::Offered) {
                releases.extend(self.take_back(order, now, ReleaseReason::OfferExpired));
            } else {
                failures.extend(self.abandon(order, now));
            }
        }
        releases
    }

    /// Takes from drivers who are gone what others can still fetch; returns the meals that they are gone with.
    fn miss_drivers(&mut self, now: At, releases: &mut Vec<Release>) -> Vec<Missing> {
        let mut missing = Vec::new();
        for (driver_id, silent_since) in self.fleet.vanished(now, &self.rules) {
            for (order, phase, reported) in self.carried(&driver_id) {
                if phase < Phase::PickedUp {
                    releases.extend(self.take_back(order, now, ReleaseReason::DriverVanished));
                } else if !reported {
                    self.report(order);
                    missing.push(Missing {
                        order_id: order,
                        driver_id: driver_id.clone(),
                        silent_since,
                    });
                }
            }
        }
        missing
    }

    fn take_back(&mut self, order_id: OrderId, now: At, reason: ReleaseReason) -> Option<Release> {
        let (driver_id, request) = self.release(order_id, now)?;
        Some(Release {
            order_id,
            driver_id,
            reason,
            version: request.version,
            attempt: request.attempt,
        })
    }

    fn abandon(&mut self, order_id: OrderId, now: At) -> Option<Failure> {
        let leg = self.leave_trip(order_id, None, now)?;
        self.left += 1;
        Some(Failure {
            order_id,
            version: leg.request.version,
            attempt: leg.request.attempt,
            reason: FailureReason::Abandoned,
        })
    }

    /// Looks at every request that may be due; returns those that are, in the policy's order.
    fn look(&mut self, now: At, failures: &mut Vec<Failure>) -> Vec<Due> {
        let mut due = Vec::new();
        for order in self.queue.awake(now, &mut self.fleet) {
            let Some(pending) = self.queue.get(order) else {
                continue;
            };
            if pending.request.attempt > self.rules.config.max_attempts {
                failures.extend(self.fail(order, FailureReason::AttemptsExhausted));
                continue;
            }
            match self.queue.appraise(pending, now, &self.fleet, &self.rules) {
                Appraisal::Due(request) => due.push(request),
                Appraisal::Rests(rest, wake_at) => {
                    failures.extend(self.lay_down(order, rest, wake_at, now))
                }
            }
        }
        due.sort_by(|a, b| self.policy.before(a, b).then(a.order_id.cmp(&b.order_id)));
        due
    }

    /// Lays a request to rest, or gives it up if it is too old.
    fn lay_down(&mut self, order: OrderId, rest: Rest, wake_at: At, now: At) -> Option<Failure> {
        if self.expired(order, now) {
            let nobody_free = self.fleet.candidates() == 0;
            let reason = match rest {
                Rest::Stranded if !nobody_free => FailureReason::NoDriverInRadius,
                Rest::Stranded => FailureReason::NoAvailableDriver,
                Rest::Distant | Rest::Counting { .. } | Rest::Near { .. } | Rest::Held => {
                    FailureReason::Expired
                }
            };
            return self.fail(order, reason);
        }
        self.queue.rest(order, rest, wake_at, &mut self.fleet);
        None
    }

    fn expired(&self, order: OrderId, now: At) -> bool {
        let expires_at = |pending: &Pending| pending.request.expires_at(&self.rules.config);
        self.queue
            .get(order)
            .is_some_and(|pending| now >= expires_at(pending))
    }

    fn fail(&mut self, order: OrderId, reason: FailureReason) -> Option<Failure> {
        let request = self.queue.remove(order, &mut self.fleet)?;
        self.left += 1;
        Some(Failure {
            order_id: order,
            version: request.version,
            attempt: request.attempt,
            reason,
        })
    }

    /// Lets the policy choose.
    fn consult(&mut self, now: At, due: Vec<Due>) -> (Vec<Claim>, KeptBack) {
        let mut board = Board {
            now,
            due,
            queue: &self.queue,
            fleet: &mut self.fleet,
            trips: &self.trips,
            rules: &self.rules,
            audit: &mut self.audit,
            claims: Vec::new(),
            claimed: BTreeSet::new(),
            holds: BTreeMap::new(),
            promised: BTreeSet::new(),
            stirs: Vec::new(),
        };
        self.policy.choose(&mut board);
        board.rescue_expired();
        let Board {
            claims,
            holds,
            promised,
            stirs,
            ..
        } = board;
        for stir in stirs {
            self.stir(stir);
        }
        (claims, KeptBack { holds, promised })
    }

    fn stir(&mut self, stir: Stir) {
        self.queue.stir(stir, &self.rules, &mut self.fleet);
    }

    /// Turns a claim into a trip.
    fn commit(&mut self, now: At, claim: Claim) -> Option<Decision> {
        let Claim {
            order_id,
            slot,
            driver_id,
            driver_free_since,
            eta,
            score,
        } = claim;
        let pending = self.queue.get(order_id)?;
        let to_customer = self.rules.eta(pending.pickup, pending.dropoff, now);
        let request = self.queue.remove(order_id, &mut self.fleet)?;
        let due_at = request
            .due_at(self.rules.tolerance, eta)
            .max(request.requested_at)
            .min(now);
        let decision = Decision {
            order_id,
            version: request.version,
            attempt: request.attempt,
            driver_id: driver_id.clone(),
            trip: slot,
            driver_eta_to_restaurant_s: eta.0,
            restaurant_to_customer_s: to_customer.0,
            slack_s: request.slack(now, eta).0,
            released_at: now,
            due_at,
            driver_free_since,
            score,
            policy: self.policy.id(),
        };
        let assignment = Assignment {
            request,
            driver_id: driver_id.clone(),
            trip_id: slot.id,
            position: slot.position,
            decided_at: now,
            arrives_at: now.plus(eta),
            phase: Phase::Offered,
            phase_at: now,
            reported: false,
        };
        self.trips.add(assignment, &self.rules.config);
        self.redirect(&driver_id, slot.id);
        Some(decision)
    }

    /// What is due and was not committed waits for another tick, stranded or held, or is given up.
    fn settle(
        &mut self,
        now: At,
        due: &[Due],
        decisions: &[Decision],
        mut kept_back: KeptBack,
        failures: &mut Vec<Failure>,
    ) -> Vec<Hold> {
        let committed: BTreeSet<OrderId> = decisions.iter().map(|d| d.order_id).collect();
        let left = || due.iter().filter(|d| !committed.contains(&d.order_id));
        if let Some(first) = left().next() {
            self.check_order(now, first, due, decisions);
        }
        let mut kept = Vec::new();
        for order in left().map(|request| request.order_id) {
            if self.expired(order, now) {
                let nobody = !self.is_due_for_anybody(order, now);
                self.audit.never_idle.holds(nobody);
                failures.extend(self.fail(order, FailureReason::Expired));
                continue;
            }
            let (rest, wake_at) = self.reconsider(order, now, &mut kept_back, &mut kept);
            self.queue.rest(order, rest, wake_at, &mut self.fleet);
        }
        kept
    }

    /// Whether some driver who is free could take the order now.
    fn is_due_for_anybody(&self, order: OrderId, now: At) -> bool {
        let appraise =
            |pending: &Pending| self.queue.appraise(pending, now, &self.fleet, &self.rules);
        matches!(self.queue.get(order).map(appraise), Some(Appraisal::Due(_)))
    }

    /// Why a due request that was not committed may wait: nobody is left for it, or the policy named
    /// whom it waits for, who is no later than whoever is left
    /// and not promised to another.
    fn reconsider(
        &mut self,
        order: OrderId,
        now: At,
        kept_back: &mut KeptBack,
        kept: &mut Vec<Hold>,
    ) -> (Rest, At) {
        let next_tick = now.plus(self.rules.tick());
        let Some(pending) = self.queue.get(order) else {
            return (Rest::Held, next_tick);
        };
        let hold = kept_back.holds.remove(&order);
        match self.queue.appraise(pending, now, &self.fleet, &self.rules) {
            Appraisal::Due(_) => {
                let promised = &kept_back.promised;
                let idle = self.fleet.nearest_but(pending, now, &self.rules, promised);
                let at_idle = idle.map(|(idle, _)| pickup_at(pending, now, idle.eta, &self.rules));
                let no_later = |hold: &Hold| at_idle.is_none_or(|at| hold.pickup_at <= at);
                let grounded = hold.as_ref().is_some_and(no_later);
                self.audit.never_idle.holds(grounded);
                kept.extend(hold);
                (Rest::Held, next_tick)
            }
            Appraisal::Rests(rest, wake_at) => {
                self.audit.never_idle.holds(true);
                (rest, wake_at)
            }
        }
    }

    /// No driver went to a request that the policy serves later than this one, which wanted him too.
    fn check_order(&mut self, now: At, passed_over: &Due, due: &[Due], decisions: &[Decision]) {
        let ranks: BTreeMap<OrderId, &Due> = due
            .iter()
            .map(|request| (request.order_id, request))
            .collect();
        let Some(pending) = self.queue.get(passed_over.order_id) else {
            return;
        };
        let served_later = |decision: &&Decision| {
            let other = ranks.get(&decision.order_id);
            other.is_some_and(|other| self.policy.before(passed_over, other).is_lt())
        };
        // Where nothing is served later, as under a policy that ranks by a plan's cost, there is nothing to check.
        for decision in decisions.iter().filter(served_later) {
            let driver = &decision.driver_id;
            let wanted = self.fleet.could_take(driver, pending, now, &self.rules);
            self.audit.in_order.holds(!wanted);
        }
    }
}
