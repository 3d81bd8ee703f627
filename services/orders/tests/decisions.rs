//! What orders does about what it hears: records, audit, versions, partitions, verdicts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sample;

use std::collections::BTreeSet;

use contracts::driver_assignment::{FailureReason, WithdrawalReason};
use contracts::orders::{Actor, CancelRefusal};
use contracts::payments::{DeclineReason, RefundReason};
use contracts::streams::{DriverAssignmentRequest, OrdersEvent, PaymentsRequest};
use contracts::value::Money;
use lifecycle::{Payment, Status};
use orders::decide::Timer;
use orders::emission::Body;
use orders::fact::Said;
use runtime::Verdict;
use sample::{
    Bench, PARTITIONS, assigned, at, cancel, captured, delivered, fact, food_ready,
    kitchen_rejects, picked_up, placed, ready_in, total,
};
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(7);

fn status(bench: &Bench) -> (Status, Payment) {
    let state = bench.set.order(ID).unwrap().state;
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
    let mut bench = Bench::new();
    bench.place(placed(ID));
    assert_eq!(bench.take_names(), ["OrderAccepted", "PaymentRequested"]);
    let story: [(Said, &[&str]); 5] = [
        (captured(), &["OrderConfirmed", "AssignmentRequested"]),
        (assigned(1, "d-1"), &["OrderDriverAssigned"]),
        (food_ready(1_250), &[]),
        (picked_up("d-1"), &["OrderPickedUp"]),
        (delivered("d-1"), &["OrderDelivered"]),
    ];
    for (second, (said, records)) in story.into_iter().enumerate() {
        assert_eq!(bench.hear(fact(ID, second as i64, said)), Verdict::Done);
        assert_eq!(bench.take_names(), records);
    }
    let order = bench.set.order(ID).unwrap();
    assert_eq!((order.version, order.state.status), (6, Status::Delivered));
    assert_eq!(
        (order.ready_at, order.picked_up_at),
        (at(1_250), Some(at(1_350)))
    );
    let audit: Vec<_> = bench
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
    let mut bench = Bench::new();
    bench.place(placed(Uuid::from_u128(1)));
    bench.take_names();
    bench.order(ID, [captured(), assigned(1, "d"), cancel()]);
    let ids: BTreeSet<Uuid> = bench
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
    assert_eq!((ids.len(), bench.sent.len()), (8, 8));
}

#[test]
fn orders_are_dealt_to_partitions_in_turn_rejected_ones_included() {
    let mut bench = Bench::new();
    for number in 0..30 {
        let mut order = placed(Uuid::from_u128(number));
        if number % 3 == 0 {
            order.items.clear();
        }
        bench.place(order);
        let partition = bench.set.order(Uuid::from_u128(number)).unwrap().partition;
        assert_eq!(partition, i32::try_from(number).unwrap() % PARTITIONS);
    }
}

#[test]
fn an_order_placed_twice_is_a_duplicate_also_under_another_event_id() {
    let mut bench = Bench::new();
    bench.order(ID, [captured()]);
    bench.take_names();
    assert_eq!(bench.place(placed(ID)), Verdict::Skip("duplicate"));
    let mut again = placed(ID);
    again.event_id = Uuid::from_u128(99);
    assert_eq!(bench.place(again), Verdict::Skip("duplicate"));
    assert!(bench.sent.is_empty());
}

#[test]
fn another_order_under_the_same_id_is_rejected() {
    let mut bench = Bench::new();
    bench.order(ID, []);
    let mut other = placed(ID);
    other.event_id = Uuid::from_u128(99);
    other.customer.id = "c-2".into();
    assert_eq!(rejected_as(&bench.place(other)), "order_id_reused");
    assert_eq!(bench.set.order(ID).unwrap().customer.id, "c-1");
}

