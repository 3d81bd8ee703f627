//! What holds in every reachable state and after every event: checked for all of them, not for samples.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod reachable;

use lifecycle::{Effect, Kitchen, Outcome, Payment, State, Status, Transition, apply};
use reachable::{EVENTS, reachable};

/// Every move between reachable states.
fn moves() -> impl Iterator<Item = (State, &'static str, Transition)> {
    reachable().into_iter().flat_map(|state| {
        EVENTS
            .into_iter()
            .filter_map(move |(name, event)| match apply(state, event) {
                Outcome::Transition(transition) => Some((state, name, transition)),
                Outcome::Stale(_) | Outcome::Refused(_) | Outcome::Illegal(_) => None,
            })
    })
}

#[test]
fn an_ended_order_never_changes_its_status() {
    let ended = moves().filter(|(from, ..)| from.status.is_final());
    for (count, (from, event, to)) in ended.enumerate() {
        assert_eq!(from.status, to.state.status, "{event} ({count})");
    }
}

#[test]
fn money_is_never_kept_for_an_order_that_ended_undelivered() {
    for state in reachable() {
        let undelivered = state.status.is_final() && state.status != Status::Delivered;
        assert!(
            !(undelivered && state.payment == Payment::Captured),
            "{state:?}"
        );
    }
}

#[test]
fn a_confirmed_order_is_paid() {
    for state in reachable()
        .into_iter()
        .filter(|s| s.status == Status::Confirmed)
    {
        assert!(
            matches!(state.payment, Payment::Captured | Payment::Refunded),
            "{state:?}"
        );
    }
}

#[test]
fn money_moves_one_way_and_each_request_goes_with_its_move() {
    for (from, event, Transition { state: to, effects }) in moves() {
        let asked = from.payment == Payment::Unasked && to.payment == Payment::Requested;
        assert_eq!(
            effects.contains(Effect::RequestPayment),
            asked,
            "{from:?} {event}"
        );
        let back =
            from.payment != Payment::RefundRequested && to.payment == Payment::RefundRequested;
        assert_eq!(
            effects.contains(Effect::RequestRefund),
            back,
            "{from:?} {event}"
        );
        assert!(
            from.payment <= to.payment,
            "{from:?} {event} goes back to {to:?}"
        );
        let undone = from.payment == Payment::Captured && to.payment == Payment::Declined;
        assert!(!undone, "{from:?} {event}");
    }
}

#[test]
fn an_order_that_ends_before_pickup_holds_no_driver() {
    for (from, event, Transition { state: to, effects }) in moves() {
        let left = to.status.is_final() && !from.status.is_final();
        let by_us = matches!(to.status, Status::Cancelled | Status::PaymentFailed);
        if left && by_us && from.assignment.was_asked() {
            assert!(
                effects.contains(Effect::CancelAssignment),
                "{from:?} {event}"
            );
        }
    }
}

#[test]
fn food_that_becomes_ready_leaves_the_driver_alone() {
    let ready = moves().filter(|(_, _, t)| t.state.kitchen == Kitchen::Ready);
    for (from, event, to) in ready.filter(|(_, event, _)| *event == "food_ready") {
        assert_eq!(
            (from.status, from.assignment),
            (to.state.status, to.state.assignment),
            "{event}"
        );
    }
}

#[test]
fn a_repeated_event_changes_nothing() {
    for (from, event, to) in moves() {
        let again = EVENTS
            .into_iter()
            .find(|(name, _)| *name == event)
            .unwrap()
            .1;
        // A second change of the preparation time is a change; which of the two is newer is told by their instants.
        if event != "prep_changed" {
            let outcome = apply(to.state, again);
            assert!(
                matches!(outcome, Outcome::Stale(_)),
                "{from:?} {event} {outcome:?}"
            );
        }
    }
}

#[test]
fn a_settled_order_stays_settled_and_an_ended_one_waits_for_its_money_only() {
    for (from, event, to) in moves() {
        // A capture after a decline is money all the same: it has to go back.
        let late_money = event == "captured" && from.payment == Payment::Declined;
        assert!(
            !from.is_settled() || to.state.is_settled() || late_money,
            "{from:?} {event}"
        );
    }
    let open = reachable().into_iter().filter(|state| !state.is_settled());
    for state in open.filter(|state| state.status.is_final()) {
        let money_under_way =
            matches!(state.payment, Payment::Requested | Payment::RefundRequested);
        assert!(money_under_way, "{state:?}");
    }
}
