//! The whole table: for every reachable (status, payment) and every event, the outcome, written out.
//!
//! Each state of `table.txt` names every event exactly once; a state that can be reached and is not in the table fails.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod reachable;

use std::collections::{BTreeMap, BTreeSet};

use lifecycle::{Assignment, Event, Kitchen, Outcome, Payment, Phase, State, Status, apply};
use reachable::{EVENTS, reachable};

/// One line `outcome: events` of a state.
struct Row<'a> {
    state: State,
    outcome: &'a str,
    event: &'a str,
}

fn parse_state(text: &str) -> State {
    let [status, payment, kitchen, assignment]: [&str; 4] =
        text.split(' ').collect::<Vec<_>>().try_into().unwrap();
    let (attempt, phase) = assignment.split_once('.').unwrap();
    State {
        status: Status::of_name(status).unwrap(),
        payment: Payment::of_name(payment).unwrap(),
        kitchen: Kitchen::of_name(kitchen).unwrap(),
        assignment: Assignment {
            attempt: attempt.parse().unwrap(),
            phase: Phase::of_name(phase).unwrap(),
        },
    }
}

fn print_state(state: State) -> String {
    let State {
        status,
        payment,
        kitchen,
        assignment,
    } = state;
    let (status, payment, kitchen) = (status.name(), payment.name(), kitchen.name());
    format!(
        "{status} {payment} {kitchen} {}.{}",
        assignment.attempt,
        assignment.phase.name()
    )
}

fn print(outcome: Outcome) -> String {
    match outcome {
        Outcome::Transition(t) => {
            let effects: Vec<String> = t.effects.iter().map(|e| format!("{e:?}")).collect();
            format!("to {} ({})", print_state(t.state), effects.join(" "))
        }
        Outcome::Stale(reason) => format!("stale {}", reason.name()),
        Outcome::Refused(reason) => reason.name().to_owned(),
        Outcome::Illegal(reason) => format!("illegal {}", reason.name()),
    }
}

fn table() -> Vec<Row<'static>> {
    let mut rows = Vec::new();
    let mut state = State::NEW;
    for line in include_str!("table.txt").lines() {
        if let Some(text) = line.strip_prefix("state ") {
            state = parse_state(text);
        } else if !line.is_empty() && !line.starts_with('#') {
            let (outcome, events) = line.split_once(": ").unwrap();
            rows.extend(events.split(' ').map(|event| Row {
                state,
                outcome,
                event,
            }));
        }
    }
    rows
}

#[test]
fn every_pair_of_state_and_event_ends_as_the_table_says() {
    let events: BTreeMap<&str, Event> = EVENTS.into_iter().collect();
    let mut wrong = Vec::new();
    for Row {
        state,
        outcome,
        event,
    } in table()
    {
        let got = print(apply(state, events[event]));
        if got != outcome {
            wrong.push(format!(
                "{}\n  {event}: {got}\n  table: {outcome}",
                print_state(state)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_names_each_event_once_per_state() {
    let mut named: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for row in table() {
        named
            .entry(print_state(row.state))
            .or_default()
            .push(row.event);
    }
    let mut all: Vec<&str> = EVENTS.iter().map(|(name, _)| *name).collect();
    all.sort_unstable();
    for (state, mut events) in named {
        events.sort_unstable();
        assert_eq!(events, all, "{state}");
    }
}

#[test]
fn the_table_covers_every_reachable_status_with_every_place_of_the_money() {
    let covered: BTreeSet<_> = table()
        .iter()
        .map(|r| (r.state.status, r.state.payment))
        .collect();
    let reached: BTreeSet<_> = reachable().iter().map(|s| (s.status, s.payment)).collect();
    assert_eq!(covered, reached);
}
