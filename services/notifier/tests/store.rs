//! Notifications as rows of a real PostgreSQL: new once, every state allowed, what waits for a webhook comes back.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::notifications::{DropReason, Recipient, RecipientKind};
use harness::Stack;
use notifier::MIGRATIONS;
use notifier::notification::{Notification, Route, Step};
use notifier::store::{self, Insertions, Updates};
use runtime::{Lane, LaneId, Trace};
use sqlx::PgConnection;
use sqlx::pool::PoolConnection;
use uuid::Uuid;

const GEO: &str = "berlin-mitte";
const LANE: &str = "orders.events.berlin-mitte/3";

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

fn webhook() -> Route {
    Route::Webhook {
        url: "http://c".into(),
        body: "{}".into(),
    }
}

fn notification(kind: RecipientKind, route: Route, step: Step) -> Notification {
    Notification {
        id: Uuid::new_v4(),
        source_event_id: Uuid::new_v4(),
        event: "OrderDelivered".into(),
        order_id: Uuid::new_v4(),
        order_version: 3,
        recipient: Recipient {
            kind,
            id: "x-1".into(),
        },
        template: "delivered".into(),
        route,
        expires_at: instant() + TimeDelta::hours(1),
        attempts: 1,
        overtaken_by: Some("OrderDelivered".into()),
        step,
        trace: Trace::root(),
    }
}

async fn insert(notifications: &[&Notification], db: &mut PgConnection) -> usize {
    let mut insertions = Insertions::default();
    notifications
        .iter()
        .for_each(|it| insertions.push(GEO, LANE, it));
    insertions.save(Utc::now(), db).await.unwrap().len()
}

async fn pending(db: &mut PgConnection) -> Vec<Notification> {
    let lanes = [Arc::new(Lane {
        id: LaneId::new(LANE),
        sources: Vec::new(),
    })];
    let owned = store::load_pending(&lanes, db).await.unwrap();
    owned.into_iter().map(|owned| owned.notification).collect()
}

#[tokio::test]
async fn a_notification_is_new_once_within_a_cycle_and_ever_after() {
    let mut db = connection().await;
    let one = notification(RecipientKind::Customer, Route::Log, Step::Sent);
    let two = notification(RecipientKind::Driver, Route::Log, Step::Sent);
    assert_eq!(insert(&[&one, &one], &mut db).await, 1);
    assert_eq!(insert(&[&one, &two], &mut db).await, 1);
    assert_eq!(insert(&[&one, &two], &mut db).await, 0);
}

#[tokio::test]
async fn of_many_notifications_those_are_new_that_were_not_there() {
    let mut db = connection().await;
    let sent = || notification(RecipientKind::Customer, Route::Log, Step::Sent);
    let many: Vec<_> = (0..100).map(|_| sent()).collect();
    let all: Vec<_> = many.iter().collect();
    assert_eq!(insert(&all, &mut db).await, 100);
    let one = sent();
    let again: Vec<_> = all.into_iter().chain([&one, &one]).collect();
    assert_eq!(insert(&again, &mut db).await, 1);
    assert_eq!(insert(&again, &mut db).await, 0);
}

#[tokio::test]
async fn every_state_channel_and_recipient_is_allowed() {
    let mut db = connection().await;
    let reasons = [
        DropReason::Stale,
        DropReason::NoChannel,
        DropReason::Refused,
        DropReason::Exhausted,
    ];
    let dropped = reasons.map(|reason| Step::Dropped {
        reason,
        detail: Some("why".into()),
    });
    let ends: Vec<Step> = dropped.into_iter().chain([Step::Sent]).collect();
    for kind in [
        RecipientKind::Customer,
        RecipientKind::Restaurant,
        RecipientKind::Driver,
        RecipientKind::Operations,
    ] {
        for end in &ends {
            let log = notification(kind, Route::Log, end.clone());
            let webhook = notification(kind, webhook(), end.clone());
            assert_eq!(
                insert(&[&log, &webhook], &mut db).await,
                2,
                "{kind:?} {end:?}"
            );
        }
    }
    for end in ends {
        let mut waiting = notification(RecipientKind::Customer, webhook(), Step::InFlight);
        insert(&[&waiting], &mut db).await;
        waiting.step = end;
        let mut updates = Updates::default();
        updates.push(&waiting);
        updates.save(Utc::now(), &mut db).await.unwrap();
    }
    assert_eq!(
        pending(&mut db).await,
        [],
        "what has ended is not taken over"
    );
}

#[tokio::test]
async fn what_waits_for_a_webhook_comes_back_as_it_was_saved() {
    let mut db = connection().await;
    let in_flight = notification(RecipientKind::Restaurant, webhook(), Step::InFlight);
    insert(&[&in_flight], &mut db).await;
    // Nobody will hear the answer of a call that was under way: its turn comes again.
    let again = Notification {
        step: Step::Send,
        ..in_flight.clone()
    };
    assert_eq!(pending(&mut db).await, [again]);
    let waiting = Notification {
        attempts: 2,
        overtaken_by: None,
        step: Step::Wait(instant()),
        ..in_flight
    };
    let mut updates = Updates::default();
    updates.push(&waiting);
    updates.save(Utc::now(), &mut db).await.unwrap();
    assert_eq!(pending(&mut db).await, [waiting]);
}
