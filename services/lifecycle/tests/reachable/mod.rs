//! All states that any sequence of events leads to, with at most two attempts at finding a driver.

use std::collections::HashSet;

use lifecycle::{Event, Outcome, State, apply};

/// Every event by the name it has in the table.
pub const EVENTS: [(&str, Event); 20] = [
    ("accepted", Event::Accepted),
    ("invalid", Event::Invalid),
    ("cancel", Event::CancelRequested),
    ("captured", Event::PaymentCaptured),
    ("declined", Event::PaymentDeclined),
    ("expired", Event::PaymentExpired),
    ("delayed", Event::PaymentDelayed),
    ("refunded", Event::PaymentRefunded),
    ("assigned1", Event::DriverAssigned { attempt: 1 }),
    ("assigned2", Event::DriverAssigned { attempt: 2 }),
    ("released1", Event::AssignmentReleased { attempt: 1 }),
    (
        "failed1",
        Event::AssignmentFailed {
            attempt: 1,
            last: false,
        },
    ),
    (
        "failed1_last",
        Event::AssignmentFailed {
            attempt: 1,
            last: true,
        },
    ),
    (
        "failed2_last",
        Event::AssignmentFailed {
            attempt: 2,
            last: true,
        },
    ),
    ("due", Event::AssignmentDue),
    ("picked_up", Event::PickupConfirmed),
    ("delivered", Event::DeliveryConfirmed),
    ("prep_changed", Event::PrepTimeChanged),
    ("food_ready", Event::FoodReady),
    ("kitchen_rejected", Event::KitchenRejected),
];

pub fn reachable() -> HashSet<State> {
    let mut seen = HashSet::from([State::NEW]);
    let mut open = vec![State::NEW];
    while let Some(state) = open.pop() {
        for (_, event) in EVENTS {
            if let Outcome::Transition(transition) = apply(state, event)
                && seen.insert(transition.state)
            {
                open.push(transition.state);
            }
        }
    }
    seen
}
