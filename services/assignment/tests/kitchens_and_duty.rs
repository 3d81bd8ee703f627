//! What drivers' duty and the kitchen's word change, one story at a time.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use assignment::decide::Word;
use contracts::driver_assignment::{FailureReason, MissingReason, ReleaseReason};
use contracts::streams::DriverAssignmentEvent as Fact;
use dispatch::DriverId;

use fixture::lane::{Lane, assigned};
use fixture::{
    food_ready, kitchen_rejected, offline, online, origin, ping, prep_changed, requested, says,
    second, trace,
};
use runtime::Verdict;

#[test]
fn the_kitchen_moves_the_instant_at_which_an_order_is_due() {
    let mut lane = Lane::new();
    lane.cycle(
        second(0),
        &[
            online("ada", second(0), 10),
            requested(1, 1, second(0), 1000),
        ],
    );
    // Said later counts, whatever arrives first.
    assert_eq!(
        lane.cycle(second(20), &[prep_changed(1, second(18), second(900))]),
        []
    );
    assert_eq!(
        lane.hear(&prep_changed(1, second(15), second(60)), second(20)),
        Verdict::Skip("overtaken")
    );
    let facts = lane.cycle(second(25), &[food_ready(1, second(25))]);
    assert_eq!(assigned(&facts).driver_id, "ada");
    assert_eq!(
        lane.hear(&kitchen_rejected(1, second(26)), second(26)),
        Verdict::Skip("concerns_orders")
    );
}

#[test]
fn what_the_kitchen_said_before_the_request_came_is_remembered() {
    let mut lane = Lane::new();
    lane.cycle(second(0), &[online("ada", second(0), 10)]);
    assert_eq!(
        lane.hear(&prep_changed(1, second(1), second(500)), second(1)),
        Verdict::Done
    );
    assert_eq!(
        lane.hear(&food_ready(1, second(2)), second(2)),
        Verdict::Done
    );
    assert_eq!(
        lane.hear(&prep_changed(1, second(1), second(700)), second(2)),
        Verdict::Skip("overtaken")
    );
    let facts = lane.cycle(second(3), &[requested(1, 1, second(3), 1000)]);
    assert_eq!(assigned(&facts).slack_s, -69);
}

#[test]
fn a_driver_who_goes_off_duty_is_replaced_before_the_pickup_and_kept_after_it() {
    let mut lane = Lane::assigned();
    let facts = lane.cycle(second(5), &[offline("ada", second(5))]);
    let [
        Fact::AssignmentReleased(released),
        Fact::DriverAssigned(next),
    ] = &facts[..]
    else {
        panic!("{facts:?}")
    };
    assert_eq!(
        (released.reason, next.driver_id.as_str()),
        (ReleaseReason::DriverOffline, "bob")
    );
    lane.cycle(second(6), &[says("bob", 1, Word::PickedUp, second(6))]);
    let facts = lane.cycle(second(7), &[offline("bob", second(7))]);
    let [Fact::DriverMissing(missing)] = &facts[..] else {
        panic!("{facts:?}")
    };
    assert_eq!(
        (missing.driver_id.as_str(), missing.reason, missing.since),
        ("bob", MissingReason::WentOffline, second(7))
    );
    assert_eq!(lane.0.drivers()[&DriverId::new("bob")].status(), "busy");
    let facts = lane.cycle(second(8), &[says("bob", 1, Word::Dropped, second(8))]);
    assert!(
        matches!(&facts[..], [Fact::DeliveryConfirmed(_)]),
        "{facts:?}"
    );
    assert_eq!(lane.0.drivers()[&DriverId::new("bob")].status(), "offline");
}

#[test]
fn a_driver_who_vanishes_is_replaced_before_the_pickup() {
    let mut lane = Lane::assigned();
    lane.cycle(second(1), &[says("ada", 1, Word::Accepted, second(1))]);
    assert_eq!(lane.cycle(second(89), &[ping("bob", second(89), 20)]), []);
    let facts = lane.cycle(second(90), &[]);
    let [
        Fact::AssignmentReleased(released),
        Fact::DriverAssigned(next),
    ] = &facts[..]
    else {
        panic!("{facts:?}")
    };
    assert_eq!(
        (released.reason, released.correlation_id),
        (ReleaseReason::DriverVanished, None)
    );
    assert_eq!(next.driver_id, "bob");
}

#[test]
fn a_driver_who_vanishes_with_the_meal_is_reported_once_and_the_order_given_up_in_the_end() {
    let mut lane = Lane::assigned();
    lane.cycle(second(10), &[says("ada", 1, Word::PickedUp, second(10))]);
    let facts = lane.cycle(second(90), &[]);
    let [Fact::DriverMissing(missing)] = &facts[..] else {
        panic!("{facts:?}")
    };
    assert_eq!(
        (missing.reason, missing.since, missing.correlation_id),
        (MissingReason::Silent, second(0), None)
    );
    // He says so himself now: it is known.
    assert_eq!(lane.cycle(second(95), &[offline("ada", second(95))]), []);
    let facts = lane.cycle(second(210), &[]);
    let [Fact::AssignmentFailed(failed)] = &facts[..] else {
        panic!("{facts:?}")
    };
    assert_eq!(
        (failed.reason, failed.r#final),
        (FailureReason::Abandoned, true)
    );
    assert_eq!(lane.0.drivers()[&DriverId::new("ada")].status(), "offline");
}

#[test]
fn duty_is_ordered_by_the_drivers_own_clock() {
    let mut lane = Lane::new();
    assert_eq!(
        lane.hear(&offline("ada", second(0)), second(0)),
        Verdict::Skip("unknown_driver")
    );
    lane.cycle(second(10), &[online("ada", second(10), 0)]);
    assert_eq!(
        lane.hear(&offline("ada", second(9)), second(11)),
        Verdict::Skip("overtaken")
    );
    lane.cycle(second(12), &[offline("ada", second(12))]);
    assert_eq!(
        lane.hear(&online("ada", second(11), 0), second(13)),
        Verdict::Skip("overtaken")
    );
    assert_eq!(lane.0.drivers()[&DriverId::new("ada")].status(), "offline");
}

#[test]
fn a_clock_that_runs_ahead_counts_no_further_than_the_log() {
    let mut lane = Lane::new();
    let trace = trace();
    let mut arrives = origin(&trace);
    arrives.timestamp_ms = second(0).timestamp_millis();
    assert_eq!(
        lane.0
            .apply(&online("ada", second(3600), 0), arrives, second(0)),
        Verdict::Done
    );
    arrives.timestamp_ms = second(1).timestamp_millis();
    assert_eq!(
        lane.0.apply(&offline("ada", second(1)), arrives, second(1)),
        Verdict::Done
    );
}
