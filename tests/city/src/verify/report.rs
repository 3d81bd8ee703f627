//! What was found, for people (a table) and programs (JSON).

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::check::Check;
use super::money::Moved;

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
    /// Orders that a driver was given together with others, on one trip.
    pub sharing: u64,
    /// Orders placed that have no end.
    pub lost: u64,
    /// Events, ends, steps or notifications that are there more than once.
    pub duplicated: u64,
    pub dead_letters: u64,
    /// By currency: what payments said, and what the gateway's ledger says where it is known.
    pub money: BTreeMap<String, Moved>,
    pub ledger: Option<BTreeMap<String, Moved>>,
    /// Of the two, in minor units: the sum over orders of what they differ by.
    pub money_difference: Option<i64>,
    /// Notifications by record: sent, dropped.
    pub messages: BTreeMap<String, u64>,
    /// Whether the last line is to tell of cancellations and money as well.
    pub tell_all: bool,
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
        self.tell_orders(f)?;
        self.tell_money(f)?;
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
        self.tell_verdict(f)
    }
}

impl Report {
    fn tell_orders(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (end, orders) in [
            ("delivered", self.delivered),
            ("rejected", self.rejected),
            ("payment failed", self.payment_failed),
            ("cancelled", self.cancelled),
            ("undeliverable", self.undeliverable),
            ("sharing a trip", self.sharing),
        ] {
            writeln!(f, "orders {end:<21} {orders:>9}")?;
        }
        for (record, count) in &self.messages {
            writeln!(f, "{record:<28} {count:>9}")?;
        }
        Ok(())
    }

    fn tell_money(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ledger = self.ledger.clone().unwrap_or_default();
        for (currency, said) in &self.money {
            let mut line = |what: &str, said: i64, done: Option<i64>| {
                let done = done.map_or("-".to_owned(), |minor| minor.to_string());
                writeln!(
                    f,
                    "{what:<28} {said:>9} {currency} minor units, by the gateway's ledger {done}"
                )
            };
            let done = ledger.get(currency);
            line(
                "money captured",
                said.captured_minor,
                done.map(|done| done.captured_minor),
            )?;
            line(
                "money refunded",
                said.refunded_minor,
                done.map(|done| done.refunded_minor),
            )?;
        }
        Ok(())
    }

    /// The last line. An order whose payment was declined counts as rejected there, so that the ends add up.
    fn tell_verdict(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            placed,
            delivered,
            cancelled,
            undeliverable,
            lost,
            duplicated,
            ..
        } = self;
        if !self.tell_all {
            let rejected = self.rejected;
            return writeln!(
                f,
                "demo: placed {placed}, delivered {delivered}, rejected {rejected}, undeliverable {undeliverable}, \
                 lost {lost}, duplicated {duplicated}"
            );
        }
        let rejected = self.rejected + self.payment_failed;
        let difference = self
            .money_difference
            .map_or("unknown".to_owned(), |minor| minor.to_string());
        writeln!(
            f,
            "demo: placed {placed}, delivered {delivered}, rejected {rejected}, cancelled {cancelled}, \
             undeliverable {undeliverable}, lost {lost}, duplicated {duplicated}, money difference {difference}"
        )
    }
}
