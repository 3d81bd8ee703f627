//! The check of the public rules finds every way to break one: each test perturbs a feasible solution in one place.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod town;

use backtest::instance::at_minute;
use backtest::{Solution, Trip, feasibility, simulate};
use town::*;

/// The violations, as text, of the tiny instance's bundle after a change.
fn found(change: impl FnOnce(&mut Trip)) -> Vec<String> {
    let mut solution = tiny_bundle();
    change(&mut solution.trips[0]);
    texts(&tiny(), &solution)
}

fn texts(files: &Files, solution: &Solution) -> Vec<String> {
    let violations = feasibility::check(&files.read(), solution);
    violations.iter().map(ToString::to_string).collect()
}

#[test]
fn a_trip_by_the_rules_is_feasible() {
    assert!(found(|_| ()).is_empty());
}

#[test]
fn a_decision_before_the_placement_of_any_of_its_orders_is_caught() {
    assert_eq!(
        found(|trip| trip.decided_at = at_minute(5.0)),
        ["order o2: decided at 5, not before 6 (its placement)"]
    );
}

#[test]
fn a_courier_who_sets_out_before_the_decision_is_caught() {
    assert_eq!(
        found(|trip| trip.departs_at = at_minute(5.0)),
        ["order o1: the courier sets out at 5, not before 6 (the decision)"]
    );
}

#[test]
fn a_courier_who_sets_out_before_his_shift_is_caught() {
    let mut files = tiny();
    files.couriers[0] = "c1 -250 0 7 60".to_owned();
    assert_eq!(
        texts(&files, &tiny_bundle()),
        ["order o1: the courier sets out at 6, not before 7 (he comes on duty)"]
    );
}

#[test]
fn a_pickup_of_food_that_is_not_ready_is_caught() {
    assert_eq!(
        found(|trip| trip.pickup_at = at_minute(19.0)),
        ["order o2: picked up at 19, not before 20 (it is ready)"]
    );
}

#[test]
fn a_pickup_before_the_courier_can_be_there_is_caught() {
    assert_eq!(
        found(|trip| trip.departs_at = at_minute(16.0)),
        ["order o1: picked up at 20, not before 21 (arrival and half the service)"]
    );
}

#[test]
fn a_pickup_after_the_shift_is_caught() {
    let mut files = tiny();
    files.couriers[0] = "c1 -250 0 0 19".to_owned();
    assert_eq!(
        texts(&files, &tiny_bundle()),
        ["order o1: picked up at 20 by courier c1, whose shift ended at 19"]
    );
}

#[test]
fn a_departure_before_the_service_is_over_is_caught() {
    assert_eq!(
        found(|trip| trip.drops[0].departs_at = at_minute(21.0)),
        [
            "order o1: the courier leaves the restaurant at 21, not before 22 (the pickup and half the service)"
        ]
    );
    assert_eq!(
        found(|trip| trip.drops[1].departs_at = at_minute(28.0)),
        [
            "order o2: the courier leaves the customer before at 28, not before 29 (the drop-off before and half the service)"
        ]
    );
}

#[test]
fn a_drop_off_before_the_courier_can_be_there_is_caught() {
    assert_eq!(
        found(|trip| trip.drops[1].dropoff_at = at_minute(34.0)),
        ["order o2: dropped off at 34, not before 35 (arrival and half the service)"]
    );
}

#[test]
fn an_order_delivered_twice_is_caught() {
    let violations = found(|trip| {
        let mut again = trip.drops[1].clone();
        again.departs_at = at_minute(36.0);
        again.dropoff_at = at_minute(37.0);
        trip.drops.push(again);
    });
    assert_eq!(violations, ["order o2 is in two trips"]);
}

#[test]
fn a_trip_that_begins_before_the_last_one_is_over_is_caught() {
    let instance = tiny().read();
    let mut solution = simulate(&instance, &policy("fifo"), TOLERANCE).solution;
    assert_eq!(feasibility::check(&instance, &solution), []);
    solution.trips[1].decided_at = at_minute(23.0);
    solution.trips[1].departs_at = at_minute(23.0);
    assert_eq!(
        texts(&tiny(), &solution),
        [
            "order o2: the courier sets out at 23, not before 24 (the drop-off before and half the service)"
        ]
    );
}

#[test]
fn orders_of_two_restaurants_in_one_trip_are_caught() {
    let mut files = tiny();
    files.restaurants.push("r2 0 0".to_owned());
    files.orders[1] = "o2 0 200 6 r2 20".to_owned();
    assert_eq!(
        texts(&files, &tiny_bundle()),
        ["order o2 shares a trip with an order of another restaurant"]
    );
}

#[test]
fn a_trip_that_carries_nothing_is_caught() {
    assert_eq!(
        found(|trip| trip.drops.clear()),
        ["a trip of courier c1 carries nothing"]
    );
}
