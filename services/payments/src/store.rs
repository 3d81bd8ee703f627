//! Payments as rows: loaded and saved in sets, one statement per kind of change and cycle.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use contracts::value::Money;
use runtime::{ApplyError, Lane, Trace};
use sqlx::{FromRow, PgConnection};
use uuid::Uuid;

use crate::gateway::Operation;
use crate::payment::{Charge, Payment, Refund, Status, Step};

/// The columns of a [`Payment`]; `load_open` and `load` select exactly these.
#[derive(FromRow)]
struct Row {
    order_id: Uuid,
    lane: String,
    request_id: Uuid,
    order_version: i32,
    attempt: i32,
    amount_minor: i64,
    currency: String,
    payment_method: String,
    expires_at: Option<DateTime<Utc>>,
    status: String,
    capture_reference: Option<String>,
    refund_request_id: Option<Uuid>,
    refund_version: Option<i32>,
    refund_attempt: Option<i32>,
    refund_minor: Option<i64>,
    refund_reference: Option<String>,
    tries: i32,
    exposed: bool,
    delayed: bool,
    due_at: Option<DateTime<Utc>>,
    traceparent: String,
    requested_at: DateTime<Utc>,
}

/// A payment with the lane that owns it.
pub struct Owned {
    pub lane: String,
    pub payment: Payment,
}

/// All payments of the lanes with something left to do, the oldest first.
pub async fn load_open(
    lanes: &[Arc<Lane>],
    tx: &mut PgConnection,
) -> Result<Vec<Owned>, ApplyError> {
    let lanes: Vec<&str> = lanes.iter().map(|lane| lane.id.as_str()).collect();
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT order_id, lane, request_id, order_version, attempt, amount_minor, currency, payment_method, expires_at,
            status, capture_reference, refund_request_id, refund_version, refund_attempt, refund_minor,
            refund_reference, tries, exposed, delayed, due_at, traceparent, requested_at
         FROM payments WHERE lane = ANY($1) AND status IN ('requested', 'refund_requested') ORDER BY requested_at",
    )
    .bind(lanes)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(Row::into_payment).collect()
}

/// The payments of the orders that have one. Locked in the order of their ids: a message on the wrong partition could
/// make two lanes look at one order.
pub async fn load(order_ids: &[Uuid], tx: &mut PgConnection) -> Result<Vec<Owned>, ApplyError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT order_id, lane, request_id, order_version, attempt, amount_minor, currency, payment_method, expires_at,
            status, capture_reference, refund_request_id, refund_version, refund_attempt, refund_minor,
            refund_reference, tries, exposed, delayed, due_at, traceparent, requested_at
         FROM payments WHERE order_id = ANY($1) ORDER BY order_id FOR UPDATE",
    )
    .bind(order_ids)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(Row::into_payment).collect()
}

impl Row {
    fn into_payment(self) -> Result<Owned, ApplyError> {
        let Some(status) = Status::parse(&self.status) else {
            return Err(ApplyError::permanent(format!(
                "payment {}: unknown status {}",
                self.order_id, self.status
            )));
        };
        let refund = match (
            self.refund_request_id,
            self.refund_version,
            self.refund_attempt,
            self.refund_minor,
        ) {
            (Some(request_id), Some(order_version), Some(attempt), Some(amount_minor)) => {
                Some(Refund {
                    request_id,
                    order_version,
                    attempt,
                    amount_minor,
                    reference: self.refund_reference,
                })
            }
            _ => None,
        };
        let mut payment = Payment {
            order_id: self.order_id,
            charge: Charge {
                request_id: self.request_id,
                order_version: self.order_version,
                attempt: self.attempt,
                amount: Money {
                    amount_minor: self.amount_minor,
                    currency: self.currency,
                },
                payment_method: self.payment_method,
                expires_at: self.expires_at,
            },
            status,
            capture_reference: self.capture_reference,
            refund,
            step: Step::Rest,
            tries: self.tries,
            exposed: self.exposed,
            delayed: self.delayed,
            trace: Trace::parse(&self.traceparent, None).unwrap_or_else(Trace::root),
            requested_at: self.requested_at,
        };
        payment.step = match (payment.operation(), self.due_at) {
            (None, _) => Step::Rest,
            (Some(_), Some(at)) => Step::Wait(at),
            (Some(_), None) => Step::InFlight,
        };
        Ok(Owned {
            lane: self.lane,
            payment,
        })
    }
}

