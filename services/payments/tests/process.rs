//! The payments processor as a process between real Kafka, PostgreSQL and a gateway that behaves badly, killed on the way:
//! the events, the database and the gateway's own ledger agree to the cent.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod service;

use std::collections::HashMap;

use chrono::Utc;
use contracts::Topic;
use contracts::payments::{PaymentRequested, RefundReason, RefundRequested};
use contracts::streams::{PaymentsEvent, PaymentsRequest};
use contracts::value::Money;
use gateway::{Behaviour, Books, Gateway, Status};
use harness::{Isolation, wait_for, wait_for_value};
use service::{Ground, SOON};
use uuid::Uuid;

const PAYMENTS: &str = env!("CARGO_BIN_EXE_payments");
const PARTITIONS: i32 = 6;

fn charge(geo: &str, order_id: Uuid, amount_minor: i64) -> PaymentRequested {
    PaymentRequested {
        event_id: Uuid::new_v4(),
        occurred_at: Utc::now(),
        geo: geo.into(),
        order_id,
        order_version: 2,
        attempt: 1,
        customer_id: "c-1".into(),
        amount: euros(amount_minor),
        payment_method: "card".into(),
        expires_at: None,
    }
}

fn refund(geo: &str, order_id: Uuid, amount_minor: i64) -> RefundRequested {
    RefundRequested {
        event_id: Uuid::new_v4(),
        occurred_at: Utc::now(),
        geo: geo.into(),
        order_id,
        order_version: 3,
        attempt: 1,
        amount: euros(amount_minor),
        reason: RefundReason::OrderCancelled,
    }
}

fn euros(amount_minor: i64) -> Money {
    Money {
        amount_minor,
        currency: "EUR".into(),
    }
}

async fn ask_back(ground: &Ground, number: usize, order_id: Uuid, amount: i64) {
    let refund = refund(ground.geo.as_str(), order_id, amount);
    ground
        .write::<PaymentsRequest, _>(number as i32 % PARTITIONS, order_id, &refund)
        .await;
}

async fn ground(geo: &str) -> Ground {
    Ground::prepare(
        geo,
        &[Topic::of::<PaymentsRequest>, Topic::of::<PaymentsEvent>],
    )
    .await
}

/// The kinds of the dead letters about an order.
async fn dead_letters(ground: &Ground, order_id: Uuid) -> Vec<String> {
    let topic = Topic::of::<PaymentsRequest>(&ground.geo).dead_letters();
    let all = ground
        .stack
        .broker()
        .read_all(&[&topic], Isolation::Committed)
        .await
        .unwrap();
    let ours = all
        .iter()
        .filter(|it| it.key_text() == Some(&order_id.to_string()));
    ours.filter_map(|it| it.header("dlq.error.kind").map(str::to_owned))
        .collect()
}

/// What the events say about an order: captures, declines, refunds.
fn tally(events: &[(harness::Received, PaymentsEvent)], order_id: Uuid) -> (usize, usize, usize) {
    let mut tally = (0, 0, 0);
    for (received, event) in events {
        if received.key_text() == Some(&order_id.to_string()) {
            match event {
                PaymentsEvent::PaymentCaptured(_) => tally.0 += 1,
                PaymentsEvent::PaymentDeclined(_) => tally.1 += 1,
                PaymentsEvent::PaymentDelayed(_) => {}
                PaymentsEvent::PaymentRefunded(_) => tally.2 += 1,
            }
        }
    }
    tally
}

/// What the gateway's ledger says about an order: captured and refunded minor units.
fn ledger(books: &Books, order_id: Uuid) -> (i64, i64) {
    let mut sums = (0, 0);
    for operation in books
        .operations
        .iter()
        .filter(|it| it.reference == order_id.to_string())
    {
        match operation.status {
            Status::Captured => sums.0 += operation.amount_minor,
            Status::Refunded => sums.1 += operation.amount_minor,
            Status::Declined => {}
        }
    }
    sums
}

