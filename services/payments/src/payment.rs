//! A payment as it is remembered: what was asked for, how far it got, what it waits for.

use chrono::{DateTime, Utc};
use contracts::value::Money;
use runtime::Trace;
use uuid::Uuid;

use crate::gateway::{Call, Operation};

/// The payment of one order.
#[derive(Clone, Debug, PartialEq)]
pub struct Payment {
    pub order_id: Uuid,
    pub charge: Charge,
    pub status: Status,
    /// The gateway's name for the charge, once captured.
    pub capture_reference: Option<String>,
    /// Remembered from the moment it is asked for, also while the capture is still under way.
    pub refund: Option<Refund>,
    pub step: Step,
    /// Failed calls of the operation under way.
    pub tries: i32,
    /// Whether the gateway may hold an outcome of the capture that we have not heard of.
    pub exposed: bool,
    /// Whether everybody has been told that the money is no longer wanted although its outcome is unknown.
    pub delayed: bool,
    /// Of the request, so that everything about an order is one trace.
    pub trace: Trace,
    pub requested_at: DateTime<Utc>,
}

/// What PaymentRequested asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Charge {
    pub request_id: Uuid,
    pub order_version: i32,
    pub attempt: i32,
    pub amount: Money,
    pub payment_method: String,
    /// After this instant the money is no longer wanted.
    pub expires_at: Option<DateTime<Utc>>,
}

/// What RefundRequested asked for, in the currency of the charge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    pub request_id: Uuid,
    pub order_version: i32,
    pub attempt: i32,
    pub amount_minor: i64,
    /// The gateway's name for it, once done.
    pub reference: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The capture is under way.
    Requested,
    Captured,
    /// Final: nothing was taken, and nothing will be.
    Declined,
    /// Captured, and on its way back.
    RefundRequested,
    Refunded,
}

impl Status {
    pub const ALL: [Self; 5] = [
        Self::Requested,
        Self::Captured,
        Self::Declined,
        Self::RefundRequested,
        Self::Refunded,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Captured => "captured",
            Self::Declined => "declined",
            Self::RefundRequested => "refund_requested",
            Self::Refunded => "refunded",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

/// What happens to a payment next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing is left to do.
    Rest,
    /// The gateway is to be called as soon as it is this payment's turn.
    Call,
    /// A call has been asked for; its answer is to come.
    InFlight,
    /// Its turn may come from this instant on.
    Wait(DateTime<Utc>),
}

impl Payment {
    /// The operation under way.
    pub fn operation(&self) -> Option<Operation> {
        match self.status {
            Status::Requested => Some(Operation::Capture),
            Status::RefundRequested => Some(Operation::Refund),
            Status::Captured | Status::Declined | Status::Refunded => None,
        }
    }

    /// When it has to be looked at again, whatever else happens: to call, or because the money is no longer wanted. The
    /// answer of a call under way does for the latter as well.
    pub fn alarm(&self) -> Option<DateTime<Utc>> {
        let call = match self.step {
            Step::Wait(at) => Some(at),
            Step::Rest | Step::Call | Step::InFlight => None,
        };
        let expires = self.status == Status::Requested && !self.delayed;
        let expiry = match self.step {
            Step::Call | Step::Wait(_) if expires => self.charge.expires_at,
            _ => None,
        };
        call.into_iter().chain(expiry).min()
    }

    /// Starts the call that is due, if one is.
    pub fn start_call(&mut self) -> Option<Call> {
        if self.step != Step::Call {
            return None;
        }
        self.step = Step::InFlight;
        self.call()
    }

    /// The call that the operation under way needs. Every try has the same key, so the gateway performs it once, and a
    /// repetition is the question what became of it.
    pub fn call(&self) -> Option<Call> {
        let (order_id, traceparent) = (self.order_id, self.trace.traceparent());
        match self.operation()? {
            Operation::Capture => Some(Call::Capture {
                order_id,
                key: format!("capture:{order_id}:{}", self.charge.attempt),
                amount: self.charge.amount.clone(),
                payment_method: self.charge.payment_method.clone(),
                asked_at: self.requested_at,
                traceparent,
            }),
            Operation::Refund => {
                let refund = self.refund.as_ref()?;
                let amount_minor = refund.amount_minor;
                Some(Call::Refund {
                    order_id,
                    key: format!("refund:{order_id}:{}", refund.attempt),
                    capture_reference: self.capture_reference.clone()?,
                    amount: Money {
                        amount_minor,
                        currency: self.charge.amount.currency.clone(),
                    },
                    asked_at: self.requested_at,
                    traceparent,
                })
            }
        }
    }
}
