//! Any sequence of events keeps the promises: one trip per driver, one active driver per order, facts once and in order.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use assignment::book::{Book, RequestRow};
use assignment::order::{Driver, Order, OrderState};
use chrono::TimeDelta;
use contracts::Message as _;
use contracts::driver_assignment::FailureReason;
use contracts::streams::DriverAssignmentEvent as Fact;
use dispatch::{At, OrderId, Phase};
use fixture::{POLICIES, Step, empty_book, event, origin, second, steps, trace};
use proptest::prelude::*;
use uuid::Uuid;

/// The orders that a real table would answer for: those that are not open.
type Ended = HashMap<OrderId, Order>;

/// What an outside reader has learnt about an order.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    driver: Option<String>,
    trip: Option<Uuid>,
    phase: Option<Phase>,
    delivered: bool,
}

fn remember(book: &mut Book, ended: &mut Ended, delivered: &HashMap<Uuid, String>) {
    for row in book.take_changes().orders {
        let (row_version, order_version) = (row.version + 1, row.order_version);
        let state = match row.row {
            RequestRow::Open { .. } => {
                ended.remove(&row.order_id);
                continue;
            }
            RequestRow::Announced { ready_at, said_at } => {
                OrderState::Announced { ready_at, said_at }
            }
            RequestRow::Closed => OrderState::Closed { delivered_by: None },
            RequestRow::Gone => OrderState::Closed {
                delivered_by: delivered
                    .get(&row.order_id.0)
                    .map(|driver| dispatch::DriverId::new(driver.as_str())),
            },
        };
        ended.insert(
            row.order_id,
            Order {
                row_version,
                order_version,
                state,
            },
        );
    }
}

/// An outside reader: everything told of an order fits what was told before.
fn listen(
    told: &mut BTreeMap<Uuid, Told>,
    ids: &mut BTreeSet<Uuid>,
    fact: &Fact,
) -> Result<(), TestCaseError> {
    prop_assert!(ids.insert(fact.event_id()), "told twice: {fact:?}");
    let mut step = |order: Uuid, driver: &str, phase: Phase| {
        let about = told.entry(order).or_default();
        prop_assert_eq!(about.driver.as_deref(), Some(driver), "not his: {:?}", fact);
        prop_assert!(about.phase < Some(phase), "backwards: {fact:?}");
        about.phase = Some(phase);
        Ok(())
    };
    match fact {
        Fact::DriverAssigned(fact) => {
            let his = told
                .values()
                .filter(|about| about.driver.as_deref() == Some(&fact.driver_id));
            let others = his.clone().filter(|about| about.trip != fact.trip_id);
            prop_assert_eq!(others.count(), 0, "{} is on two trips", fact.driver_id);
            prop_assert!(
                his.count() < if fact.trip_id.is_some() { 3 } else { 1 },
                "too many orders: {fact:?}"
            );
            let about = told.entry(fact.order_id).or_default();
            prop_assert!(
                about.driver.is_none() && !about.delivered,
                "two drivers: {fact:?}"
            );
            about.trip = fact.trip_id;
            (about.driver, about.phase) = (Some(fact.driver_id.clone()), Some(Phase::Offered));
        }
        Fact::AssignmentReleased(fact) => {
            let about = told.entry(fact.order_id).or_default();
            let driver = about.driver.take();
            prop_assert_eq!(
                driver.as_deref(),
                Some(&*fact.driver_id),
                "not his: {:?}",
                fact
            );
            prop_assert!(
                about.phase < Some(Phase::PickedUp),
                "released with a meal: {fact:?}"
            );
        }
        Fact::AssignmentFailed(fact) if fact.reason == FailureReason::Abandoned => {
            let about = told.entry(fact.order_id).or_default();
            prop_assert_eq!(about.phase, Some(Phase::PickedUp), "{:?}", fact);
            (about.driver, about.phase) = (None, None);
        }
        Fact::DriverMissing(fact) => {
            let about = told.entry(fact.order_id).or_default();
            prop_assert_eq!(about.driver.as_deref(), Some(&*fact.driver_id));
            prop_assert_eq!(about.phase, Some(Phase::PickedUp), "{:?}", fact);
        }
        Fact::AssignmentFailed(fact) => {
            let about = told.entry(fact.order_id).or_default();
            prop_assert!(
                about.driver.is_none() && !about.delivered,
                "failed with a driver: {fact:?}"
            );
        }
        Fact::DriverAtRestaurant(fact) => {
            step(fact.order_id, &fact.driver_id, Phase::AtRestaurant)?
        }
        Fact::PickupConfirmed(fact) => step(fact.order_id, &fact.driver_id, Phase::PickedUp)?,
        Fact::DeliveryConfirmed(fact) => {
            step(fact.order_id, &fact.driver_id, Phase::Delivered)?;
            told.insert(
                fact.order_id,
                Told {
                    delivered: true,
                    ..Told::default()
                },
            );
        }
    }
    Ok(())
}