#[tokio::test]
async fn money_moves_once_through_a_bad_gateway_and_a_kill() {
    let ground = ground("stockholm-sodermalm").await;
    let rough = Behaviour {
        latency_min_ms: 5,
        latency_max_ms: 50,
        decline_rate: 0.2,
        error_rate: 0.2,
        half_answered_rate: 0.2,
        hang_rate: 0.1,
        hang_ms: 600,
    };
    let mock = Gateway::local(rough, 7).await.unwrap();
    let url = mock.url();
    let settings = [
        ("PAYMENTS__GATEWAY_URL", url.as_str()),
        ("PAYMENTS__TIMEOUT_MS", "200"),
        ("PAYMENTS__CONNECT_TIMEOUT_MS", "200"),
        ("PAYMENTS__RETRY_MS", "[20, 50]"),
        ("PAYMENTS__DEFERRAL_MS", "200"),
        ("PAYMENTS__BREAKER_OPEN_MS", "100"),
    ];
    let running = ground.start(PAYMENTS, &settings);
    let orders: Vec<(Uuid, i64)> = (0..60)
        .map(|number| (Uuid::new_v4(), 1000 + number))
        .collect();
    for (number, (order_id, amount)) in orders.iter().enumerate() {
        let partition = number as i32 % PARTITIONS;
        let request = charge(ground.geo.as_str(), *order_id, *amount);
        ground
            .write::<PaymentsRequest, _>(partition, *order_id, &request)
            .await;
        if number % 5 == 0 {
            ground
                .write::<PaymentsRequest, _>(partition, *order_id, &request)
                .await;
        }
        // Every other order is cancelled: half of those at once, half when it is known what became of the charge.
        if number % 4 == 0 {
            ask_back(&ground, number, *order_id, *amount).await;
        }
    }
    wait_for("the gateway to be in the middle of it", SOON, async || {
        mock.books().operations.len() > 10
    })
    .await;
    drop(running);
    let cut_at = mock.books().operations.len();
    let _running = ground.start(PAYMENTS, &settings);

    for (number, (order_id, amount)) in orders
        .iter()
        .enumerate()
        .filter(|(number, _)| number % 4 == 2)
    {
        let known = async || !ground.read::<PaymentsEvent>(&[*order_id]).await.is_empty();
        wait_for("the outcome of the charge", SOON, known).await;
        ask_back(&ground, number, *order_id, *amount).await;
    }

    let ids: Vec<Uuid> = orders.iter().map(|(order_id, _)| *order_id).collect();
    let events = wait_for_value("every payment to end", SOON, async || {
        let events = ground.read::<PaymentsEvent>(&ids).await;
        let ended = |(number, order_id): (usize, &Uuid)| match tally(&events, *order_id) {
            (0, declined, _) => declined > 0,
            (_, _, refunded) => number % 2 == 1 || refunded > 0,
        };
        ids.iter().enumerate().all(ended).then_some(events)
    })
    .await;

    let books = mock.books();
    assert!(
        cut_at < books.operations.len(),
        "the kill came in the middle"
    );
    let retried = ids
        .iter()
        .filter(|id| mock.requests(&format!("capture:{id}:1")) > 1)
        .count();
    assert!(
        retried > 5,
        "the gateway has behaved badly: {retried} captures were repeated"
    );
    let mut outcomes = HashMap::<_, usize>::new();
    for (number, (order_id, amount)) in orders.iter().enumerate() {
        let (captured, declined, refunded) = tally(&events, *order_id);
        let expected = (captured as i64 * amount, refunded as i64 * amount);
        assert_eq!(ledger(&books, *order_id), expected, "order {number}");
        assert_eq!(captured + declined, 1, "order {number} is answered once");
        assert_eq!(
            refunded,
            captured * usize::from(number % 2 == 0),
            "order {number}"
        );
        *outcomes.entry((captured, declined, refunded)).or_default() += 1;
    }
    assert!(
        outcomes.len() >= 3,
        "captures, declines and refunds all happened: {outcomes:?}"
    );
    for (received, event) in &events {
        let number = ids
            .iter()
            .position(|id| received.key_text() == Some(&id.to_string()))
            .unwrap();
        assert_eq!(
            received.partition,
            number as i32 % PARTITIONS,
            "facts go to the request's partition"
        );
        assert_eq!(
            received.header("event_type"),
            Some(contracts::Message::contract(event).name)
        );
    }
    let totals: (i64, i64) = sqlx::query_as(
        "SELECT coalesce(sum(amount_minor) FILTER (WHERE status IN ('captured', 'refunded')), 0)::bigint,
                coalesce(sum(refund_minor) FILTER (WHERE status = 'refunded'), 0)::bigint
         FROM payments.payments WHERE order_id = ANY($1)",
    )
    .bind(&ids)
    .fetch_one(&ground.database.pool().await.unwrap())
    .await
    .unwrap();
    let sums = ids.iter().map(|id| ledger(&books, *id));
    assert_eq!(
        totals,
        sums.fold((0, 0), |sum, it| (sum.0 + it.0, sum.1 + it.1)),
        "database and ledger agree"
    );
}

#[tokio::test]
async fn what_makes_no_sense_becomes_a_dead_letter_and_the_next_order_is_charged() {
    let ground = ground("wien-innere-stadt").await;
    let mock = Gateway::local(Behaviour::instant(), 1).await.unwrap();
    let _running = ground.start(PAYMENTS, &[("PAYMENTS__GATEWAY_URL", &mock.url())]);
    let (nothing, elsewhere, good) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    let geo = ground.geo.as_str();
    ground
        .write::<PaymentsRequest, _>(0, nothing, &charge(geo, nothing, 0))
        .await;
    ground
        .write::<PaymentsRequest, _>(0, elsewhere, &charge("berlin-mitte", elsewhere, 500))
        .await;
    ground
        .write::<PaymentsRequest, _>(0, good, &charge(geo, good, 500))
        .await;
    // On another partition than its request.
    let events = wait_for_value("the good one", SOON, async || {
        let events = ground
            .read::<PaymentsEvent>(&[nothing, elsewhere, good])
            .await;
        (!events.is_empty()).then_some(events)
    })
    .await;
    assert_eq!(events.len(), 1);
    assert_eq!(tally(&events, good), (1, 0, 0));
    ground
        .write::<PaymentsRequest, _>(1, good, &refund(geo, good, 500))
        .await;
    for (order_id, kind) in [
        (nothing, "invalid_amount"),
        (elsewhere, "wrong_geo"),
        (good, "wrong_partition"),
    ] {
        let there = async || dead_letters(&ground, order_id).await == [kind];
        wait_for(&format!("the dead letter {kind}"), SOON, there).await;
    }
    assert_eq!(ledger(&mock.books(), good), (500, 0));
}
