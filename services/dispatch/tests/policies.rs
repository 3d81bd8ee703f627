//! What a policy may and may not do on the board, with policies that try: the scheduler refuses what
//! would break an invariant, and counts it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use std::cmp::Ordering;
use std::sync::Arc;

use dispatch::{
    Board, Check, Config, Due, FailureReason, Input, OrderId, Policy, PolicyId, Scheduler,
};
use world::*;

/// A policy that runs a script on every board.
struct Scripted(fn(&mut Board<'_>));

impl std::fmt::Debug for Scripted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Scripted")
    }
}

impl Policy for Scripted {
    fn id(&self) -> PolicyId {
        PolicyId {
            name: "scripted",
            version: 7,
        }
    }

    fn before(&self, a: &Due, b: &Due) -> Ordering {
        a.order_id.cmp(&b.order_id)
    }

    fn choose(&self, board: &mut Board<'_>) {
        (self.0)(board);
    }
}

/// Orders 1 and 2 are due, 3 is not; ann is near, bob further, dan beyond the radius, eve off duty.
fn scene(script: fn(&mut Board<'_>)) -> Scheduler {
    let config = Config {
        offer_timeout_s: None,
        location_ttl_s: 1e6,
        max_wait_s: 600.0,
        ..Config::default()
    };
    let mut scheduler = Scheduler::new(config, grid(), Arc::new(Scripted(script)));
    for (name, x) in [("ann", 320.0), ("bob", 640.0), ("dan", 20_000.0)] {
        apply(
            &mut scheduler,
            [online(name, 0.0), ping(name, metres(x, 0.0), 0.0)],
        );
    }
    apply(&mut scheduler, [ping("eve", metres(0.0, 0.0), 0.0)]);
    for (number, ready) in [(1, 0.0), (2, 0.0), (3, 5_000.0)] {
        apply(&mut scheduler, [Input::Requested(request(number, ready))]);
    }
    scheduler
}

fn number(order: OrderId) -> u128 {
    order.0.as_u128()
}

fn violations(check: Check) -> u64 {
    check.violations
}

#[test]
fn a_claim_takes_the_driver_off_the_board_at_once() {
    let mut scheduler = scene(|board| {
        let due: Vec<u128> = board.due().iter().map(|due| number(due.order_id)).collect();
        assert_eq!(due, [1, 2]);
        assert_eq!(board.nearest(order(2)).unwrap().driver_id, driver("ann"));
        assert!(board.claim(order(1), &driver("ann"), 4.5));
        assert_eq!(board.nearest(order(2)).unwrap().driver_id, driver("bob"));
        assert!(board.claim(order(2), &driver("bob"), 5.5));
    });
    let tick = scheduler.tick(at(0.0));
    assert_eq!((tick.cost, tick.matched, tick.policy.version), (10.0, 2, 7));
    assert_eq!(scheduler.audit().violations(), 0);
}

#[test]
fn a_driver_or_an_order_claimed_twice_is_refused() {
    let mut scheduler = scene(|board| {
        assert!(board.claim(order(1), &driver("ann"), 0.0));
        assert!(!board.claim(order(2), &driver("ann"), 0.0));
        assert!(!board.claim(order(1), &driver("bob"), 0.0));
        assert!(!board.claim(order(9), &driver("bob"), 0.0));
        assert!(board.claim(order(2), &driver("bob"), 0.0));
    });
    assert_eq!(scheduler.tick(at(0.0)).matched, 2);
    assert_eq!(violations(scheduler.audit().exclusive), 3);
}

#[test]
fn an_order_that_is_not_due_cannot_be_committed() {
    let mut scheduler = scene(|board| {
        assert!(!board.claim(order(3), &driver("ann"), 0.0));
        for due in [order(1), order(2)] {
            let nearest = board.nearest(due).unwrap();
            assert!(board.claim(due, &nearest.driver_id, 0.0));
        }
    });
    assert_eq!(scheduler.tick(at(0.0)).matched, 2);
    let audit = scheduler.audit();
    assert_eq!((violations(audit.never_early), audit.violations()), (1, 1));
}

#[test]
fn who_is_off_duty_or_too_far_cannot_be_sent() {
    let mut scheduler = scene(|board| {
        assert!(!board.claim(order(1), &driver("dan"), 0.0));
        assert!(!board.claim(order(1), &driver("eve"), 0.0));
    });
    assert_eq!(scheduler.tick(at(0.0)).matched, 0);
    assert_eq!(violations(scheduler.audit().feasible), 2);
}

#[test]
fn leaving_a_due_order_is_a_violation_unless_whom_it_waits_for_is_named_and_no_later() {
    let mut idle = scene(|_| {});
    idle.tick(at(0.0));
    assert_eq!(violations(idle.audit().never_idle), 2);

    // Ann would have it two minutes from now: one of way, one of service.
    let held = |script| {
        let mut scheduler = scene(script);
        let tick = scheduler.tick(at(0.0));
        assert_eq!(tick.holds.len(), 2);
        assert!(!tick.decided());
        assert!(
            scheduler.next_due() <= Some(at(1.0)),
            "held orders are looked at every tick"
        );
        violations(scheduler.audit().never_idle)
    };
    assert_eq!(
        held(|board| {
            board.hold(order(1), driver("cat"), at(120.0));
            board.hold(order(2), driver("cat"), at(120.0));
        }),
        0
    );
    assert_eq!(
        held(|board| {
            board.hold(order(1), driver("cat"), at(120.0));
            board.hold(order(2), driver("cat"), at(121.0));
        }),
        1
    );
}

#[test]
fn giving_a_driver_to_the_order_that_comes_second_is_a_violation() {
    let mut scheduler = scene(|board| {
        board.claim(order(2), &driver("ann"), 0.0);
    });
    scheduler.tick(at(0.0));
    assert_eq!(violations(scheduler.audit().in_order), 1);
}

#[test]
fn no_order_is_held_until_it_fails_while_a_driver_is_free() {
    let mut scheduler = scene(|board| {
        board.hold(order(1), driver("cat"), board.now());
        board.hold(order(2), driver("cat"), board.now());
    });
    assert_eq!(scheduler.tick(at(599.0)).matched, 0);
    let tick = scheduler.tick(at(600.0));
    assert_eq!(
        (tick.matched, tick.failures.len(), tick.holds.len()),
        (2, 0, 0)
    );
    assert_eq!(scheduler.audit().violations(), 0);
}

#[test]
fn an_order_whose_last_driver_goes_to_another_as_it_expires_fails_as_expired() {
    let mut scheduler = scene(|board| {
        board.claim(order(1), &driver("ann"), 0.0);
        board.claim(order(2), &driver("bob"), 0.0);
    });
    apply(&mut scheduler, [Input::Requested(request(4, 0.0))]);
    let failures = scheduler.tick(at(600.0)).failures;
    let failed: Vec<_> = failures
        .iter()
        .map(|f| (number(f.order_id), f.reason))
        .collect();
    assert_eq!(failed, [(4, FailureReason::Expired)]);
}
