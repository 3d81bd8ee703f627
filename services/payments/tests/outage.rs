//! What an outage of the gateway does to payments: it delays them. The backlog then drains oldest first and at the
//! configured pace, each order charged once; what has become too old is told, and what is unknown is settled.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod service;

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::Topic;
use contracts::payments::{DeclineReason, PaymentRequested};
use contracts::streams::{PaymentsEvent, PaymentsRequest};
use contracts::value::Money;
use futures::future::join_all;
use gateway::{Behaviour, Gateway, Status};
use harness::{wait_for, wait_for_value};
use service::{Ground, SOON};
use uuid::Uuid;

const PAYMENTS: &str = env!("CARGO_BIN_EXE_payments");
const PARTITIONS: i32 = 6;

/// Ten minutes at eight orders a second.
const ORDERS: usize = 10 * 60 * 8;
const CONCURRENCY: usize = 16;

fn charge(ground: &Ground, order_id: Uuid, expires_at: Option<DateTime<Utc>>) -> PaymentRequested {
    PaymentRequested {
        event_id: Uuid::new_v4(),
        occurred_at: Utc::now(),
        geo: ground.geo.to_string(),
        order_id,
        order_version: 2,
        attempt: 1,
        customer_id: "c-1".into(),
        amount: Money {
            amount_minor: 1250,
            currency: "EUR".into(),
        },
        payment_method: "card".into(),
        expires_at,
    }
}

async fn ground(geo: &str) -> Ground {
    let topics: [fn(&contracts::Geo) -> Topic; 2] =
        [Topic::of::<PaymentsRequest>, Topic::of::<PaymentsEvent>];
    Ground::prepare(geo, &topics).await
}

/// When each of the orders asked for its money, by what the processor has written.
async fn requested(ground: &Ground, ids: &[Uuid]) -> HashMap<Uuid, DateTime<Utc>> {
    let pool = ground.database.pool().await.unwrap();
    let rows: Vec<(Uuid, DateTime<Utc>)> = sqlx::query_as(
        "SELECT order_id, requested_at FROM payments.payments
         WHERE order_id = ANY($1) AND status = 'requested'",
    )
    .bind(ids)
    .fetch_all(&pool)
    .await
    .unwrap_or_default();
    rows.into_iter().collect()
}

#[tokio::test]
async fn the_backlog_of_ten_minutes_is_charged_once_oldest_first_and_at_the_configured_pace() {
    let ground = ground("istanbul-besiktas").await;
    let quick = Behaviour {
        latency_min_ms: 5,
        latency_max_ms: 25,
        ..Behaviour::default()
    };
    let down = Behaviour {
        error_rate: 1.0,
        ..quick
    };
    let mock = Gateway::local(down, 7).await.unwrap();
    // A sixtieth of the times of the real world.
    let (url, concurrency) = (mock.url(), CONCURRENCY.to_string());
    let settings = [
        ("PAYMENTS__GATEWAY_URL", url.as_str()),
        ("PAYMENTS__CONCURRENCY", concurrency.as_str()),
        ("PAYMENTS__RETRY_MS", "[17, 33, 67]"),
        // Beyond the test's patience: waking up when the gateway is back is what ends it.
        ("PAYMENTS__DEFERRAL_MS", "600000"),
        ("PAYMENTS__BREAKER_OPEN_MS", "167"),
    ];
    let running = ground.start(PAYMENTS, &settings);
    let ids: Vec<Uuid> = (0..ORDERS).map(|_| Uuid::new_v4()).collect();
    let mut age = HashMap::new();
    for ids in ids.chunks(ORDERS / 30) {
        let requests: Vec<_> = ids.iter().map(|id| charge(&ground, *id, None)).collect();
        join_all(requests.iter().enumerate().map(|(number, request)| {
            let partition = number as i32 % PARTITIONS;
            ground.write::<PaymentsRequest, _>(partition, request.order_id, request)
        }))
        .await;
        // One lot after the other, so that they have different ages.
        let lot = wait_for_value("the backlog to grow", SOON, async || {
            let lot = requested(&ground, ids).await;
            (lot.len() == ids.len()).then_some(lot)
        })
        .await;
        age.extend(lot);
    }
    let pool = ground.database.pool().await.unwrap();
    wait_for("a trial to be put off for long", SOON, async || {
        let query = "SELECT count(*) FROM payments.payments WHERE tries > 3";
        let put_off: i64 = sqlx::query_scalar(query).fetch_one(&pool).await.unwrap();
        put_off > 0
    })
    .await;
    let tries = |id: &Uuid| mock.requests(&format!("capture:{id}:1")) as usize;
    let during = ids.iter().map(tries).sum::<usize>();
    // What earlier runs left on the topic is charged as well.
    let ours = || {
        let operations = mock.books().operations.into_iter();
        let ours = operations.filter(|it| age.contains_key(&it.reference.parse().unwrap()));
        ours.collect::<Vec<_>>()
    };
    assert_eq!(mock.books().operations.len(), 0, "it is down");
    assert!(
        during < ORDERS / 10,
        "nobody storms a gateway that is down: {during} requests"
    );

    // Whoever takes over finds the backlog and what was put off.
    drop(running);
    let running = ground.start(PAYMENTS, &settings);
    let before = mock.most_at_once();
    assert!(before <= CONCURRENCY, "{before} calls at once");
    mock.behave(quick).unwrap();
    wait_for("the backlog to drain", 2 * SOON, async || {
        ours().len() >= ORDERS
    })
    .await;
    let operations = ours();
    assert_eq!(operations.len(), ORDERS);
    let taken = |it: &gateway::Operation| it.status == Status::Captured && it.amount_minor == 1250;
    assert!(operations.iter().all(taken));
    let most = mock.most_at_once();
    assert!(most <= CONCURRENCY, "{most} calls at once");
    // From the last one back: how many older ones were still to come when each was charged.
    let mut to_come = std::collections::BTreeMap::<DateTime<Utc>, usize>::new();
    let mut worst = 0;
    for operation in operations.iter().rev() {
        let age = age[&operation.reference.parse().unwrap()];
        worst = worst.max(to_come.range(..age).map(|(_, count)| count).sum());
        *to_come.entry(age).or_default() += 1;
    }
    assert!(
        to_come.len() >= 30,
        "they have {} different ages",
        to_come.len()
    );
    assert!(
        worst <= 2 * CONCURRENCY,
        "{worst} older ones were overtaken by one"
    );
    let events = wait_for_value("an event of each", SOON, async || {
        let events = ground.read::<PaymentsEvent>(&ids).await;
        (events.len() >= ORDERS).then_some(events)
    })
    .await;
    let captured = |event: &PaymentsEvent| matches!(event, PaymentsEvent::PaymentCaptured(_));
    assert_eq!(events.len(), ORDERS);
    assert!(events.iter().all(|(_, event)| captured(event)));
    // The next run on this stack would have to drain this one's orders before its own.
    drop(running);
    let topic = Topic::of::<PaymentsRequest>(&ground.geo).to_string();
    ground.stack.broker().delete_topic(&topic).await.unwrap();
}

