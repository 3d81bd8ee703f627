//! Metrics of assignment. Labels are geos and closed sets; never orders or drivers.
//!
//! Waits and slacks are in minutes, as in the backtest; what the machine takes is in seconds.
//!
//! The share of revised choices is `assignment_choices_revised_total / assignment_choices_total`. A choice is a due order that had a
//! named driver after one tick (one it waited for) and has one after the next (the same, another, or whom it was given to); it
//! is revised if that is another. Orders that are given away in their first tick are no choices.
//!
//! Violations stay 0 while checks grow: a violation counter that never moves means something only if its checks do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dispatch::{Audit, Decision, DriverId, Gauges, OrderId};
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::book::{Book, Pickup, Pulse};

/// Counters by `kind`.
const CHECKS: &str = "assignment_invariant_checks_total";
const VIOLATIONS: &str = "assignment_invariant_violations_total";

/// Counts checks of an invariant, and how many of them failed.
pub fn checked(kind: &'static str, checks: u64, violations: u64) {
    counter!(CHECKS, "kind" => kind).increment(checks);
    counter!(VIOLATIONS, "kind" => kind).increment(violations);
}

/// The metrics of a geo, looked up once. With the lane its gauges go to 0, so that of two instances one tells of a geo.
pub struct LaneMetrics {
    pending: Gauge,
    stranded: Gauge,
    free: Gauge,
    busy: Gauge,
    /// From due to assigned, waits for a driver to become free included.
    due_to_assigned: Histogram,
    /// Requests that a free driver could have taken in the last tick; those that would have been due for one at the door, and
    /// how long the oldest of them has been.
    due: Gauge,
    waiting: Gauge,
    oldest_due: Gauge,
    /// By what travel times are multiplied, from the drives seen.
    travel_factor: Gauge,
    /// Of a tick: what it committed, how long it took.
    matched: Histogram,
    tick_duration: Histogram,
    /// Whom due orders go to or wait for, and how often that differed from the tick before.
    choices: Counter,
    revised: Counter,
    chosen: BTreeMap<OrderId, DriverId>,
    /// Expected at the decision, and as it turned out.
    slack_at_release: Histogram,
    slack_at_pickup: Histogram,
    driver_waited: Histogram,
    food_waited: Histogram,
    /// From the instant at which it could be decided (due, and the driver free) to the decision: the promise of 100 ms.
    decision_delay: Histogram,
    /// The scheduler's counters as last exported.
    audit: Audit,
}

impl LaneMetrics {
    pub fn new(geo: &str) -> Self {
        let geo: Arc<str> = geo.into();
        Self {
            pending: gauge!("assignment_pending_requests", "geo" => geo.clone()),
            stranded: gauge!("assignment_stranded_requests", "geo" => geo.clone()),
            free: gauge!("assignment_drivers", "geo" => geo.clone(), "status" => "free"),
            busy: gauge!("assignment_drivers", "geo" => geo.clone(), "status" => "busy"),
            due_to_assigned: histogram!("assignment_due_to_assigned_seconds", "geo" => geo.clone()),
            decision_delay: histogram!("assignment_decision_delay_seconds", "geo" => geo.clone()),
            due: gauge!("assignment_due_requests", "geo" => geo.clone()),
            waiting: gauge!("assignment_waiting_requests", "geo" => geo.clone()),
            oldest_due: gauge!("assignment_oldest_due_seconds", "geo" => geo.clone()),
            travel_factor: gauge!("assignment_travel_factor", "geo" => geo.clone()),
            matched: histogram!("assignment_matched_events", "geo" => geo.clone()),
            tick_duration: histogram!("assignment_tick_duration_seconds", "geo" => geo.clone()),
            choices: counter!("assignment_choices_total", "geo" => geo.clone()),
            revised: counter!("assignment_choices_revised_total", "geo" => geo.clone()),
            chosen: BTreeMap::new(),
            slack_at_release: histogram!("assignment_slack_at_release_minutes", "geo" => geo.clone()),
            slack_at_pickup: histogram!("assignment_slack_at_pickup_minutes", "geo" => geo.clone()),
            driver_waited: histogram!("assignment_driver_waited_minutes", "geo" => geo.clone()),
            food_waited: histogram!("assignment_food_waited_minutes", "geo" => geo),
            audit: Audit::default(),
        }
    }

