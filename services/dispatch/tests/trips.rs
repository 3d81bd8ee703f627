//! From the offer to the delivery, or to the end of all attempts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use dispatch::{Applied, Config, DriverStatus, FailureReason, Input, Phase, Scheduler};
use world::*;

#[test]
fn a_driver_is_freed_by_delivery_or_withdrawal_and_takes_the_next_order() {
    let mut scheduler = with_drivers(quiet(), &[("ann", 0.0)]);
    apply(
        &mut scheduler,
        [1, 2, 3].map(|n| Input::Requested(request(n, n as f64))),
    );
    assert_eq!(decided(&mut scheduler, 10.0), [pair(1, "ann")]);
    assert_eq!(decided(&mut scheduler, 11.0), []);
    apply(&mut scheduler, [progress(1, "ann", Phase::PickedUp, 12.0)]);
    assert_eq!(
        scheduler.apply(progress(1, "ann", Phase::AtRestaurant, 13.0)),
        Applied::Stale
    );
    assert_eq!(
        scheduler.apply(progress(1, "bob", Phase::Delivered, 13.0)),
        Applied::Unknown
    );
    assert_eq!(decided(&mut scheduler, 13.0), []);
    apply(&mut scheduler, [progress(1, "ann", Phase::Delivered, 14.0)]);
    assert_eq!(decided(&mut scheduler, 14.0), [pair(2, "ann")]);
    apply(
        &mut scheduler,
        [Input::Withdrawn {
            order_id: order(2),
            at: at(15.0),
        }],
    );
    assert_eq!(decided(&mut scheduler, 15.0), [pair(3, "ann")]);
    assert_eq!(
        scheduler.apply(Input::Withdrawn {
            order_id: order(2),
            at: at(16.0)
        }),
        Applied::Unknown
    );
}

#[test]
fn who_declines_is_cooled_down_for_that_order_and_no_other() {
    let mut scheduler = with_drivers(
        Config {
            cool_down_s: 60.0,
            ..quiet()
        },
        &[("ann", 0.0)],
    );
    apply(&mut scheduler, [Input::Requested(request(1, 0.0))]);
    assert_eq!(decided(&mut scheduler, 0.0), [pair(1, "ann")]);
    let declined = Input::Declined {
        order_id: order(1),
        driver_id: driver("ann"),
        at: at(5.0),
    };
    apply(&mut scheduler, [declined.clone()]);
    assert_eq!(scheduler.apply(declined), Applied::Unknown);
    let again = scheduler.request_of(order(1)).unwrap();
    assert_eq!((again.version, again.attempt), (2, 2));
    assert_eq!(decided(&mut scheduler, 5.0), []);
    apply(&mut scheduler, [Input::Requested(request(2, 0.0))]);
    assert_eq!(decided(&mut scheduler, 6.0), [pair(2, "ann")]);
    apply(&mut scheduler, [progress(2, "ann", Phase::Delivered, 10.0)]);
    assert_eq!(decided(&mut scheduler, 64.9), []);
    assert_eq!(decided(&mut scheduler, 65.0), [pair(1, "ann")]);
}

#[test]
fn an_offer_that_nobody_answers_lapses_and_the_next_driver_is_asked() {
    let mut scheduler = with_drivers(
        Config {
            offer_timeout_s: Some(20.0),
            ..quiet()
        },
        &[("ann", 0.0), ("bob", 320.0)],
    );
    apply(&mut scheduler, [Input::Requested(request(1, 0.0))]);
    assert_eq!(decided(&mut scheduler, 0.0), [pair(1, "ann")]);
    assert_eq!(scheduler.next_due(), Some(at(20.0)));
    let tick = scheduler.tick(at(20.0));
    assert_eq!(
        (
            tick.releases[0].driver_id.as_str(),
            tick.releases[0].version
        ),
        ("ann", 2)
    );
    assert_eq!(tick.decisions[0].driver_id.as_str(), "bob");
    apply(&mut scheduler, [progress(1, "bob", Phase::Accepted, 25.0)]);
    assert_eq!(scheduler.next_due(), None);
    assert!(!scheduler.tick(at(1_000.0)).decided());
}