#[tokio::test]
async fn a_charge_that_is_too_old_is_declined_unseen_or_told_to_be_late_and_then_settled() {
    let ground = ground("warszawa-srodmiescie").await;
    let cutting = Behaviour {
        half_answered_rate: 1.0,
        ..Behaviour::instant()
    };
    let mock = Gateway::local(Behaviour::instant(), 7).await.unwrap();
    let _running = ground.start(
        PAYMENTS,
        &[
            ("PAYMENTS__GATEWAY_URL", &mock.url()),
            ("PAYMENTS__RETRY_MS", "[50]"),
            ("PAYMENTS__DEFERRAL_MS", "50"),
            ("PAYMENTS__BREAKER_FAILURES", "1"),
            ("PAYMENTS__BREAKER_OPEN_MS", "6000"),
        ],
    );
    let of = async |order_id| ground.read::<PaymentsEvent>(&[order_id]).await;
    let (first, seen, unseen) = (Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4());
    let request = charge(&ground, first, None);
    ground.write::<PaymentsRequest, _>(0, first, &request).await;
    wait_for("the processor to be at work", SOON, async || {
        !of(first).await.is_empty()
    })
    .await;
    mock.behave(cutting).unwrap();
    let old = Some(Utc::now() + TimeDelta::seconds(4));
    let request = charge(&ground, seen, old);
    ground.write::<PaymentsRequest, _>(0, seen, &request).await;
    wait_for("the charge that is not answered", SOON, async || {
        mock.books()
            .operations
            .iter()
            .any(|it| it.reference == seen.to_string())
    })
    .await;
    // The breaker is open now.
    let request = charge(&ground, unseen, old);
    ground
        .write::<PaymentsRequest, _>(1, unseen, &request)
        .await;
    let declined = wait_for_value("the end of the unseen one", SOON, async || {
        of(unseen).await.pop()
    })
    .await;
    let PaymentsEvent::PaymentDeclined(declined) = declined.1 else {
        panic!("{declined:?}")
    };
    assert_eq!(declined.reason, DeclineReason::Expired);
    assert_eq!(mock.requests(&format!("capture:{unseen}:1")), 0);

    let late = wait_for_value("the other one to be late", SOON, async || {
        of(seen).await.pop()
    })
    .await;
    let PaymentsEvent::PaymentDelayed(late) = late.1 else {
        panic!("{late:?}")
    };
    assert_eq!((late.order_id, late.order_version), (seen, 2));
    mock.behave(Behaviour::instant()).unwrap();
    let events = wait_for_value("it to be settled", SOON, async || {
        let events = of(seen).await;
        (events.len() > 1).then_some(events)
    })
    .await;
    assert!(matches!(
        events[..],
        [
            (_, PaymentsEvent::PaymentDelayed(_)),
            (_, PaymentsEvent::PaymentCaptured(_))
        ]
    ));
    let all = mock.books().operations;
    let taken: Vec<_> = all.iter().map(|it| it.reference.as_str()).collect();
    assert!(
        taken.contains(&seen.to_string().as_str()) && !taken.contains(&unseen.to_string().as_str())
    );
}
