//! The invariants, counted while they are kept: how often each was checked, how often it was broken.
//!
//! A broken one is a defect of this crate or of a policy. Broken counts stay 0 and checked counts grow;
//! a count that does not grow proves nothing.

use serde::Serialize;

/// One invariant's counters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Check {
    pub checks: u64,
    pub violations: u64,
}

impl Check {
    /// Counts one check and passes on its outcome.
    pub(crate) fn holds(&mut self, holds: bool) -> bool {
        self.checks += 1;
        self.violations += u64::from(!holds);
        holds
    }
}

/// The invariants of dispatch that a scheduler can check on itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// A driver gets a trip only without another, an order a driver only without another.
    pub exclusive: Check,
    /// None is committed before it is due.
    pub never_early: Check,
    /// A committed driver is on duty, heard within the location TTL and within the request's radius.
    pub feasible: Check,
    /// Of two due requests that compete for a driver the one that the policy serves first gets him. Never checked under a
    /// policy that goes by the cost of a plan and so serves none first.
    pub in_order: Check,
    /// No due request is left while a feasible driver is free, unless whom it waits for is named; and none is given up for
    /// its age beside one at all.
    pub never_idle: Check,
    /// Every request that came in is pending, assigned, or has left by a decision.
    pub conserved: Check,
}

impl Audit {
    /// The counters with the names they have as metrics.
    pub fn named(&self) -> [(&'static str, Check); 6] {
        [
            ("exclusive", self.exclusive),
            ("never_early", self.never_early),
            ("feasible", self.feasible),
            ("in_order", self.in_order),
            ("never_idle", self.never_idle),
            ("conserved", self.conserved),
        ]
    }

    pub fn violations(&self) -> u64 {
        self.named().iter().map(|(_, check)| check.violations).sum()
    }

    pub fn checks(&self) -> u64 {
        self.named().iter().map(|(_, check)| check.checks).sum()
    }
}
