//! Shifts that drivers or operators announce: plans count on who will come, and a new owner of the geo knows of it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use assignment::event::Event;
use contracts::streams::DriverAssignmentEvent as Fact;
use dispatch::DriverId;
use fixture::lane::{Lane, assigned};
use fixture::tables::{cycle, load, pool};
use fixture::{GEO, announced, offline, online, ping, requested, second};
use runtime::Verdict;

/// Bob is on duty, almost seven minutes away from an order that is ready in five.
fn bob_and_an_order() -> [Event; 2] {
    [
        online("bob", second(0), -60),
        requested(1, 1, second(0), 300),
    ]
}

#[test]
fn an_order_waits_for_a_driver_who_was_announced_and_will_be_there_first() {
    let mut lane = Lane::new();
    assert_eq!(
        assigned(&lane.cycle(second(0), &bob_and_an_order())).driver_id,
        "bob"
    );
    let mut lane = Lane::new();
    lane.cycle(
        second(0),
        &[announced("ada", second(0), Some((100, 9_000)), 0)],
    );
    assert_eq!(lane.cycle(second(0), &bob_and_an_order()), []);
    lane.cycle(
        second(100),
        &[online("ada", second(100), 0), ping("bob", second(100), -60)],
    );
    let facts = lane.cycle(second(190), &[ping("ada", second(190), 0)]);
    assert_eq!(assigned(&facts).driver_id, "ada");
    let ada = &lane.0.drivers()[&DriverId::new("ada")];
    assert_eq!(ada.next_shift, None, "it has begun");
}

#[test]
fn what_is_announced_later_replaces_what_was_and_may_withdraw_it() {
    let mut lane = Lane::new();
    let shift = Some((100, 9_000));
    lane.cycle(second(0), &[announced("ada", second(0), shift, 0)]);
    let again = lane.hear(&announced("ada", second(0), shift, 0), second(0));
    assert_eq!(again, Verdict::Skip("repeated"));
    lane.cycle(second(0), &[announced("ada", second(0), None, 0)]);
    let facts = lane.cycle(second(0), &bob_and_an_order());
    assert_eq!(assigned(&facts).driver_id, "bob", "nobody will come");
}

#[test]
fn going_off_duty_keeps_the_shift_after_it() {
    let mut lane = Lane::new();
    lane.cycle(
        second(0),
        &[
            online("ada", second(0), 0),
            announced("ada", second(0), Some((100, 9_000)), 0),
            offline("ada", second(0)),
        ],
    );
    assert_eq!(lane.cycle(second(0), &bob_and_an_order()), []);
}

#[test]
fn a_shift_that_cannot_be_is_rejected_by_name_and_one_that_is_over_says_nothing() {
    let mut lane = Lane::new();
    let ends_first = lane.hear(&announced("ada", second(0), Some((100, 100)), 0), second(0));
    let Verdict::Reject(reject) = ends_first else {
        panic!("{ends_first:?}")
    };
    assert_eq!(reject.kind, "invalid_field");
    assert!(
        reject.message.starts_with("shift.ends_at = "),
        "{}",
        reject.message
    );
    let over = lane.hear(&announced("ada", second(0), Some((-100, 0)), 0), second(0));
    assert_eq!(over, Verdict::Skip("shift_is_over"));
    assert!(lane.0.drivers().is_empty());
}

#[tokio::test]
async fn a_new_owner_of_the_geo_knows_who_will_come() {
    let pool = pool().await;
    let mut tx = pool.begin().await.unwrap();
    let mut book = load(&mut tx, GEO).await;
    let said = announced("ada", second(0), Some((100, 9_000)), 0);
    cycle(&mut book, &mut tx, &[said], second(0)).await;
    let mut rebuilt = load(&mut tx, GEO).await;
    assert_eq!(rebuilt.drivers(), book.drivers());
    let facts: Vec<Fact> = cycle(&mut rebuilt, &mut tx, &bob_and_an_order(), second(0)).await;
    assert_eq!(facts, []);
    let withdrawn = announced("ada", second(1), None, 0);
    cycle(&mut rebuilt, &mut tx, &[withdrawn], second(1)).await;
    let drivers = load(&mut tx, GEO).await;
    let ada = &drivers.drivers()[&DriverId::new("ada")];
    assert_eq!((&ada.next_shift, ada.status()), (&None, "offline"));
}
