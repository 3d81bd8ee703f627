//! The transitions, one function per event. Every match names every status: a new one does not compile until each
//! event has an answer for it.

use crate::effect::{Effect, Effects};
use crate::event::Event;
use crate::outcome::{Contradiction, Outcome, Refusal, Staleness, Transition};
use crate::state::{Assignment, Kitchen, Payment, Phase, State, Status};

use Contradiction::{AlreadyCaptured, NeverCaptured, NotAskedFor};
use Staleness::{Duplicate, OrderEnded, Overtaken};
use Status::{
    Cancelled, Confirmed, Delivered, DriverAssigned, PaymentFailed, PaymentPending, PickedUp,
    Placed, Rejected, Undeliverable,
};

/// What `event` does to an order in `state`.
pub fn apply(state: State, event: Event) -> Outcome {
    match event {
        Event::Accepted => accepted(state),
        Event::Invalid => invalid(state),
        Event::CancelRequested => cancel_requested(state),
        Event::PaymentCaptured => payment_captured(state),
        Event::PaymentDeclined => payment_declined(state, PaymentFailed),
        Event::PaymentExpired => payment_declined(state, Cancelled),
        Event::PaymentDelayed => payment_delayed(state),
        Event::PaymentRefunded => payment_refunded(state),
        Event::DriverAssigned { attempt } => driver_assigned(state, attempt),
        Event::AssignmentReleased { attempt } => assignment_released(state, attempt),
        Event::AssignmentFailed { attempt, last } => assignment_failed(state, attempt, last),
        Event::AssignmentDue => assignment_due(state),
        Event::PickupConfirmed => pickup_confirmed(state),
        Event::DeliveryConfirmed => delivery_confirmed(state),
        Event::PrepTimeChanged => prep_time_changed(state),
        Event::FoodReady => food_ready(state),
        Event::KitchenRejected => kitchen_rejected(state),
    }
}

fn accepted(state: State) -> Outcome {
    match state.status {
        Placed => to(
            State {
                status: PaymentPending,
                payment: Payment::Requested,
                ..state
            },
            &[Effect::PublishAccepted, Effect::RequestPayment],
        ),
        // Cancelled before it was accepted: no money is asked for.
        Cancelled if state.payment == Payment::Unasked => stale(OrderEnded),
        PaymentPending | Confirmed | DriverAssigned | PickedUp | Delivered | Rejected
        | PaymentFailed | Cancelled | Undeliverable => stale(Duplicate),
    }
}

fn invalid(state: State) -> Outcome {
    match state.status {
        Placed => to(
            State {
                status: Rejected,
                ..state
            },
            &[Effect::PublishRejected],
        ),
        PaymentPending | Confirmed | DriverAssigned | PickedUp | Delivered | Rejected
        | PaymentFailed | Cancelled | Undeliverable => stale(Duplicate),
    }
}

fn cancel_requested(state: State) -> Outcome {
    match state.status {
        Placed | PaymentPending | Confirmed | DriverAssigned => {
            end(state, Cancelled, Effect::PublishCancelled)
        }
        PickedUp => Outcome::Refused(Refusal::AlreadyPickedUp),
        Delivered => Outcome::Refused(Refusal::AlreadyDelivered),
        Cancelled => stale(Duplicate),
        Rejected | PaymentFailed | Undeliverable => stale(OrderEnded),
    }
}

fn kitchen_rejected(state: State) -> Outcome {
    let rejected = State {
        kitchen: Kitchen::Rejected,
        ..state
    };
    match state.status {
        Placed | PaymentPending | Confirmed | DriverAssigned => {
            end(rejected, Cancelled, Effect::PublishCancelled)
        }
        PickedUp => Outcome::Refused(Refusal::AlreadyPickedUp),
        Delivered => Outcome::Refused(Refusal::AlreadyDelivered),
        Cancelled if state.kitchen == Kitchen::Rejected => stale(Duplicate),
        Cancelled | Rejected | PaymentFailed | Undeliverable => stale(OrderEnded),
    }
}

