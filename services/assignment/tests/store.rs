//! The tables on a real PostgreSQL: what they hold, what they answer, and what they refuse.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::collections::BTreeSet;

use assignment::book::{Book, Changes, Commitment};
use assignment::decide::Word;
use assignment::order::OrderState;
use assignment::store;
use contracts::Message as _;
use contracts::streams::DriverAssignmentEvent as Fact;
use dispatch::{At, DriverId, TripId};
use fixture::tables::{assigned, cycle, decide, finish, load, load_under, missed, pool};
use fixture::{
    GEO, cancelled, online, order, order_id, origin, ping, prep_changed, requested, says, second,
    trace,
};
use runtime::Verdict;
use sqlx::PgConnection;

#[tokio::test]
async fn a_story_leaves_the_rows_that_tell_it() {
    let pool = pool().await;
    let mut tx = pool.begin().await.unwrap();
    let mut book = assigned(&mut tx).await;
    for (at, word) in [
        (1, Word::Accepted),
        (2, Word::Arrived),
        (3, Word::PickedUp),
        (4, Word::Dropped),
    ] {
        cycle(
            &mut book,
            &mut tx,
            &[says("ada", 1, word, second(at))],
            second(at),
        )
        .await;
    }
    let row: (String, bool, i32) = sqlx::query_as("SELECT phase, active, version FROM assignments")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(row, ("delivered".to_owned(), false, 5));
    let row: (String, Option<uuid::Uuid>) =
        sqlx::query_as("SELECT status, active_trip FROM drivers")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
    assert_eq!(row, ("free".to_owned(), None));
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM pending_assignments")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(left, 0);
    // What comes late is answered by the tables.
    let late = [
        says("ada", 1, Word::Dropped, second(9)),
        requested(1, 9, second(9), 60),
        prep_changed(1, second(9), second(99)),
    ];
    let verdicts = decide(&mut book, &mut tx, &late, second(9)).await;
    assert_eq!(
        verdicts,
        [
            Verdict::Skip("repeated"),
            Verdict::Skip("delivered"),
            Verdict::Skip("order_ended")
        ]
    );
}

#[tokio::test]
async fn a_driver_who_holds_an_order_of_another_geo_is_refused_by_the_index_and_nothing_is_told() {
    let pool = pool().await;
    let mut tx = pool.begin().await.unwrap();
    assigned(&mut tx).await;
    let mut elsewhere = load(&mut tx, "elsewhere").await;
    let events = [online("ada", second(1), 10), requested(2, 1, second(1), 60)];
    assert_eq!(
        decide(&mut elsewhere, &mut tx, &events, second(1)).await,
        [Verdict::Done, Verdict::Done]
    );
    let (facts, ticked) = finish(&mut elsewhere, &mut tx, "elsewhere", second(1))
        .await
        .unwrap();
    assert_eq!(facts, []);
    assert_eq!(ticked.unwrap().refused, BTreeSet::from([order_id(2)]));
    let rebuilt = load(&mut tx, "elsewhere").await;
    assert_eq!(
        rebuilt.scheduler().snapshot().pending.len(),
        1,
        "the order still waits"
    );
}

#[tokio::test]
async fn a_driver_or_order_that_is_taken_in_its_own_geo_is_a_contradiction() {
    let pool = pool().await;
    let mut tx = pool.begin().await.unwrap();
    let book = assigned(&mut tx).await;
    let held = book.scheduler().assignment_of(order_id(1)).unwrap().clone();
    for (order, driver) in [(1, "bob"), (2, "ada")] {
        let mut assignment = held.clone();
        assignment.request.order_id = order_id(order);
        assignment.request.attempt = 2;
        assignment.driver_id = DriverId::new(driver);
        let commitment = Commitment {
            order_version: 3,
            assignment: &assignment,
            duty_at: None,
        };
        missed(
            store::commit(&mut tx, &[(GEO, commitment)]).await,
            "assignments",
        );
    }
}

