//! What is learned of travel times from the drives that were seen: from which, how much, and how little can spoil it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod world;

use dispatch::{
    Applied, Config, Correction, Drive, Drives, Input, Phase, Scheduler, SeenDrive, Snapshot,
};
use proptest::prelude::*;
use world::*;

/// Five minutes of road between the doors of a drive.
const ESTIMATED_S: f64 = 300.0;

fn correction() -> Correction {
    Correction {
        drives: 30,
        at_least: 6,
        ..Correction::default()
    }
}

/// Ann and bob, 3.2 km (ten minutes) west and twice as far east of the restaurant.
fn learner() -> Scheduler {
    let config = Config {
        correction: correction(),
        ..quiet()
    };
    with_drivers(config, &[("ann", -3_200.0), ("bob", 6_400.0)])
}

/// A drive that was estimated to take five minutes and took `ratio` times that.
fn drive(number: u128, arrived_s: f64, ratio: f64) -> Input {
    Input::Driven(Drive {
        order_id: order(number),
        from: metres(0.0, 0.0),
        to: metres(1_600.0, 0.0),
        left_at: at(arrived_s - ratio * ESTIMATED_S),
        arrived_at: at(arrived_s),
    })
}

fn taught(ratios: &[f64]) -> Scheduler {
    let mut scheduler = learner();
    for (number, ratio) in (1_000..).zip(ratios) {
        scheduler.apply(drive(number, number as f64, *ratio));
    }
    scheduler
}

/// Of a tick in the hour that was learned of.
fn factor(scheduler: &mut Scheduler) -> f64 {
    scheduler.tick(at(2_000.0)).travel_factor
}

#[test]
fn estimates_are_multiplied_by_the_median_of_what_drives_needed_once_there_are_enough() {
    assert_eq!(factor(&mut taught(&[1.5; 5])), 1.0, "too few");
    assert_eq!(factor(&mut taught(&[1.5; 6])), 1.5);
    assert_eq!(
        factor(&mut taught(&[1.25, 1.25, 1.25, 1.75, 1.75, 1.75])),
        1.5
    );
    // Ann is ten minutes away, a quarter of an hour as traffic is.
    let mut scheduler = taught(&[1.5; 6]);
    apply(
        &mut scheduler,
        [Input::Requested(request(1, 2_000.0 + 120.0 + 901.0))],
    );
    assert!(
        scheduler.tick(at(2_000.0)).decisions.is_empty(),
        "a second early"
    );
    let decision = &scheduler.tick(at(2_001.0)).decisions[0];
    assert_eq!(decision.driver_eta_to_restaurant_s, 900.0);
    assert_eq!(decision.restaurant_to_customer_s, 900.0);
}

#[test]
fn an_order_that_rests_is_looked_at_again_when_travel_turns_out_slower() {
    let mut scheduler = learner();
    apply(&mut scheduler, [Input::Requested(request(1, 5_000.0))]);
    // Due for ann at 5000 - 120 - 600 as configured; a third of an hour before the food as it turns out.
    assert!(scheduler.tick(at(2_000.0)).decisions.is_empty());
    for number in 0..6 {
        scheduler.apply(drive(number, 2_100.0, 2.0));
    }
    assert!(
        scheduler.next_due().unwrap() <= at(2_001.0),
        "a beat at most"
    );
    assert!(scheduler.tick(at(3_679.0)).decisions.is_empty());
    assert_eq!(decided(&mut scheduler, 3_680.0), [pair(1, "ann")]);
}

#[test]
fn short_drives_repeated_ones_and_those_of_other_hours_say_nothing() {
    let mut scheduler = learner();
    let step = Input::Driven(Drive {
        order_id: order(1),
        from: metres(0.0, 0.0),
        to: metres(0.0, 0.0),
        left_at: at(0.0),
        arrived_at: at(900.0),
    });
    assert_eq!(scheduler.apply(step), Applied::Stale);
    assert_eq!(scheduler.apply(drive(1, 900.0, 1.5)), Applied::Changed);
    assert_eq!(scheduler.apply(drive(1, 900.0, 1.5)), Applied::Stale);
    let mut hours = Drives::default();
    for number in 0..6 {
        let seen = SeenDrive {
            hour: 8,
            arrived_at: at(0.0),
            order_id: order(number),
            ratio: 2.0,
        };
        hours.add(seen, 30);
    }
    assert_eq!(hours.factor(8, &correction()), 2.0);
    assert_eq!(hours.factor(9, &correction()), 1.0);
}

#[test]
fn off_nothing_is_learned_and_nothing_corrected() {
    let off = Correction {
        on: false,
        ..correction()
    };
    let config = Config {
        correction: off,
        ..quiet()
    };
    let mut scheduler = with_drivers(config.clone(), &[]);
    assert_eq!(scheduler.apply(drive(1, 900.0, 1.5)), Applied::Stale);
    let taught = Snapshot {
        drives: taught(&[1.5; 6]).drives().clone(),
        ..Snapshot::default()
    };
    let policy = dispatch::PolicySpec::SlackGreedy.build();
    let mut knows = Scheduler::restore(config, grid(), policy, taught);
    assert_eq!(factor(&mut knows), 1.0);
}

