//! What orders does about what it hears: records, audit, versions, partitions, verdicts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sample;

use std::collections::BTreeSet;

use chrono::TimeDelta;
use contracts::driver_assignment::{FailureReason, WithdrawalReason};
use contracts::orders::Actor;
use contracts::payments::{DeclineReason, RefundReason};
use contracts::streams::{DriverAssignmentRequest, OrdersEvent, PaymentsRequest};
use contracts::value::Money;
use lifecycle::{Payment, Status};
use orders::decide::Timer;
use orders::emission::Body;
use orders::fact::Said;
use runtime::Verdict;
use sample::{
    Kitchen, PARTITIONS, assigned, at, cancel, captured, delivered, fact, food_ready,
    kitchen_rejects, picked_up, placed, ready_in, total,
};
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(7);

fn status(kitchen: &Kitchen) -> (Status, Payment) {
    let state = kitchen.set.order(ID).unwrap().state;
    (state.status, state.payment)
}

fn rejected_as(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Reject(reject) => reject.kind,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_placed_order_becomes_a_delivered_meal() {
    let mut kitchen = Kitchen::new();
    kitchen.place(placed(ID));
    assert_eq!(kitchen.take_names(), ["OrderAccepted", "PaymentRequested"]);
    let story: [(Said, &[&str]); 5] = [
        (captured(), &["OrderConfirmed", "AssignmentRequested"]),
        (assigned(1, "d-1"), &["OrderDriverAssigned"]),
        (food_ready(1_250), &[]),
        (picked_up("d-1"), &["OrderPickedUp"]),
        (delivered("d-1"), &["OrderDelivered"]),
    ];
    for (second, (said, records)) in story.into_iter().enumerate() {
        assert_eq!(kitchen.hear(fact(ID, second as i64, said)), Verdict::Done);
        assert_eq!(kitchen.take_names(), records);
    }
    let order = kitchen.set.order(ID).unwrap();
    assert_eq!((order.version, order.state.status), (6, Status::Delivered));
    assert_eq!(
        (order.ready_at, order.picked_up_at),
        (at(1_250), Some(at(1_350)))
    );
    let audit: Vec<_> = kitchen
        .set
        .transitions()
        .iter()
        .map(|t| (t.version, t.event, t.to.status.name()))
        .collect();
    assert_eq!(
        audit,
        [
            (1, "OrderPlaced", "payment_pending"),
            (2, "PaymentCaptured", "confirmed"),
            (3, "DriverAssigned", "driver_assigned"),
            (4, "FoodReady", "driver_assigned"),
            (5, "PickupConfirmed", "picked_up"),
            (6, "DeliveryConfirmed", "delivered"),
        ]
    );
}

#[test]
fn every_record_of_an_order_goes_to_its_partition_with_an_id_of_its_own() {
    let mut kitchen = Kitchen::new();
    kitchen.place(placed(Uuid::from_u128(1)));
    kitchen.take_names();
    kitchen.order(ID, [captured(), assigned(1, "d"), cancel()]);
    let ids: BTreeSet<Uuid> = kitchen
        .sent
        .iter()
        .map(|emission| {
            use contracts::Message;
            assert_eq!((emission.order_id, emission.partition), (ID, 1));
            match &emission.body {
                Body::Orders(event) => event.event_id(),
                Body::Payments(request) => request.event_id(),
                Body::Assignment(request) => request.event_id(),
            }
        })
        .collect();
    assert_eq!((ids.len(), kitchen.sent.len()), (8, 8));
}

#[test]
fn orders_are_dealt_to_partitions_in_turn_rejected_ones_included() {
    let mut kitchen = Kitchen::new();
    for number in 0..30 {
        let mut order = placed(Uuid::from_u128(number));
        if number % 3 == 0 {
            order.items.clear();
        }
        kitchen.place(order);
        let partition = kitchen
            .set
            .order(Uuid::from_u128(number))
            .unwrap()
            .partition;
        assert_eq!(partition, i32::try_from(number).unwrap() % PARTITIONS);
    }
}

#[test]
fn an_order_placed_twice_is_a_duplicate_also_under_another_event_id() {
    let mut kitchen = Kitchen::new();
    kitchen.order(ID, [captured()]);
    kitchen.take_names();
    assert_eq!(kitchen.place(placed(ID)), Verdict::Skip("duplicate"));
    let mut again = placed(ID);
    again.event_id = Uuid::from_u128(99);
    assert_eq!(kitchen.place(again), Verdict::Skip("duplicate"));
    assert!(kitchen.sent.is_empty());
}

#[test]
fn another_order_under_the_same_id_is_rejected() {
    let mut kitchen = Kitchen::new();
    kitchen.order(ID, []);
    let mut other = placed(ID);
    other.event_id = Uuid::from_u128(99);
    other.customer.id = "c-2".into();
    assert_eq!(rejected_as(&kitchen.place(other)), "order_id_reused");
    assert_eq!(kitchen.set.order(ID).unwrap().customer.id, "c-1");
}

#[test]
fn what_services_say_of_an_unknown_order_is_rejected_with_its_id() {
    let mut kitchen = Kitchen::new();
    for said in [
        captured(),
        assigned(1, "d"),
        picked_up("d"),
        delivered("d"),
        Said::DriverAtRestaurant,
    ] {
        let Verdict::Reject(reject) = kitchen.hear(fact(ID, 1, said)) else {
            panic!()
        };
        assert_eq!(reject.kind, "unknown_order");
        assert!(reject.message.contains(&ID.to_string()));
    }
}

#[test]
fn a_fact_that_does_not_fit_the_order_is_rejected_and_moves_nothing() {
    let dear = Money {
        amount_minor: 1,
        currency: "EUR".into(),
    };
    let misfits = [
        (Said::PaymentCaptured { amount: dear }, "amount_mismatch"),
        (kitchen_rejects("r-2"), "restaurant_mismatch"),
        (picked_up("d-2"), "driver_mismatch"),
        (delivered("d-2"), "driver_mismatch"),
        (assigned(0, "d-2"), "attempt_out_of_range"),
        (
            Said::AssignmentReleased { attempt: -1 },
            "attempt_out_of_range",
        ),
        (ready_in(i64::from(i32::MAX) * 4), "implausible_instant"),
        (
            Said::PaymentDeclined {
                reason: DeclineReason::Declined,
                message: None,
            },
            "already_captured",
        ),
    ];
    for (said, kind) in misfits {
        let mut kitchen = Kitchen::new();
        kitchen.order(ID, [captured(), assigned(1, "d-1")]);
        let before = kitchen.set.order(ID).cloned();
        assert_eq!(rejected_as(&kitchen.hear(fact(ID, 99, said))), kind);
        assert_eq!(kitchen.set.order(ID).cloned(), before, "{kind}");
    }
    let mut kitchen = Kitchen::new();
    kitchen.order(ID, []);
    let mut elsewhere = fact(ID, 1, captured());
    elsewhere.geo = "paris-bastille".into();
    assert_eq!(rejected_as(&kitchen.hear(elsewhere)), "geo_mismatch");
}

#[test]
fn a_cancel_before_the_capture_ends_the_order_and_the_capture_is_given_back() {
    let mut kitchen = Kitchen::new();
    kitchen.order(ID, [cancel()]);
    assert_eq!(
        kitchen.take_names(),
        ["OrderAccepted", "PaymentRequested", "OrderCancelled"]
    );
    assert_eq!(kitchen.hear(fact(ID, 50, captured())), Verdict::Done);
    assert_eq!(
        status(&kitchen),
        (Status::Cancelled, Payment::RefundRequested)
    );
    let Body::Payments(PaymentsRequest::RefundRequested(refund)) = &kitchen.sent[0].body else {
        panic!()
    };
    assert_eq!(
        (&refund.amount, refund.reason),
        (&total(), RefundReason::OrderCancelled)
    );
    assert_eq!(
        kitchen.hear(fact(ID, 51, captured())),
        Verdict::Skip("duplicate")
    );
    assert_eq!(
        kitchen.hear(fact(ID, 52, Said::PaymentRefunded { amount: total() })),
        Verdict::Done
    );
    assert_eq!(
        (status(&kitchen).1, kitchen.take_names()),
        (Payment::Refunded, vec!["RefundRequested"])
    );
}

#[test]
fn a_cancel_after_the_assignment_refunds_and_releases_the_driver() {
    let mut kitchen = Kitchen::new();
    kitchen.order(ID, [captured(), assigned(1, "d-1")]);
    kitchen.take_names();
    kitchen.hear(fact(ID, 50, cancel()));
    let Body::Orders(OrdersEvent::OrderCancelled(cancelled)) = &kitchen.sent[0].body else {
        panic!()
    };
    assert_eq!(cancelled.driver_id.as_deref(), Some("d-1"));
    assert_eq!(
        (cancelled.cancelled_by, &cancelled.refund),
        (Actor::Customer, &Some(total()))
    );
    assert_eq!(kitchen.set.order(ID).unwrap().driver_id, None);
    assert_eq!(
        kitchen.take_names(),
        ["OrderCancelled", "RefundRequested", "AssignmentCancelled"]
    );
}

#[test]
fn a_cancel_after_the_pickup_is_refused_with_a_reason() {
    let mut kitchen = Kitchen::new();
    kitchen.order(ID, [captured(), assigned(1, "d"), picked_up("d")]);
    assert_eq!(
        kitchen.hear(fact(ID, 50, cancel())),
        Verdict::Skip("refused_already_picked_up")
    );
    assert_eq!(status(&kitchen), (Status::PickedUp, Payment::Captured));
}

#[test]
fn a_kitchen_that_rejects_cancels_on_the_restaurants_account() {
    let mut kitchen = Kitchen::new();
    kitchen.order(ID, [captured()]);
    kitchen.take_names();
    kitchen.hear(fact(ID, 50, kitchen_rejects("r-1")));
    let [cancelled, refund, withdrawn] = &kitchen.sent[..] else {
        panic!()
    };
    let Body::Orders(OrdersEvent::OrderCancelled(cancelled)) = &cancelled.body else {
        panic!()
    };
    assert_eq!(
        (cancelled.cancelled_by, cancelled.reason.as_deref()),
        (Actor::Restaurant, Some("closed"))
    );
    let Body::Payments(PaymentsRequest::RefundRequested(refund)) = &refund.body else {
        panic!()
    };
    assert_eq!(refund.reason, RefundReason::KitchenRejected);
    let Body::Assignment(DriverAssignmentRequest::AssignmentCancelled(withdrawn)) = &withdrawn.body
    else {
        panic!()
    };
    assert_eq!(withdrawn.reason, WithdrawalReason::KitchenRejected);
}

#[test]
fn a_decline_ends_the_order_with_the_gateways_words() {
    let mut kitchen = Kitchen::new();
    kitchen.order(ID, []);
    kitchen.take_names();
    let said = Said::PaymentDeclined {
        reason: DeclineReason::Declined,
        message: Some("no funds".into()),
    };
    kitchen.hear(fact(ID, 5, said));
    let Body::Orders(OrdersEvent::OrderPaymentFailed(failed)) = &kitchen.sent[0].body else {
        panic!()
    };
    assert_eq!(
        (failed.reason, failed.message.as_deref()),
        (DeclineReason::Declined, Some("no funds"))
    );
    assert_eq!(status(&kitchen), (Status::PaymentFailed, Payment::Declined));
}

#[test]
fn a_search_that_failed_for_good_refunds() {
    let mut kitchen = Kitchen::new();
    kitchen.order(ID, [captured()]);
    kitchen.take_names();
    let said = Said::AssignmentFailed {
        attempt: 1,
        reason: FailureReason::Expired,
        retry_after_s: 0,
        last: true,
    };
    kitchen.hear(fact(ID, 50, said));
    let Body::Orders(OrdersEvent::OrderUndeliverable(end)) = &kitchen.sent[0].body else {
        panic!()
    };
    assert_eq!(
        (end.reason, &end.refund),
        (FailureReason::Expired, &Some(total()))
    );
    assert_eq!(
        kitchen.take_names(),
        ["OrderUndeliverable", "RefundRequested"]
    );
}

#[test]
fn a_search_that_failed_for_now_is_repeated_when_it_is_due() {
    let mut kitchen = Kitchen::new();
    kitchen.order(ID, [captured()]);
    kitchen.take_names();
    kitchen.now = at(50);
    let failed = |attempt| Said::AssignmentFailed {
        attempt,
        reason: FailureReason::NoAvailableDriver,
        retry_after_s: 30,
        last: false,
    };
    kitchen.hear(fact(ID, 50, failed(1)));
    assert_eq!(kitchen.timers, [(Timer::Assignment(ID), at(80))]);
    kitchen.now = at(79);
    kitchen.decide(|d| d.due(Timer::Assignment(ID)));
    assert_eq!(
        (kitchen.take_names(), &kitchen.timers[..]),
        (vec![], &[(Timer::Assignment(ID), at(80))][..])
    );
    kitchen.now = at(80);
    kitchen.decide(|d| d.due(Timer::Assignment(ID)));
    let Body::Assignment(DriverAssignmentRequest::AssignmentRequested(request)) =
        &kitchen.sent[0].body
    else {
        panic!()
    };
    assert_eq!((request.attempt, request.order_version), (2, 4));
    assert_eq!(
        kitchen.hear(fact(ID, 50, failed(1))),
        Verdict::Skip("overtaken")
    );
    kitchen.take_names();
    kitchen.decide(|d| d.due(Timer::Assignment(ID)));
    assert!(
        kitchen.sent.is_empty() && kitchen.timers.is_empty(),
        "asked for twice"
    );
}

#[test]
fn a_cancel_while_the_next_search_waits_stops_it() {
    let mut kitchen = Kitchen::new();
    let failed = Said::AssignmentFailed {
        attempt: 1,
        reason: FailureReason::Internal,
        retry_after_s: 30,
        last: false,
    };
    kitchen.order(ID, [captured(), failed, cancel()]);
    kitchen.take_names();
    assert_eq!(kitchen.set.order(ID).unwrap().assignment_due_at, None);
    kitchen.now = at(100);
    kitchen.decide(|d| d.due(Timer::Assignment(ID)));
    assert!(kitchen.sent.is_empty());
}

#[test]
fn a_released_driver_leaves_the_order_to_the_next_one() {
    let mut kitchen = Kitchen::new();
    kitchen.order(
        ID,
        [
            captured(),
            assigned(1, "d-1"),
            Said::AssignmentReleased { attempt: 1 },
        ],
    );
    let order = kitchen.set.order(ID).unwrap();
    assert_eq!(
        (
            order.state.status,
            &order.driver_id,
            order.expected_pickup_at
        ),
        (Status::Confirmed, &None, None)
    );
    assert_eq!(
        kitchen.hear(fact(ID, 60, assigned(1, "d-1"))),
        Verdict::Skip("overtaken")
    );
    assert_eq!(
        kitchen.hear(fact(ID, 61, assigned(2, "d-2"))),
        Verdict::Done
    );
    assert_eq!(kitchen.hear(fact(ID, 62, delivered("d-2"))), Verdict::Done);
    assert_eq!(
        kitchen.sent.last().map(|e| sample::name(&e.body)),
        Some("OrderDelivered")
    );
}

#[test]
fn an_older_preparation_time_does_not_replace_a_newer_one() {
    let mut kitchen = Kitchen::new();
    kitchen.order(ID, []);
    assert_eq!(kitchen.hear(fact(ID, 20, ready_in(2_000))), Verdict::Done);
    assert_eq!(
        kitchen.hear(fact(ID, 10, ready_in(1_500))),
        Verdict::Skip("overtaken")
    );
    assert_eq!(
        kitchen.hear(fact(ID, 20, ready_in(2_000))),
        Verdict::Skip("overtaken")
    );
    kitchen.hear(fact(ID, 30, captured()));
    let request = kitchen.sent.last().map(|e| &e.body);
    let Some(Body::Assignment(DriverAssignmentRequest::AssignmentRequested(request))) = request
    else {
        panic!()
    };
    assert_eq!(request.ready_at, at(2_000));
}

#[test]
fn what_was_heard_before_the_order_waits_for_it() {
    let mut kitchen = Kitchen::new();
    kitchen.now = at(1);
    assert_eq!(kitchen.hear(fact(ID, 1, ready_in(1_700))), Verdict::Done);
    assert_eq!(kitchen.timers, [(Timer::Early(ID), at(2))]);
    assert_eq!(kitchen.set.newly_kept().len(), 1);
    kitchen.place(placed(ID));
    let order = kitchen.set.order(ID).unwrap();
    assert_eq!(
        (order.state.status, order.ready_at, order.version),
        (Status::PaymentPending, at(1_700), 2)
    );
    assert!(kitchen.set.newly_kept().is_empty());
}

#[test]
fn an_order_cancelled_before_it_was_placed_is_never_charged() {
    let mut kitchen = Kitchen::new();
    kitchen.hear(fact(ID, 1, cancel()));
    assert_eq!(kitchen.place(placed(ID)), Verdict::Done);
    assert_eq!(kitchen.take_names(), ["OrderCancelled"]);
    assert_eq!(status(&kitchen), (Status::Cancelled, Payment::Unasked));
}

#[test]
fn an_invalid_order_is_rejected_also_when_it_was_cancelled_before() {
    let mut kitchen = Kitchen::new();
    kitchen.hear(fact(ID, 1, cancel()));
    let mut invalid = placed(ID);
    invalid.items.clear();
    kitchen.place(invalid);
    assert_eq!(kitchen.take_names(), ["OrderRejected"]);
    assert_eq!(status(&kitchen), (Status::Rejected, Payment::Unasked));
    assert!(kitchen.set.newly_kept().is_empty());
}

#[test]
fn what_waits_for_an_order_is_looked_at_ever_more_rarely_and_given_up_at_last() {
    let kept = stored_early();
    let mut kitchen = Kitchen::with(orders::working_set::WorkingSet::new(vec![], vec![kept]));
    for (now, again) in [(2, 3), (10, 19), (100, 160)] {
        kitchen.now = at(now);
        kitchen.decide(|d| d.due(Timer::Early(ID)));
        assert_eq!(kitchen.timers, [(Timer::Early(ID), at(again))]);
    }
    kitchen.now = at(1) + TimeDelta::seconds(900);
    kitchen.decide(|d| d.due(Timer::Early(ID)));
    assert!(kitchen.timers.is_empty());
    let [(5, why)] = kitchen.set.given_up() else {
        panic!()
    };
    assert!(why.starts_with("unknown_order"), "{why}");
}

#[test]
fn an_order_placed_by_another_instance_is_found_by_the_timer() {
    let mut other = Kitchen::new();
    other.order(ID, [captured()]);
    let order = other.set.order(ID).cloned().unwrap();
    let mut kitchen = Kitchen::with(orders::working_set::WorkingSet::new(
        vec![order],
        vec![stored_early()],
    ));
    kitchen.decide(|d| d.due(Timer::Early(ID)));
    assert_eq!(
        kitchen.take_names(),
        ["OrderCancelled", "RefundRequested", "AssignmentCancelled"]
    );
    assert_eq!(kitchen.set.settled(), [5]);
}

#[test]
fn what_was_heard_early_and_does_not_fit_is_left_for_a_person() {
    let mut kept = stored_early();
    kept.fact.said = kitchen_rejects("r-2");
    let mut kitchen = Kitchen::with(orders::working_set::WorkingSet::new(vec![], vec![kept]));
    kitchen.place(placed(ID));
    assert_eq!(
        status(&kitchen),
        (Status::PaymentPending, Payment::Requested)
    );
    let [(5, why)] = kitchen.set.given_up() else {
        panic!()
    };
    assert!(why.starts_with("restaurant_mismatch"), "{why}");
}

/// A cancel, received a second after `at(0)`, stored as row 5.
fn stored_early() -> orders::working_set::Early {
    orders::working_set::Early {
        id: Some(5),
        lane: sample::LANE.into(),
        fact: fact(ID, 1, cancel()),
        traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
        received_at: at(1),
    }
}