fn payment_captured(state: State) -> Outcome {
    match state.payment {
        Payment::Unasked => return illegal(NotAskedFor),
        Payment::Captured | Payment::RefundRequested | Payment::Refunded => {
            return stale(Duplicate);
        }
        // A capture after a decline is money all the same.
        Payment::Requested | Payment::Declined => {}
    }
    let captured = State {
        payment: Payment::Captured,
        ..state
    };
    match state.status {
        Placed | Rejected => illegal(NotAskedFor),
        PaymentPending => {
            let first = !state.assignment.was_asked();
            let sought = Assignment {
                attempt: 1,
                phase: Phase::Sought,
            };
            let assignment = if first { sought } else { state.assignment };
            let kitchen = state.kitchen.max(Kitchen::Preparing);
            let effects =
                Effects::of(&[Effect::PublishConfirmed]).and_if(first, Effect::RequestAssignment);
            let state = State {
                status: Confirmed,
                assignment,
                kitchen,
                ..captured
            };
            Outcome::Transition(Transition { state, effects })
        }
        // A driver was found before we heard of the money; the kitchen still has to hear that it is there.
        Confirmed | DriverAssigned => {
            let kitchen = state.kitchen.max(Kitchen::Preparing);
            to(
                State {
                    kitchen,
                    ..captured
                },
                &[Effect::PublishConfirmed],
            )
        }
        PickedUp | Delivered => to(captured, &[]),
        PaymentFailed | Cancelled | Undeliverable => to(
            State {
                payment: Payment::RefundRequested,
                ..state
            },
            &[Effect::RequestRefund],
        ),
    }
}

/// No money will come: the order ends as `exit`.
fn payment_declined(state: State, exit: Status) -> Outcome {
    match state.payment {
        Payment::Unasked => return illegal(NotAskedFor),
        Payment::Declined => return stale(Duplicate),
        Payment::Captured | Payment::RefundRequested | Payment::Refunded => {
            return illegal(AlreadyCaptured);
        }
        Payment::Requested => {}
    }
    let declined = State {
        payment: Payment::Declined,
        ..state
    };
    match state.status {
        Placed | Rejected => illegal(NotAskedFor),
        PaymentPending | Confirmed | DriverAssigned => {
            let told = match exit {
                Cancelled => Effect::PublishCancelled,
                _ => Effect::PublishPaymentFailed,
            };
            end(declined, exit, told)
        }
        PickedUp | Delivered => illegal(Contradiction::AlreadyPickedUp),
        PaymentFailed | Cancelled | Undeliverable => to(declined, &[]),
    }
}

/// Nobody waits any longer; money that turns out to have been taken goes back.
fn payment_delayed(state: State) -> Outcome {
    match state.payment {
        Payment::Unasked => return illegal(NotAskedFor),
        Payment::Declined | Payment::Captured | Payment::RefundRequested | Payment::Refunded => {
            return stale(Overtaken);
        }
        Payment::Requested => {}
    }
    match state.status {
        Placed | Rejected => illegal(NotAskedFor),
        PaymentPending | Confirmed | DriverAssigned => {
            end(state, Cancelled, Effect::PublishCancelled)
        }
        PickedUp | Delivered => stale(Overtaken),
        PaymentFailed | Cancelled | Undeliverable => stale(OrderEnded),
    }
}

fn payment_refunded(state: State) -> Outcome {
    match state.payment {
        // Also without having been asked for by us: the money is back, and must not go back twice.
        Payment::Captured | Payment::RefundRequested => to(
            State {
                payment: Payment::Refunded,
                ..state
            },
            &[],
        ),
        Payment::Refunded => stale(Duplicate),
        Payment::Unasked => illegal(NotAskedFor),
        Payment::Requested | Payment::Declined => illegal(NeverCaptured),
    }
}

