//! Whom a plan counts on: on those who will come on duty, not on those who are long overdue or not heard.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use dispatch::{Config, Input, Phase, PolicySpec, Scheduler, Shift};
use world::*;

const LATER_S: f64 = 4_000.0;

/// Ann has had order 1 since long ago, and its customer is nearer to the restaurant than bob, who is free.
fn ann_is_under_way(config: Config) -> Scheduler {
    let mut scheduler = scheduler(config, grid(), &PolicySpec::default());
    let ann = [online("ann", 0.0), ping("ann", metres(0.0, 0.0), 0.0)];
    apply(&mut scheduler, ann);
    apply(&mut scheduler, [Input::Requested(request(1, 0.0))]);
    assert_eq!(decided(&mut scheduler, 0.0), [pair(1, "ann")]);
    apply(&mut scheduler, [progress(1, "ann", Phase::PickedUp, 60.0)]);
    scheduler
}

fn bob_comes_and_an_order_is_due(scheduler: &mut Scheduler, at_s: f64) {
    let bob = [online("bob", at_s), ping("bob", metres(9_600.0, 0.0), at_s)];
    apply(scheduler, bob);
    let mut second = request(2, at_s);
    (second.placed_at, second.requested_at) = (at(at_s), at(at_s));
    second.search_radius_m = 50_000.0;
    apply(scheduler, [Input::Requested(second)]);
}

#[test]
fn an_order_waits_for_a_driver_who_will_be_there_sooner_than_any_free_one() {
    let mut scheduler = ann_is_under_way(quiet());
    bob_comes_and_an_order_is_due(&mut scheduler, 600.0);
    let tick = scheduler.tick(at(600.0));
    assert_eq!((tick.decisions.len(), tick.holds.len()), (0, 1), "{tick:?}");
    assert_eq!(tick.holds[0].waits_for, driver("ann"));
}

#[test]
fn it_does_not_wait_for_one_who_should_have_been_free_long_ago() {
    let mut scheduler = ann_is_under_way(quiet());
    bob_comes_and_an_order_is_due(&mut scheduler, LATER_S);
    assert_eq!(decided(&mut scheduler, LATER_S), [pair(2, "bob")]);
}

#[test]
fn nor_for_one_who_is_not_heard() {
    let deaf = Config {
        location_ttl_s: 30.0,
        ..quiet()
    };
    let mut scheduler = ann_is_under_way(deaf);
    bob_comes_and_an_order_is_due(&mut scheduler, 600.0);
    assert_eq!(decided(&mut scheduler, 600.0), [pair(2, "bob")]);
}

/// Bob stands half an hour away; ann's shift begins at the restaurant, in so many seconds from 600 on.
fn ann_will_come(begins_in_s: f64) -> Scheduler {
    let mut scheduler = scheduler(quiet(), grid(), &PolicySpec::default());
    let announced = Input::ShiftAnnounced {
        driver_id: driver("ann"),
        shift: Some(Shift {
            begins: at(600.0 + begins_in_s),
            ends: at(9_000.0),
            start: metres(0.0, 0.0),
        }),
    };
    apply(&mut scheduler, [announced]);
    bob_comes_and_an_order_is_due(&mut scheduler, 600.0);
    scheduler
}

#[test]
fn an_order_waits_for_a_driver_whose_shift_begins_before_any_free_one_could_be_there() {
    let mut scheduler = ann_will_come(300.0);
    let tick = scheduler.tick(at(600.0));
    assert_eq!((tick.decisions.len(), tick.holds.len()), (0, 1), "{tick:?}");
    assert_eq!(tick.holds[0].waits_for, driver("ann"));
    let ann = [online("ann", 900.0), ping("ann", metres(0.0, 0.0), 900.0)];
    apply(&mut scheduler, ann);
    assert_eq!(decided(&mut scheduler, 900.0), [pair(2, "ann")]);
}

#[test]
fn it_waits_no_longer_once_a_shift_should_have_begun() {
    let mut scheduler = ann_will_come(300.0);
    assert_eq!(scheduler.tick(at(600.0)).holds.len(), 1);
    assert_eq!(decided(&mut scheduler, 901.0), [pair(2, "bob")]);
}

#[test]
fn a_restored_scheduler_knows_who_will_come() {
    let original = ann_will_come(300.0);
    let policy = PolicySpec::default().build();
    let mut restored = Scheduler::restore(quiet(), grid(), policy, original.snapshot());
    assert_eq!(restored.tick(at(600.0)).holds[0].waits_for, driver("ann"));
}
