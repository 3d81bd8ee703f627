//! Who is a candidate, and how what drivers do moves the instant at which a request falls due.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use dispatch::{Applied, Config, Input};
use world::*;

#[test]
fn a_driver_who_moves_away_makes_a_request_due_earlier() {
    let mut scheduler = with_drivers(quiet(), &[("ann", 1_600.0)]);
    apply(&mut scheduler, [Input::Requested(request(1, 1_000.0))]);
    assert_eq!(decided(&mut scheduler, 400.0), []);
    apply(&mut scheduler, [ping("ann", metres(3_200.0, 0.0), 401.0)]);
    assert!(scheduler.next_due().unwrap() <= at(401.0));
    assert_eq!(decided(&mut scheduler, 401.0), [pair(1, "ann")]);
}

#[test]
fn a_driver_who_comes_closer_makes_a_request_due_later() {
    let mut scheduler = with_drivers(quiet(), &[("ann", 1_600.0)]);
    apply(&mut scheduler, [Input::Requested(request(1, 1_000.0))]);
    apply(&mut scheduler, [ping("ann", metres(320.0, 0.0), 401.0)]);
    assert_eq!(decided(&mut scheduler, 580.0), []);
    assert_eq!(decided(&mut scheduler, 820.0), [pair(1, "ann")]);
}

#[test]
fn when_the_nearest_driver_is_taken_the_request_that_counted_on_him_falls_due_by_the_next() {
    let mut scheduler = with_drivers(quiet(), &[("ann", 320.0), ("far", 6_400.0)]);
    apply(&mut scheduler, [Input::Requested(request(1, 1_300.0))]);
    assert_eq!(decided(&mut scheduler, 100.0), []);
    apply(&mut scheduler, [Input::Requested(request(2, 0.0))]);
    assert_eq!(decided(&mut scheduler, 100.0), [pair(2, "ann")]);
    assert_eq!(decided(&mut scheduler, 100.0), [pair(1, "far")]);
}

#[test]
fn a_silent_driver_is_no_candidate_until_he_is_heard_again() {
    let mut scheduler = with_drivers(
        Config {
            location_ttl_s: 30.0,
            ..quiet()
        },
        &[("ann", 320.0)],
    );
    apply(&mut scheduler, [Input::Requested(request(1, 0.0))]);
    assert_eq!(decided(&mut scheduler, 30.000_001), []);
    // An old ping that arrives late does not bring him back.
    apply(&mut scheduler, [ping("ann", metres(0.0, 0.0), 0.5)]);
    assert_eq!(decided(&mut scheduler, 31.0), []);
    apply(&mut scheduler, [ping("ann", metres(0.0, 0.0), 1.0)]);
    assert_eq!(decided(&mut scheduler, 31.0), [pair(1, "ann")]);
}

#[test]
fn silence_makes_the_request_that_counted_on_the_driver_look_for_another() {
    let mut scheduler = with_drivers(
        Config {
            location_ttl_s: 30.0,
            ..quiet()
        },
        &[("ann", 320.0), ("far", 3_200.0)],
    );
    apply(&mut scheduler, [Input::Requested(request(1, 735.0))]);
    assert_eq!(decided(&mut scheduler, 20.0), []);
    apply(&mut scheduler, [ping("far", metres(3_200.0, 0.0), 20.0)]);
    assert_eq!(decided(&mut scheduler, 30.0), []);
    assert!(
        scheduler.next_due().unwrap() <= at(31.0),
        "silence is noticed within a tick"
    );
    assert_eq!(decided(&mut scheduler, 31.0), [pair(1, "far")]);
}

#[test]
fn an_older_ping_never_overwrites_a_newer_one() {
    let mut scheduler = with_drivers(quiet(), &[("ann", 320.0)]);
    apply(&mut scheduler, [ping("ann", metres(640.0, 0.0), 10.0)]);
    assert_eq!(
        scheduler.apply(ping("ann", metres(9_000.0, 0.0), 9.0)),
        Applied::Stale
    );
    assert_eq!(
        scheduler.apply(ping("ann", metres(9_000.0, 0.0), 10.0)),
        Applied::Stale
    );
    apply(&mut scheduler, [Input::Requested(request(1, 0.0))]);
    assert_eq!(
        scheduler.tick(at(10.0)).decisions[0].driver_eta_to_restaurant_s,
        120.0
    );
}

#[test]
fn a_position_may_come_before_its_driver_is_on_duty() {
    let mut scheduler = greedy(quiet());
    apply(
        &mut scheduler,
        [
            ping("ann", metres(0.0, 0.0), 5.0),
            Input::Requested(request(1, 0.0)),
        ],
    );
    assert_eq!(decided(&mut scheduler, 5.0), []);
    apply(&mut scheduler, [online("ann", 4.0)]);
    assert_eq!(decided(&mut scheduler, 5.0), [pair(1, "ann")]);
}

