//! What a lane learns of travel times from its deliveries: from which, what of, and that tables and recorded ticks keep it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::collections::BTreeSet;

use assignment::decide::Word;
use assignment::event::Event;
use assignment::rerun::Rerun;
use assignment::units::at;
use chrono::{DateTime, Utc};
use contracts::streams::DriverAssignmentEvent as Fact;
use fixture::lane::{Lane, assigned};
use fixture::tables::{cycle, load, pool};
use fixture::{GEO, PARTITION, geo, online, ping, requested, rules, says, second};

/// From the restaurant to the customers, at 10 m/s.
const DRIVE_S: i64 = 135;
/// Half a service at the counter, half a one at the door.
const SERVICES_S: i64 = 120;

/// A drive that takes so many times as long as estimated, after the food kept ada waiting for so long.
fn trip(number: u8, begins: i64, waits_s: i64, times: f64) -> Vec<(DateTime<Utc>, Event)> {
    let drive_s = SERVICES_S + (times * DRIVE_S as f64) as i64;
    let picked_up = begins + 20 + waits_s;
    let says = |after, word| (second(after), says("ada", number, word, second(after)));
    vec![
        (second(begins), ping("ada", second(begins), 0)),
        (second(begins), requested(number, 1, second(begins), 0)),
        says(begins + 5, Word::Accepted),
        says(begins + 20, Word::Arrived),
        says(picked_up, Word::PickedUp),
        says(picked_up + drive_s, Word::Dropped),
    ]
}

/// Three trips, all as slow; ada is at the restaurant again at second 1300.
fn day(waits_s: i64, times: f64) -> Vec<(DateTime<Utc>, Event)> {
    let begin = (second(0), online("ada", second(0), 0));
    let trips = (1..=3).flat_map(|number| {
        let begins = 400 * (i64::from(number) - 1);
        trip(number, begins, waits_s, times)
    });
    let again = (second(1_300), ping("ada", second(1_300), 0));
    let next = (second(1_300), requested(4, 1, second(1_300), 0));
    std::iter::once(begin)
        .chain(trips)
        .chain([again, next])
        .collect()
}

/// What the lane thinks of the way to the fourth customer.
fn estimate(day: Vec<(DateTime<Utc>, Event)>) -> i32 {
    let mut lane = Lane::new();
    let mut last = Vec::new();
    for (now, event) in day {
        last = lane.cycle(now, &[event]);
    }
    assigned(&last).restaurant_to_customer_s
}

#[test]
fn estimates_follow_what_drives_took_and_not_what_kitchens_did() {
    let usual = estimate(day(0, 1.0));
    assert!(usual.abs_diff(DRIVE_S as i32) <= 2, "{usual}");
    assert_eq!(
        estimate(day(0, 1.5)),
        (f64::from(usual) * 1.5).round() as i32
    );
    assert_eq!(estimate(day(100, 1.0)), usual, "the food came late");
}

#[test]
fn a_recorded_tick_says_what_its_estimates_were_multiplied_by_and_a_replay_finds_the_same() {
    let mut live = Rerun::new(geo(), rules("lookahead"));
    let mut again = Rerun::new(geo(), rules("lookahead"));
    // Its log begins after the drives that the others learned from.
    let mut late = Rerun::new(geo(), rules("lookahead"));
    let day = day(0, 1.5);
    let last = day.len() - 3;
    let (mut told, mut factor) = (Vec::new(), 1.0);
    for (place, (now, event)) in day.into_iter().enumerate() {
        for lane in [&mut live, &mut again] {
            lane.hear(&event, PARTITION, now.timestamp_millis());
        }
        if place >= last {
            late.hear(
                &online("ada", second(1_290), 0),
                PARTITION,
                now.timestamp_millis(),
            );
            late.hear(&event, PARTITION, now.timestamp_millis());
        }
        let (ticked, facts) = live.tick(at(now), BTreeSet::new());
        let Some(ticked) = ticked else { continue };
        factor = ticked.tick.travel_factor;
        assert!(
            !again.follow_correction(at(now), factor),
            "it heard the same"
        );
        let (repeated, facts_again) = again.tick(at(now), BTreeSet::new());
        assert_eq!(
            (repeated.unwrap().tick, &facts_again),
            (ticked.tick, &facts)
        );
        told = facts;
    }
    assert!((1.45..1.55).contains(&factor), "{factor}");
    assert!(late.follow_correction(at(second(1_300)), factor));
    let (_, facts) = late.tick(at(second(1_300)), BTreeSet::new());
    let way = |facts: &[Fact]| assigned(facts).restaurant_to_customer_s;
    assert_eq!(way(&facts), way(&told));
    let memo = late.memo();
    late.restore(memo);
    assert!(
        late.follow_correction(at(second(1_301)), factor),
        "and still does not know why"
    );
}

#[tokio::test]
async fn a_lane_that_is_loaded_from_its_tables_has_learned_what_the_one_before_had() {
    let pool = pool().await;
    let mut tx = pool.begin().await.unwrap();
    let mut book = load(&mut tx, GEO).await;
    let mut day = day(0, 1.5);
    // Two more than the window holds, so that the first are forgotten.
    day.extend(trip(4, 1_300, 0, 1.6).split_off(2));
    day.extend(trip(5, 1_700, 0, 1.6));
    for (now, event) in day {
        cycle(&mut book, &mut tx, &[event], now).await;
    }
    let learned = book.scheduler().snapshot().drives;
    assert_eq!(learned.iter().count(), 3);
    let rows: Vec<uuid::Uuid> =
        sqlx::query_scalar("SELECT order_id FROM drives ORDER BY arrived_at")
            .fetch_all(&mut *tx)
            .await
            .unwrap();
    assert_eq!(rows, [3, 4, 5].map(fixture::order));
    let mut rebuilt = load(&mut tx, GEO).await;
    assert_eq!(rebuilt.scheduler().snapshot().drives, learned);
    let now = second(2_500);
    let mut ways = Vec::new();
    for lane in [&mut book, &mut rebuilt] {
        let events = [ping("ada", now, 0), requested(6, 1, now, 0)];
        let mut attempt = sqlx::Acquire::begin(&mut *tx).await.unwrap();
        let facts = cycle(lane, &mut attempt, &events, now).await;
        attempt.rollback().await.unwrap();
        ways.push(assigned(&facts).restaurant_to_customer_s);
    }
    assert!(ways[0] > 200 && ways[0] == ways[1], "{ways:?}");
}
