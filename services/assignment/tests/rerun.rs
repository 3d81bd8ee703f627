//! A lane that is run again from what was recorded stands where the live one stood, whether it decides again or follows.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::collections::BTreeSet;

use assignment::book::is_of_tick;
use assignment::rerun::Rerun;
use assignment::units::at;
use chrono::TimeDelta;
use contracts::driver_assignment::ReleaseReason;
use contracts::streams::DriverAssignmentEvent;
use dispatch::{Assignment, At, Snapshot};
use fixture::lane::assigned;
use fixture::{PARTITION, POLICIES, Step, event, geo, online, requested, rules, second, steps};
use proptest::prelude::*;

fn lane(policy: &str) -> Rerun {
    Rerun::new(geo(), rules(policy))
}

/// What has to be the same: records round the way to whole seconds, so a follower may not know when a driver arrives, and only
/// whose who decides knows since when a driver has had nothing to do.
fn known(snapshot: Snapshot) -> Snapshot {
    let assignments = snapshot.assignments.into_iter().map(|leg| Assignment {
        arrives_at: At(0),
        ..leg
    });
    Snapshot {
        assignments: assignments.collect(),
        ..snapshot
    }
}

fn run(policy: &str, history: &[Step], decisions: &mut usize) -> Result<(), TestCaseError> {
    let (mut live, mut again, mut follower) = (lane(policy), lane(policy), lane(policy));
    let mut now = second(0);
    for step in history {
        now += TimeDelta::seconds(step.pause_s);
        for action in &step.actions {
            if let Some(event) = event(*action, live.book(), now) {
                for lane in [&mut live, &mut again, &mut follower] {
                    lane.hear(&event, PARTITION, now.timestamp_millis());
                }
            }
        }
        let (ticked, told) = live.tick(at(now), BTreeSet::new());
        if ticked.is_some() {
            // From what it remembers of itself, as after a decision that went wrong.
            let memo = again.memo();
            again.tick(at(now), BTreeSet::new());
            again.restore(memo);
            let (ticked_again, told_again) = again.tick(at(now), BTreeSet::new());
            prop_assert_eq!(&told_again, &told);
            let cost = |ticked: &Option<assignment::book::Ticked>| {
                ticked
                    .as_ref()
                    .map(|it| (it.tick.cost.to_bits(), it.tick.due))
            };
            prop_assert_eq!(cost(&ticked_again), cost(&ticked));
            prop_assert!(told.iter().all(is_of_tick), "{:?}", told);
            prop_assert_eq!(follower.follow(&told, at(now)), 0, "{:?}", told);
            let sent = |fact: &&DriverAssignmentEvent| {
                matches!(fact, DriverAssignmentEvent::DriverAssigned(_))
            };
            *decisions += told.iter().filter(sent).count();
        }
        let snapshot = live.book().scheduler().snapshot();
        prop_assert_eq!(&again.book().scheduler().snapshot(), &snapshot);
        let followed = follower.book().scheduler().snapshot();
        prop_assert_eq!(known(followed), known(snapshot));
    }
    Ok(())
}

#[test]
fn any_history_is_decided_again_and_followed_alike() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(300)
    });
    let decisions = std::cell::Cell::new(0);
    let histories = (prop::sample::select(&POLICIES[..]), steps(40));
    let histories = runner.run(&histories, |(policy, history)| {
        let mut count = decisions.get();
        let outcome = run(policy, &history, &mut count);
        decisions.set(count);
        outcome
    });
    histories.unwrap();
    assert!(decisions.get() > 300, "{} decisions only", decisions.get());
}

#[test]
fn what_was_told_and_cannot_be_is_counted_and_changes_nothing() {
    let mut live = lane("slack-greedy");
    for event in [online("ada", second(0), 10), requested(1, 3, second(0), 60)] {
        live.hear(&event, PARTITION, second(0).timestamp_millis());
    }
    let (_, told) = live.tick(at(second(0)), BTreeSet::new());
    assert_eq!(assigned(&told).driver_id, "ada");
    let mut stranger = lane("slack-greedy");
    assert_eq!(stranger.follow(&told, at(second(0))), 1);
    assert_eq!(stranger.book().scheduler().snapshot(), Snapshot::default());
    assert_eq!(live.follow(&told, at(second(0))), 1, "she has it already");
}

#[test]
fn a_take_over_forgets_where_drivers_were_and_whom_it_could_have_missed() {
    let mut lane = lane("slack-greedy");
    for event in [online("ada", second(0), 10), requested(1, 3, second(0), 60)] {
        lane.hear(&event, PARTITION, second(0).timestamp_millis());
    }
    lane.tick(at(second(0)), BTreeSet::new());
    lane.hear(
        &fixture::ping("ada", second(20), 9),
        PARTITION,
        second(20).timestamp_millis(),
    );
    lane.take_over(at(second(60)), rules("slack-greedy"));
    let drivers = lane.book().scheduler().snapshot().drivers;
    assert_eq!(drivers[0].seen_at, Some(at(second(0))), "as her row has it");
    // Her offer lapses at 30 s, but her silence counts from the take-over on: 90 s are over at 150 s.
    let (_, told) = lane.tick(at(second(61)), BTreeSet::new());
    let reason = |told: &[DriverAssignmentEvent]| match told {
        [DriverAssignmentEvent::AssignmentReleased(fact), ..] => Some(fact.reason),
        _ => None,
    };
    assert_eq!(reason(&told), Some(ReleaseReason::OfferExpired));
}
