//! What a payment does next: pure, so that every interleaving of requests, answers and deadlines can be tested.
//!
//! Guarantees, whatever the order and however often things arrive:
//! - at most one capture and one refund per order are ever asked of the gateway, each under one idempotency key;
//! - a key is given up only when it is certain that the gateway holds nothing under it;
//! - every request that is not a duplicate is answered by one event: PaymentCaptured or PaymentDeclined for a charge,
//!   PaymentRefunded for a refund - or PaymentDeclined alone when there was nothing to give back;
//! - only the gateway's decline, or an end of the request before the gateway could have seen it, ends a charge without
//!   money: errors and timeouts never do;
//! - a charge that is still open when the money is no longer wanted ends there if the gateway cannot have seen it.
//!   Otherwise PaymentDelayed tells so, once, and the gateway goes on being asked: its outcome is still the answer.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::payments::{DeclineReason, PaymentRequested, RefundRequested};
use runtime::{Reject, Trace, Verdict};
use uuid::Uuid;

use crate::gateway::{Answer, Outcome};
use crate::payment::{Charge, Payment, Refund, Status, Step};

/// When a call that failed is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Pauses after the first failures.
    pub pauses: Vec<Duration>,
    /// Longest pause after every further one; a gateway that turns out to be back ends it.
    pub deferral: Duration,
}

/// What has become certain about a payment, for everybody to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Captured {
        at: DateTime<Utc>,
    },
    Declined {
        reason: DeclineReason,
        code: String,
        message: Option<String>,
    },
    Refunded {
        at: DateTime<Utc>,
    },
    /// No longer wanted, outcome unknown: the only one that is no end.
    Delayed,
}

/// Code of a decline that answers a refund of what was never charged.
pub const WITHDRAWN: &str = "withdrawn";
/// Code of a decline of a request that had expired before the gateway could have seen it.
pub const EXPIRED: &str = "expired";

/// Applies PaymentRequested to the order's payment, if there is one.
pub fn requested(
    slot: &mut Option<Payment>,
    request: PaymentRequested,
    trace: &Trace,
    now: DateTime<Utc>,
) -> (Verdict, Option<Fact>) {
    if let Some(payment) = slot {
        let reason = match payment.operation() {
            _ if payment.charge.request_id == request.event_id => "duplicate",
            Some(_) => "payment_under_way",
            None => "payment_settled",
        };
        return (Verdict::Skip(reason), None);
    }
    if let Err(reject) = valid_amount("amount", request.amount.amount_minor, &request.amount) {
        return (Verdict::Reject(reject), None);
    }
    let charge = Charge {
        request_id: request.event_id,
        order_version: request.order_version,
        attempt: request.attempt,
        amount: request.amount,
        payment_method: request.payment_method,
        expires_at: request.expires_at,
    };
    let payment = slot.insert(Payment::new(request.order_id, charge, trace.clone(), now));
    payment.step = Step::Call;
    (Verdict::Done, expire(payment, now))
}

/// Applies RefundRequested.
pub fn refund_requested(
    slot: &mut Option<Payment>,
    request: RefundRequested,
    trace: &Trace,
    now: DateTime<Utc>,
) -> (Verdict, Option<Fact>) {
    let (of, amount_minor) = (&request.amount, request.amount.amount_minor);
    if let Err(reject) = valid_amount("amount", amount_minor, of) {
        return (Verdict::Reject(reject), None);
    }
    let Some(payment) = slot else {
        // It overtook its PaymentRequested, which will find the payment settled.
        let charge = Charge {
            request_id: request.event_id,
            order_version: request.order_version,
            attempt: request.attempt,
            amount: request.amount,
            payment_method: String::new(),
            expires_at: None,
        };
        let payment = slot.insert(Payment::new(request.order_id, charge, trace.clone(), now));
        return (Verdict::Done, Some(withdraw(payment)));
    };
    if payment.charge.request_id == request.event_id
        || payment
            .refund
            .as_ref()
            .is_some_and(|refund| refund.request_id == request.event_id)
    {
        return (Verdict::Skip("duplicate"), None);
    }
    if payment.status == Status::Declined {
        return (Verdict::Skip("nothing_to_refund"), None);
    }
    if payment.refund.is_some() {
        return (Verdict::Skip("refund_under_way"), None);
    }
    let charged = &payment.charge.amount;
    if of.currency != charged.currency || amount_minor > charged.amount_minor {
        let message = format!("amount = {of:?}: the charge is {charged:?}");
        return (
            Verdict::Reject(Reject::new("refund_exceeds_charge", message)),
            None,
        );
    }
    payment.refund = Some(Refund {
        request_id: request.event_id,
        order_version: request.order_version,
        attempt: request.attempt,
        amount_minor,
        reference: None,
    });
    let fact = match payment.status {
        Status::Captured => {
            payment.status = Status::RefundRequested;
            payment.tries = 0;
            payment.step = Step::Call;
            None
        }
        // Not even a call is under way: nothing was charged and nothing will be. Otherwise the refund waits for the
        // outcome of the capture.
        Status::Requested if !payment.exposed && payment.step != Step::InFlight => {
            Some(withdraw(payment))
        }
        _ => None,
    };
    (Verdict::Done, fact)
}

