//! When a request is committed, in which order, and to whom: one sentence per test.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use dispatch::{Applied, Input, PlanConfig, PolicySpec};
use world::*;

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
fn a_request_that_is_due_before_a_plan_looks_as_far_is_committed_all_the_same() {
    let horizon_s = 60.0;
    let near_sighted = PolicySpec::Lookahead(PlanConfig {
        horizon_s,
        ..PlanConfig::default()
    });
    let mut scheduler = scheduler(quiet(), grid(), &near_sighted);
    let here = ping("ann", metres(1_600.0, 0.0), 0.0);
    apply(&mut scheduler, [online("ann", 0.0), here]);
    apply(&mut scheduler, [Input::Requested(request(1, 1_000.0))]);
    assert_eq!(decided(&mut scheduler, 579.0), []);
    assert_eq!(decided(&mut scheduler, 580.0), [pair(1, "ann")]);
    assert_eq!(scheduler.audit().violations(), 0);
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
