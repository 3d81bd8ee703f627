//! The gateway over HTTP, as the repository's mock gateway (`tests/gateway`) speaks it.
//!
//! What counts as what: an answer with status 200 is an outcome, provided it is about the amount that was asked for;
//! 400 to a capture is a final refusal of the request. A connection that could not be made has sent nothing. Everything
//! else (timeouts, broken connections, other statuses, unreadable answers) leaves open what happened.

use std::time::Duration;

use chrono::{DateTime, Utc};
use contracts::value::Money;
use futures::future::BoxFuture;
use reqwest::{Client, Response, StatusCode};
use serde::{Deserialize, Serialize};

use super::{Call, Gateway, Operation, Outcome, chain};

pub struct HttpGateway {
    client: Client,
    base: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Capture {
        amount_minor: i64,
        currency: &'a str,
        reference: String,
        payment_method: &'a str,
    },
    Refund {
        capture_id: &'a str,
        amount_minor: i64,
    },
}

#[derive(Deserialize)]
struct Performed {
    id: String,
    status: Status,
    reason: Option<String>,
    amount_minor: i64,
    currency: String,
    created_at: DateTime<Utc>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    Captured,
    Declined,
    Refunded,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

impl HttpGateway {
    /// `base`: URL without a path; `timeout`: bound of a whole call.
    pub fn new(base: &str, timeout: Duration, connect_timeout: Duration) -> reqwest::Result<Self> {
        let client = Client::builder()
            .timeout(timeout)
            .connect_timeout(connect_timeout)
            .build()?;
        Ok(Self {
            client,
            base: base.trim_end_matches('/').to_owned(),
        })
    }

    async fn send(&self, call: &Call) -> Outcome {
        let (path, key, traceparent, body) = match call {
            Call::Capture {
                order_id,
                key,
                amount,
                payment_method,
                traceparent,
                ..
            } => {
                let (amount_minor, currency) = (amount.amount_minor, amount.currency.as_str());
                let body = Body::Capture {
                    amount_minor,
                    currency,
                    reference: order_id.to_string(),
                    payment_method,
                };
                ("captures", key, traceparent, body)
            }
            Call::Refund {
                key,
                capture_reference,
                amount,
                traceparent,
                ..
            } => {
                let body = Body::Refund {
                    capture_id: capture_reference,
                    amount_minor: amount.amount_minor,
                };
                ("refunds", key, traceparent, body)
            }
        };
        let request = self
            .client
            .post(format!("{}/v1/{path}", self.base))
            .json(&body);
        let request = request
            .header("idempotency-key", key)
            .header("traceparent", traceparent);
        match request.send().await {
            Ok(response) => read(call, response).await,
            Err(error) => Outcome::Failed {
                sent: !error.is_connect(),
                error: chain(&error),
            },
        }
    }
}

impl Gateway for HttpGateway {
    fn perform<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Outcome> {
        Box::pin(self.send(call))
    }
}

async fn read(call: &Call, response: Response) -> Outcome {
    match (response.status(), call.operation()) {
        (StatusCode::OK, _) => match response.json::<Performed>().await {
            Ok(performed) => outcome(call, performed),
            Err(error) => unknown(chain(&error)),
        },
        (StatusCode::BAD_REQUEST, Operation::Capture) => {
            let message = response
                .json::<Refusal>()
                .await
                .ok()
                .map(|refusal| refusal.error);
            Outcome::Declined {
                invalid: true,
                code: "invalid_request".to_owned(),
                message,
            }
        }
        (status, _) => {
            let text = response.text().await.unwrap_or_default();
            unknown(format!("status {status}: {text}"))
        }
    }
}

/// An answer is believed only if it is about what was asked for.
fn outcome(call: &Call, performed: Performed) -> Outcome {
    let (Call::Capture { amount, .. } | Call::Refund { amount, .. }) = call;
    let Performed {
        id: reference,
        status,
        reason,
        amount_minor,
        currency,
        created_at: at,
    } = performed;
    let of = Money {
        amount_minor,
        currency,
    };
    if of != *amount {
        return unknown(format!("asked for {amount:?}, the answer is about {of:?}"));
    }
    match (call.operation(), status) {
        (Operation::Capture, Status::Captured) => Outcome::Captured { reference, at },
        (Operation::Capture, Status::Declined) => Outcome::Declined {
            invalid: false,
            code: reason.unwrap_or_else(|| "declined".to_owned()),
            message: None,
        },
        (Operation::Refund, Status::Refunded) => Outcome::Refunded { reference, at },
        (operation, status) => unknown(format!("status {status:?} answers no {operation}")),
    }
}

fn unknown(error: String) -> Outcome {
    Outcome::Failed { sent: true, error }
}
