//! The gateway's books: one operation per idempotency key, and never more given back than was taken.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

/// Body of `POST /v1/captures`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capture {
    /// In minor units of the currency, above zero.
    pub amount_minor: i64,
    /// ISO 4217, three capital letters.
    pub currency: String,
    /// What the money is for: the order's id.
    pub reference: String,
    pub payment_method: String,
}

/// Body of `POST /v1/refunds`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refund {
    pub capture_id: String,
    /// In minor units of the capture's currency, above zero; all refunds of a capture together do not exceed it.
    pub amount_minor: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Capture,
    Refund,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Captured,
    Declined,
    Refunded,
}

/// What became of an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    pub id: String,
    pub idempotency_key: String,
    pub kind: Kind,
    pub status: Status,
    /// Why it was declined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub amount_minor: i64,
    pub currency: String,
    /// The capture's reference; a refund carries that of its capture.
    pub reference: String,
    /// The capture that a refund gives back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture_id: Option<String>,
    pub created_at: DateTime<Utc>,
}

/// Sums of one currency, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub captured_minor: i64,
    pub refunded_minor: i64,
}

/// Body of `GET /v1/ledger`: every operation in the order it was performed, and the sums by currency.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    pub operations: Vec<Operation>,
    pub totals: BTreeMap<String, Totals>,
}