#[test]
fn what_services_say_of_an_unknown_order_is_rejected_with_its_id() {
    let mut bench = Bench::new();
    for said in [
        captured(),
        assigned(1, "d"),
        picked_up("d"),
        delivered("d"),
        Said::DriverAtRestaurant,
    ] {
        let Verdict::Reject(reject) = bench.hear(fact(ID, 1, said)) else {
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
        let mut bench = Bench::new();
        bench.order(ID, [captured(), assigned(1, "d-1")]);
        let before = bench.set.order(ID).cloned();
        assert_eq!(rejected_as(&bench.hear(fact(ID, 99, said))), kind);
        assert_eq!(bench.set.order(ID).cloned(), before, "{kind}");
    }
    let mut bench = Bench::new();
    bench.order(ID, []);
    let mut elsewhere = fact(ID, 1, captured());
    elsewhere.geo = "paris-bastille".into();
    assert_eq!(rejected_as(&bench.hear(elsewhere)), "geo_mismatch");
}

#[test]
fn a_cancel_before_the_capture_ends_the_order_and_the_capture_is_given_back() {
    let mut bench = Bench::new();
    bench.order(ID, [cancel()]);
    assert_eq!(
        bench.take_names(),
        ["OrderAccepted", "PaymentRequested", "OrderCancelled"]
    );
    assert_eq!(bench.hear(fact(ID, 50, captured())), Verdict::Done);
    assert_eq!(
        status(&bench),
        (Status::Cancelled, Payment::RefundRequested)
    );
    let Body::Payments(PaymentsRequest::RefundRequested(refund)) = &bench.sent[0].body else {
        panic!()
    };
    assert_eq!(
        (&refund.amount, refund.reason),
        (&total(), RefundReason::OrderCancelled)
    );
    assert_eq!(
        bench.hear(fact(ID, 51, captured())),
        Verdict::Skip("duplicate")
    );
    assert_eq!(
        bench.hear(fact(ID, 52, Said::PaymentRefunded { amount: total() })),
        Verdict::Done
    );
    assert_eq!(
        (status(&bench).1, bench.take_names()),
        (Payment::Refunded, vec!["RefundRequested"])
    );
}

#[test]
fn a_cancel_after_the_assignment_refunds_and_releases_the_driver() {
    let mut bench = Bench::new();
    bench.order(ID, [captured(), assigned(1, "d-1")]);
    bench.take_names();
    bench.hear(fact(ID, 50, cancel()));
    let Body::Orders(OrdersEvent::OrderCancelled(cancelled)) = &bench.sent[0].body else {
        panic!()
    };
    assert_eq!(cancelled.driver_id.as_deref(), Some("d-1"));
    assert_eq!(
        (cancelled.cancelled_by, &cancelled.refund),
        (Actor::Customer, &Some(total()))
    );
    assert_eq!(bench.set.order(ID).unwrap().driver_id, None);
    assert_eq!(
        bench.take_names(),
        ["OrderCancelled", "RefundRequested", "AssignmentCancelled"]
    );
}

#[test]
fn a_cancel_that_comes_too_late_is_refused_with_a_reason_once_per_request() {
    let stories = [
        (vec![picked_up("d")], CancelRefusal::AlreadyPickedUp),
        (
            vec![picked_up("d"), delivered("d")],
            CancelRefusal::AlreadyDelivered,
        ),
    ];
    for (story, why) in stories {
        let mut bench = Bench::new();
        bench.order(ID, [captured(), assigned(1, "d")].into_iter().chain(story));
        let before = bench.set.order(ID).unwrap().clone();
        bench.take_names();
        let request = fact(ID, 50, cancel());
        assert_eq!(bench.hear(request.clone()), Verdict::Done);
        assert_eq!(bench.hear(request.clone()), Verdict::Skip("duplicate"));
        let [emission] = &bench.sent[..] else {
            panic!("{:?}", bench.sent)
        };
        let Body::Orders(OrdersEvent::OrderCancelRefused(refused)) = &emission.body else {
            panic!("{emission:?}")
        };
        assert_eq!(
            (refused.requested_by, refused.reason),
            (Actor::Customer, why)
        );
        assert_eq!(refused.correlation_id, request.event_id);
        let order = bench.set.order(ID).unwrap();
        assert_eq!(order.state, before.state);
        assert_eq!(refused.order_version, before.version + 1);
        let row = bench.set.transitions().last().unwrap();
        assert_eq!((row.from, row.to), (before.state, before.state));
        assert_eq!(row.version, order.version);
        assert_eq!(
            bench.hear(fact(ID, 51, cancel())),
            Verdict::Done,
            "another request"
        );
    }
}

#[test]
fn a_payment_that_expires_cancels_the_order_on_the_systems_account() {
    let mut bench = Bench::new();
    let expired = Said::PaymentDeclined {
        reason: DeclineReason::Expired,
        message: None,
    };
    bench.order(ID, [expired]);
    let Some(Body::Orders(OrdersEvent::OrderCancelled(cancelled))) =
        bench.sent.last().map(|emission| &emission.body)
    else {
        panic!("{:?}", bench.sent)
    };
    assert_eq!(cancelled.cancelled_by, Actor::System);
    assert!(cancelled.reason.as_ref().unwrap().contains("payment"));
    assert_eq!(cancelled.refund, None);
}

#[test]
fn a_meal_whose_driver_is_gone_for_good_is_refunded() {
    let mut bench = Bench::new();
    bench.order(ID, [captured(), assigned(1, "d"), picked_up("d")]);
    bench.take_names();
    assert_eq!(
        bench.hear(fact(ID, 40, Said::DriverMissing)),
        Verdict::Skip("informative")
    );
    let abandoned = Said::AssignmentFailed {
        attempt: 1,
        reason: FailureReason::Abandoned,
        retry_after_s: 0,
        last: true,
    };
    assert_eq!(bench.hear(fact(ID, 50, abandoned)), Verdict::Done);
    assert_eq!(
        bench.take_names(),
        ["OrderUndeliverable", "RefundRequested"]
    );
}

#[test]
fn a_kitchen_that_rejects_cancels_on_the_restaurants_account() {
    let mut bench = Bench::new();
    bench.order(ID, [captured()]);
    bench.take_names();
    bench.hear(fact(ID, 50, kitchen_rejects("r-1")));
    let [cancelled, refund, withdrawn] = &bench.sent[..] else {
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
    let mut bench = Bench::new();
    bench.order(ID, []);
    bench.take_names();
    let said = Said::PaymentDeclined {
        reason: DeclineReason::Declined,
        message: Some("no funds".into()),
    };
    bench.hear(fact(ID, 5, said));
    let Body::Orders(OrdersEvent::OrderPaymentFailed(failed)) = &bench.sent[0].body else {
        panic!()
    };
    assert_eq!(
        (failed.reason, failed.message.as_deref()),
        (DeclineReason::Declined, Some("no funds"))
    );
    assert_eq!(status(&bench), (Status::PaymentFailed, Payment::Declined));
}

#[test]
fn a_search_that_failed_for_good_refunds() {
    let mut bench = Bench::new();
    bench.order(ID, [captured()]);
    bench.take_names();
    let said = Said::AssignmentFailed {
        attempt: 1,
        reason: FailureReason::Expired,
        retry_after_s: 0,
        last: true,
    };
    bench.hear(fact(ID, 50, said));
    let Body::Orders(OrdersEvent::OrderUndeliverable(end)) = &bench.sent[0].body else {
        panic!()
    };
    assert_eq!(
        (end.reason, &end.refund),
        (FailureReason::Expired, &Some(total()))
    );
    assert_eq!(
        bench.take_names(),
        ["OrderUndeliverable", "RefundRequested"]
    );
}

#[test]
fn a_search_that_failed_for_now_is_repeated_when_it_is_due() {
    let mut bench = Bench::new();
    bench.order(ID, [captured()]);
    bench.take_names();
    bench.now = at(50);
    let failed = |attempt| Said::AssignmentFailed {
        attempt,
        reason: FailureReason::NoAvailableDriver,
        retry_after_s: 30,
        last: false,
    };
    bench.hear(fact(ID, 50, failed(1)));
    assert_eq!(bench.timers, [(Timer::Assignment(ID), at(80))]);
    bench.now = at(79);
    bench.decide(|d| d.due(Timer::Assignment(ID)));
    assert_eq!(
        (bench.take_names(), &bench.timers[..]),
        (vec![], &[(Timer::Assignment(ID), at(80))][..])
    );
    bench.now = at(80);
    bench.decide(|d| d.due(Timer::Assignment(ID)));
    let Body::Assignment(DriverAssignmentRequest::AssignmentRequested(request)) =
        &bench.sent[0].body
    else {
        panic!()
    };
    assert_eq!((request.attempt, request.order_version), (2, 4));
    assert_eq!(
        bench.hear(fact(ID, 50, failed(1))),
        Verdict::Skip("overtaken")
    );
    bench.take_names();
    bench.decide(|d| d.due(Timer::Assignment(ID)));
    assert!(
        bench.sent.is_empty() && bench.timers.is_empty(),
        "asked for twice"
    );
}

#[test]
fn a_cancel_while_the_next_search_waits_stops_it() {
    let mut bench = Bench::new();
    let failed = Said::AssignmentFailed {
        attempt: 1,
        reason: FailureReason::Internal,
        retry_after_s: 30,
        last: false,
    };
    bench.order(ID, [captured(), failed, cancel()]);
    bench.take_names();
    assert_eq!(bench.set.order(ID).unwrap().assignment_due_at, None);
    bench.now = at(100);
    bench.decide(|d| d.due(Timer::Assignment(ID)));
    assert!(bench.sent.is_empty());
}

#[test]
fn a_released_driver_leaves_the_order_to_the_next_one() {
    let mut bench = Bench::new();
    bench.order(
        ID,
        [
            captured(),
            assigned(1, "d-1"),
            Said::AssignmentReleased { attempt: 1 },
        ],
    );
    let order = bench.set.order(ID).unwrap();
    assert_eq!(
        (
            order.state.status,
            &order.driver_id,
            order.expected_pickup_at
        ),
        (Status::Confirmed, &None, None)
    );
    assert_eq!(
        bench.hear(fact(ID, 60, assigned(1, "d-1"))),
        Verdict::Skip("overtaken")
    );
    assert_eq!(bench.hear(fact(ID, 61, assigned(2, "d-2"))), Verdict::Done);
    assert_eq!(bench.hear(fact(ID, 62, delivered("d-2"))), Verdict::Done);
    assert_eq!(
        bench.sent.last().map(|e| sample::name(&e.body)),
        Some("OrderDelivered")
    );
}

#[test]
fn an_older_preparation_time_does_not_replace_a_newer_one() {
    let mut bench = Bench::new();
    bench.order(ID, []);
    assert_eq!(bench.hear(fact(ID, 20, ready_in(2_000))), Verdict::Done);
    assert_eq!(
        bench.hear(fact(ID, 10, ready_in(1_500))),
        Verdict::Skip("overtaken")
    );
    assert_eq!(
        bench.hear(fact(ID, 20, ready_in(2_000))),
        Verdict::Skip("overtaken")
    );
    bench.hear(fact(ID, 30, captured()));
    let request = bench.sent.last().map(|e| &e.body);
    let Some(Body::Assignment(DriverAssignmentRequest::AssignmentRequested(request))) = request
    else {
        panic!()
    };
    assert_eq!(request.ready_at, at(2_000));
}
