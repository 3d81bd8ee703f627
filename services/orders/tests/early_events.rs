//! What is heard of an order before it is placed: it waits, is applied in its turn, and is never lost.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sample;

use chrono::TimeDelta;
use lifecycle::{Payment, Status};
use orders::decide::Timer;
use orders::working_set::{Early, WorkingSet};
use runtime::Verdict;
use sample::{Bench, at, cancel, captured, fact, kitchen_rejects, placed, ready_in};
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(7);

fn status(bench: &Bench) -> (Status, Payment) {
    let state = bench.set.order(ID).unwrap().state;
    (state.status, state.payment)
}

#[test]
fn what_was_heard_before_the_order_waits_for_it() {
    let mut bench = Bench::new();
    bench.now = at(1);
    assert_eq!(bench.hear(fact(ID, 1, ready_in(1_700))), Verdict::Done);
    assert_eq!(bench.timers, [(Timer::Early(ID), at(2))]);
    assert_eq!(bench.set.newly_kept().len(), 1);
    bench.place(placed(ID));
    let order = bench.set.order(ID).unwrap();
    assert_eq!(
        (order.state.status, order.ready_at, order.version),
        (Status::PaymentPending, at(1_700), 2)
    );
    assert!(bench.set.newly_kept().is_empty());
}

#[test]
fn an_order_cancelled_before_it_was_placed_is_never_charged() {
    let mut bench = Bench::new();
    bench.hear(fact(ID, 1, cancel()));
    assert_eq!(bench.place(placed(ID)), Verdict::Done);
    assert_eq!(bench.take_names(), ["OrderCancelled"]);
    assert_eq!(status(&bench), (Status::Cancelled, Payment::Unasked));
}

#[test]
fn an_invalid_order_is_rejected_also_when_it_was_cancelled_before() {
    let mut bench = Bench::new();
    bench.hear(fact(ID, 1, cancel()));
    let mut invalid = placed(ID);
    invalid.items.clear();
    bench.place(invalid);
    assert_eq!(bench.take_names(), ["OrderRejected"]);
    assert_eq!(status(&bench), (Status::Rejected, Payment::Unasked));
    assert!(bench.set.newly_kept().is_empty());
}

#[test]
fn what_waits_for_an_order_is_looked_at_ever_more_rarely_and_given_up_at_last() {
    let kept = stored_early();
    let mut bench = Bench::with(WorkingSet::new(vec![], vec![kept]));
    for (now, again) in [(2, 3), (10, 19), (100, 160)] {
        bench.now = at(now);
        bench.decide(|d| d.due(Timer::Early(ID)));
        assert_eq!(bench.timers, [(Timer::Early(ID), at(again))]);
    }
    bench.now = at(1) + TimeDelta::seconds(900);
    bench.decide(|d| d.due(Timer::Early(ID)));
    assert!(bench.timers.is_empty());
    let [(5, why)] = bench.set.given_up() else {
        panic!()
    };
    assert!(why.starts_with("unknown_order"), "{why}");
}

#[test]
fn an_order_placed_by_another_instance_is_found_by_the_timer() {
    let mut other = Bench::new();
    other.order(ID, [captured()]);
    let order = other.set.order(ID).cloned().unwrap();
    let mut bench = Bench::with(WorkingSet::new(vec![order], vec![stored_early()]));
    bench.decide(|d| d.due(Timer::Early(ID)));
    assert_eq!(
        bench.take_names(),
        ["OrderCancelled", "RefundRequested", "AssignmentCancelled"]
    );
    assert_eq!(bench.set.settled(), [5]);
}

#[test]
fn what_was_heard_early_and_does_not_fit_is_left_for_a_person() {
    let mut kept = stored_early();
    kept.fact.said = kitchen_rejects("r-2");
    let mut bench = Bench::with(WorkingSet::new(vec![], vec![kept]));
    bench.place(placed(ID));
    assert_eq!(status(&bench), (Status::PaymentPending, Payment::Requested));
    let [(5, why)] = bench.set.given_up() else {
        panic!()
    };
    assert!(why.starts_with("restaurant_mismatch"), "{why}");
}

/// A cancel, received a second after `at(0)`, stored as row 5.
fn stored_early() -> Early {
    Early {
        id: Some(5),
        lane: sample::LANE.into(),
        fact: fact(ID, 1, cancel()),
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
        received_at: at(1),
    }
}