/// Order 1 with ann, picked up at 1000; a minute at the counter and two at each door.
fn carried() -> Scheduler {
    let config = Config {
        correction: correction(),
        pickup_service_s: 120.0,
        ..quiet()
    };
    let mut scheduler = with_drivers(config, &[("ann", 0.0)]);
    apply(&mut scheduler, [Input::Requested(request(1, 0.0))]);
    assert_eq!(decided(&mut scheduler, 0.0), [pair(1, "ann")]);
    scheduler
}

#[test]
fn a_drive_begins_when_the_driver_leaves_the_counter_and_ends_at_the_door() {
    let mut scheduler = carried();
    assert_eq!(
        scheduler.drive_to_door(order(1), at(2_000.0)),
        None,
        "never picked up"
    );
    apply(
        &mut scheduler,
        [progress(1, "ann", Phase::AtRestaurant, 500.0)],
    );
    assert_eq!(scheduler.drive_to_door(order(1), at(2_000.0)), None);
    apply(
        &mut scheduler,
        [progress(1, "ann", Phase::PickedUp, 1_000.0)],
    );
    let expected = Drive {
        order_id: order(1),
        from: metres(0.0, 0.0),
        to: metres(0.0, 3_200.0),
        left_at: at(1_060.0),
        arrived_at: at(1_940.0),
    };
    assert_eq!(
        scheduler.drive_to_door(order(1), at(2_000.0)),
        Some(expected)
    );
}

#[test]
fn what_another_scheduler_had_learned_is_taken_over_until_it_is_learned_here_too() {
    let mut scheduler = learner();
    assert!(
        !scheduler.follow_correction(at(2_000.0), 1.0),
        "as it is here"
    );
    assert!(scheduler.follow_correction(at(2_000.0), 1.5));
    assert_eq!(factor(&mut scheduler), 1.5);
    let restored = scheduler.snapshot();
    assert_eq!(
        restored.drives.factor(0, &correction()),
        1.5,
        "it is remembered"
    );
    for number in 0..6 {
        scheduler.apply(drive(number, 1_000.0, 1.25));
    }
    assert_eq!(factor(&mut scheduler), 1.5);
    assert!(!scheduler.follow_correction(at(2_000.0), 1.25));
    assert_eq!(factor(&mut scheduler), 1.25);
}

fn ratios() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(0.01..30.0f64, 0..80)
}

proptest! {
    #[test]
    fn whatever_drives_say_the_factor_stays_within_its_bounds(ratios in ratios()) {
        let factor = factor(&mut taught(&ratios));
        prop_assert!((0.5..=2.0).contains(&factor), "{factor}");
    }

    #[test]
    fn a_third_of_wrong_drives_does_not_move_the_factor_beyond_the_right_ones(
        right in prop::collection::vec(0.8..1.4f64, 6..20),
        wrong in prop::collection::vec(prop_oneof![Just(-50.0), Just(0.0), Just(1e6), 0.0..50.0f64], 10),
        places in prop::collection::vec(any::<prop::sample::Index>(), 10),
    ) {
        let mut ratios = right.clone();
        // A third of all is half of the right ones.
        for (wrong, place) in wrong.iter().zip(places).take(right.len() / 2) {
            ratios.insert(place.index(ratios.len() + 1), *wrong);
        }
        let bound = |ratio: f64| (ratio * 64.0).round() / 64.0;
        let least = right.iter().copied().fold(f64::INFINITY, f64::min);
        let most = right.iter().copied().fold(0.0, f64::max);
        let factor = factor(&mut taught(&ratios));
        prop_assert!(bound(least) <= factor && factor <= bound(most), "{factor} of {ratios:?}");
    }

    #[test]
    fn the_order_in_which_drives_are_heard_of_does_not_matter(
        drives in Just((0..50u128).collect::<Vec<_>>()).prop_shuffle(),
        ratios in prop::collection::vec(0.3..3.0f64, 50),
    ) {
        let (mut sorted, mut shuffled) = (learner(), learner());
        // Some of them end at the same instant.
        let hear = |scheduler: &mut Scheduler, number: u128| {
            scheduler.apply(drive(number, 900.0 + (number / 3) as f64, ratios[number as usize]))
        };
        for number in 0..50 {
            hear(&mut sorted, number);
        }
        for number in drives {
            hear(&mut shuffled, number);
        }
        prop_assert_eq!(sorted.drives(), shuffled.drives());
        prop_assert_eq!(sorted.drives().of_hour(0).len(), 30);
        prop_assert_eq!(factor(&mut sorted), factor(&mut shuffled));
    }

    #[test]
    fn a_scheduler_restored_from_its_snapshot_decides_as_the_one_that_went_on(
        before in ratios(),
        after in ratios(),
        ready in 2_000.0..4_000.0f64,
    ) {
        let mut went_on = taught(&before);
        let config = went_on.config().clone();
        let policy = dispatch::PolicySpec::SlackGreedy.build();
        let mut restored = Scheduler::restore(config, grid(), policy, went_on.snapshot());
        for scheduler in [&mut went_on, &mut restored] {
            for (number, ratio) in (5_000..).zip(&after) {
                scheduler.apply(drive(number, 1_500.0 + number as f64 / 100.0, *ratio));
            }
            scheduler.apply(Input::Requested(request(1, ready)));
        }
        for second in 0..40 {
            let now = at(2_000.0 + f64::from(second) * 30.0);
            prop_assert_eq!(went_on.tick(now), restored.tick(now));
        }
        prop_assert_eq!(went_on.snapshot(), restored.snapshot());
    }
}
