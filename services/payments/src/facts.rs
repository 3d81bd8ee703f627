//! Facts as records: what payments tells everybody.

use chrono::{DateTime, Utc};
use contracts::payments::{PaymentCaptured, PaymentDeclined, PaymentDelayed, PaymentRefunded};
use contracts::streams::PaymentsEvent;
use contracts::value::Money;
use contracts::{Record, event_id};

use crate::decide::Fact;
use crate::payment::Payment;

/// The record of a fact about a payment that has just become `payment`.
pub fn record(payment: &Payment, fact: Fact, geo: &str, now: DateTime<Utc>) -> PaymentsEvent {
    let (order_id, charge, geo) = (payment.order_id, &payment.charge, geo.to_owned());
    let id =
        |name, version, attempt: i32| event_id(order_id, version, name, attempt.unsigned_abs());
    match fact {
        Fact::Captured { at } => PaymentCaptured {
            event_id: id(PaymentCaptured::NAME, charge.order_version, charge.attempt),
            occurred_at: now,
            geo,
            correlation_id: charge.request_id,
            order_id,
            order_version: charge.order_version,
            amount: charge.amount.clone(),
            gateway_reference: payment.capture_reference.clone().unwrap_or_default(),
            captured_at: at,
        }
        .into(),
        Fact::Declined {
            reason,
            code,
            message,
        } => PaymentDeclined {
            event_id: id(PaymentDeclined::NAME, charge.order_version, charge.attempt),
            occurred_at: now,
            geo,
            correlation_id: charge.request_id,
            order_id,
            order_version: charge.order_version,
            amount: charge.amount.clone(),
            reason,
            code: Some(code),
            message,
        }
        .into(),
        Fact::Delayed => PaymentDelayed {
            event_id: id(PaymentDelayed::NAME, charge.order_version, charge.attempt),
            occurred_at: now,
            geo,
            correlation_id: charge.request_id,
            order_id,
            order_version: charge.order_version,
            amount: charge.amount.clone(),
            requested_at: payment.requested_at,
        }
        .into(),
        Fact::Refunded { at } => {
            let refund = payment
                .refund
                .as_ref()
                .expect("only a refund under way can be answered");
            PaymentRefunded {
                event_id: id(PaymentRefunded::NAME, refund.order_version, refund.attempt),
                occurred_at: now,
                geo,
                correlation_id: refund.request_id,
                order_id,
                order_version: refund.order_version,
                amount: Money {
                    amount_minor: refund.amount_minor,
                    currency: charge.amount.currency.clone(),
                },
                gateway_reference: refund.reference.clone().unwrap_or_default(),
                refunded_at: at,
            }
            .into()
        }
    }
}
