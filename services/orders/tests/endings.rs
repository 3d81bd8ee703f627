//! How orders end without a delivery: who is told, whose money goes back, who is let go, and what is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sample;

use contracts::driver_assignment::{FailureReason, WithdrawalReason};
use contracts::orders::{Actor, CancelRefusal};
use contracts::payments::{DeclineReason, RefundReason};
use contracts::streams::{DriverAssignmentRequest, OrdersEvent, PaymentsRequest};
use lifecycle::{Payment, Status};
use orders::decide::Timer;
use orders::emission::Body;
use orders::fact::Said;
use runtime::Verdict;
use sample::{
    Bench, assigned, at, cancel, captured, delivered, fact, kitchen_rejects, picked_up, total,
};
use uuid::Uuid;

const ID: Uuid = Uuid::from_u128(7);

fn status(bench: &Bench) -> (Status, Payment) {
    let state = bench.set.order(ID).unwrap().state;
    (state.status, state.payment)
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
fn a_payment_that_comes_too_late_cancels_the_order_on_the_systems_account() {
    let expired = Said::PaymentDeclined {
        reason: DeclineReason::Expired,
        message: None,
    };
    for said in [expired, Said::PaymentDelayed] {
        cancelled_by_the_system(said);
    }
}

fn cancelled_by_the_system(said: Said) {
    let mut bench = Bench::new();
    bench.order(ID, [said]);
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
