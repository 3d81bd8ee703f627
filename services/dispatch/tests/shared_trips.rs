//! Trips of several orders: each leg is answered, cancelled, released and delivered for itself, and the driver is
//! somebody else's only when the last one has left his hands.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use dispatch::{
    Applied, BundleConfig, Config, DriverStatus, Input, LastDrop, Phase, PolicySpec, ReleaseReason,
    Request, Scheduler,
};
use world::*;

fn bundles() -> PolicySpec {
    PolicySpec::Bundle(BundleConfig::default())
}

/// One of three orders of one restaurant whose customers live in one street, a minute from one another.
fn neighbour(number: u128) -> Request {
    Request {
        customer: metres(0.0, 2_880.0 + 320.0 * number as f64),
        ..request(number, 0.0)
    }
}

/// Ann at the restaurant, offered orders 1 to 3 as one trip at instant 0; then bob comes, who stands further away.
fn ann_is_offered_three(config: Config) -> Scheduler {
    let mut scheduler = scheduler(config, grid(), &bundles());
    let ann = [online("ann", 0.0), ping("ann", metres(0.0, 0.0), 0.0)];
    apply(&mut scheduler, ann);
    apply(
        &mut scheduler,
        [1, 2, 3].map(|number| Input::Requested(neighbour(number))),
    );
    let tick = scheduler.tick(at(0.0));
    let trips: Vec<_> = tick.decisions.iter().map(|d| d.trip).collect();
    assert_eq!(trips.len(), 3, "{tick:?}");
    for (place, slot) in trips.iter().enumerate() {
        assert_eq!((slot.id, slot.size), (trips[0].id, 3));
        assert_eq!(usize::from(slot.position), place);
        assert_eq!(tick.decisions[place].driver_id, driver("ann"));
    }
    let bob = [online("bob", 0.0), ping("bob", metres(3_200.0, 0.0), 0.0)];
    apply(&mut scheduler, bob);
    scheduler
}

fn ann_has_accepted_three(config: Config) -> Scheduler {
    let mut scheduler = ann_is_offered_three(config);
    apply(
        &mut scheduler,
        [1, 2, 3].map(|number| progress(number, "ann", Phase::Accepted, 1.0)),
    );
    scheduler
}

fn carried(scheduler: &Scheduler) -> Vec<u128> {
    let legs = scheduler.trip_of(&driver("ann"));
    legs.iter()
        .map(|leg| leg.request.order_id.0.as_u128())
        .collect()
}

