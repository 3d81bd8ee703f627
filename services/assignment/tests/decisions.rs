//! What the book makes of each kind of event, one story at a time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::collections::BTreeSet;

use assignment::book::{RequestRow, Ticked};
use assignment::decide::Word;
use assignment::event::Event;
use contracts::driver_assignment::{FailureReason, ReleaseReason};
use contracts::streams::DriverAssignmentEvent as Fact;
use contracts::{Message as _, event_id};
use dispatch::DriverId;
use fixture::lane::{Lane, assigned};
use fixture::{GEO, cancelled, online, order, order_id, ping, requested, says, second};
use runtime::Verdict;

#[test]
fn a_request_waits_until_its_slack_is_within_tolerance() {
    let mut lane = Lane::new();
    assert_eq!(
        lane.cycle(
            second(0),
            &[
                online("ada", second(0), 10),
                requested(1, 3, second(0), 400)
            ]
        ),
        []
    );
    // 677 m at 10 m/s: 68 s to the restaurant, so it is due 120 + 68 s before 400.
    assert_eq!(lane.cycle(second(211), &[ping("ada", second(211), 10)]), []);
    let facts = lane.cycle(second(213), &[]);
    let fact = assigned(&facts);
    assert_eq!((fact.driver_eta_to_restaurant_s, fact.slack_s), (68, 119));
    assert_eq!(fact.released_at, second(213));
    assert!(
        fact.due_at > second(212) && fact.due_at < second(213),
        "{}",
        fact.due_at
    );
}

#[test]
fn a_tick_that_decides_nothing_leaves_nothing_to_store() {
    let mut lane = Lane::new();
    let events = [
        online("ada", second(0), 10),
        requested(1, 3, second(0), 400),
    ];
    lane.cycle(second(0), &events);
    lane.0.tick(second(211));
    assert!(!lane.0.has_changes());
    lane.hear(&ping("ada", second(212), 10), second(212));
    lane.0.tick(second(213));
    assert!(lane.0.has_ticked() && lane.0.has_changes());
    lane.0.conclude(BTreeSet::new(), second(213));
    assert!(!lane.0.has_ticked() && lane.0.has_changes());
    lane.0.take_facts();
    lane.store();
    assert!(!lane.0.has_changes());
}

#[test]
fn an_assignment_says_what_it_answers_and_what_is_expected() {
    let mut lane = Lane::new();
    let request = requested(1, 3, second(0), 60);
    let facts = lane.cycle(second(0), &[online("ada", second(0), 10), request.clone()]);
    let fact = assigned(&facts);
    let Event::Request(request) = request else {
        unreachable!()
    };
    assert_eq!(fact.correlation_id, request.event_id());
    assert_eq!(
        (fact.order_id, fact.order_version, fact.attempt),
        (order(1), 3, 1)
    );
    assert_eq!(fact.event_id, event_id(order(1), 3, "DriverAssigned", 1));
    assert_eq!(
        (fact.policy_name.as_str(), fact.policy_version.as_str()),
        ("lookahead", "5")
    );
    assert_eq!(fact.offer_expires_at, Some(second(30)));
    // Arrival after 67.7 s, at the counter a minute later, gone after another, 135.3 s to the customer, a minute to the door.
    let pickup = fact.expected_pickup_at.unwrap() - second(0);
    let delivery = fact.expected_delivery_at.unwrap() - second(0);
    assert_eq!((pickup.num_seconds(), delivery.num_seconds()), (127, 382));
}

