//! What makes a placed order invalid, and that all of it is named.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sample;

use chrono::DateTime;
use contracts::orders::{OrderPlaced, RejectionReason};
use contracts::streams::OrdersEvent;
use lifecycle::Status;
use orders::emission::Body;
use sample::{Bench, at, placed};
use uuid::Uuid;

/// What an order placed like this is rejected for; empty when it is accepted.
fn reasons(change: impl FnOnce(&mut OrderPlaced)) -> Vec<RejectionReason> {
    let id = Uuid::from_u128(1);
    let mut order = placed(id);
    change(&mut order);
    let mut bench = Bench::new();
    bench.place(order);
    let status = bench.set.order(id).unwrap().state.status;
    let Some(Body::Orders(OrdersEvent::OrderRejected(rejected))) =
        bench.sent.first().map(|e| &e.body)
    else {
        assert_eq!(status, Status::PaymentPending);
        return Vec::new();
    };
    assert_eq!((bench.sent.len(), status), (1, Status::Rejected));
    rejected.reasons.clone()
}

fn fields(change: impl FnOnce(&mut OrderPlaced)) -> Vec<String> {
    reasons(change)
        .into_iter()
        .map(|reason| reason.field)
        .collect()
}

#[test]
fn an_order_whose_numbers_add_up_is_accepted() {
    assert_eq!(reasons(|_| {}), []);
}

#[test]
fn zero_is_a_latitude_and_a_longitude() {
    let on_the_equator = |o: &mut OrderPlaced| {
        (o.customer.location.lat, o.customer.location.lon) = (0.0, 0.0);
    };
    assert_eq!(reasons(on_the_equator), []);
}

#[test]
fn a_free_line_and_a_preparation_of_no_time_are_fine() {
    let free = |o: &mut OrderPlaced| {
        o.items[1].unit_price_minor = 0;
        o.total.amount_minor -= 300;
        (o.ready_at, o.prep_total_s) = (o.placed_at, 0);
    };
    assert_eq!(reasons(free), []);
}

#[test]
fn each_thing_that_is_wrong_is_named_with_its_field() {
    type Change = fn(&mut OrderPlaced);
    let wrong: [(&str, Change); 26] = [
        ("geo", |o| o.geo = "paris-bastille".into()),
        ("geo", |o| o.geo = "atlantis".into()),
        ("customer.id", |o| o.customer.id = " ".into()),
        ("customer.name", |o| o.customer.name = Some("a\0b".into())),
        ("customer.webhook_url", |o| {
            o.customer.webhook_url = Some("x".repeat(3_000))
        }),
        ("customer.location.lat", |o| o.customer.location.lat = 90.1),
        ("customer.location.lon", |o| {
            o.customer.location.lon = -180.5
        }),
        ("restaurant.id", |o| o.restaurant.id = String::new()),
        ("restaurant.id", |o| o.restaurant.id = "r".repeat(300)),
        ("restaurant.location.lat", |o| {
            o.restaurant.location.lat = f64::NAN
        }),
        ("restaurant.location.lon", |o| {
            o.restaurant.location.lon = f64::INFINITY
        }),
        ("payment_method", |o| o.payment_method = String::new()),
        ("items[0].quantity", |o| {
            o.items[0].quantity = -2;
            (o.tip_minor, o.total.amount_minor) = (5_000, 300 + 299 + 5_000 - 2 * 950);
        }),
        ("items[1].quantity", |o| {
            o.items[1].quantity = 0;
            o.total.amount_minor -= 300;
        }),
        ("items[1].unit_price_minor", |o| {
            o.items[1].unit_price_minor = -1;
            o.total.amount_minor -= 301;
        }),
        ("items[0].id", |o| o.items[0].id = String::new()),
        ("items[0].name", |o| o.items[0].name = "\0".into()),
        ("delivery_fee_minor", |o| {
            o.delivery_fee_minor = -1;
            o.total.amount_minor -= 300;
        }),
        ("tip_minor", |o| {
            o.tip_minor = -1;
            o.total.amount_minor -= 102;
        }),
        ("total.currency", |o| o.total.currency = "EURO".into()),
        ("total.currency", |o| o.total.currency = "eur".into()),
        ("total.amount_minor", |o| o.total.amount_minor += 1),
        ("total.amount_minor", |o| {
            o.items[0].unit_price_minor = i64::MAX
        }),
        ("placed_at", |o| {
            o.placed_at = DateTime::from_timestamp(0, 0).unwrap()
        }),
        ("ready_at", |o| o.ready_at = at(-1)),
        ("prep_total_s", |o| o.prep_total_s = -1),
    ];
    for (field, change) in wrong {
        assert_eq!(fields(change), [field]);
    }
}

#[test]
fn an_order_without_lines_or_money_is_told_both() {
    let empty = |o: &mut OrderPlaced| {
        o.items.clear();
        (o.delivery_fee_minor, o.tip_minor, o.total.amount_minor) = (0, 0, 0);
    };
    assert_eq!(fields(empty), ["items", "total.amount_minor"]);
}

#[test]
fn a_reason_names_the_value_and_what_it_should_be() {
    let [reason] = reasons(|o| o.total.amount_minor = 2_599)
        .try_into()
        .unwrap();
    assert_eq!(
        (reason.value.as_str(), reason.message.as_str()),
        ("2599", "items, fee and tip make 2600")
    );
}

#[test]
fn a_rejection_stays_small_however_much_is_wrong() {
    let absurd = |o: &mut OrderPlaced| {
        o.items[0].id = "x".repeat(3_000);
        o.items = vec![o.items[0].clone(); 3_000];
        o.customer.id = "c".repeat(3_000);
    };
    let reasons = reasons(absurd);
    assert_eq!(reasons.len(), 101);
    assert!(reasons.iter().all(|r| r.value.len() <= 64), "{reasons:?}");
    assert_eq!(reasons[100].message, "and 2903 more");
}
