//! What Stripe answers, and what it means. Fields that mean nothing here are not read.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use thiserror::Error;

use super::super::chain;
use super::amount::StripeAmount;
use super::{KEY, Outcome};

#[derive(Debug, Deserialize)]
pub(super) struct Intent {
    pub(super) id: String,
    status: String,
    amount: i64,
    #[serde(default)]
    amount_received: i64,
    currency: String,
    /// Seconds since 1970.
    created: i64,
    last_payment_error: Option<Fault>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Refund {
    pub(super) id: String,
    /// None for some payment methods only.
    status: Option<String>,
    amount: i64,
    currency: String,
    created: i64,
    #[serde(default)]
    metadata: HashMap<String, String>,
}

/// A list, or what a search found; newest first.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    pub(super) data: Vec<T>,
}

/// Body of every answer that is not 2xx.
#[derive(Deserialize)]
struct Refusal {
    error: Fault,
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Fault {
    #[serde(rename = "type")]
    kind: String,
    code: Option<String>,
    decline_code: Option<String>,
    message: Option<String>,
    /// The parameter that it is about.
    param: Option<String>,
}

/// Whether an answer is the last word.
pub(super) enum Judgement {
    Final(Outcome),
    /// It may still go either way; with its status.
    Open(String),
}

/// Why there is no outcome.
#[derive(Debug, Error)]
pub(super) enum Problem {
    /// No connection was made.
    #[error("{0}")]
    NotSent(String),
    /// Stripe may have received it.
    #[error("{0}")]
    Failed(String),
    /// Stripe works; what it says about this call settles nothing.
    #[error("{0}")]
    Unclear(String),
    #[error("status {status}: {}", .fault.describe())]
    Refused { status: u16, fault: Fault },
}

impl Intent {
    pub(super) fn judge(self, asked: &StripeAmount) -> Result<Judgement, Problem> {
        let Self { id, status, .. } = self;
        check_amount(&id, self.amount, &self.currency, asked)?;
        Ok(Judgement::Final(
            match (status.as_str(), self.last_payment_error) {
                ("succeeded", _) if self.amount_received != asked.value => {
                    let (received, asked) = (self.amount_received, asked.value);
                    let error = format!("{id}: asked for {asked}, received {received}");
                    return Err(Problem::Unclear(error));
                }
                ("succeeded", _) => Outcome::Captured {
                    reference: id,
                    at: instant(self.created)?,
                },
                // Its one payment method was refused, and nobody gives it another.
                ("requires_payment_method", Some(fault)) if fault.is_card_error() => {
                    fault.decline()
                }
                ("canceled", _) => Outcome::Declined {
                    invalid: false,
                    code: "canceled".to_owned(),
                    message: None,
                },
                _ => return Ok(Judgement::Open(status)),
            },
        ))
    }
}

impl Refund {
    pub(super) fn judge(self, asked: &StripeAmount) -> Result<Judgement, Problem> {
        check_amount(&self.id, self.amount, &self.currency, asked)?;
        if self.succeeded() {
            return Ok(Judgement::Final(self.into_outcome()));
        }
        Ok(Judgement::Open(self.status.unwrap_or_default()))
    }

    pub(super) fn has_key(&self, key: &str) -> bool {
        self.metadata.get(KEY).is_some_and(|known| known == key)
    }

    pub(super) fn succeeded(&self) -> bool {
        self.status.as_deref() == Some("succeeded")
    }

    pub(super) fn into_outcome(self) -> Outcome {
        Outcome::Refunded {
            at: instant(self.created).unwrap_or_else(|_| Utc::now()),
            reference: self.id,
        }
    }
}

impl Fault {
    fn is_card_error(&self) -> bool {
        self.kind == "card_error"
    }

    /// Whether the order asks for what cannot be: not the caller's fault, and no repetition helps.
    fn is_about_the_order(&self) -> bool {
        let param = matches!(
            self.param.as_deref(),
            Some("amount" | "currency" | "payment_method")
        );
        let code = matches!(
            self.code.as_deref(),
            Some("amount_too_small" | "amount_too_large")
        );
        self.kind == "invalid_request_error" && (param || code)
    }

    fn decline(self) -> Outcome {
        Outcome::Declined {
            invalid: !self.is_card_error(),
            code: self.decline_code.or(self.code).unwrap_or(self.kind),
            message: self.message,
        }
    }

    fn describe(&self) -> String {
        let known = [Some(&self.kind), self.code.as_ref(), self.message.as_ref()];
        let known: Vec<&str> = known.into_iter().flatten().map(String::as_str).collect();
        known.join(": ")
    }
}

impl Problem {
    pub(super) fn of(error: &reqwest::Error) -> Self {
        if error.is_connect() {
            Self::NotSent(chain(error))
        } else {
            Self::Failed(chain(error))
        }
    }

    pub(super) fn refused(status: u16, body: &[u8]) -> Self {
        if status == 401 {
            // What Stripe says here may quote the key.
            return Self::Failed(format!(
                "status 401: the key of {} was refused",
                super::API_KEY
            ));
        }
        let fault = match serde_json::from_slice::<Refusal>(body) {
            Ok(Refusal { error }) => error,
            Err(_) => Fault::default(),
        };
        Self::Refused { status, fault }
    }

    pub(super) fn is_code(&self, code: &str) -> bool {
        matches!(self, Self::Refused { fault, .. } if fault.code.as_deref() == Some(code))
    }

    /// A refused charge, if that is final.
    pub(super) fn into_decline(self) -> Result<Outcome, Self> {
        match self {
            Self::Refused { status: 402, fault } if fault.is_card_error() => Ok(fault.decline()),
            Self::Refused {
                status: 400 | 404,
                fault,
            } if fault.is_about_the_order() => Ok(fault.decline()),
            other => Err(other),
        }
    }

    pub(super) fn into_outcome(self) -> Outcome {
        let error = self.to_string();
        match self {
            Self::NotSent(_) => Outcome::Failed { sent: false, error },
            Self::Failed(_) => Outcome::Failed { sent: true, error },
            // The key was used with other parameters: a fault of one call, and Stripe answers.
            Self::Refused { fault, .. } if fault.kind == "idempotency_error" => {
                Outcome::Unclear { error }
            }
            Self::Refused { .. } => Outcome::Failed { sent: true, error },
            Self::Unclear(_) => Outcome::Unclear { error },
        }
    }
}

/// An answer is believed only if it is about what was asked for.
fn check_amount(
    id: &str,
    amount: i64,
    currency: &str,
    asked: &StripeAmount,
) -> Result<(), Problem> {
    if amount == asked.value && currency == asked.currency {
        return Ok(());
    }
    let error = format!("{id} is about {amount} {currency}, asked for {asked:?}");
    Err(Problem::Unclear(error))
}

fn instant(seconds: i64) -> Result<DateTime<Utc>, Problem> {
    DateTime::from_timestamp(seconds, 0)
        .ok_or_else(|| Problem::Unclear(format!("created = {seconds}: no instant")))
}
