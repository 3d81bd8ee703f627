//! What was found, for people (a table) and programs (JSON).

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::check::Check;

/// How many examples of a violation are kept.
const EXAMPLES: usize = 5;

/// The outcome of a verification.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    pub placed: u64,
    pub delivered: u64,
    pub rejected: u64,
    pub payment_failed: u64,
    pub cancelled: u64,
    pub undeliverable: u64,
    /// Orders placed that have no end.
    pub lost: u64,
    /// Events, ends, steps or notifications that are there more than once.
    pub duplicated: u64,
    pub dead_letters: u64,
    /// By family and kind of topic.
    pub records: BTreeMap<String, u64>,
    pub spread: Vec<Spread>,
    pub checks: Vec<Findings>,
}

/// How a geo's accepted orders are spread over its partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Spread {
    pub geo: String,
    pub partitions: u32,
    pub accepted: u64,
    pub least: u64,
    pub most: u64,
}

/// What a check has seen.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    pub check: Check,
    pub looked: u64,
    pub violations: u64,
    pub examples: Vec<String>,
}

impl Findings {
    pub(super) fn new(check: Check) -> Self {
        Self {
            check,
            looked: 0,
            violations: 0,
            examples: Vec::new(),
        }
    }

    pub(super) fn looked(&mut self, holds: bool, what: impl FnOnce() -> String) {
        self.looked += 1;
        if !holds {
            self.violations += 1;
            if self.examples.len() < EXAMPLES {
                self.examples.push(what());
            }
        }
    }
}

impl Report {
    /// Whether there was something to verify, and all of it holds.
    pub fn holds(&self) -> bool {
        self.placed > 0 && self.checks.iter().all(|findings| findings.violations == 0)
    }

    pub fn violations(&self, check: Check) -> u64 {
        self.checks
            .iter()
            .filter(|findings| findings.check == check)
            .map(|findings| findings.violations)
            .sum()
    }

    /// Counts an order by its ends.
    pub(super) fn count(&mut self, ended_as: impl Fn(&str) -> bool) {
        self.placed += 1;
        self.delivered += u64::from(ended_as("OrderDelivered"));
        self.rejected += u64::from(ended_as("OrderRejected"));
        self.payment_failed += u64::from(ended_as("OrderPaymentFailed"));
        self.cancelled += u64::from(ended_as("OrderCancelled"));
        self.undeliverable += u64::from(ended_as("OrderUndeliverable"));
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (topic, records) in &self.records {
            writeln!(f, "{topic:<28} {records:>9} records")?;
        }
        for Spread {
            geo,
            partitions,
            accepted,
            least,
            most,
        } in &self.spread
        {
            writeln!(
                f,
                "{geo:<28} {accepted:>9} accepted on {partitions} partitions, {least} to {most} each"
            )?;
        }
        writeln!(f, "dead letters {:>25}", self.dead_letters)?;
        writeln!(
            f,
            "payment failed {}, cancelled {}",
            self.payment_failed, self.cancelled
        )?;
        for Findings {
            check,
            looked,
            violations,
            examples,
        } in &self.checks
        {
            let verdict = match (violations, looked) {
                (0, 0) => "-",
                (0, _) => "ok",
                _ => "VIOLATED",
            };
            writeln!(
                f,
                "{:<40} {looked:>9} looked at {violations:>6} violations  {verdict}",
                check.sentence()
            )?;
            for example in examples {
                writeln!(f, "    {example}")?;
            }
        }
        let Self {
            placed,
            delivered,
            rejected,
            undeliverable,
            lost,
            duplicated,
            ..
        } = self;
        writeln!(
            f,
            "demo: placed {placed}, delivered {delivered}, rejected {rejected}, undeliverable {undeliverable}, \
             lost {lost}, duplicated {duplicated}"
        )
    }
}
