//! Trips of several orders, as the book tells them: one trip per driver, each leg for itself.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use assignment::decide::Word;
use chrono::{DateTime, Utc};
use contracts::driver_assignment::{DriverAssigned, MissingReason, ReleaseReason};
use contracts::streams::DriverAssignmentEvent as Fact;
use dispatch::DriverId;
use fixture::lane::Lane;
use fixture::{cancelled, offline, online, order, order_id, requested, says, second};
use runtime::Verdict;

/// Ada, at second 0, with orders 1, 3 and 5 of one restaurant as one trip; then bob comes, who stands further away.
fn trip() -> (Lane, Vec<DriverAssigned>) {
    let mut lane = Lane::under("bundle");
    let events = [
        online("ada", second(0), 1),
        requested(1, 3, second(0), 10),
        requested(3, 3, second(0), 20),
        requested(5, 3, second(0), 30),
    ];
    let facts = lane.cycle(second(0), &events);
    let assigned = facts.into_iter().map(|fact| match fact {
        Fact::DriverAssigned(assigned) => assigned,
        other => panic!("{other:?}"),
    });
    let assigned: Vec<_> = assigned.collect();
    lane.cycle(second(0), &[online("bob", second(0), -40)]);
    (lane, assigned)
}

/// What she says of all three.
fn all(lane: &mut Lane, word: Word, at: DateTime<Utc>) -> Vec<Fact> {
    lane.cycle(at, &[1, 3, 5].map(|number| says("ada", number, word, at)))
}

fn status(lane: &Lane, driver: &str) -> &'static str {
    lane.0.drivers()[&DriverId::new(driver)].status()
}

#[test]
fn an_offer_names_the_trip_and_the_orders_place_in_it() {
    let (lane, assigned) = trip();
    assert_eq!(assigned.len(), 3);
    for (place, fact) in (0..).zip(&assigned) {
        assert_eq!((&*fact.driver_id, fact.trip_position), ("ada", place));
        assert!(fact.trip_id.is_some() && fact.trip_id == assigned[0].trip_id);
        assert_eq!(fact.policy_name, "bundle");
    }
    // They are fetched together, and brought one after the other.
    let pickups = assigned.iter().map(|fact| fact.expected_pickup_at);
    assert!(
        pickups
            .clone()
            .all(|at| at == assigned[0].expected_pickup_at)
    );
    let doors: Vec<_> = assigned.iter().map(|f| f.expected_delivery_at).collect();
    assert!(doors.is_sorted() && doors[0] < doors[2], "{doors:?}");
    assert_eq!(status(&lane, "ada"), "busy");
}

#[test]
fn she_is_free_with_the_last_delivery_and_not_before() {
    let (mut lane, assigned) = trip();
    all(&mut lane, Word::Accepted, second(1));
    let facts = all(&mut lane, Word::PickedUp, second(70));
    assert_eq!(facts.len(), 3);
    assert!(facts.iter().all(|f| matches!(f, Fact::PickupConfirmed(_))));
    let order_of =
        |fact: &DriverAssigned| [1, 3, 5].into_iter().find(|n| order(*n) == fact.order_id);
    for (place, fact) in assigned.iter().enumerate() {
        let at = second(100 + 20 * place as i64);
        assert_eq!(status(&lane, "ada"), "busy");
        let number = order_of(fact).unwrap();
        let facts = lane.cycle(at, &[says("ada", number, Word::Dropped, at)]);
        assert!(
            matches!(&facts[..], [Fact::DeliveryConfirmed(_)]),
            "{facts:?}"
        );
    }
    assert_eq!(status(&lane, "ada"), "free");
}