fn free_at(scheduler: &Scheduler) -> dispatch::At {
    match scheduler.driver_status(&driver("ann")) {
        Some(DriverStatus::Busy { free_at, .. }) => free_at,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_driver_is_free_when_the_last_order_is_delivered_and_not_before() {
    let mut scheduler = ann_has_accepted_three(quiet());
    // Ten minutes to the first door, a minute to each next one, two minutes at each.
    assert_eq!(free_at(&scheduler), at(600.0 + 2.0 * 60.0 + 3.0 * 120.0));
    for number in [1, 2, 3] {
        let picked_up = progress(number, "ann", Phase::PickedUp, 10.0);
        apply(&mut scheduler, [picked_up]);
    }
    apply(
        &mut scheduler,
        [progress(1, "ann", Phase::Delivered, 700.0)],
    );
    let drop = LastDrop {
        at: at(700.0),
        customer: neighbour(1).customer,
    };
    assert_eq!(scheduler.last_drop(&driver("ann")), Some(drop));
    assert_eq!(carried(&scheduler), [2, 3]);
    assert_eq!(free_at(&scheduler), at(700.0 + 60.0 + 2.0 * (60.0 + 120.0)));
    apply(&mut scheduler, [Input::Requested(request(4, 0.0))]);
    assert_eq!(decided(&mut scheduler, 701.0), [pair(4, "bob")]);
    for (number, at_s) in [(2, 850.0), (3, 1_000.0)] {
        assert!(matches!(
            scheduler.driver_status(&driver("ann")),
            Some(DriverStatus::Busy { .. })
        ));
        apply(
            &mut scheduler,
            [progress(number, "ann", Phase::Delivered, at_s)],
        );
    }
    let free = DriverStatus::Free { since: at(1_000.0) };
    assert_eq!(scheduler.driver_status(&driver("ann")), Some(free));
    assert_eq!(scheduler.last_drop(&driver("ann")), None);
    assert_eq!(scheduler.audit().violations(), 0);
}

#[test]
fn what_is_expected_of_an_order_counts_those_that_are_delivered_before_it() {
    let scheduler = ann_has_accepted_three(quiet());
    let pickup = at(0.0);
    for (number, door) in [(1, 660.0), (2, 840.0), (3, 1_020.0)] {
        let expected = scheduler.expected(order(number));
        assert_eq!(expected, Some((pickup, at(door))), "order {number}");
    }
}

#[test]
fn an_order_that_is_cancelled_leaves_the_others_on_their_way() {
    let mut scheduler = ann_has_accepted_three(quiet());
    let cancelled = Input::Withdrawn {
        order_id: order(1),
        at: at(5.0),
    };
    apply(&mut scheduler, [cancelled.clone()]);
    assert_eq!(scheduler.apply(cancelled), Applied::Unknown);
    assert_eq!(carried(&scheduler), [2, 3]);
    assert_eq!(free_at(&scheduler), at(660.0 + 60.0 + 2.0 * 120.0));
    for (number, at_s) in [(2, 6.0), (3, 7.0)] {
        let cancelled = Input::Withdrawn {
            order_id: order(number),
            at: at(at_s),
        };
        apply(&mut scheduler, [cancelled]);
    }
    let free = DriverStatus::Free { since: at(7.0) };
    assert_eq!(scheduler.driver_status(&driver("ann")), Some(free));
}

#[test]
fn each_order_of_an_offer_is_answered_for_itself() {
    let config = Config {
        offer_timeout_s: Some(30.0),
        ..quiet()
    };
    let mut scheduler = ann_is_offered_three(config);
    apply(&mut scheduler, [progress(1, "ann", Phase::Accepted, 5.0)]);
    let declined = Input::Declined {
        order_id: order(2),
        driver_id: driver("ann"),
        at: at(6.0),
    };
    apply(&mut scheduler, [declined]);
    assert_eq!(decided(&mut scheduler, 6.0), [pair(2, "bob")]);
    apply(&mut scheduler, [progress(2, "bob", Phase::Accepted, 7.0)]);
    // Nothing was said of the third: its offer lapses, the first stays hers.
    let tick = scheduler.tick(at(30.0));
    assert_eq!(tick.releases.len(), 1, "{tick:?}");
    assert_eq!(tick.releases[0].order_id, order(3));
    assert_eq!(tick.releases[0].reason, ReleaseReason::OfferExpired);
    assert_eq!(carried(&scheduler), [1]);
}

#[test]
fn a_driver_who_vanishes_keeps_what_he_has_picked_up_and_loses_the_rest() {
    let config = Config {
        vanish_after_s: Some(60.0),
        ..quiet()
    };
    let mut scheduler = ann_has_accepted_three(config);
    apply(&mut scheduler, [progress(1, "ann", Phase::PickedUp, 10.0)]);
    let tick = scheduler.tick(at(60.0));
    let released: Vec<_> = tick.releases.iter().map(|r| r.order_id).collect();
    let missing: Vec<_> = tick.missing.iter().map(|m| m.order_id).collect();
    assert_eq!(released, [order(2), order(3)]);
    assert_eq!(missing, [order(1)]);
    assert_eq!(carried(&scheduler), [1]);
    assert!(tick.decisions.iter().all(|d| d.driver_id == driver("bob")));
    assert_eq!(tick.decisions.len(), 2, "bob takes both: {tick:?}");
}

#[test]
fn a_restored_scheduler_knows_where_a_driver_delivered_last_on_his_trip() {
    let mut original = ann_has_accepted_three(quiet());
    for number in [1, 2, 3] {
        let picked_up = progress(number, "ann", Phase::PickedUp, 10.0);
        apply(&mut original, [picked_up]);
    }
    apply(&mut original, [progress(1, "ann", Phase::Delivered, 900.0)]);
    let mut restored = Scheduler::restore(quiet(), grid(), bundles().build(), original.snapshot());
    assert_eq!(restored.snapshot(), original.snapshot());
    assert_eq!(free_at(&restored), free_at(&original));
    for scheduler in [&mut original, &mut restored] {
        apply(scheduler, [progress(3, "ann", Phase::Delivered, 950.0)]);
        apply(scheduler, [progress(2, "ann", Phase::Delivered, 990.0)]);
    }
    assert_eq!(restored.snapshot(), original.snapshot());
}
