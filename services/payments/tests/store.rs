//! Payments as rows of a real PostgreSQL: what is saved comes back, every status is allowed, an order has one payment.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::value::Money;
use harness::Stack;
use payments::MIGRATIONS;
use payments::gateway::Operation;
use payments::payment::{Charge, Payment, Refund, Status, Step};
use payments::store::{self, Changes};
use runtime::{Lane, LaneId, Trace};
use sqlx::PgConnection;
use sqlx::pool::PoolConnection;
use uuid::Uuid;

const GEO: &str = "berlin-mitte";
const LANE: &str = "payments.requests.berlin-mitte/3";

async fn connection() -> PoolConnection<sqlx::Postgres> {
    let pool = Stack::from_env()
        .database()
        .await
        .unwrap()
        .pool()
        .await
        .unwrap();
    MIGRATIONS.run(&pool).await.unwrap();
    pool.acquire().await.unwrap()
}

/// PostgreSQL keeps microseconds.
fn instant() -> DateTime<Utc> {
    DateTime::from_timestamp_micros(Utc::now().timestamp_micros()).unwrap()
}

fn payment(status: Status, step: Step) -> Payment {
    let captured = !matches!(status, Status::Requested | Status::Declined);
    let refunded = matches!(status, Status::RefundRequested | Status::Refunded);
    let refund = Refund {
        request_id: Uuid::new_v4(),
        order_version: 4,
        attempt: 2,
        amount_minor: 1200,
        reference: (status == Status::Refunded).then(|| "re_1".into()),
    };
    Payment {
        order_id: Uuid::new_v4(),
        charge: Charge {
            request_id: Uuid::new_v4(),
            order_version: 2,
            attempt: 1,
            amount: Money {
                amount_minor: 1250,
                currency: "EUR".into(),
            },
            payment_method: "card".into(),
            expires_at: Some(instant() + TimeDelta::minutes(15)),
        },
        status,
        capture_reference: captured.then(|| "ch_1".into()),
        refund: refunded.then_some(refund),
        step,
        tries: 3,
        exposed: status == Status::Requested,
        delayed: status == Status::Requested,
        trace: Trace::root(),
        requested_at: instant(),
    }
}

async fn load(payment: &Payment, tx: &mut PgConnection) -> Option<Payment> {
    let mut found = store::load(&[payment.order_id], tx).await.unwrap();
    assert!(found.len() <= 1 && found.iter().all(|it| it.lane == LANE));
    found.pop().map(|owned| owned.payment)
}

#[tokio::test]
async fn a_payment_of_every_status_comes_back_as_it_was_saved() {
    let mut db = connection().await;
    for status in Status::ALL {
        let steps = match status {
            Status::Requested | Status::RefundRequested => {
                vec![Step::InFlight, Step::Wait(instant())]
            }
            _ => vec![Step::Rest],
        };
        for step in steps {
            let inserted = payment(status, step);
            let mut changes = Changes::default();
            changes.insert(GEO, LANE, &inserted);
            changes.save(Utc::now(), &mut db).await.unwrap();
            assert_eq!(load(&inserted, &mut db).await, Some(inserted));

            let first = payment(Status::Requested, Step::InFlight);
            let mut changes = Changes::default();
            changes.insert(GEO, LANE, &first);
            changes.save(Utc::now(), &mut db).await.unwrap();
            let Payment {
                order_id,
                charge,
                trace,
                requested_at,
                ..
            } = first;
            let updated = Payment {
                order_id,
                charge,
                trace,
                requested_at,
                ..payment(status, step)
            };
            let mut changes = Changes::default();
            changes.update(&updated);
            changes.save(Utc::now(), &mut db).await.unwrap();
            assert_eq!(
                load(&updated, &mut db).await,
                Some(updated),
                "{status:?} {step:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_lane_takes_over_what_is_open_and_its_own_the_oldest_first() {
    let mut db = connection().await;
    let mut changes = Changes::default();
    let mut expected = Vec::new();
    for (minute, status) in Status::ALL.into_iter().enumerate() {
        let requested_at = instant() - TimeDelta::minutes(minute as i64);
        let ours = Payment {
            requested_at,
            ..payment(status, Step::InFlight)
        };
        changes.insert(GEO, LANE, &ours);
        changes.insert(
            GEO,
            "payments.requests.berlin-mitte/4",
            &payment(status, Step::InFlight),
        );
        if ours.operation().is_some() {
            expected.insert(0, ours);
        }
    }
    changes.save(Utc::now(), &mut db).await.unwrap();
    let lanes = [Arc::new(Lane {
        id: LaneId::new(LANE),
        sources: Vec::new(),
    })];
    let open = store::load_open(&lanes, &mut db).await.unwrap();
    assert_eq!(expected.len(), 2);
    assert_eq!(
        open.into_iter()
            .map(|owned| owned.payment)
            .collect::<Vec<_>>(),
        expected
    );
}

#[tokio::test]
async fn an_order_has_one_payment() {
    let mut db = connection().await;
    let payment = payment(Status::Requested, Step::InFlight);
    let insert = async |db: &mut PgConnection| {
        let mut changes = Changes::default();
        changes.insert(GEO, LANE, &payment);
        changes.save(Utc::now(), db).await
    };
    insert(&mut db).await.unwrap();
    assert!(matches!(
        insert(&mut db).await,
        Err(runtime::ApplyError::Permanent(_))
    ));
}

#[tokio::test]
async fn the_audit_takes_every_outcome() {
    let mut db = connection().await;
    let order_id = Uuid::new_v4();
    let mut changes = Changes::default();
    for (attempt, outcome) in ["captured", "declined", "refunded", "failed", "not_sent"]
        .into_iter()
        .enumerate()
    {
        changes.attempt(
            GEO,
            order_id,
            Operation::Capture,
            attempt as i32 + 1,
            outcome,
            "detail".into(),
        );
    }
    changes.attempt(
        GEO,
        order_id,
        Operation::Refund,
        1,
        "refunded",
        "re_1".into(),
    );
    changes.save(Utc::now(), &mut db).await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM payment_attempts WHERE order_id = $1")
        .bind(order_id)
        .fetch_one(&mut *db)
        .await
        .unwrap();
    assert_eq!(rows, 6);
}