fn driver_assigned(state: State, attempt: u32) -> Outcome {
    let assignment = Assignment {
        attempt,
        phase: Phase::Held,
    };
    match state.status {
        Placed => illegal(NotAskedFor),
        PaymentPending | Confirmed | DriverAssigned if state.assignment < assignment => to(
            State {
                status: DriverAssigned,
                assignment,
                ..state
            },
            &[Effect::PublishDriverAssigned],
        ),
        PaymentPending | Confirmed | DriverAssigned => older(state, assignment),
        PickedUp | Delivered => stale(Overtaken),
        Rejected | PaymentFailed | Cancelled | Undeliverable => stale(OrderEnded),
    }
}

fn assignment_released(state: State, attempt: u32) -> Outcome {
    let assignment = Assignment {
        attempt,
        phase: Phase::Released,
    };
    match state.status {
        Placed => illegal(NotAskedFor),
        PaymentPending | Confirmed | DriverAssigned if state.assignment < assignment => to(
            State {
                assignment,
                ..without_driver(state)
            },
            &[],
        ),
        PaymentPending | Confirmed | DriverAssigned => older(state, assignment),
        PickedUp if state.assignment < assignment => illegal(Contradiction::AlreadyPickedUp),
        PickedUp => stale(Overtaken),
        Delivered | Rejected | PaymentFailed | Cancelled | Undeliverable => stale(OrderEnded),
    }
}

fn assignment_failed(state: State, attempt: u32, last: bool) -> Outcome {
    let assignment = Assignment {
        attempt,
        phase: Phase::Failed,
    };
    match state.status {
        Placed => illegal(NotAskedFor),
        PaymentPending | Confirmed | DriverAssigned if state.assignment < assignment => {
            if last {
                return undeliverable(State {
                    assignment,
                    ..state
                });
            }
            let next = Assignment {
                attempt: attempt.saturating_add(1),
                phase: Phase::Waiting,
            };
            let state = State {
                assignment: next,
                ..without_driver(state)
            };
            to(state, &[Effect::ScheduleAssignment])
        }
        PaymentPending | Confirmed | DriverAssigned => older(state, assignment),
        // Its driver is gone with the meal.
        PickedUp if state.assignment < assignment && last => undeliverable(State {
            assignment,
            ..state
        }),
        PickedUp if state.assignment < assignment => illegal(Contradiction::AlreadyPickedUp),
        PickedUp => stale(Overtaken),
        Undeliverable if state.assignment == assignment => stale(Duplicate),
        Delivered | Rejected | PaymentFailed | Cancelled | Undeliverable => stale(OrderEnded),
    }
}

fn assignment_due(state: State) -> Outcome {
    let waiting = state.assignment.was_asked() && state.assignment.phase == Phase::Waiting;
    match state.status {
        PaymentPending | Confirmed if waiting => {
            let assignment = Assignment {
                phase: Phase::Sought,
                ..state.assignment
            };
            to(
                State {
                    assignment,
                    ..state
                },
                &[Effect::RequestAssignment],
            )
        }
        Placed | PaymentPending | Confirmed | DriverAssigned | PickedUp => stale(Overtaken),
        Delivered | Rejected | PaymentFailed | Cancelled | Undeliverable => stale(OrderEnded),
    }
}

fn pickup_confirmed(state: State) -> Outcome {
    match state.status {
        Placed => illegal(NotAskedFor),
        PaymentPending | Confirmed | DriverAssigned => to(
            State {
                status: PickedUp,
                ..with_driver(state)
            },
            &[Effect::PublishPickedUp],
        ),
        PickedUp => stale(Duplicate),
        Delivered => stale(Overtaken),
        Rejected | PaymentFailed | Cancelled | Undeliverable => stale(OrderEnded),
    }
}

