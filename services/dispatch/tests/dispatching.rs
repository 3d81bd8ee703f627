//! When a request is committed, to whom, and what changes that: one sentence per test.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use dispatch::{Applied, Config, DriverStatus, FailureReason, Input, Phase, PolicySpec, Scheduler};
use world::*;

/// Grid, two minutes of tolerance, no answers needed, no service time at the counter.
fn quiet() -> Config {
    Config {
        offer_timeout_s: None,
        location_ttl_s: 1e6,
        pickup_service_s: 0.0,
        ..Config::default()
    }
}

fn greedy(config: Config) -> Scheduler {
    scheduler(config, grid(), &PolicySpec::SlackGreedy)
}

/// Drivers with their distance east of the restaurant, on duty and seen at 0.
fn with_drivers(config: Config, drivers: &[(&str, f64)]) -> Scheduler {
    let mut scheduler = greedy(config);
    for (name, x) in drivers {
        apply(
            &mut scheduler,
            [online(name, 0.0), ping(name, metres(*x, 0.0), 0.0)],
        );
    }
    scheduler
}

fn decided(scheduler: &mut Scheduler, seconds: f64) -> Vec<(u128, String)> {
    let decisions = scheduler.tick(at(seconds)).decisions;
    decisions
        .iter()
        .map(|d| (d.order_id.0.as_u128(), d.driver_id.to_string()))
        .collect()
}

fn pair(number: u128, name: &str) -> (u128, String) {
    (number, name.to_owned())
}

#[test]
fn a_request_is_committed_when_its_slack_reaches_the_tolerance_and_not_before() {
    let mut scheduler = with_drivers(quiet(), &[("ann", 1_600.0)]);
    apply(&mut scheduler, [Input::Requested(request(1, 1_000.0))]);
    // Five minutes away, ready at 1000 s: due at 1000 - 120 - 300 = 580 s.
    assert_eq!(decided(&mut scheduler, 0.0), []);
    assert_eq!(decided(&mut scheduler, 579.999_999), []);
    let tick = scheduler.tick(at(580.0));
    let decision = &tick.decisions[0];
    assert_eq!(decision.driver_id, driver("ann"));
    assert_eq!(decision.driver_eta_to_restaurant_s, 300.0);
    assert_eq!(decision.restaurant_to_customer_s, 600.0);
    assert_eq!(decision.slack_s, 120.0);
    assert_eq!(
        (decision.due_at, decision.released_at),
        (at(580.0), at(580.0))
    );
    assert_eq!(
        (decision.policy.name, decision.policy.version),
        ("slack-greedy", 1)
    );
    assert_eq!((tick.due, tick.matched, tick.pending), (1, 1, 0));
}

#[test]
fn the_wish_for_a_tick_leads_to_the_very_instant_a_request_falls_due() {
    let mut scheduler = with_drivers(quiet(), &[("ann", 1_600.0)]);
    apply(&mut scheduler, [Input::Requested(request(1, 1_000.0))]);
    let mut now = at(0.0);
    for _ in 0..10_000 {
        now = now.max(scheduler.next_due().expect("a request waits"));
        if scheduler.tick(now).decided() {
            break;
        }
    }
    assert_eq!(now, at(580.0));
    assert_eq!(scheduler.next_due(), None);
}

#[test]
fn a_request_that_is_late_already_is_due_at_once() {
    let mut scheduler = with_drivers(quiet(), &[("ann", 1_600.0)]);
    assert_eq!(decided(&mut scheduler, 5_000.0), []);
    apply(&mut scheduler, [Input::Requested(request(1, 4_000.0))]);
    assert!(scheduler.next_due().unwrap() <= at(5_000.0));
    let decision = &scheduler.tick(at(5_000.0)).decisions[0];
    assert_eq!(decision.slack_s, -1_300.0);
}