#[test]
fn a_delivery_is_told_step_by_step_and_frees_the_driver_where_he_stands() {
    let mut lane = Lane::assigned();
    assert_eq!(
        lane.cycle(second(5), &[says("ada", 1, Word::Accepted, second(5))]),
        []
    );
    let facts = lane.cycle(second(70), &[says("ada", 1, Word::Arrived, second(70))]);
    assert!(
        matches!(&facts[..], [Fact::DriverAtRestaurant(fact)] if fact.arrived_at == second(70)),
        "{facts:?}"
    );
    let facts = lane.cycle(second(80), &[says("ada", 1, Word::PickedUp, second(80))]);
    assert!(
        matches!(&facts[..], [Fact::PickupConfirmed(fact)] if fact.picked_up_at == second(80)),
        "{facts:?}"
    );
    // She is free in the cycle in which she says so, 1.4 km east; the next order goes to her, not to silent bob.
    let next = requested(2, 1, second(335), 0);
    let facts = lane.cycle(
        second(335),
        &[says("ada", 1, Word::Dropped, second(335)), next],
    );
    assert!(
        matches!(&facts[0], Fact::DeliveryConfirmed(fact) if fact.delivered_at == second(335)),
        "{facts:?}"
    );
    let fact = assigned(&facts);
    assert_eq!(
        (
            fact.driver_id.as_str(),
            fact.order_id,
            fact.driver_eta_to_restaurant_s
        ),
        ("ada", order(2), 135)
    );
}

#[test]
fn a_phone_that_repeats_itself_is_heard_once() {
    let mut lane = Lane::assigned();
    for word in [Word::Accepted, Word::Arrived, Word::PickedUp] {
        lane.cycle(second(10), &[says("ada", 1, word, second(10))]);
        assert_eq!(
            lane.hear(&says("ada", 1, word, second(11)), second(11)),
            Verdict::Skip("repeated")
        );
    }
    assert_eq!(
        lane.hear(&says("ada", 1, Word::Arrived, second(12)), second(12)),
        Verdict::Skip("repeated")
    );
    // The second drop comes in the same cycle: the order has ended, but the book still knows by whom.
    assert_eq!(
        lane.hear(&says("ada", 1, Word::Dropped, second(13)), second(13)),
        Verdict::Done
    );
    assert_eq!(
        lane.hear(&says("ada", 1, Word::Dropped, second(13)), second(13)),
        Verdict::Skip("repeated")
    );
    assert_eq!(lane.cycle(second(14), &[]).len(), 1);
}

#[test]
fn a_decline_releases_the_driver_and_the_next_best_is_asked_as_another_event() {
    let mut lane = Lane::assigned();
    let facts = lane.cycle(second(5), &[says("ada", 1, Word::Declined, second(5))]);
    let Fact::AssignmentReleased(released) = &facts[0] else {
        panic!("{facts:?}")
    };
    assert_eq!(
        (released.reason, released.attempt),
        (ReleaseReason::DriverDeclined, 1)
    );
    assert_eq!(released.driver_id, "ada");
    let fact = assigned(&facts);
    assert_eq!((fact.driver_id.as_str(), fact.attempt), ("bob", 2));
    assert_eq!(fact.event_id, event_id(order(1), 3, "DriverAssigned", 2));
    assert_eq!(lane.0.drivers()[&DriverId::new("ada")].status(), "free");
}

#[test]
fn silence_is_a_decline_that_a_deadline_makes() {
    let mut lane = Lane::assigned();
    assert_eq!(lane.cycle(second(29), &[ping("bob", second(29), -20)]), []);
    let facts = lane.cycle(second(30), &[]);
    let Fact::AssignmentReleased(released) = &facts[0] else {
        panic!("{facts:?}")
    };
    assert_eq!(
        (released.reason, released.correlation_id),
        (ReleaseReason::OfferExpired, None)
    );
    assert_eq!(assigned(&facts).driver_id, "bob");
    // What the first driver says of it now is late, but he cannot have taken the meal.
    assert_eq!(
        lane.hear(&says("ada", 1, Word::Accepted, second(31)), second(31)),
        Verdict::Skip("released_before")
    );
    let Verdict::Reject(reject) =
        lane.hear(&says("ada", 1, Word::PickedUp, second(31)), second(31))
    else {
        panic!()
    };
    assert_eq!(reject.kind, "not_assigned");
    assert!(
        reject.message.contains("ada") && reject.message.contains(&order(1).to_string()),
        "{reject}"
    );
}

