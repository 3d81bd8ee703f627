//! Days small enough to compute by hand, every measure of them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod town;

use backtest::{Instance, Measures, feasibility, simulate};
use town::*;

fn served(instance: &Instance, name: &str) -> Measures {
    let outcome = simulate(instance, &policy(name), TOLERANCE);
    assert_eq!(feasibility::check(instance, &outcome.solution), []);
    assert_eq!(outcome.audit.violations(), 0);
    Measures::of(instance, &outcome.solution)
}

/// Each measure by name, to the ninth decimal.
fn assert_measures(measures: &Measures, expected: &[(&str, f64)]) {
    let json = serde_json::to_value(measures).unwrap();
    assert_eq!(
        json.as_object().unwrap().len(),
        expected.len(),
        "every measure is checked"
    );
    for (name, value) in expected {
        let found = json[name].as_f64().unwrap_or(f64::NAN);
        assert!((found - value).abs() < 1e-9, "{name}: {found}, not {value}");
    }
}

/// First come first served: the courier leaves at 5, waits from 10 to 15 at the counter, leaves at 17, is at the door at
/// 22, hands over at 23, is free at 24; then 24, 29, picks up at 31, leaves at 33, arrives at 35, 36, free at 37.
#[test]
fn two_orders_and_one_courier_as_computed_by_hand() {
    assert_measures(
        &served(&tiny().read(), "fifo"),
        &[
            ("orders", 2.0),
            ("delivered", 2.0),
            ("undelivered_pct", 0.0),
            ("click_to_door_mean", 24.0),
            ("click_to_door_p50", 24.0),
            ("click_to_door_p90", 28.8),
            ("click_to_door_p99", 29.88),
            ("click_to_door_charged_mean", 24.0),
            ("ready_to_pickup_mean", 5.5),
            ("ready_to_pickup_p90", 9.9),
            ("ready_to_pickup_p99", 10.89),
            ("courier_wait_mean", 2.5),
            ("first_mile_mean", 4.0),
            ("utilisation", 32.0 / 60.0),
            ("orders_per_courier_hour", 2.0),
            ("cost_per_order", 10.0),
            ("bundled_pct", 0.0),
            ("orders_per_courier_min", 2.0),
            ("orders_per_courier_max", 2.0),
            ("orders_per_courier_gini", 0.0),
        ],
    );
}

/// Least slack first: the courier leaves when two minutes of slack are left, at 10 instead of 5, and picks up as early.
#[test]
fn a_late_departure_saves_the_couriers_wait_and_costs_the_customer_nothing() {
    let measures = served(&tiny().read(), "slack-greedy");
    assert_eq!(measures.click_to_door_mean, 24.0);
    assert_eq!(measures.courier_wait_mean, 0.0);
    assert_eq!(measures.utilisation, 27.0 / 60.0);
}

/// Both orders in one trip: pickup at 20, drop-offs at 28 and 35, free at 36.
#[test]
fn orders_that_share_a_trip_share_its_wait_and_its_first_mile() {
    assert_measures(
        &Measures::of(&tiny().read(), &tiny_bundle()),
        &[
            ("orders", 2.0),
            ("delivered", 2.0),
            ("undelivered_pct", 0.0),
            ("click_to_door_mean", 26.0),
            ("click_to_door_p50", 26.0),
            ("click_to_door_p90", 28.4),
            ("click_to_door_p99", 28.94),
            ("click_to_door_charged_mean", 26.0),
            ("ready_to_pickup_mean", 2.5),
            ("ready_to_pickup_p90", 4.5),
            ("ready_to_pickup_p99", 4.95),
            ("courier_wait_mean", 9.0),
            ("first_mile_mean", 3.0),
            ("utilisation", 0.5),
            ("orders_per_courier_hour", 2.0),
            ("cost_per_order", 10.0),
            ("bundled_pct", 100.0),
            ("orders_per_courier_min", 2.0),
            ("orders_per_courier_max", 2.0),
            ("orders_per_courier_gini", 0.0),
        ],
    );
}

#[test]
fn a_pickup_is_possible_until_the_very_end_of_the_shift_and_not_later() {
    for (ready, delivered) in [(60, 3.0), (61, 2.0)] {
        let mut files = tiny();
        files.orders.push(format!("o3 0 0 50 r1 {ready}"));
        let measures = served(&files.read(), "fifo");
        assert_eq!(measures.delivered, delivered, "ready at {ready}");
    }
}

#[test]
fn an_undelivered_order_is_charged_with_the_maximum_click_to_door() {
    let mut files = tiny();
    files.orders.push("o3 0 0 58 r1 59".to_owned());
    let measures = served(&files.read(), "fifo");
    assert!((measures.undelivered_pct - 100.0 / 3.0).abs() < 1e-9);
    assert_eq!(measures.click_to_door_mean, 24.0);
    assert_eq!(
        measures.click_to_door_charged_mean,
        (18.0 + 30.0 + 90.0) / 3.0
    );
}

#[test]
fn a_shift_without_orders_costs_its_guarantee_and_overtime_counts_as_duty() {
    let mut files = tiny();
    // Pays 2 hours at 15 dollars, and has nothing to do.
    files.couriers.push("c2 100000 0 0 120".to_owned());
    // Is on duty for 20 minutes, and home at 37.
    files.couriers[0] = "c1 -250 0 0 31".to_owned();
    let measures = served(&files.read(), "fifo");
    assert_eq!(measures.delivered, 2.0);
    assert_eq!(measures.cost_per_order, (20.0 + 30.0) / 2.0);
    assert_eq!(measures.utilisation, 32.0 / (37.0 + 120.0));
    let (least, most) = (
        measures.orders_per_courier_min,
        measures.orders_per_courier_max,
    );
    assert_eq!((least, most), (0.0, 2.0));
    // Of two, one has everything: the most uneven that two can be.
    assert_eq!(measures.orders_per_courier_gini, 0.5);
}

#[test]
fn a_day_without_deliveries_has_no_averages() {
    let mut files = tiny();
    files.couriers = vec!["c1 -250 0 0 1".to_owned()];
    let json = serde_json::to_value(served(&files.read(), "fifo")).unwrap();
    assert_eq!(json["undelivered_pct"], 100.0);
    assert!(json["click_to_door_mean"].is_null() && json["cost_per_order"].is_null());
}