#[test]
fn less_slack_goes_first_then_the_earlier_ready_then_the_smaller_id() {
    let mut scheduler = with_drivers(quiet(), &[("ann", 320.0)]);
    // Same restaurant: slack and ready_at order alike.
    apply(
        &mut scheduler,
        [3, 2, 1].map(|n| Input::Requested(request(n, 100.0 + (n % 3) as f64))),
    );
    assert_eq!(decided(&mut scheduler, 50.0), [pair(3, "ann")]);
    // Slack of 5 here equals that of 4 although 4 is ready a minute later, because 4 is a minute further.
    let mut scheduler = with_drivers(quiet(), &[("ann", 320.0)]);
    let mut further = request(4, 160.0);
    further.restaurant = metres(0.0, 320.0 * 1.2);
    apply(
        &mut scheduler,
        [
            Input::Requested(further),
            Input::Requested(request(5, 100.0)),
        ],
    );
    assert_eq!(decided(&mut scheduler, 50.0), [pair(5, "ann")]);
    // All equal.
    let mut scheduler = with_drivers(quiet(), &[("ann", 320.0)]);
    apply(
        &mut scheduler,
        [8, 7].map(|n| Input::Requested(request(n, 100.0))),
    );
    assert_eq!(decided(&mut scheduler, 50.0), [pair(7, "ann")]);
}

#[test]
fn the_nearest_driver_is_taken_and_of_equally_near_ones_the_first_by_id() {
    let mut scheduler = with_drivers(
        quiet(),
        &[("zoe", 1_000.0), ("bob", -1_000.0), ("cat", 1_001.0)],
    );
    apply(
        &mut scheduler,
        [1, 2, 3].map(|n| Input::Requested(request(n, n as f64))),
    );
    assert_eq!(
        decided(&mut scheduler, 0.0),
        [pair(1, "bob"), pair(2, "zoe"), pair(3, "cat")]
    );
}

#[test]
fn fifo_commits_at_once_in_order_of_placement() {
    let mut scheduler = scheduler(quiet(), grid(), &PolicySpec::Fifo);
    apply(
        &mut scheduler,
        [online("ann", 0.0), ping("ann", metres(320.0, 0.0), 0.0)],
    );
    let mut first = request(9, 90_000.0);
    first.placed_at = at(-1.0);
    apply(
        &mut scheduler,
        [Input::Requested(request(1, 0.0)), Input::Requested(first)],
    );
    assert_eq!(decided(&mut scheduler, 0.0), [pair(9, "ann")]);
}

#[test]
fn a_kitchen_that_is_faster_makes_a_request_due_earlier_and_the_latest_word_wins() {
    let mut scheduler = with_drivers(quiet(), &[("ann", 1_600.0)]);
    let ready = |ready_s: f64, said_s: f64| Input::ReadyAt {
        order_id: order(1),
        ready_at: at(ready_s),
        at: at(said_s),
    };
    assert_eq!(scheduler.apply(ready(900.0, 1.0)), Applied::Unknown);
    apply(
        &mut scheduler,
        [Input::Requested(request(1, 2_000.0)), ready(700.0, 50.0)],
    );
    assert_eq!(scheduler.apply(ready(9_000.0, 49.0)), Applied::Stale);
    assert_eq!(decided(&mut scheduler, 279.0), []);
    assert_eq!(decided(&mut scheduler, 280.0), [pair(1, "ann")]);
}

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
fn a_withdrawn_request_is_never_committed() {
    let mut scheduler = with_drivers(quiet(), &[("ann", 0.0)]);
    apply(&mut scheduler, [Input::Requested(request(1, 500.0))]);
    assert_eq!(decided(&mut scheduler, 1.0), []);
    apply(
        &mut scheduler,
        [Input::Withdrawn {
            order_id: order(1),
            at: at(2.0),
        }],
    );
    assert_eq!(scheduler.next_due(), None);
    assert_eq!(decided(&mut scheduler, 1_000.0), []);
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
fn a_newer_request_replaces_the_pending_one_and_an_older_is_stale() {
    let mut scheduler = with_drivers(quiet(), &[("ann", 0.0)]);
    let (mut newer, mut older) = (request(1, 50_000.0), request(1, 0.0));
    (newer.version, older.version) = (3, 2);
    apply(
        &mut scheduler,
        [
            Input::Requested(request(1, 60_000.0)),
            Input::Requested(newer),
        ],
    );
    assert_eq!(scheduler.apply(Input::Requested(older)), Applied::Stale);
    assert_eq!(decided(&mut scheduler, 49_879.0), []);
    assert_eq!(scheduler.tick(at(49_880.0)).decisions[0].version, 3);
    assert_eq!(
        scheduler.apply(Input::Requested(request(1, 0.0))),
        Applied::Stale
    );
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
