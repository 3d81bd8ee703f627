//! The tables on a real PostgreSQL: what they refuse, and that a lane rebuilt from them decides as the one that wrote them.

mod fixture;

use std::collections::BTreeSet;

use assignment::book::{Book, Changes, Commitment, Ticked};
use assignment::decide::Word;
use assignment::event::Event;
use assignment::order::OrderState;
use assignment::store::{self, StoreError};
use chrono::{DateTime, TimeDelta, Utc};
use contracts::Message as _;
use contracts::streams::DriverAssignmentEvent as Fact;
use dispatch::{At, DriverId, OrderId};
use fixture::{
    GEO, cancelled, event, geo, online, order, order_id, origin, ping, prep_changed, requested,
    rules, says, second, steps, trace,
};
use harness::Stack;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use runtime::{ApplyError, Verdict};
use sqlx::{PgConnection, PgPool};

async fn pool() -> PgPool {
    let database = Stack::from_env().database().await.unwrap();
    let pool = database.pool().await.unwrap();
    assignment::MIGRATIONS.run(&pool).await.unwrap();
    pool
}

async fn load(tx: &mut PgConnection, name: &str) -> Book {
    let stored = store::load(tx, &[name])
        .await
        .unwrap()
        .remove(name)
        .unwrap();
    Book::new(
        geo(),
        rules().scheduler(stored.snapshot),
        stored.orders,
        stored.drivers,
    )
}

/// What a cycle does before it stores anything.
async fn decide(
    book: &mut Book,
    tx: &mut PgConnection,
    events: &[Event],
    now: DateTime<Utc>,
) -> Vec<Verdict> {
    let asked: BTreeSet<_> = events
        .iter()
        .filter_map(Event::order_id)
        .filter(|id| !book.knows(OrderId(*id)))
        .collect();
    let asked: Vec<_> = asked.into_iter().collect();
    for (index, order) in store::recall(tx, &vec![GEO; asked.len()], &asked)
        .await
        .unwrap()
    {
        book.recall(OrderId(asked[index]), order);
    }
    let trace = trace();
    let verdicts = events
        .iter()
        .map(|event| book.apply(event, origin(&trace), now))
        .collect();
    book.tick(now);
    verdicts
}

