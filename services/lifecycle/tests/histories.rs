//! Any interleaving and repetition of a legal history ends in the same state, with the same money moved once.
//!
//! A history is what each topic says, in its order. Nothing else is ordered: a payment may be heard of after the delivery.
//! Only the placing comes before what services do on its account; kitchens and customers may be heard of even earlier.

use lifecycle::{Effect, Event, Outcome, Payment, State, Status, apply};
use proptest::prelude::*;
use proptest::sample::Index;

const ASSIGNED: Event = Event::DriverAssigned { attempt: 1 };
const ASSIGNED_AGAIN: Event = Event::DriverAssigned { attempt: 2 };
const RELEASED: Event = Event::AssignmentReleased { attempt: 1 };
const GIVEN_UP: Event = Event::AssignmentFailed {
    attempt: 2,
    last: true,
};
/// The driver is gone with the meal.
const ABANDONED: Event = Event::AssignmentFailed {
    attempt: 1,
    last: true,
};

/// What each topic says of an order, and how the order ends.
struct History {
    payments: &'static [Event],
    assignment: &'static [Event],
    /// Heard of at any time, before the placing too.
    others: &'static [&'static [Event]],
    status: Status,
    payment: Payment,
    /// How often money is (asked for, given back).
    money: (usize, usize),
}

const CAPTURED: &[Event] = &[Event::PaymentCaptured];
const KITCHEN: &[Event] = &[Event::PrepTimeChanged, Event::FoodReady];
const CANCEL: &[Event] = &[Event::CancelRequested];

/// Those that end badly come last.
const HISTORIES: [History; 9] = [
    History {
        payments: CAPTURED,
        assignment: &[ASSIGNED, Event::PickupConfirmed, Event::DeliveryConfirmed],
        others: &[KITCHEN],
        status: Status::Delivered,
        payment: Payment::Captured,
        money: (1, 0),
    },
    History {
        payments: CAPTURED,
        assignment: &[
            ASSIGNED,
            RELEASED,
            ASSIGNED_AGAIN,
            Event::PickupConfirmed,
            Event::DeliveryConfirmed,
        ],
        others: &[KITCHEN],
        status: Status::Delivered,
        payment: Payment::Captured,
        money: (1, 0),
    },
    History {
        payments: CAPTURED,
        assignment: &[],
        others: &[KITCHEN],
        status: Status::Confirmed,
        payment: Payment::Captured,
        money: (1, 0),
    },
    History {
        payments: CAPTURED,
        assignment: &[ASSIGNED, RELEASED, ASSIGNED_AGAIN],
        others: &[],
        status: Status::DriverAssigned,
        payment: Payment::Captured,
        money: (1, 0),
    },
    History {
        payments: &[Event::PaymentDeclined],
        assignment: &[],
        others: &[KITCHEN],
        status: Status::PaymentFailed,
        payment: Payment::Declined,
        money: (1, 0),
    },
    History {
        payments: &[Event::PaymentDelayed, Event::PaymentCaptured],
        assignment: &[],
        others: &[KITCHEN],
        status: Status::Cancelled,
        payment: Payment::RefundRequested,
        money: (1, 1),
    },
    History {
        payments: &[Event::PaymentExpired],
        assignment: &[],
        others: &[KITCHEN],
        status: Status::Cancelled,
        payment: Payment::Declined,
        money: (1, 0),
    },
    History {
        payments: CAPTURED,
        assignment: &[ASSIGNED, Event::PickupConfirmed, ABANDONED],
        others: &[KITCHEN],
        status: Status::Undeliverable,
        payment: Payment::RefundRequested,
        money: (1, 1),
    },
    History {
        payments: CAPTURED,
        assignment: &[ASSIGNED, RELEASED, GIVEN_UP],
        others: &[KITCHEN],
        status: Status::Undeliverable,
        payment: Payment::RefundRequested,
        money: (1, 1),
    },
];

/// Each event of a topic, some of them said again any time later.
fn repeated(topic: &[Event], again: &[Index]) -> Vec<Event> {
    let mut said = topic.to_vec();
    for index in again.iter().filter(|_| !topic.is_empty()) {
        let first = index.index(said.len());
        let event = said[first];
        // A new preparation time is told from an old one by its instant, which is the caller's to compare.
        if event != Event::PrepTimeChanged {
            said.insert(first + 1 + (index.index(97) % (said.len() - first)), event);
        }
    }
    said
}