    pub fn decided(&self, decision: &Decision) {
        let since = |earlier| decision.released_at.since(earlier).0.max(0.0);
        self.due_to_assigned.record(since(decision.due_at));
        self.decision_delay
            .record(since(decision.due_at.max(decision.driver_free_since)));
        self.slack_at_release.record(decision.slack_s / 60.0);
    }

    pub fn ticked(&mut self, pulse: Pulse, took: Duration) {
        self.due.set(pulse.due as f64);
        self.waiting.set(pulse.waiting as f64);
        self.oldest_due.set(pulse.oldest_due.0);
        self.travel_factor.set(pulse.travel_factor);
        self.tick_duration.record(took.as_secs_f64());
        if pulse.due > 0 {
            self.matched.record(pulse.matched as f64);
        }
        let (choices, revised) = revisions(&self.chosen, &pulse);
        self.choices.increment(choices);
        self.revised.increment(revised);
        self.chosen = pulse.held.into_iter().collect();
    }

    /// What a cycle has left behind.
    pub fn stored(&mut self, book: &mut Book) {
        self.sizes(book.scheduler().gauges());
        self.audit(book.scheduler().audit());
        for pickup in book.take_pickups() {
            self.picked_up(pickup);
        }
    }

    fn picked_up(&self, pickup: Pickup) {
        self.food_waited.record(pickup.food_waited.0 / 60.0);
        for (histogram, span) in [
            (&self.driver_waited, pickup.driver_waited),
            (&self.slack_at_pickup, pickup.slack),
        ] {
            if let Some(span) = span {
                histogram.record(span.0 / 60.0);
            }
        }
    }

    fn sizes(&self, gauges: Gauges) {
        self.pending.set(gauges.pending as f64);
        self.stranded.set(gauges.stranded as f64);
        self.free.set(gauges.candidates as f64);
        self.busy.set(gauges.assigned as f64);
        if gauges.pending == 0 {
            // An empty queue wants no tick that could say so.
            for gauge in [&self.due, &self.waiting, &self.oldest_due] {
                gauge.set(0.0);
            }
        }
    }

    /// Exports what the scheduler has counted since the last time.
    fn audit(&mut self, audit: Audit) {
        for ((kind, before), (_, now)) in self.audit.named().into_iter().zip(audit.named()) {
            checked(
                kind,
                now.checks - before.checks,
                now.violations - before.violations,
            );
        }
        self.audit = audit;
    }
}

impl Drop for LaneMetrics {
    fn drop(&mut self) {
        let sizes = [&self.pending, &self.stranded, &self.free, &self.busy];
        let queue = [&self.due, &self.waiting, &self.oldest_due];
        for gauge in sizes.into_iter().chain(queue).chain([&self.travel_factor]) {
            gauge.set(0.0);
        }
    }
}

/// How many orders had a named driver before and have one now, and for how many it is another.
fn revisions(before: &BTreeMap<OrderId, DriverId>, pulse: &Pulse) -> (u64, u64) {
    let now = pulse.decided.iter().chain(&pulse.held);
    let both = now.filter_map(|(order, driver)| Some((before.get(order)?, driver)));
    both.fold((0, 0), |(choices, revised), (was, is)| {
        (choices + 1, revised + u64::from(was != is))
    })
}

#[cfg(test)]
mod tests {
    use dispatch::Seconds;

    use super::*;

    #[test]
    fn a_choice_is_revised_when_an_order_that_waited_for_one_driver_goes_to_another() {
        let order = |number| OrderId(uuid::Uuid::from_u128(number));
        let choice = |number, driver: &str| (order(number), DriverId::new(driver));
        let before = [choice(1, "ada"), choice(2, "bob"), choice(3, "cyd")];
        let pulse = Pulse {
            due: 3,
            matched: 2,
            waiting: 3,
            oldest_due: Seconds::ZERO,
            travel_factor: 1.0,
            decided: vec![choice(1, "ada"), choice(2, "dee")],
            held: vec![choice(4, "bob")],
        };
        assert_eq!(revisions(&before.into(), &pulse), (2, 1));
    }
}