/// The rest of the cycle, in the lane of that name.
async fn finish(
    book: &mut Book,
    tx: &mut PgConnection,
    name: &str,
    now: DateTime<Utc>,
) -> Result<(Vec<Fact>, Option<Ticked>), StoreError> {
    let ended: Vec<_> = book
        .take_ended()
        .into_iter()
        .map(|row| (name, row))
        .collect();
    store::end(tx, &ended).await?;
    let commitments: Vec<(&str, Commitment<'_>)> = book
        .commitments()
        .into_iter()
        .map(|row| (name, row))
        .collect();
    let refused = store::commit(tx, &commitments).await?;
    let ticked = book.conclude(refused.into_iter().map(|(_, order)| order).collect(), now);
    store::save(tx, &[(name, book.take_changes())], now).await?;
    Ok((
        book.take_facts()
            .into_iter()
            .map(|fact| fact.record)
            .collect(),
        ticked,
    ))
}

async fn cycle(
    book: &mut Book,
    tx: &mut PgConnection,
    events: &[Event],
    now: DateTime<Utc>,
) -> Vec<Fact> {
    for (event, verdict) in events.iter().zip(decide(book, tx, events, now).await) {
        assert_eq!(verdict, Verdict::Done, "{event:?}");
    }
    finish(book, tx, GEO, now).await.unwrap().0
}

/// Ada on duty and assigned to order 1 at second 0.
async fn assigned(tx: &mut PgConnection) -> Book {
    let mut book = load(tx, GEO).await;
    let facts = cycle(
        &mut book,
        tx,
        &[online("ada", second(0), 10), requested(1, 3, second(0), 60)],
        second(0),
    )
    .await;
    assert!(matches!(&facts[..], [Fact::DriverAssigned(_)]), "{facts:?}");
    book
}

fn missed(outcome: Result<impl std::fmt::Debug, StoreError>, table: &str) {
    let error = outcome.expect_err("memory and tables differ");
    assert!(
        matches!(&error, StoreError::Missed { table: missed, .. } if *missed == table),
        "{error}"
    );
    assert!(
        matches!(ApplyError::from(error), ApplyError::Transient(_)),
        "the lane has to be loaded again"
    );
}

/// What a decision is, apart from counters that depend on when silence was noticed.
fn decided(ticked: &Option<Ticked>) -> String {
    format!(
        "{:?}",
        ticked.as_ref().map(|t| (
            &t.tick.decisions,
            &t.tick.releases,
            &t.tick.failures,
            t.tick.due
        ))
    )
}

#[tokio::test]
async fn a_lane_rebuilt_before_every_cycle_decides_as_one_that_was_never_lost() {
    let pool = pool().await;
    let mut decisions = 0;
    let mut runner = TestRunner::new(ProptestConfig::default());
    for _ in 0..60 {
        let history = steps(25).new_tree(&mut runner).unwrap();
        let history = proptest::strategy::ValueTree::current(&history);
        let mut tx = pool.begin().await.unwrap();
        let mut lasting = load(&mut tx, GEO).await;
        let (mut now, mut pings) = (second(0), Vec::new());
        for step in &history {
            now += TimeDelta::seconds(step.pause_s);
            let mut events: Vec<Event> = Vec::new();
            for action in &step.actions {
                events.extend(event(*action, &lasting, now));
            }
            let (heard, events): (Vec<_>, Vec<_>) = events
                .into_iter()
                .partition(|event| matches!(event, Event::Location(_)));
            let mut rebuilt = load(&mut tx, GEO).await;
            let trace = trace();
            for ping in &pings {
                rebuilt.apply(ping, origin(&trace), now);
            }
            for book in [&mut lasting, &mut rebuilt] {
                for ping in &heard {
                    book.apply(ping, origin(&trace), now);
                }
            }
            pings.extend(heard);
            let verdicts = decide(&mut lasting, &mut tx, &events, now).await;
            assert_eq!(
                verdicts,
                decide(&mut rebuilt, &mut tx, &events, now).await,
                "{history:?}"
            );
            // The rebuilt one is stored, and undone: only then the lasting one.
            let mut attempt = sqlx::Acquire::begin(&mut *tx).await.unwrap();
            let (facts, ticked) = finish(&mut rebuilt, &mut attempt, GEO, now).await.unwrap();
            attempt.rollback().await.unwrap();
            let (lasting_facts, lasting_ticked) =
                finish(&mut lasting, &mut tx, GEO, now).await.unwrap();
            assert_eq!(facts, lasting_facts, "{history:?}");
            assert_eq!(decided(&ticked), decided(&lasting_ticked), "{history:?}");
            decisions += ticked.map_or(0, |ticked| ticked.tick.decisions.len());
            assert_eq!(rebuilt.orders(), lasting.orders());
            assert_eq!(rebuilt.drivers(), lasting.drivers());
        }
        let rows = load(&mut tx, GEO).await;
        assert_eq!(
            (rows.orders(), rows.drivers()),
            (lasting.orders(), lasting.drivers())
        );
        let (rows, lasting) = (rows.scheduler().snapshot(), lasting.scheduler().snapshot());
        assert_eq!(
            (rows.pending, rows.assignments),
            (lasting.pending, lasting.assignments)
        );
        tx.rollback().await.unwrap();
    }
    assert!(
        decisions > 30,
        "the histories led to {decisions} decisions only"
    );
}

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
        sqlx::query_as("SELECT status, active_order FROM drivers")
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
        };
        missed(
            store::commit(&mut tx, &[(GEO, commitment)]).await,
            "assignments",
        );
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
    sqlx::query("UPDATE drivers SET status = 'free', active_order = NULL")
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
        let statement = "INSERT INTO drivers (geo, driver_id, version, status, on_duty, duty_at, free_since, active_order) \
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