#[test]
fn an_order_fails_for_good_after_too_many_declines() {
    let mut scheduler = with_drivers(
        Config {
            max_attempts: 2,
            ..quiet()
        },
        &[("ann", 0.0), ("bob", 0.0), ("cat", 0.0)],
    );
    apply(&mut scheduler, [Input::Requested(request(1, 0.0))]);
    for name in ["ann", "bob"] {
        assert_eq!(decided(&mut scheduler, 0.0), [pair(1, name)]);
        apply(
            &mut scheduler,
            [Input::Declined {
                order_id: order(1),
                driver_id: driver(name),
                at: at(1.0),
            }],
        );
    }
    let failures = scheduler.tick(at(1.0)).failures;
    assert_eq!(
        (failures[0].reason, failures[0].attempt),
        (FailureReason::AttemptsExhausted, 3)
    );
    assert_eq!(scheduler.gauges().pending, 0);
}

#[test]
fn an_order_nobody_can_take_fails_for_good_when_it_is_too_old_and_says_why() {
    for (drivers, reason) in [
        (vec![], FailureReason::NoAvailableDriver),
        (vec![("ann", 20_000.0)], FailureReason::NoDriverInRadius),
    ] {
        let mut scheduler = with_drivers(
            Config {
                max_wait_s: 600.0,
                ..quiet()
            },
            &drivers,
        );
        apply(&mut scheduler, [Input::Requested(request(1, 100.0))]);
        assert_eq!(scheduler.tick(at(0.0)).failures, []);
        assert_eq!(scheduler.tick(at(699.9)).failures, []);
        assert_eq!(scheduler.next_due(), Some(at(700.0)));
        assert_eq!(scheduler.tick(at(700.0)).failures[0].reason, reason);
    }
}

#[test]
fn an_order_that_is_old_when_it_comes_in_still_gets_its_chance() {
    let mut scheduler = with_drivers(quiet(), &[("ann", 0.0)]);
    apply(&mut scheduler, [Input::Requested(request(1, 0.0))]);
    assert_eq!(decided(&mut scheduler, 90_000.0), [pair(1, "ann")]);
}

#[test]
fn a_busy_driver_is_free_where_and_when_his_trip_should_end_as_seen_so_far() {
    let config = Config {
        pickup_service_s: 120.0,
        dropoff_service_s: 60.0,
        ..quiet()
    };
    let mut scheduler = with_drivers(config, &[("ann", 320.0)]);
    apply(&mut scheduler, [Input::Requested(request(1, 200.0))]);
    assert_eq!(decided(&mut scheduler, 100.0), [pair(1, "ann")]);
    let free_at = |scheduler: &Scheduler| match scheduler.driver_status(&driver("ann")) {
        Some(DriverStatus::Busy {
            free_at,
            free_where,
            ..
        }) => {
            assert_eq!(free_where, metres(0.0, 3_200.0));
            free_at
        }
        other => panic!("{other:?}"),
    };
    // Arrives at 160, counter at 220, leaves at 280, 600 s of way, 60 s at the door.
    assert_eq!(free_at(&scheduler), at(940.0));
    apply(
        &mut scheduler,
        [Input::ReadyAt {
            order_id: order(1),
            ready_at: at(300.0),
            at: at(120.0),
        }],
    );
    assert_eq!(free_at(&scheduler), at(1_020.0));
    apply(
        &mut scheduler,
        [progress(1, "ann", Phase::AtRestaurant, 400.0)],
    );
    assert_eq!(free_at(&scheduler), at(1_180.0));
    apply(&mut scheduler, [progress(1, "ann", Phase::PickedUp, 500.0)]);
    assert_eq!(free_at(&scheduler), at(1_220.0));
    apply(
        &mut scheduler,
        [progress(1, "ann", Phase::Delivered, 1_300.0)],
    );
    assert_eq!(
        scheduler.driver_status(&driver("ann")),
        Some(DriverStatus::Free { since: at(1_300.0) })
    );
}
