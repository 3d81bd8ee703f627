//! Drivers who are gone: with an order that others can fetch, with a meal that nobody can, or only out of our hearing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use dispatch::{Config, FailureReason, Input, Phase, ReleaseReason, Scheduler};
use world::*;

fn impatient() -> Config {
    Config {
        vanish_after_s: Some(60.0),
        abandon_after_s: Some(600.0),
        ..quiet()
    }
}

/// Ann holds order 1 since instant 0, and was last heard then; bob stands further away.
fn ann_has_it() -> Scheduler {
    let mut scheduler = with_drivers(impatient(), &[("ann", 0.0), ("bob", 320.0)]);
    apply(&mut scheduler, [Input::Requested(request(1, 0.0))]);
    assert_eq!(decided(&mut scheduler, 0.0), [pair(1, "ann")]);
    apply(&mut scheduler, [progress(1, "ann", Phase::Accepted, 1.0)]);
    scheduler
}

#[test]
fn who_vanishes_before_the_pickup_is_replaced() {
    let mut scheduler = ann_has_it();
    assert_eq!(scheduler.next_due(), Some(at(60.0)));
    assert!(!scheduler.tick(at(59.9)).decided());
    let tick = scheduler.tick(at(60.0));
    assert_eq!(tick.releases.len(), 1);
    assert_eq!(tick.releases[0].reason, ReleaseReason::DriverVanished);
    assert_eq!(tick.decisions[0].driver_id, driver("bob"));
    assert!(tick.missing.is_empty());
    assert_eq!(scheduler.audit().violations(), 0);
}

#[test]
fn who_is_heard_keeps_his_order_and_is_missed_from_then_on() {
    let mut scheduler = ann_has_it();
    apply(&mut scheduler, [ping("ann", metres(10.0, 0.0), 30.0)]);
    assert!(!scheduler.tick(at(60.0)).decided());
    assert_eq!(scheduler.next_due(), Some(at(90.0)));
    assert_eq!(scheduler.tick(at(90.0)).releases.len(), 1);
}

#[test]
fn silence_before_we_listened_says_nothing() {
    let mut scheduler = ann_has_it();
    apply(&mut scheduler, [Input::Listening { at: at(50.0) }]);
    assert!(!scheduler.tick(at(100.0)).decided());
    assert_eq!(scheduler.tick(at(110.0)).releases.len(), 1);
}

#[test]
fn a_restored_scheduler_misses_the_same_drivers_at_the_same_instant() {
    let original = ann_has_it();
    let policy = dispatch::PolicySpec::SlackGreedy.build();
    let copy = Scheduler::restore(impatient(), grid(), policy, original.snapshot());
    for mut scheduler in [original, copy] {
        scheduler.apply(Input::Listening { at: at(20.0) });
        assert_eq!(scheduler.next_due(), Some(at(80.0)));
        assert_eq!(scheduler.tick(at(80.0)).releases.len(), 1);
    }
}

#[test]
fn who_vanishes_with_the_meal_is_reported_once_and_the_order_given_up_in_the_end() {
    let mut scheduler = ann_has_it();
    apply(&mut scheduler, [progress(1, "ann", Phase::PickedUp, 10.0)]);
    let tick = scheduler.tick(at(60.0));
    assert_eq!((tick.releases.len(), tick.missing.len()), (0, 1));
    assert_eq!(tick.missing[0].driver_id, driver("ann"));
    assert!(scheduler.assignment_of(order(1)).unwrap().reported);
    apply(&mut scheduler, [ping("ann", metres(10.0, 0.0), 100.0)]);
    assert!(!scheduler.tick(at(300.0)).decided());
    let failures = scheduler.tick(at(610.0)).failures;
    assert_eq!(failures[0].reason, FailureReason::Abandoned);
    assert!(scheduler.assignment_of(order(1)).is_none());
    assert_eq!(scheduler.audit().violations(), 0);
}

#[test]
fn who_says_that_he_goes_off_duty_with_the_meal_is_not_reported_again() {
    let mut scheduler = ann_has_it();
    apply(&mut scheduler, [progress(1, "ann", Phase::PickedUp, 10.0)]);
    let offline = Input::DriverOffline {
        driver_id: driver("ann"),
        at: at(20.0),
    };
    apply(&mut scheduler, [offline]);
    assert!(scheduler.assignment_of(order(1)).unwrap().reported);
    assert!(scheduler.tick(at(60.0)).missing.is_empty());
}
