//! Money as two books have it: what payments said on its topic, and what the gateway says it did.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

use super::entry::Record;

/// Money that moved, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Moved {
    pub captured_minor: i64,
    pub refunded_minor: i64,
}

/// What moved for each order, by order and currency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Books(BTreeMap<(String, String), Moved>);

impl Books {
    /// Takes note of a record of payments, if it is one that moved money.
    pub(super) fn note(&mut self, record: &Record) {
        let (Some(order), Some((minor, currency))) = (record.order_id, &record.amount) else {
            return;
        };
        match record.name() {
            "PaymentCaptured" => self.captured(&order.to_string(), currency, *minor),
            "PaymentRefunded" => self.refunded(&order.to_string(), currency, *minor),
            _ => {}
        }
    }

    pub fn captured(&mut self, order: &str, currency: &str, amount_minor: i64) {
        self.line(order, currency).captured_minor += amount_minor;
    }

    pub fn refunded(&mut self, order: &str, currency: &str, amount_minor: i64) {
        self.line(order, currency).refunded_minor += amount_minor;
    }

    fn line(&mut self, order: &str, currency: &str) -> &mut Moved {
        let key = (order.to_owned(), currency.to_owned());
        self.0.entry(key).or_default()
    }

    /// Sums by currency.
    pub fn totals(&self) -> BTreeMap<String, Moved> {
        let mut totals: BTreeMap<String, Moved> = BTreeMap::new();
        for ((_, currency), moved) in &self.0 {
            let total = totals.entry(currency.clone()).or_default();
            total.captured_minor += moved.captured_minor;
            total.refunded_minor += moved.refunded_minor;
        }
        totals
    }

    /// Every order with its currency and what each book says moved for it.
    pub(super) fn beside(&self, other: &Books) -> Vec<(String, Moved, Moved)> {
        let keys: std::collections::BTreeSet<_> = self.0.keys().chain(other.0.keys()).collect();
        let of = |books: &Books, key| books.0.get(key).copied().unwrap_or_default();
        keys.into_iter()
            .map(|key| {
                (
                    format!("{} {}", key.0, key.1),
                    of(self, key),
                    of(other, key),
                )
            })
            .collect()
    }
}

impl Moved {
    /// By how much two books differ; what one has too much never makes up for what it lacks.
    pub(super) fn difference(self, other: Moved) -> i64 {
        (self.captured_minor - other.captured_minor).abs()
            + (self.refunded_minor - other.refunded_minor).abs()
    }
}

#[derive(Deserialize)]
struct Ledger {
    operations: Vec<Operation>,
}

#[derive(Deserialize)]
struct Operation {
    status: String,
    amount_minor: i64,
    currency: String,
    /// The order's id.
    reference: String,
}

/// The books of the mock gateway at this base URL.
pub(super) async fn ledger(url: &str) -> anyhow::Result<Books> {
    let url = format!("{}/v1/ledger", url.trim_end_matches('/'));
    let response = reqwest::get(&url).await.context("the gateway's ledger")?;
    ensure!(
        response.status().is_success(),
        "{url} answers {}",
        response.status()
    );
    let ledger: Ledger = response.json().await.context("the gateway's ledger")?;
    let mut books = Books::default();
    for done in ledger.operations {
        match done.status.as_str() {
            "captured" => books.captured(&done.reference, &done.currency, done.amount_minor),
            "refunded" => books.refunded(&done.reference, &done.currency, done.amount_minor),
            _ => {}
        }
    }
    Ok(books)
}
