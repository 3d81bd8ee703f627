//! Metrics of assignment. Labels are geos and closed sets; never orders or drivers.
//!
//! Violations stay 0 while checks grow: a violation counter that never moves means something only if its checks do.

use std::sync::Arc;

use dispatch::{Audit, Decision, Gauges};
use metrics::{Gauge, Histogram, counter, gauge, histogram};

/// Counters by `kind`.
const CHECKS: &str = "assignment_invariant_checks_total";
const VIOLATIONS: &str = "assignment_invariant_violations_total";

/// Counts checks of an invariant, and how many of them failed.
pub fn checked(kind: &'static str, checks: u64, violations: u64) {
    counter!(CHECKS, "kind" => kind).increment(checks);
    counter!(VIOLATIONS, "kind" => kind).increment(violations);
}

/// The metrics of a geo, looked up once.
pub struct LaneMetrics {
    pending: Gauge,
    stranded: Gauge,
    free: Gauge,
    busy: Gauge,
    /// From due to assigned, waits for a driver to become free included.
    due_to_assigned: Histogram,
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
            decision_delay: histogram!("assignment_decision_delay_seconds", "geo" => geo),
            audit: Audit::default(),
        }
    }

    pub fn decided(&self, decision: &Decision) {
        let since = |earlier| decision.released_at.since(earlier).0.max(0.0);
        self.due_to_assigned.record(since(decision.due_at));
        self.decision_delay
            .record(since(decision.due_at.max(decision.driver_free_since)));
    }

    pub fn sizes(&self, gauges: Gauges) {
        self.pending.set(gauges.pending as f64);
        self.stranded.set(gauges.stranded as f64);
        self.free.set(gauges.candidates as f64);
        self.busy.set(gauges.assigned as f64);
    }

    /// Exports what the scheduler has counted since the last time.
    pub fn audit(&mut self, audit: Audit) {
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