fn delivery_confirmed(state: State) -> Outcome {
    match state.status {
        Placed => illegal(NotAskedFor),
        PaymentPending | Confirmed | DriverAssigned | PickedUp => to(
            State {
                status: Delivered,
                ..with_driver(state)
            },
            &[Effect::PublishDelivered],
        ),
        Delivered => stale(Duplicate),
        Rejected | PaymentFailed | Cancelled | Undeliverable => stale(OrderEnded),
    }
}

fn prep_time_changed(state: State) -> Outcome {
    match state.status {
        Placed | PaymentPending | Confirmed | DriverAssigned => match state.kitchen {
            Kitchen::Waiting | Kitchen::Preparing => to(state, &[Effect::MoveReadyAt]),
            Kitchen::Ready | Kitchen::Rejected => stale(Overtaken),
        },
        PickedUp | Delivered => stale(Overtaken),
        Rejected | PaymentFailed | Cancelled | Undeliverable => stale(OrderEnded),
    }
}

fn food_ready(state: State) -> Outcome {
    match state.status {
        Placed | PaymentPending | Confirmed | DriverAssigned => match state.kitchen {
            Kitchen::Waiting | Kitchen::Preparing => to(
                State {
                    kitchen: Kitchen::Ready,
                    ..state
                },
                &[Effect::MoveReadyAt],
            ),
            Kitchen::Ready => stale(Duplicate),
            Kitchen::Rejected => stale(Overtaken),
        },
        PickedUp | Delivered => stale(Overtaken),
        Rejected | PaymentFailed | Cancelled | Undeliverable => stale(OrderEnded),
    }
}

/// Ends an order before its meal left the restaurant: the driver is released, the money goes back if it was taken.
fn end(state: State, status: Status, publish: Effect) -> Outcome {
    let (payment, refund) = give_back(state.payment);
    let effects = Effects::of(&[publish])
        .and_if(refund, Effect::RequestRefund)
        .and_if(state.assignment.was_asked(), Effect::CancelAssignment);
    Outcome::Transition(Transition {
        state: State {
            status,
            payment,
            ..state
        },
        effects,
    })
}

/// As [`end`], but assignment has let go of the order itself.
fn undeliverable(state: State) -> Outcome {
    let (payment, refund) = give_back(state.payment);
    let effects =
        Effects::of(&[Effect::PublishUndeliverable]).and_if(refund, Effect::RequestRefund);
    let state = State {
        status: Undeliverable,
        payment,
        ..state
    };
    Outcome::Transition(Transition { state, effects })
}

fn give_back(payment: Payment) -> (Payment, bool) {
    match payment {
        Payment::Captured => (Payment::RefundRequested, true),
        Payment::Unasked
        | Payment::Requested
        | Payment::Declined
        | Payment::RefundRequested
        | Payment::Refunded => (payment, false),
    }
}

/// The order is looking for a driver again; `confirmed` says that its money was taken.
fn without_driver(state: State) -> State {
    let status = if state.payment == Payment::Requested {
        PaymentPending
    } else {
        Confirmed
    };
    State { status, ..state }
}

/// A meal on its way implies a driver and cooked food.
fn with_driver(state: State) -> State {
    let held = Assignment {
        attempt: state.assignment.attempt.max(1),
        phase: Phase::Held,
    };
    State {
        assignment: state.assignment.max(held),
        kitchen: Kitchen::Ready,
        ..state
    }
}

fn older(state: State, assignment: Assignment) -> Outcome {
    stale(if state.assignment == assignment {
        Duplicate
    } else {
        Overtaken
    })
}

fn to(state: State, effects: &[Effect]) -> Outcome {
    Outcome::Transition(Transition {
        state,
        effects: Effects::of(effects),
    })
}

fn stale(reason: Staleness) -> Outcome {
    Outcome::Stale(reason)
}

fn illegal(reason: Contradiction) -> Outcome {
    Outcome::Illegal(reason)
}