#[test]
fn when_too_many_have_declined_the_order_fails_for_good() {
    let mut lane = Lane::assigned();
    lane.cycle(
        second(1),
        &[
            says("ada", 1, Word::Declined, second(1)),
            online("cyd", second(1), 30),
        ],
    );
    let facts = lane.cycle(second(2), &[says("bob", 1, Word::Declined, second(2))]);
    assert_eq!(assigned(&facts).driver_id, "cyd");
    let facts = lane.cycle(second(3), &[says("cyd", 1, Word::Declined, second(3))]);
    let [Fact::AssignmentReleased(_), Fact::AssignmentFailed(failed)] = &facts[..] else {
        panic!("{facts:?}")
    };
    assert_eq!(
        (failed.reason, failed.r#final),
        (FailureReason::NoAvailableDriver, true)
    );
    assert!(!lane.0.knows(order_id(1)));
}

#[test]
fn an_order_that_nobody_can_take_fails_by_its_age() {
    let mut lane = Lane::new();
    assert_eq!(lane.cycle(second(0), &[requested(1, 1, second(0), 60)]), []);
    assert_eq!(lane.cycle(second(359), &[]), []);
    let facts = lane.cycle(second(360), &[]);
    let [Fact::AssignmentFailed(failed)] = &facts[..] else {
        panic!("{facts:?}")
    };
    assert_eq!(
        (failed.reason, failed.r#final),
        (FailureReason::NoAvailableDriver, true)
    );
}

#[test]
fn a_cancellation_releases_the_driver_until_he_has_the_meal() {
    let mut lane = Lane::assigned();
    let facts = lane.cycle(second(5), &[cancelled(1, 4, second(5))]);
    let [Fact::AssignmentReleased(released)] = &facts[..] else {
        panic!("{facts:?}")
    };
    assert_eq!(
        (released.reason, released.order_version),
        (ReleaseReason::OrderCancelled, 3)
    );
    assert_eq!(lane.0.drivers()[&DriverId::new("ada")].status(), "free");

    let mut lane = Lane::assigned();
    lane.cycle(second(5), &[says("ada", 1, Word::PickedUp, second(5))]);
    assert_eq!(
        lane.hear(&cancelled(1, 4, second(6)), second(6)),
        Verdict::Skip("already_picked_up")
    );
}

#[test]
fn versions_fence_what_is_stale() {
    let mut lane = Lane::new();
    // A cancellation that overtook its request leaves a tombstone, over which only a newer request gets.
    assert_eq!(
        lane.hear(&cancelled(1, 3, second(0)), second(0)),
        Verdict::Done
    );
    assert_eq!(
        lane.hear(&cancelled(1, 3, second(0)), second(0)),
        Verdict::Skip("repeated")
    );
    assert_eq!(
        lane.hear(&requested(1, 2, second(0), 60), second(0)),
        Verdict::Skip("stale_version")
    );
    assert_eq!(
        lane.hear(&requested(1, 4, second(0), 60), second(0)),
        Verdict::Done
    );
    assert_eq!(
        lane.hear(&requested(1, 4, second(0), 60), second(0)),
        Verdict::Skip("stale_version")
    );
    assert_eq!(
        lane.hear(&cancelled(1, 3, second(0)), second(0)),
        Verdict::Skip("stale_version")
    );
    assert_eq!(
        lane.hear(&cancelled(1, 4, second(0)), second(0)),
        Verdict::Done
    );
    let changes = lane.store();
    assert!(
        matches!(&changes.orders[..], [row] if row.row == RequestRow::Closed && row.order_version == 4)
    );
}

#[test]
fn a_request_while_a_driver_is_on_his_way_changes_nothing() {
    let mut lane = Lane::assigned();
    assert_eq!(
        lane.hear(&requested(1, 4, second(1), 60), second(1)),
        Verdict::Skip("already_assigned")
    );
    assert_eq!(
        lane.hear(&requested(1, 3, second(1), 60), second(1)),
        Verdict::Skip("stale_version")
    );
}

#[test]
fn nonsense_is_rejected_by_field_and_value() {
    let mut lane = Lane::new();
    let mut cases = Vec::new();
    let Event::Request(fine) = requested(1, 1, second(0), 60) else {
        unreachable!()
    };
    let contracts::streams::DriverAssignmentRequest::AssignmentRequested(fine) = fine else {
        unreachable!()
    };
    let mut broken = |change: fn(&mut contracts::driver_assignment::AssignmentRequested),
                      says: &'static str| {
        let mut request = fine.clone();
        change(&mut request);
        cases.push((Event::Request(request.into()), says));
    };
    broken(|request| request.geo = "elsewhere".into(), "elsewhere");
    broken(|request| request.order_version = 0, "order_version = 0");
    broken(|request| request.attempt = -1, "attempt = -1");
    broken(|request| request.search_radius_m = 0, "search_radius_m = 0");
    broken(
        |request| request.restaurant.location.lat = 91.0,
        "restaurant.location: no such place: lat 91",
    );
    broken(
        |request| request.customer_location.lon = f64::NAN,
        "customer_location",
    );
    cases.push((says("ada", 1, Word::PickedUp, second(0)), "driver_id = ada"));
    for (event, says) in cases {
        let Verdict::Reject(reject) = lane.hear(&event, second(0)) else {
            panic!("{event:?}")
        };
        assert!(reject.message.contains(says), "{reject}");
    }
    assert!(!lane.0.knows(order_id(1)));
    assert_eq!(lane.0.geo().as_str(), GEO);
}

#[test]
fn a_driver_whom_another_geo_holds_is_passed_over_and_the_order_competes_again() {
    let mut lane = Lane::new();
    let events = [
        online("ada", second(0), 10),
        online("bob", second(0), -20),
        requested(1, 3, second(0), 60),
    ];
    for event in &events {
        lane.hear(event, second(0));
    }
    lane.0.tick(second(0));
    assert_eq!(lane.0.commitments().len(), 1);
    let ticked: Option<Ticked> = lane.0.conclude(BTreeSet::from([order_id(1)]), second(0));
    assert_eq!(ticked.unwrap().refused.len(), 1);
    assert_eq!(
        lane.0.take_facts(),
        [],
        "what the tables refused is not told"
    );
    lane.store();
    let facts = lane.cycle(second(1), &[]);
    assert_eq!(assigned(&facts).driver_id, "bob");
}

#[test]
fn a_pickup_says_how_well_driver_and_food_met() {
    let mut lane = Lane::assigned();
    // The food is ready at 60, she is there at 70 and has it at 100.
    lane.cycle(second(70), &[says("ada", 1, Word::Arrived, second(70))]);
    assert_eq!(lane.0.take_pickups(), []);
    lane.cycle(second(100), &[says("ada", 1, Word::PickedUp, second(100))]);
    let [met] = lane.0.take_pickups()[..] else {
        panic!("one pickup")
    };
    assert_eq!(met.food_waited.0, 40.0);
    assert_eq!(met.driver_waited.map(|span| span.0), Some(30.0));
    assert_eq!(met.slack.map(|span| span.0), Some(-10.0));
}

#[test]
fn a_tick_tells_what_is_due_and_since_when_even_if_it_decides_nothing() {
    let mut lane = Lane::new();
    lane.hear(&requested(1, 1, second(0), 200), second(0));
    let pulse = lane.0.tick(second(100));
    // Nobody is there to take it; a driver at the door could have had it from 80 on.
    assert_eq!((pulse.due, pulse.matched, pulse.waiting), (0, 0, 1));
    assert_eq!(pulse.oldest_due.0, 20.0);
    lane.hear(&online("ada", second(100), 10), second(100));
    let pulse = lane.0.tick(second(100));
    assert_eq!((pulse.due, pulse.matched, pulse.waiting), (1, 1, 0));
    assert_eq!(pulse.decided, [(order_id(1), DriverId::new("ada"))]);
    assert_eq!(pulse.oldest_due.0, 0.0);
}