/// What a cycle changed.
#[derive(Default)]
pub struct Changes {
    new: Columns,
    changed: Columns,
    attempts: Attempts,
}

/// Payments by column; `geos`, `lanes` and what the request said are written once, by the insertion.
#[derive(Default)]
struct Columns {
    order_ids: Vec<Uuid>,
    geos: Vec<String>,
    lanes: Vec<String>,
    request_ids: Vec<Uuid>,
    order_versions: Vec<i32>,
    attempts: Vec<i32>,
    amounts: Vec<i64>,
    currencies: Vec<String>,
    payment_methods: Vec<String>,
    expiries: Vec<Option<DateTime<Utc>>>,
    statuses: Vec<&'static str>,
    capture_references: Vec<Option<String>>,
    refund_request_ids: Vec<Option<Uuid>>,
    refund_versions: Vec<Option<i32>>,
    refund_attempts: Vec<Option<i32>>,
    refund_amounts: Vec<Option<i64>>,
    refund_references: Vec<Option<String>>,
    tries: Vec<i32>,
    exposed: Vec<bool>,
    delayed: Vec<bool>,
    due: Vec<Option<DateTime<Utc>>>,
    traceparents: Vec<String>,
    requested: Vec<DateTime<Utc>>,
}

#[derive(Default)]
struct Attempts {
    geos: Vec<String>,
    order_ids: Vec<Uuid>,
    operations: Vec<&'static str>,
    attempts: Vec<i32>,
    outcomes: Vec<&'static str>,
    details: Vec<String>,
}

impl Changes {
    /// A payment that has no row yet.
    pub fn insert(&mut self, geo: &str, lane: &str, payment: &Payment) {
        let (new, charge) = (&mut self.new, &payment.charge);
        new.geos.push(geo.to_owned());
        new.lanes.push(lane.to_owned());
        new.request_ids.push(charge.request_id);
        new.order_versions.push(charge.order_version);
        new.attempts.push(charge.attempt);
        new.amounts.push(charge.amount.amount_minor);
        new.currencies.push(charge.amount.currency.clone());
        new.payment_methods.push(charge.payment_method.clone());
        new.expiries.push(charge.expires_at);
        new.traceparents.push(payment.trace.traceparent());
        new.requested.push(payment.requested_at);
        new.push(payment);
    }

    pub fn update(&mut self, payment: &Payment) {
        self.changed.push(payment);
    }

    /// For the audit: what the gateway answered to a try.
    pub fn attempt(
        &mut self,
        geo: &str,
        order_id: Uuid,
        operation: Operation,
        attempt: i32,
        outcome: &'static str,
        detail: String,
    ) {
        let attempts = &mut self.attempts;
        attempts.geos.push(geo.to_owned());
        attempts.order_ids.push(order_id);
        attempts.operations.push(operation.as_str());
        attempts.attempts.push(attempt);
        attempts.outcomes.push(outcome);
        attempts.details.push(detail);
    }

    pub async fn save(self, now: DateTime<Utc>, tx: &mut PgConnection) -> Result<(), ApplyError> {
        if !self.new.order_ids.is_empty() {
            insert(self.new, now, tx).await?;
        }
        if !self.changed.order_ids.is_empty() {
            update(self.changed, now, tx).await?;
        }
        if !self.attempts.order_ids.is_empty() {
            record_attempts(self.attempts, now, tx).await?;
        }
        Ok(())
    }
}

impl Columns {
    /// The columns that change.
    fn push(&mut self, payment: &Payment) {
        let refund = payment.refund.as_ref();
        self.order_ids.push(payment.order_id);
        self.statuses.push(payment.status.as_str());
        self.capture_references
            .push(payment.capture_reference.clone());
        self.refund_request_ids
            .push(refund.map(|refund| refund.request_id));
        self.refund_versions
            .push(refund.map(|refund| refund.order_version));
        self.refund_attempts
            .push(refund.map(|refund| refund.attempt));
        self.refund_amounts
            .push(refund.map(|refund| refund.amount_minor));
        self.refund_references
            .push(refund.and_then(|refund| refund.reference.clone()));
        self.tries.push(payment.tries);
        self.exposed.push(payment.exposed);
        self.delayed.push(payment.delayed);
        self.due.push(match payment.step {
            Step::Wait(at) => Some(at),
            // Its turn may come at any time: so it is found again as one whose time has come.
            Step::Call => Some(payment.requested_at),
            Step::Rest | Step::InFlight => None,
        });
    }
}