/// Merges topics into one sequence, each in its own order.
fn interleave(topics: Vec<Vec<Event>>, choices: &[Index]) -> Vec<Event> {
    let mut rest: Vec<_> = topics
        .into_iter()
        .map(|topic| topic.into_iter().peekable())
        .collect();
    let mut merged = Vec::new();
    for choice in choices.iter().cycle() {
        rest.retain_mut(|topic| topic.peek().is_some());
        if rest.is_empty() {
            break;
        }
        let next = choice.index(rest.len());
        merged.extend(rest[next].next());
    }
    merged
}

/// Plays events; returns the end and how often each effect was asked for.
fn play(events: &[Event]) -> (State, Vec<Effect>) {
    let mut state = State::NEW;
    let mut effects = Vec::new();
    for event in events {
        match apply(state, *event) {
            Outcome::Transition(transition) => {
                state = transition.state;
                effects.extend(transition.effects.iter());
            }
            Outcome::Stale(_) | Outcome::Refused(_) => {}
            Outcome::Illegal(why) => panic!("{event:?} in {state:?} of {events:?}: {why:?}"),
        }
    }
    (state, effects)
}

fn count(effects: &[Effect], effect: Effect) -> usize {
    effects.iter().filter(|e| **e == effect).count()
}

/// The sequence in which one reader might hear a history; `later` comes at any time after the placing.
fn heard(history: &History, later: &[Event], again: &[Index], choices: &[Index]) -> Vec<Event> {
    let placed = vec![Event::Accepted; 1 + again.len() % 2];
    // What came before the placing: a prefix of each other topic.
    let (mut before, mut after) = (Vec::new(), vec![repeated(later, again)]);
    for (topic, index) in history.others.iter().zip(choices) {
        let topic = repeated(topic, again);
        let (early, late) = topic.split_at(index.index(topic.len() + 1));
        before.push(early.to_vec());
        after.push(late.to_vec());
    }
    after.push(repeated(history.payments, again));
    after.push(repeated(history.assignment, again));
    after.push(placed[1..].to_vec());
    let mut events = interleave(before, choices);
    events.push(placed[0]);
    events.extend(interleave(after, choices));
    events
}

fn indices(length: std::ops::Range<usize>) -> impl Strategy<Value = Vec<Index>> {
    proptest::collection::vec(any::<Index>(), length)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_interleaving_and_repetition_ends_alike_with_the_money_moved_once(
        history in 0..HISTORIES.len(),
        again in indices(0..6),
        choices in indices(4..24),
    ) {
        let history = &HISTORIES[history];
        let events = heard(history, &[], &again, &choices);
        let (state, effects) = play(&events);
        prop_assert_eq!((state.status, state.payment), (history.status, history.payment), "{:?}", events);
        let money = (count(&effects, Effect::RequestPayment), count(&effects, Effect::RequestRefund));
        prop_assert_eq!(money, history.money, "{:?}", events);
    }

    #[test]
    fn the_whole_state_is_the_same_whatever_overtakes_what(
        // The kitchen stands still once an order ended badly, so its axis then says when that was.
        history in 0..HISTORIES.len() - 5,
        again in indices(0..6),
        choices in indices(4..24),
    ) {
        let history = &HISTORIES[history];
        let in_order = heard(history, &[], &[], &[choices[0]; 4]);
        let events = heard(history, &[], &again, &choices);
        prop_assert_eq!(play(&events).0, play(&in_order).0, "{:?}", events);
    }

    #[test]
    fn a_cancel_at_any_moment_leaves_no_money_behind(
        history in 0..HISTORIES.len(),
        again in indices(0..6),
        choices in indices(4..24),
    ) {
        let history = &HISTORIES[history];
        let events = heard(history, CANCEL, &again, &choices);
        let (state, effects) = play(&events);
        let asked = count(&effects, Effect::RequestPayment);
        let back = count(&effects, Effect::RequestRefund);
        prop_assert!(asked <= 1 && back <= asked, "{:?}", events);
        prop_assert!(state.status.is_final(), "{:?}", events);
        let captured = asked == 1 && history.payments.contains(&Event::PaymentCaptured);
        let kept = captured && state.status == Status::Delivered;
        prop_assert_eq!(back == 1, captured && !kept, "{:?} {:?}", state, events);
    }

    #[test]
    fn an_order_cancelled_before_it_was_placed_costs_nothing(again in indices(0..6), choices in indices(4..24)) {
        let mut events = vec![Event::CancelRequested];
        events.extend(interleave(vec![repeated(KITCHEN, &again), vec![Event::Accepted; 2]], &choices));
        let (state, effects) = play(&events);
        prop_assert_eq!((state.status, state.payment), (Status::Cancelled, Payment::Unasked));
        prop_assert_eq!(effects, [Effect::PublishCancelled]);
    }
}