/// Applies the time that has come for a payment, by its [`Payment::alarm`].
pub fn due(payment: &mut Payment, now: DateTime<Utc>) -> Option<Fact> {
    if matches!(payment.step, Step::Wait(at) if at <= now) {
        payment.step = Step::Call;
    }
    expire(payment, now)
}

/// The gateway is back: whether the payment, whose retries were used up, need not wait any longer.
pub fn wake(payment: &mut Payment, policy: &RetryPolicy) -> bool {
    let used_up = usize::try_from(payment.tries).is_ok_and(|tries| tries > policy.pauses.len());
    let wakes = used_up && matches!(payment.step, Step::Wait(_));
    if wakes {
        payment.step = Step::Call;
    }
    wakes
}

/// Applies the gateway's answer. `None`: it says nothing new (the operation is over). Each call is answered at most once,
/// which is what makes a failure the failure of the call under way; an outcome counts whenever it comes.
pub fn answered(
    payment: &mut Payment,
    answer: &Answer,
    now: DateTime<Utc>,
    policy: &RetryPolicy,
) -> Option<Applied> {
    if payment.operation() != Some(answer.operation) {
        return None;
    }
    let tries = payment.tries + 1;
    let fact = match &answer.outcome {
        Outcome::Captured { reference, at } => Some(captured(payment, reference, *at)),
        Outcome::Declined {
            invalid,
            code,
            message,
        } => {
            let reason = if *invalid {
                DeclineReason::Invalid
            } else {
                DeclineReason::Declined
            };
            Some(declined(payment, reason, code, message.clone()))
        }
        Outcome::Refunded { reference, at } => Some(refunded(payment, reference, *at)),
        // A failure is news only to whom is waiting for it.
        Outcome::Failed { .. } | Outcome::Unclear { .. } | Outcome::Deferred
            if payment.step != Step::InFlight =>
        {
            return None;
        }
        Outcome::Failed { .. } | Outcome::Unclear { .. } => {
            payment.exposed |= !matches!(answer.outcome, Outcome::Failed { sent: false, .. });
            payment.tries = tries;
            let pause = jittered(policy.pause(tries), payment.order_id, tries);
            payment.step = Step::Wait(now + pause);
            go_on(payment, now)
        }
        Outcome::Deferred => {
            payment.step = Step::Call;
            go_on(payment, now)
        }
    };
    Some(Applied {
        attempt: tries,
        fact,
    })
}

/// What an answer meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Number of the try it answers, from 1.
    pub attempt: i32,
    pub fact: Option<Fact>,
}

impl Payment {
    fn new(order_id: Uuid, charge: Charge, trace: Trace, now: DateTime<Utc>) -> Self {
        Self {
            order_id,
            charge,
            status: Status::Requested,
            capture_reference: None,
            refund: None,
            step: Step::Rest,
            tries: 0,
            exposed: false,
            delayed: false,
            trace,
            requested_at: now,
        }
    }

