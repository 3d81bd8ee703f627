//! The gateway port: what the payments processor needs of a payment provider, whoever it is.
//!
//! A call whose outcome is unknown is repeated with its idempotency key, and the answer is the outcome of the first time
//! or of this one. Asking first (a lookup by key) would be weaker: "nothing known" does not say that a request still on
//! its way will not be performed later, whereas the repetition is right either way. So an outcome is never guessed, and
//! no key is ever given up while its outcome is unknown. An adapter to a provider that forgets keys has to look up by
//! other means what is older ([`Call::asked_at`]).

mod breaker;
mod gate;
mod http;
mod instant;
pub mod stripe;

use std::fmt;

use chrono::{DateTime, Utc};
use contracts::value::Money;
use futures::future::BoxFuture;
use uuid::Uuid;

pub use breaker::{Breaker, BreakerPolicy};
pub use gate::{Gate, Room};
pub use http::HttpGateway;
pub use instant::InstantGateway;
pub use stripe::StripeGateway;

/// A payment provider.
pub trait Gateway: Send + Sync {
    /// Performs a call within a bounded time. A decline is an answer like any other.
    fn perform<'a>(&'a self, call: &'a Call) -> BoxFuture<'a, Outcome>;
}

/// What the gateway is asked to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    Capture {
        order_id: Uuid,
        key: String,
        amount: Money,
        payment_method: String,
        /// No call with this key was made before.
        asked_at: DateTime<Utc>,
        traceparent: String,
    },
    Refund {
        order_id: Uuid,
        key: String,
        capture_reference: String,
        amount: Money,
        /// No call with this key was made before.
        asked_at: DateTime<Utc>,
        traceparent: String,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Capture,
    Refund,
}

/// What became of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Captured {
        reference: String,
        at: DateTime<Utc>,
    },
    /// Final. `invalid`: the gateway found fault with the request, not with the customer's money.
    Declined {
        invalid: bool,
        code: String,
        message: Option<String>,
    },
    Refunded {
        reference: String,
        at: DateTime<Utc>,
    },
    /// No answer that says what happened. `sent`: the gateway may have received it, so anything may have happened.
    Failed { sent: bool, error: String },
    /// The gateway works, but what it says does not settle this call: one such call says nothing about others.
    Unclear { error: String },
    /// The breaker is open: not even tried.
    Deferred,
}

/// An outcome with what it is the outcome of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub order_id: Uuid,
    pub operation: Operation,
    pub outcome: Outcome,
}

impl Call {
    pub fn order_id(&self) -> Uuid {
        match self {
            Self::Capture { order_id, .. } | Self::Refund { order_id, .. } => *order_id,
        }
    }

    pub fn operation(&self) -> Operation {
        match self {
            Self::Capture { .. } => Operation::Capture,
            Self::Refund { .. } => Operation::Refund,
        }
    }

    /// How it is known to the provider: the same at every repetition.
    pub fn key(&self) -> &str {
        match self {
            Self::Capture { key, .. } | Self::Refund { key, .. } => key,
        }
    }

    /// No call with this key was made before.
    pub fn asked_at(&self) -> DateTime<Utc> {
        match self {
            Self::Capture { asked_at, .. } | Self::Refund { asked_at, .. } => *asked_at,
        }
    }

    pub fn traceparent(&self) -> &str {
        match self {
            Self::Capture { traceparent, .. } | Self::Refund { traceparent, .. } => traceparent,
        }
    }
}

impl Operation {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Refund => "refund",
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Outcome {
    /// Label of metrics and of the audit.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Captured { .. } => "captured",
            Self::Declined { .. } => "declined",
            Self::Refunded { .. } => "refunded",
            Self::Failed { sent: true, .. } | Self::Unclear { .. } => "failed",
            Self::Failed { sent: false, .. } => "not_sent",
            Self::Deferred => "deferred",
        }
    }
}

/// An error with its causes: reqwest's own message names only the URL.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
