//! Commitments on a real PostgreSQL: of those of a cycle that go in which can, whatever the others come to.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use assignment::book::Commitment;
use assignment::store;
use contracts::streams::DriverAssignmentEvent as Fact;
use dispatch::{DriverId, TripId};
use fixture::tables::{assigned, decide, finish, load, missed, pool};
use fixture::{GEO, online, order, order_id, requested, second};

#[tokio::test]
async fn a_driver_who_is_taken_elsewhere_keeps_no_other_from_his_order() {
    let pool = pool().await;
    let mut tx = pool.begin().await.unwrap();
    assigned(&mut tx).await;
    let mut elsewhere = load(&mut tx, "elsewhere").await;
    let events = [
        online("ada", second(1), 10),
        online("bob", second(1), 20),
        requested(2, 1, second(1), 60),
        requested(4, 1, second(1), 60),
    ];
    decide(&mut elsewhere, &mut tx, &events, second(1)).await;
    let (facts, ticked) = finish(&mut elsewhere, &mut tx, "elsewhere", second(1))
        .await
        .unwrap();
    let [Fact::DriverAssigned(assigned)] = &facts[..] else {
        panic!("{facts:?}");
    };
    assert_eq!(assigned.driver_id, "bob");
    assert_eq!(ticked.unwrap().refused.len(), 1);
    let stored: Vec<(String, String)> =
        sqlx::query_as("SELECT geo, driver_id FROM assignments ORDER BY driver_id")
            .fetch_all(&mut *tx)
            .await
            .unwrap();
    let row = |geo: &str, driver: &str| (geo.to_owned(), driver.to_owned());
    assert_eq!(stored, [row(GEO, "ada"), row("elsewhere", "bob")]);
}

#[tokio::test]
async fn of_many_commitments_those_alone_are_refused_that_cannot_be_had() {
    let pool = pool().await;
    let mut tx = pool.begin().await.unwrap();
    let book = assigned(&mut tx).await;
    let held = book.scheduler().assignment_of(order_id(1)).unwrap();
    let many: Vec<_> = (100..200)
        .map(|number| {
            let mut assignment = held.clone();
            assignment.request.order_id = order_id(number);
            assignment.driver_id = DriverId::new(format!("driver-{number}"));
            assignment.trip_id = TripId(order(number));
            assignment
        })
        .collect();
    let commit = |assignment| {
        let commitment = Commitment {
            order_version: 1,
            assignment,
            duty_at: None,
        };
        ("elsewhere", commitment)
    };
    let mut ada = many[0].clone();
    ada.driver_id = DriverId::new("ada");
    let all: Vec<_> = [&ada].into_iter().chain(&many[1..]).map(commit).collect();
    let refused = store::commit(&mut tx, &all).await.unwrap();
    assert_eq!(refused, [("elsewhere", order_id(100))].into());
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM assignments WHERE active")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(stored, 1 + 99);
    let trips: i64 = sqlx::query_scalar("SELECT count(*) FROM active_trips")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(trips, stored);
    missed(store::commit(&mut tx, &all[1..]).await, "assignments");
}
