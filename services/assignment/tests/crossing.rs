//! A driver who crosses from one geo into another is in one pool at a time: two lanes on a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::collections::BTreeSet;

use assignment::book::Book;
use assignment::event::Event;
use assignment::rerun::Rerun;
use assignment::units;
use chrono::{DateTime, Utc};
use contracts::driver_assignment::DriverAssigned;
use contracts::streams::DriverAssignmentEvent as Fact;
use dispatch::OrderId;
use fixture::lane::assigned;
use fixture::tables::{decide, finish, load, pool};
use fixture::{GEO, PARTITION, geo, offline, online, order_id, ping, requested, rules, second};
use runtime::Verdict;
use sqlx::PgConnection;

const OTHER: &str = "elsewhere";

/// What a cycle told, and what the tables refused of it.
type Told = (Vec<Fact>, BTreeSet<OrderId>);

/// The lanes of two geos, on the same tables.
struct Lanes {
    here: Book,
    there: Book,
}

impl Lanes {
    async fn load(tx: &mut PgConnection) -> Self {
        Self {
            here: load(tx, GEO).await,
            there: load(tx, OTHER).await,
        }
    }

    /// She came on duty here, and five seconds later there.
    async fn crossed(tx: &mut PgConnection) -> Self {
        let mut lanes = Self::load(tx).await;
        lanes.here(tx, 0, &[online("ada", second(0), 10)]).await;
        lanes.there(tx, 5, &[online("ada", second(5), 10)]).await;
        lanes
    }

    async fn here(&mut self, tx: &mut PgConnection, at: i64, events: &[Event]) -> Told {
        cycle(&mut self.here, tx, GEO, second(at), events).await
    }

    async fn there(&mut self, tx: &mut PgConnection, at: i64, events: &[Event]) -> Told {
        cycle(&mut self.there, tx, OTHER, second(at), events).await
    }

    /// How many drivers could be asked here and there.
    fn pools(&self) -> [usize; 2] {
        [&self.here, &self.there].map(|book| book.scheduler().gauges().candidates)
    }
}

async fn cycle(
    book: &mut Book,
    tx: &mut PgConnection,
    name: &str,
    now: DateTime<Utc>,
    events: &[Event],
) -> Told {
    for (event, verdict) in events.iter().zip(decide(book, tx, events, now).await) {
        assert_eq!(verdict, Verdict::Done, "{event:?}");
    }
    let (facts, ticked) = finish(book, tx, name, now).await.unwrap();
    let refused = ticked.map(|ticked| ticked.refused).unwrap_or_default();
    (facts, refused)
}

/// The one assignment that a cycle told, of which nothing was refused.
fn sent((facts, refused): &Told) -> &DriverAssigned {
    assert!(refused.is_empty(), "{refused:?}");
    assigned(facts)
}

#[tokio::test]
async fn who_goes_off_duty_before_crossing_is_in_one_pool_throughout() {
    let pool = pool().await;
    let mut tx = pool.begin().await.unwrap();
    let mut lanes = Lanes::load(&mut tx).await;
    lanes
        .here(&mut tx, 0, &[online("ada", second(0), 10)])
        .await;
    assert_eq!(lanes.pools(), [1, 0]);
    lanes.here(&mut tx, 5, &[offline("ada", second(5))]).await;
    assert_eq!(lanes.pools(), [0, 0]);
    lanes
        .there(&mut tx, 6, &[online("ada", second(6), 10)])
        .await;
    assert_eq!(lanes.pools(), [0, 1]);
    let here = lanes
        .here(&mut tx, 7, &[requested(1, 1, second(7), 60)])
        .await;
    assert_eq!(here, Told::default(), "she is not asked where she was");
    let there = lanes
        .there(&mut tx, 7, &[requested(2, 1, second(7), 60)])
        .await;
    assert_eq!(sent(&there).driver_id, "ada");
}

#[tokio::test]
async fn who_crosses_without_a_word_is_refused_where_he_was_and_leaves_its_pool() {
    let pool = pool().await;
    let mut tx = pool.begin().await.unwrap();
    let mut lanes = Lanes::load(&mut tx).await;
    let on_duty = [online("ada", second(0), 10), online("bob", second(0), -20)];
    lanes.here(&mut tx, 0, &on_duty).await;
    lanes
        .there(&mut tx, 5, &[online("ada", second(5), 10)])
        .await;
    assert_eq!(lanes.pools(), [2, 1], "nobody has told the first lane");
    let order = [requested(1, 1, second(6), 60)];
    let first = lanes.here(&mut tx, 6, &order).await;
    assert_eq!(first, (Vec::new(), BTreeSet::from([order_id(1)])));
    assert_eq!(lanes.pools(), [1, 1]);
    let second_try = lanes.here(&mut tx, 7, &[]).await;
    assert_eq!(sent(&second_try).driver_id, "bob");
    let there = lanes
        .there(&mut tx, 7, &[requested(2, 1, second(7), 60)])
        .await;
    assert_eq!(sent(&there).driver_id, "ada");

    // What the tick says was refused is all that a replay needs of the other geo.
    let mut replay = Rerun::new(geo(), rules("lookahead"));
    for event in on_duty.iter().chain(&order) {
        replay.hear(event, PARTITION, second(6).timestamp_millis());
    }
    let tick = |replay: &mut Rerun, at, refused| replay.tick(units::at(second(at)), refused).1;
    assert_eq!(tick(&mut replay, 6, first.1), []);
    assert_eq!(tick(&mut replay, 7, BTreeSet::new()), second_try.0);
}

#[tokio::test]
async fn a_lane_that_was_taken_over_does_not_get_back_who_has_crossed() {
    let pool = pool().await;
    let mut tx = pool.begin().await.unwrap();
    let mut lanes = Lanes::crossed(&mut tx).await;
    lanes.here = load(&mut tx, GEO).await;
    // Her phone told the first geo where she is once more before it knew.
    let events = [ping("ada", second(5), 10), requested(1, 1, second(6), 60)];
    let here = lanes.here(&mut tx, 6, &events).await;
    assert_eq!(here, (Vec::new(), BTreeSet::from([order_id(1)])));
    assert_eq!(lanes.pools(), [0, 1]);
}

#[tokio::test]
async fn who_comes_back_is_where_he_came_on_duty_last() {
    let pool = pool().await;
    let mut tx = pool.begin().await.unwrap();
    let mut lanes = Lanes::crossed(&mut tx).await;
    lanes
        .here(&mut tx, 9, &[online("ada", second(9), 10)])
        .await;
    let there = lanes
        .there(&mut tx, 10, &[requested(2, 1, second(10), 60)])
        .await;
    assert_eq!(there, (Vec::new(), BTreeSet::from([order_id(2)])));
    assert_eq!(lanes.pools(), [1, 0]);
    let here = lanes
        .here(&mut tx, 10, &[requested(1, 1, second(10), 60)])
        .await;
    assert_eq!(sent(&here).driver_id, "ada");
}