/// Orders, drivers and scheduler tell one story.
fn consistent(book: &Book) -> Result<(), TestCaseError> {
    prop_assert_eq!(book.scheduler().audit().violations(), 0);
    let snapshot = book.scheduler().snapshot();
    let mut holders = BTreeMap::new();
    for held in &snapshot.assignments {
        let (trip, orders) = holders
            .entry(held.driver_id.clone())
            .or_insert_with(|| (held.trip_id, BTreeSet::new()));
        prop_assert_eq!(*trip, held.trip_id, "{} is on two trips", held.driver_id);
        orders.insert(held.request.order_id);
        let known = book.orders()[&held.request.order_id].held();
        prop_assert_eq!(
            known.map(|known| (&known.driver_id, known.attempt)),
            Some((&held.driver_id, held.request.attempt))
        );
    }
    let held = book
        .orders()
        .values()
        .filter(|order| order.held().is_some())
        .count();
    prop_assert_eq!(held, snapshot.assignments.len());
    prop_assert_eq!(
        book.orders().len(),
        snapshot.assignments.len() + snapshot.pending.len()
    );
    for record in snapshot.drivers {
        // Drivers who pinged and never came on duty are none.
        let Some(driver) = book.drivers().get(&record.driver_id) else {
            continue;
        };
        let (trip, held) = holders.remove(&record.driver_id).unzip();
        prop_assert_eq!(driver.active_trip, trip);
        let held: Vec<OrderId> = held.into_iter().flatten().collect();
        prop_assert_eq!(&driver.held, &held);
        prop_assert_eq!(driver.last_drop.as_deref(), record.last_drop.as_ref());
        // What never was is the epoch in the tables.
        let known = |at: At| at.max(At(0));
        prop_assert_eq!(
            (driver.on_duty, driver.duty_at, driver.shift_end),
            (record.online, known(record.duty_at), record.shift_end)
        );
        prop_assert_eq!(driver.free_since, known(record.free_since));
        prop_assert_eq!(driver.next_shift.as_deref(), record.next_shift.as_ref());
    }
    Ok(())
}

/// How often something worth testing happened.
#[derive(Default)]
struct Seen {
    assignments: Cell<usize>,
    shared: Cell<usize>,
    drops_on_the_way: Cell<usize>,
    corrected: Cell<usize>,
    announced: Cell<usize>,
}

/// Drivers who are off duty and will come.
fn announced(book: &Book) -> usize {
    let drivers = book.drivers().values();
    drivers
        .filter(|it| !it.on_duty && it.next_shift.is_some())
        .count()
}

fn count(counter: &Cell<usize>, by: usize) {
    counter.set(counter.get() + by);
}

fn run(policy: &str, history: &[Step], seen: &Seen) -> Result<(), TestCaseError> {
    let (mut book, trace) = (empty_book(policy), trace());
    let (mut ended, mut told, mut ids) = (Ended::new(), BTreeMap::new(), BTreeSet::new());
    let (mut now, mut delivered) = (second(0), HashMap::new());
    for step in history {
        now += TimeDelta::seconds(step.pause_s);
        for action in &step.actions {
            let Some(event) = event(*action, &book, now) else {
                continue;
            };
            if let Some(order) = event.order_id().map(OrderId)
                && !book.knows(order)
                && let Some(known) = ended.get(&order)
            {
                book.recall(order, known.clone());
            }
            book.apply(&event, origin(&trace), now);
        }
        let pulse = book.tick(now);
        let corrected = pulse.travel_factor != 1.0 && pulse.matched > 0;
        count(&seen.corrected, usize::from(corrected));
        count(&seen.announced, announced(&book));
        book.conclude(BTreeSet::new(), now);
        for fact in book.take_facts() {
            listen(&mut told, &mut ids, &fact.record)?;
            match &fact.record {
                Fact::DriverAssigned(fact) => {
                    count(&seen.assignments, 1);
                    count(&seen.shared, usize::from(fact.trip_id.is_some()));
                }
                Fact::DeliveryConfirmed(fact) => {
                    delivered.insert(fact.order_id, fact.driver_id.clone());
                }
                _ => {}
            }
        }
        book.take_ended();
        remember(&mut book, &mut ended, &delivered);
        consistent(&book)?;
        let dropped = |driver: &&Driver| driver.last_drop.is_some();
        count(
            &seen.drops_on_the_way,
            book.drivers().values().filter(dropped).count(),
        );
    }
    Ok(())
}

#[test]
fn any_history_keeps_drivers_and_orders_to_one_another() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(1_200)
    });
    let seen = Seen::default();
    let histories = (prop::sample::select(&POLICIES[..]), steps(40));
    let outcome = runner.run(&histories, |(policy, history)| run(policy, &history, &seen));
    outcome.unwrap();
    for (what, seen, least) in [
        ("assignments", seen.assignments, 500),
        ("orders that share a trip", seen.shared, 100),
        (
            "deliveries on a trip that goes on",
            seen.drops_on_the_way,
            20,
        ),
        ("decisions by corrected travel times", seen.corrected, 20),
        ("moments with somebody announced", seen.announced, 500),
    ] {
        assert!(
            seen.get() > least,
            "the histories led to {} {what} only",
            seen.get()
        );
    }
}