async fn insert(new: Columns, now: DateTime<Utc>, tx: &mut PgConnection) -> Result<(), ApplyError> {
    sqlx::query(
        "INSERT INTO payments (order_id, geo, lane, request_id, order_version, attempt, amount_minor, currency,
            payment_method, expires_at, status, capture_reference, refund_request_id, refund_version, refund_attempt,
            refund_minor, refund_reference, tries, exposed, delayed, due_at, traceparent, requested_at, changed_at)
         SELECT UNNEST($1::uuid[]), UNNEST($2::text[]), UNNEST($3::text[]),
             UNNEST($4::uuid[]), UNNEST($5::int[]), UNNEST($6::int[]), UNNEST($7::bigint[]), UNNEST($8::text[]),
             UNNEST($9::text[]), UNNEST($10::timestamptz[]), UNNEST($11::text[]), UNNEST($12::text[]),
             UNNEST($13::uuid[]), UNNEST($14::int[]), UNNEST($15::int[]), UNNEST($16::bigint[]), UNNEST($17::text[]),
             UNNEST($18::int[]), UNNEST($19::bool[]), UNNEST($20::bool[]), UNNEST($21::timestamptz[]),
             UNNEST($22::text[]), UNNEST($23::timestamptz[]), $24::timestamptz",
    )
    .bind(new.order_ids)
    .bind(new.geos)
    .bind(new.lanes)
    .bind(new.request_ids)
    .bind(new.order_versions)
    .bind(new.attempts)
    .bind(new.amounts)
    .bind(new.currencies)
    .bind(new.payment_methods)
    .bind(new.expiries)
    .bind(new.statuses)
    .bind(new.capture_references)
    .bind(new.refund_request_ids)
    .bind(new.refund_versions)
    .bind(new.refund_attempts)
    .bind(new.refund_amounts)
    .bind(new.refund_references)
    .bind(new.tries)
    .bind(new.exposed)
    .bind(new.delayed)
    .bind(new.due)
    .bind(new.traceparents)
    .bind(new.requested)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

async fn update(
    changed: Columns,
    now: DateTime<Utc>,
    tx: &mut PgConnection,
) -> Result<(), ApplyError> {
    sqlx::query(
        "UPDATE payments SET status = c.status, capture_reference = c.capture_reference,
            refund_request_id = c.refund_request_id, refund_version = c.refund_version,
            refund_attempt = c.refund_attempt, refund_minor = c.refund_minor, refund_reference = c.refund_reference,
            tries = c.tries, exposed = c.exposed, delayed = c.delayed, due_at = c.due_at,
            changed_at = $13::timestamptz
         FROM (SELECT UNNEST($1::uuid[]) AS order_id, UNNEST($2::text[]) AS status,
             UNNEST($3::text[]) AS capture_reference, UNNEST($4::uuid[]) AS refund_request_id,
             UNNEST($5::int[]) AS refund_version, UNNEST($6::int[]) AS refund_attempt,
             UNNEST($7::bigint[]) AS refund_minor, UNNEST($8::text[]) AS refund_reference, UNNEST($9::int[]) AS tries,
             UNNEST($10::bool[]) AS exposed, UNNEST($11::bool[]) AS delayed, UNNEST($12::timestamptz[]) AS due_at) AS c
         WHERE payments.order_id = c.order_id",
    )
    .bind(changed.order_ids)
    .bind(changed.statuses)
    .bind(changed.capture_references)
    .bind(changed.refund_request_ids)
    .bind(changed.refund_versions)
    .bind(changed.refund_attempts)
    .bind(changed.refund_amounts)
    .bind(changed.refund_references)
    .bind(changed.tries)
    .bind(changed.exposed)
    .bind(changed.delayed)
    .bind(changed.due)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

async fn record_attempts(
    attempts: Attempts,
    now: DateTime<Utc>,
    tx: &mut PgConnection,
) -> Result<(), ApplyError> {
    sqlx::query(
        "INSERT INTO payment_attempts (geo, order_id, operation, attempt, outcome, detail, at)
         SELECT UNNEST($1::text[]), UNNEST($2::uuid[]), UNNEST($3::text[]), UNNEST($4::int[]), UNNEST($5::text[]),
             UNNEST($6::text[]), $7::timestamptz",
    )
    .bind(attempts.geos)
    .bind(attempts.order_ids)
    .bind(attempts.operations)
    .bind(attempts.attempts)
    .bind(attempts.outcomes)
    .bind(attempts.details)
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}