#[test]
fn a_cancellation_takes_one_order_off_the_trip_until_it_is_picked_up() {
    let (mut lane, _) = trip();
    let facts = lane.cycle(second(5), &[cancelled(3, 4, second(5))]);
    let [Fact::AssignmentReleased(released)] = &facts[..] else {
        panic!("{facts:?}")
    };
    assert_eq!(
        (released.order_id, released.reason, &*released.driver_id),
        (order(3), ReleaseReason::OrderCancelled, "ada")
    );
    assert_eq!(status(&lane, "ada"), "busy");
    lane.cycle(second(6), &[says("ada", 1, Word::PickedUp, second(6))]);
    assert_eq!(
        lane.hear(&cancelled(1, 4, second(7)), second(7)),
        Verdict::Skip("already_picked_up")
    );
    lane.cycle(second(8), &[cancelled(5, 4, second(8))]);
    lane.cycle(second(9), &[says("ada", 1, Word::Dropped, second(9))]);
    assert_eq!(status(&lane, "ada"), "free");
}

#[test]
fn each_order_of_an_offer_is_accepted_declined_or_left_to_lapse_for_itself() {
    let (mut lane, _) = trip();
    lane.cycle(second(5), &[says("ada", 1, Word::Accepted, second(5))]);
    let facts = lane.cycle(second(6), &[says("ada", 3, Word::Declined, second(6))]);
    let [
        Fact::AssignmentReleased(released),
        Fact::DriverAssigned(next),
    ] = &facts[..]
    else {
        panic!("{facts:?}")
    };
    assert_eq!(released.reason, ReleaseReason::DriverDeclined);
    assert_eq!(
        (next.order_id, &*next.driver_id, next.trip_id),
        (order(3), "bob", None)
    );
    lane.cycle(second(7), &[says("bob", 3, Word::Accepted, second(7))]);
    let facts = lane.cycle(second(30), &[]);
    let [Fact::AssignmentReleased(released)] = &facts[..] else {
        panic!("{facts:?}")
    };
    assert_eq!(
        (released.order_id, released.reason),
        (order(5), ReleaseReason::OfferExpired)
    );
    let ada = &lane.0.drivers()[&DriverId::new("ada")];
    assert_eq!(ada.held, [order_id(1)]);
}

#[test]
fn who_goes_off_duty_gives_back_what_he_has_not_picked_up_and_is_missed_with_the_rest() {
    let (mut lane, _) = trip();
    all(&mut lane, Word::Accepted, second(1));
    lane.cycle(second(2), &[says("ada", 1, Word::PickedUp, second(2))]);
    let facts = lane.cycle(second(3), &[offline("ada", second(3))]);
    let released: Vec<_> = facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::AssignmentReleased(fact) => Some((fact.order_id, fact.reason)),
            _ => None,
        })
        .collect();
    let gone = ReleaseReason::DriverOffline;
    assert_eq!(released, [(order(3), gone), (order(5), gone)]);
    let missing = facts.iter().find_map(|fact| match fact {
        Fact::DriverMissing(fact) => Some((fact.order_id, fact.reason)),
        _ => None,
    });
    assert_eq!(missing, Some((order(1), MissingReason::WentOffline)));
    let to_bob = facts.iter().filter_map(|fact| match fact {
        Fact::DriverAssigned(fact) if fact.driver_id == "bob" => fact.trip_id,
        _ => None,
    });
    assert_eq!(to_bob.count(), 2, "bob takes both on one trip: {facts:?}");
    assert_eq!(status(&lane, "ada"), "busy");
}

#[test]
fn who_falls_silent_does_alike() {
    let (mut lane, _) = trip();
    all(&mut lane, Word::Accepted, second(1));
    lane.cycle(second(2), &[says("ada", 1, Word::PickedUp, second(2))]);
    let facts = lane.cycle(second(90), &[]);
    let count = |wanted: fn(&Fact) -> bool| facts.iter().filter(|fact| wanted(fact)).count();
    let vanished = |fact: &Fact| matches!(fact, Fact::AssignmentReleased(f) if f.reason == ReleaseReason::DriverVanished);
    let missing = |fact: &Fact| matches!(fact, Fact::DriverMissing(f) if f.order_id == order(1));
    assert_eq!((count(vanished), count(missing)), (2, 1), "{facts:?}");
}