    /// Whether nothing can have reached the gateway although the capture is not over.
    fn is_unseen(&self) -> bool {
        self.status == Status::Requested && !self.exposed
    }
}

/// Ends a charge that is no longer wanted if the gateway cannot have seen it, and otherwise says that it is late.
fn expire(payment: &mut Payment, now: DateTime<Utc>) -> Option<Fact> {
    let expired = payment.charge.expires_at.is_some_and(|at| at <= now);
    if !expired || payment.status != Status::Requested || payment.step == Step::InFlight {
        return None;
    }
    if payment.is_unseen() {
        let message = "no longer wanted when the gateway could have been called".to_owned();
        return Some(declined(
            payment,
            DeclineReason::Expired,
            EXPIRED,
            Some(message),
        ));
    }
    // Who has asked for a refund knows already that it is not wanted.
    let news = !payment.delayed && payment.refund.is_none();
    payment.delayed = true;
    news.then_some(Fact::Delayed)
}

/// After a call without an answer that says what happened: another one with the same key, unless it is certain that
/// nothing happened and nobody wants it to.
fn go_on(payment: &mut Payment, now: DateTime<Utc>) -> Option<Fact> {
    if payment.is_unseen() && payment.refund.is_some() {
        return Some(withdraw(payment));
    }
    expire(payment, now)
}

fn captured(payment: &mut Payment, reference: &str, at: DateTime<Utc>) -> Fact {
    payment.capture_reference = Some(reference.to_owned());
    payment.exposed = false;
    payment.tries = 0;
    (payment.status, payment.step) = match payment.refund {
        None => (Status::Captured, Step::Rest),
        Some(_) => (Status::RefundRequested, Step::Call),
    };
    Fact::Captured { at }
}

fn refunded(payment: &mut Payment, reference: &str, at: DateTime<Utc>) -> Fact {
    if let Some(refund) = &mut payment.refund {
        refund.reference = Some(reference.to_owned());
    }
    (payment.status, payment.step) = (Status::Refunded, Step::Rest);
    Fact::Refunded { at }
}

fn declined(
    payment: &mut Payment,
    reason: DeclineReason,
    code: &str,
    message: Option<String>,
) -> Fact {
    payment.exposed = false;
    (payment.status, payment.step) = (Status::Declined, Step::Rest);
    Fact::Declined {
        reason,
        code: code.to_owned(),
        message,
    }
}

fn withdraw(payment: &mut Payment) -> Fact {
    let message = "a refund was asked for before anything was charged".to_owned();
    declined(payment, DeclineReason::Expired, WITHDRAWN, Some(message))
}

fn valid_amount(
    field: &str,
    amount_minor: i64,
    money: &contracts::value::Money,
) -> Result<(), Reject> {
    if amount_minor <= 0 {
        return Err(Reject::new(
            "invalid_amount",
            format!("{field}.amount_minor = {amount_minor}: must be above 0"),
        ));
    }
    let currency = &money.currency;
    money.check_currency().map_err(|error| {
        Reject::new(
            "invalid_currency",
            format!("{field}.currency = {currency:?}: {error}"),
        )
    })
}

impl RetryPolicy {
    fn pause(&self, tries: i32) -> Duration {
        let index = usize::try_from(tries - 1).unwrap_or_default();
        self.pauses.get(index).copied().unwrap_or(self.deferral)
    }
}

/// 80 % to 120 % of a pause, so that what failed together does not come back together.
fn jittered(pause: Duration, order_id: Uuid, tries: i32) -> TimeDelta {
    fraction(pause.mul_f64(0.4), order_id, tries) + delta(pause.mul_f64(0.8))
}

/// A part of a duration that depends on the order and the try alone: spread over orders, repeatable in a test.
fn fraction(of: Duration, order_id: Uuid, tries: i32) -> TimeDelta {
    let (high, low) = order_id.as_u64_pair();
    // Fibonacci hashing: the upper bits depend on all bits of the id.
    let mixed = (high ^ low)
        .wrapping_add(tries as u64)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15);
    delta(of.mul_f64((mixed >> 32) as f64 / (1_u64 << 32) as f64))
}

fn delta(duration: Duration) -> TimeDelta {
    TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX)
}