#[test]
fn a_driver_who_crosses_geos_is_in_one_pool_at_a_time() {
    let (mut here, mut there) = (with_drivers(quiet(), &[("ann", 320.0)]), greedy(quiet()));
    let left = |seconds: f64| Input::DriverLeft {
        driver_id: driver("ann"),
        at: at(seconds),
    };
    apply(
        &mut there,
        [online("ann", 0.0), ping("ann", metres(0.0, 0.0), 10.0)],
    );
    apply(&mut here, [left(10.0)]);
    for scheduler in [&mut here, &mut there] {
        apply(scheduler, [Input::Requested(request(1, 0.0))]);
    }
    // A ping from before he crossed does not bring him back; neither does news that he left take him
    // away after he returned.
    assert_eq!(
        here.apply(ping("ann", metres(0.0, 0.0), 9.0)),
        Applied::Stale
    );
    assert_eq!(decided(&mut here, 11.0), []);
    assert_eq!(there.apply(left(10.0)), Applied::Stale);
    assert_eq!(decided(&mut there, 11.0), [pair(1, "ann")]);
    apply(&mut here, [ping("ann", metres(0.0, 0.0), 12.0)]);
    assert_eq!(decided(&mut here, 12.0), [pair(1, "ann")]);
}

#[test]
fn nobody_beyond_the_search_radius_is_asked_but_whoever_comes_within_it_is() {
    let mut scheduler = with_drivers(quiet(), &[("ann", 10_001.0)]);
    apply(&mut scheduler, [Input::Requested(request(1, 0.0))]);
    assert_eq!(decided(&mut scheduler, 0.0), []);
    assert_eq!(scheduler.gauges().stranded, 1);
    apply(&mut scheduler, [ping("ann", metres(10_000.0, 0.0), 1.0)]);
    assert!(scheduler.next_due().unwrap() <= at(1.0));
    assert_eq!(decided(&mut scheduler, 1.0), [pair(1, "ann")]);
}

#[test]
fn no_driver_is_sent_to_a_pickup_after_the_end_of_his_shift() {
    let mut scheduler = greedy(quiet());
    let until = |name: &str, end: f64| Input::DriverOnline {
        driver_id: driver(name),
        at: at(0.0),
        shift_end: Some(at(end)),
    };
    apply(
        &mut scheduler,
        [until("ann", 999.0), ping("ann", metres(0.0, 0.0), 0.0)],
    );
    apply(
        &mut scheduler,
        [
            until("bob", 1_000.0),
            ping("bob", metres(1_600.0, 0.0), 0.0),
        ],
    );
    apply(&mut scheduler, [Input::Requested(request(1, 1_000.0))]);
    assert_eq!(decided(&mut scheduler, 579.0), []);
    assert_eq!(decided(&mut scheduler, 580.0), [pair(1, "bob")]);
}

#[test]
fn a_small_step_away_just_before_the_instant_is_noticed() {
    let mut scheduler = with_drivers(quiet(), &[("ann", 1_600.0)]);
    apply(&mut scheduler, [Input::Requested(request(1, 1_000.0))]);
    assert_eq!(decided(&mut scheduler, 579.5), []);
    // Another minute begins.
    apply(&mut scheduler, [ping("ann", metres(1_601.0, 0.0), 579.6)]);
    assert_eq!(decided(&mut scheduler, 579.6), [pair(1, "ann")]);
}

#[test]
fn when_the_nearest_driver_runs_out_of_shift_the_next_one_is_counted_on() {
    let config = Config {
        tolerance_s: 0.0,
        pickup_service_s: 240.0,
        ..quiet()
    };
    let mut scheduler = with_drivers(config, &[("far", 1_600.0)]);
    let ann = Input::DriverOnline {
        driver_id: driver("ann"),
        at: at(0.0),
        shift_end: Some(at(1_000.0)),
    };
    apply(&mut scheduler, [ann, ping("ann", metres(320.0, 0.0), 0.0)]);
    apply(&mut scheduler, [Input::Requested(request(1, 1_000.0))]);
    // Ann needs a minute to the door and two to the counter, so she is in time until 820 s; it would be
    // due for her at 940 s, and was for the other at 700 s.
    let mut now = at(0.0);
    for _ in 0..10_000 {
        now = now.max(scheduler.next_due().expect("a request waits"));
        let tick = scheduler.tick(now);
        if let Some(decision) = tick.decisions.first() {
            assert_eq!(decision.driver_id, driver("far"));
            break;
        }
    }
    assert_eq!(now, dispatch::At(at(820.0).0 + 1));
}

#[test]
fn a_driver_who_will_go_home_earlier_than_he_said_is_not_counted_on_any_more() {
    let mut scheduler = with_drivers(quiet(), &[("ann", 320.0), ("far", 3_200.0)]);
    apply(&mut scheduler, [Input::Requested(request(1, 1_000.0))]);
    assert_eq!(decided(&mut scheduler, 300.0), []);
    let (driver_id, shift_end) = (driver("ann"), Some(at(900.0)));
    apply(
        &mut scheduler,
        [Input::DriverOnline {
            driver_id,
            at: at(301.0),
            shift_end,
        }],
    );
    assert!(scheduler.next_due() <= Some(at(301.0)));
    assert_eq!(decided(&mut scheduler, 301.0), [pair(1, "far")]);
}