/// Why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error("{0}")]
    Invalid(String),
    #[error("the idempotency key was used with another body")]
    KeyReused,
    #[error("no capture {0}")]
    UnknownCapture(String),
    #[error("amount_minor {asked} exceeds the {left} that are left of the capture")]
    ExceedsCapture { asked: i64, left: i64 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Body {
    Capture(Capture),
    Refund(Refund),
}

#[derive(Default)]
pub(crate) struct Ledger {
    operations: Vec<(Body, Operation)>,
    by_key: HashMap<String, usize>,
    captures: HashMap<String, Taken>,
}

/// A capture's money.
struct Taken {
    currency: String,
    reference: String,
    left: i64,
}

impl Ledger {
    pub(crate) fn operation(&self, key: &str) -> Option<&Operation> {
        self.by_key.get(key).map(|index| &self.operations[*index].1)
    }

    pub(crate) fn books(&self) -> Books {
        let operations: Vec<Operation> = self
            .operations
            .iter()
            .map(|(_, operation)| operation.clone())
            .collect();
        let mut totals = BTreeMap::<String, Totals>::new();
        for operation in &operations {
            let sums = totals.entry(operation.currency.clone()).or_default();
            match operation.status {
                Status::Captured => sums.captured_minor += operation.amount_minor,
                Status::Refunded => sums.refunded_minor += operation.amount_minor,
                Status::Declined => {}
            }
        }
        Books { operations, totals }
    }

    /// Takes money, or remembers that it was declined (`reason`).
    pub(crate) fn capture(
        &mut self,
        key: &str,
        capture: Capture,
        reason: Option<&str>,
        now: DateTime<Utc>,
    ) -> Result<Operation, Refusal> {
        let body = Body::Capture(capture.clone());
        if let Some(known) = self.remembered(key, &body)? {
            return Ok(known);
        }
        if capture.amount_minor <= 0 {
            return Err(Refusal::Invalid(format!(
                "amount_minor = {}: must be above 0",
                capture.amount_minor
            )));
        }
        if capture.currency.len() != 3 || !capture.currency.bytes().all(|b| b.is_ascii_uppercase())
        {
            return Err(Refusal::Invalid(format!(
                "currency = {:?}: must be three capital letters",
                capture.currency
            )));
        }
        let id = identity("ch", key);
        if reason.is_none() {
            let taken = Taken {
                currency: capture.currency.clone(),
                reference: capture.reference.clone(),
                left: capture.amount_minor,
            };
            self.captures.insert(id.clone(), taken);
        }
        let operation = Operation {
            id,
            idempotency_key: key.to_owned(),
            kind: Kind::Capture,
            status: if reason.is_some() {
                Status::Declined
            } else {
                Status::Captured
            },
            reason: reason.map(str::to_owned),
            amount_minor: capture.amount_minor,
            currency: capture.currency,
            reference: capture.reference,
            capture_id: None,
            created_at: now,
        };
        Ok(self.remember(body, operation))
    }

    /// Gives money back.
    pub(crate) fn refund(
        &mut self,
        key: &str,
        refund: Refund,
        now: DateTime<Utc>,
    ) -> Result<Operation, Refusal> {
        let body = Body::Refund(refund.clone());
        if let Some(known) = self.remembered(key, &body)? {
            return Ok(known);
        }
        let asked = refund.amount_minor;
        if asked <= 0 {
            return Err(Refusal::Invalid(format!(
                "amount_minor = {asked}: must be above 0"
            )));
        }
        let Some(taken) = self.captures.get_mut(&refund.capture_id) else {
            return Err(Refusal::UnknownCapture(refund.capture_id));
        };
        if asked > taken.left {
            return Err(Refusal::ExceedsCapture {
                asked,
                left: taken.left,
            });
        }
        taken.left -= asked;
        let operation = Operation {
            id: identity("re", key),
            idempotency_key: key.to_owned(),
            kind: Kind::Refund,
            status: Status::Refunded,
            reason: None,
            amount_minor: asked,
            currency: taken.currency.clone(),
            reference: taken.reference.clone(),
            capture_id: Some(refund.capture_id),
            created_at: now,
        };
        Ok(self.remember(body, operation))
    }

    fn remembered(&self, key: &str, body: &Body) -> Result<Option<Operation>, Refusal> {
        match self.by_key.get(key).map(|index| &self.operations[*index]) {
            None => Ok(None),
            Some((known, operation)) if known == body => Ok(Some(operation.clone())),
            Some(_) => Err(Refusal::KeyReused),
        }
    }

    fn remember(&mut self, body: Body, operation: Operation) -> Operation {
        self.by_key
            .insert(operation.idempotency_key.clone(), self.operations.len());
        self.operations.push((body, operation.clone()));
        operation
    }
}

/// Derived from the key, so that a run with the same seed has the same books.
fn identity(prefix: &str, key: &str) -> String {
    format!(
        "{prefix}_{}",
        Uuid::new_v5(&Uuid::NAMESPACE_OID, key.as_bytes()).simple()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capture(amount_minor: i64) -> Capture {
        Capture {
            amount_minor,
            currency: "EUR".into(),
            reference: "order".into(),
            payment_method: "card".into(),
        }
    }

    #[test]
    fn a_key_moves_money_once() {
        let mut ledger = Ledger::default();
        let first = ledger.capture("k", capture(500), None, Utc::now()).unwrap();
        let again = ledger
            .capture("k", capture(500), Some("declined"), Utc::now())
            .unwrap();
        assert_eq!(first, again);
        assert_eq!(
            ledger.books().totals["EUR"],
            Totals {
                captured_minor: 500,
                refunded_minor: 0
            }
        );
    }

    #[test]
    fn a_key_with_another_body_is_refused() {
        let mut ledger = Ledger::default();
        ledger.capture("k", capture(500), None, Utc::now()).unwrap();
        assert_eq!(
            ledger.capture("k", capture(501), None, Utc::now()),
            Err(Refusal::KeyReused)
        );
        let refund = Refund {
            capture_id: "ch".into(),
            amount_minor: 500,
        };
        assert_eq!(
            ledger.refund("k", refund, Utc::now()),
            Err(Refusal::KeyReused)
        );
    }

    #[test]
    fn never_more_is_given_back_than_was_taken() {
        let mut ledger = Ledger::default();
        let taken = ledger.capture("k", capture(500), None, Utc::now()).unwrap();
        let refund = |amount_minor| Refund {
            capture_id: taken.id.clone(),
            amount_minor,
        };
        ledger.refund("r1", refund(300), Utc::now()).unwrap();
        ledger.refund("r1", refund(300), Utc::now()).unwrap();
        assert_eq!(
            ledger.refund("r2", refund(201), Utc::now()),
            Err(Refusal::ExceedsCapture {
                asked: 201,
                left: 200
            })
        );
        ledger.refund("r3", refund(200), Utc::now()).unwrap();
        assert_eq!(
            ledger.books().totals["EUR"],
            Totals {
                captured_minor: 500,
                refunded_minor: 500
            }
        );
    }

    #[test]
    fn a_declined_capture_moves_nothing_and_cannot_be_refunded() {
        let mut ledger = Ledger::default();
        let declined = ledger
            .capture("k", capture(500), Some("insufficient_funds"), Utc::now())
            .unwrap();
        assert_eq!(declined.status, Status::Declined);
        let refund = Refund {
            capture_id: declined.id.clone(),
            amount_minor: 500,
        };
        assert_eq!(
            ledger.refund("r", refund, Utc::now()),
            Err(Refusal::UnknownCapture(declined.id))
        );
        assert_eq!(ledger.books().totals["EUR"], Totals::default());
    }
}