/// Ada, at second 0, with orders 1, 3 and 5 as one trip.
async fn on_a_trip(tx: &mut PgConnection) -> Book {
    let mut book = load_under("bundle", tx, GEO).await;
    let events = [
        online("ada", second(0), 1),
        requested(1, 3, second(0), 10),
        requested(3, 3, second(0), 20),
        requested(5, 3, second(0), 30),
    ];
    let facts = cycle(&mut book, tx, &events, second(0)).await;
    let trips: BTreeSet<_> = facts
        .iter()
        .map(|fact| match fact {
            Fact::DriverAssigned(fact) => fact.trip_id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!((facts.len(), trips.len()), (3, 1), "{facts:?}");
    book
}

#[tokio::test]
async fn a_lane_rebuilt_in_the_middle_of_a_trip_knows_what_is_left_of_it() {
    let pool = pool().await;
    let mut tx = pool.begin().await.unwrap();
    let mut book = on_a_trip(&mut tx).await;
    let picked_up = [1, 3, 5].map(|number| says("ada", number, Word::PickedUp, second(60)));
    cycle(&mut book, &mut tx, &picked_up, second(60)).await;
    let dropped = [says("ada", 3, Word::Dropped, second(100))];
    cycle(&mut book, &mut tx, &dropped, second(100)).await;
    let mut rebuilt = load_under("bundle", &mut tx, GEO).await;
    let ada = &rebuilt.drivers()[&DriverId::new("ada")];
    assert_eq!(ada.held, [order_id(1), order_id(5)]);
    assert_eq!(
        ada.last_drop.as_ref().unwrap().at,
        At(second(100).timestamp_micros())
    );
    assert_eq!(rebuilt.drivers(), book.drivers());
    assert_eq!(rebuilt.scheduler().snapshot(), book.scheduler().snapshot());
    for (number, at) in [(5, 120), (1, 140)] {
        let dropped = [says("ada", number, Word::Dropped, second(at))];
        cycle(&mut rebuilt, &mut tx, &dropped, second(at)).await;
    }
    let row: (
        String,
        Option<uuid::Uuid>,
        Option<chrono::DateTime<chrono::Utc>>,
    ) = sqlx::query_as("SELECT status, active_trip, last_drop_at FROM drivers")
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    assert_eq!(row, ("free".to_owned(), None, None));
}

#[tokio::test]
async fn a_trip_is_refused_as_a_whole_when_its_driver_is_on_one_of_another_geo() {
    let pool = pool().await;
    let mut tx = pool.begin().await.unwrap();
    on_a_trip(&mut tx).await;
    let mut elsewhere = load_under("bundle", &mut tx, "elsewhere").await;
    let events = [
        online("ada", second(1), 1),
        requested(2, 1, second(1), 10),
        requested(4, 1, second(1), 10),
    ];
    decide(&mut elsewhere, &mut tx, &events, second(1)).await;
    let (facts, ticked) = finish(&mut elsewhere, &mut tx, "elsewhere", second(1))
        .await
        .unwrap();
    assert_eq!(facts, []);
    assert_eq!(
        ticked.unwrap().refused,
        BTreeSet::from([order_id(2), order_id(4)])
    );
    assert_eq!(elsewhere.scheduler().snapshot().pending.len(), 2);
}

#[tokio::test]
async fn a_second_trip_of_a_driver_and_a_fourth_order_of_a_trip_do_not_go_into_the_table() {
    let pool = pool().await;
    let mut tx = pool.begin().await.unwrap();
    let book = on_a_trip(&mut tx).await;
    let held = book.scheduler().assignment_of(order_id(1)).unwrap().clone();
    let mut other = held.clone();
    other.request.order_id = order_id(2);
    (other.position, other.trip_id) = (2, TripId(order(9)));
    let commitment = Commitment {
        order_version: 3,
        assignment: &other,
        duty_at: None,
    };
    missed(
        store::commit(&mut tx, &[(GEO, commitment)]).await,
        "assignments",
    );
    sqlx::query("SAVEPOINT before")
        .execute(&mut *tx)
        .await
        .unwrap();
    let statement = "INSERT INTO assignments (geo, order_id, order_version, attempt, driver_id, version, active, phase, \
        phase_at, decided_at, arrives_at, trip_id, trip_position) \
        VALUES ('x', $1, 1, 1, 'ada', 1, true, 'offered', now(), now(), now(), $2, $3)";
    for position in [2i16, 3] {
        let fourth = sqlx::query(statement)
            .bind(order(2))
            .bind(held.trip_id.0)
            .bind(position);
        fourth
            .execute(&mut *tx)
            .await
            .expect_err("three orders are a trip's most");
        sqlx::query("ROLLBACK TO SAVEPOINT before")
            .execute(&mut *tx)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_row_that_is_not_as_expected_is_not_written() {
    let pool = pool().await;
    for (statement, table) in [
        ("UPDATE drivers SET version = version + 1", "drivers"),
        (
            "UPDATE pending_assignments SET version = version + 1",
            "pending_assignments",
        ),
        (
            "UPDATE assignments SET version = version + 1",
            "assignments",
        ),
    ] {
        let mut tx = pool.begin().await.unwrap();
        let mut book = assigned(&mut tx).await;
        sqlx::query(statement).execute(&mut *tx).await.unwrap();
        // A decline ends the assignment, frees the driver and sends the order round again.
        decide(
            &mut book,
            &mut tx,
            &[says("ada", 1, Word::Declined, second(1))],
            second(1),
        )
        .await;
        missed(finish(&mut book, &mut tx, GEO, second(1)).await, table);
        tx.rollback().await.unwrap();
    }
    let mut tx = pool.begin().await.unwrap();
    let mut book = assigned(&mut tx).await;
    sqlx::query("UPDATE assignments SET version = version + 1")
        .execute(&mut *tx)
        .await
        .unwrap();
    decide(
        &mut book,
        &mut tx,
        &[says("ada", 1, Word::Accepted, second(1))],
        second(1),
    )
    .await;
    missed(
        finish(&mut book, &mut tx, GEO, second(1)).await,
        "assignments",
    );
}

#[tokio::test]
async fn an_insertion_over_an_existing_row_is_a_contradiction() {
    let pool = pool().await;
    let mut tx = pool.begin().await.unwrap();
    let mut unaware = load(&mut tx, GEO).await;
    assigned(&mut tx).await;
    unaware.apply(&online("ada", second(1), 10), origin(&trace()), second(1));
    missed(
        store::save(&mut tx, &[(GEO, unaware.take_changes())], second(1)).await,
        "drivers",
    );
    tx.rollback().await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    let mut unaware = load(&mut tx, GEO).await;
    assigned(&mut tx).await;
    unaware.apply(&requested(1, 3, second(1), 60), origin(&trace()), second(1));
    missed(
        store::save(&mut tx, &[(GEO, unaware.take_changes())], second(1)).await,
        "pending_assignments",
    );
}

#[tokio::test]
async fn an_open_order_that_memory_lacks_is_a_contradiction() {
    let pool = pool().await;
    let mut tx = pool.begin().await.unwrap();
    assigned(&mut tx).await;
    missed(
        store::recall(&mut tx, &[GEO], &[order(1)]).await,
        "pending_assignments",
    );
}

#[tokio::test]
async fn a_driver_whose_row_and_assignment_differ_is_not_loaded() {
    let pool = pool().await;
    let mut tx = pool.begin().await.unwrap();
    assigned(&mut tx).await;
    sqlx::query("UPDATE drivers SET status = 'free', active_trip = NULL")
        .execute(&mut *tx)
        .await
        .unwrap();
    let error = store::load(&mut tx, &[GEO]).await.unwrap_err();
    assert!(error.to_string().contains("ada"), "{error}");
}

#[tokio::test]
async fn tombstones_and_announcements_are_remembered_until_they_are_purged() {
    let pool = pool().await;
    let mut tx = pool.begin().await.unwrap();
    let mut book = load(&mut tx, GEO).await;
    let events = [
        cancelled(1, 3, second(0)),
        prep_changed(2, second(0), second(500)),
        requested(3, 1, second(0), 900),
    ];
    cycle(&mut book, &mut tx, &events, second(0)).await;
    let mut recalled = store::recall(&mut tx, &[GEO; 2], &[order(1), order(2)])
        .await
        .unwrap();
    recalled.sort_by_key(|(index, _)| *index);
    let ready = At(second(500).timestamp_micros());
    assert!(matches!(
        recalled[0].1.state,
        OrderState::Closed { delivered_by: None }
    ));
    assert_eq!(recalled[0].1.order_version, 3);
    assert!(
        matches!(recalled[1].1.state, OrderState::Announced { ready_at, .. } if ready_at == ready)
    );
    assert_eq!(
        decide(
            &mut book,
            &mut tx,
            &[requested(1, 3, second(1), 60)],
            second(1)
        )
        .await,
        [Verdict::Skip("stale_version")]
    );

    assert_eq!(store::purge(&mut tx, &[GEO], second(0)).await.unwrap(), 0);
    assert_eq!(
        store::purge(&mut tx, &["elsewhere"], second(9))
            .await
            .unwrap(),
        0
    );
    assert_eq!(store::purge(&mut tx, &[GEO], second(9)).await.unwrap(), 2);
    assert_eq!(
        load(&mut tx, GEO).await.orders().len(),
        1,
        "what is open stays"
    );
}

#[tokio::test]
async fn every_status_that_is_written_is_one_the_tables_allow() {
    let pool = pool().await;
    let mut tx = pool.begin().await.unwrap();
    for status in ["offline", "free", "busy"] {
        let order = (status == "busy").then(|| order(1));
        let statement = "INSERT INTO drivers (geo, driver_id, version, status, on_duty, duty_at, free_since, active_trip) \
            VALUES ('x', $1, 1, $1, $1 = 'free', now(), now(), $2)";
        sqlx::query(statement)
            .bind(status)
            .bind(order)
            .execute(&mut *tx)
            .await
            .unwrap();
    }
    let phases = [
        "offered",
        "accepted",
        "at_restaurant",
        "picked_up",
        "delivered",
        "released",
    ];
    for (attempt, phase) in phases.into_iter().enumerate() {
        let active = !["delivered", "released"].contains(&phase);
        let statement = "INSERT INTO assignments (geo, order_id, order_version, attempt, driver_id, version, active, phase, \
            phase_at, decided_at, arrives_at, trip_id, trip_position) \
            VALUES ('x', $1, 1, 1, $2, 1, $3, $2, now(), now(), now(), $1, 0)";
        let id = order(attempt as u8);
        sqlx::query(statement)
            .bind(id)
            .bind(phase)
            .bind(active)
            .execute(&mut *tx)
            .await
            .unwrap();
    }
    sqlx::query("SAVEPOINT before")
        .execute(&mut *tx)
        .await
        .unwrap();
    sqlx::query("UPDATE drivers SET status = 'asleep'")
        .execute(&mut *tx)
        .await
        .expect_err("a status nobody knows");
}

#[tokio::test]
async fn nothing_to_store_costs_no_statement() {
    let pool = pool().await;
    let mut tx = pool.begin().await.unwrap();
    let mut book = load(&mut tx, GEO).await;
    book.apply(&ping("ada", second(0), 1), origin(&trace()), second(0));
    let changes: Changes = book.take_changes();
    assert!(changes.drivers.is_empty() && changes.orders.is_empty() && changes.phases.is_empty());
    let facts: Vec<Fact> = cycle(&mut book, &mut tx, &[], second(0)).await;
    assert!(facts.iter().all(|fact| fact.geo() == GEO));
    assert_eq!(facts, []);
}
