//! An owner that stops in the middle of a cycle, while its session expires and another takes its lanes, and then wakes.
//!
//! It must change nothing any more, whatever it was about to do: PostgreSQL refuses its version, Kafka its generation.

use runtime::Step;
use runtime::service::EXIT_FAILED;

use crate::toy::{Halt, Start, Toy};
use crate::world::World;

const REFUSED_BY_POSTGRES: &str = "runtime_fences_total{log=\"postgres\"}";
const REFUSED_BY_KAFKA: &str = "runtime_fences_total{log=\"kafka\"}";
const UNKNOWN_COMMIT: &str = "runtime_cycle_failures_total{kind=\"commit_unknown\"}";
const FAILED_APPLY: &str = "runtime_cycle_failures_total{kind=\"apply_transient\"}";
const UNKNOWN_PUBLICATION: &str = "runtime_cycle_failures_total{kind=\"publish_unknown\"}";

/// Long enough for a busy machine, short enough to wait for.
const SESSION_MS: u32 = 2_000;

#[tokio::test]
async fn an_owner_that_slept_before_its_transaction_is_refused_by_postgresql() {
    sleeper_is_refused(Step::Gathered, None, REFUSED_BY_POSTGRES).await;
}

#[tokio::test]
async fn an_owner_that_slept_between_the_logs_is_refused_by_kafka() {
    let world = World::new("stale", 2).await;
    // Kafka would otherwise end its transaction before it wakes.
    let start = |instance: &str| member(&world, instance, 60_000);
    world.feed(40).await;
    let sleeper = start("sleeper")
        .halt_beside(Step::Committed, Step::Produced, 3, Halt::Stop)
        .start();
    sleeper.stopped().await;
    let successor = start("successor").start();
    successor.runs(2).await;
    sleeper.wake();
    sleeper.counts(REFUSED_BY_KAFKA).await;
    world.feed(20).await;
    world.settle().await;
    gets_them_back(&world, &sleeper, successor).await;
}

#[tokio::test]
async fn an_owner_that_sleeps_with_its_rows_locked_loses_them_and_its_transaction() {
    sleeper_is_refused(Step::Fenced, None, FAILED_APPLY).await;
    sleeper_is_refused(Step::Settled, Some(Step::Filled), UNKNOWN_COMMIT).await;
}

#[tokio::test]
async fn an_owner_that_sleeps_in_a_kafka_transaction_holds_its_successor_up_until_it_times_out() {
    sleeper_is_refused(
        Step::OffsetsSent,
        Some(Step::Committed),
        UNKNOWN_PUBLICATION,
    )
    .await;
}

#[tokio::test]
async fn a_process_whose_slot_is_taken_by_another_ends_and_changes_nothing_more() {
    let world = World::new("slot", 2).await;
    let start = || world.toy("a").set("RUNTIME__MAX_BATCH", 5).start();
    let first = start();
    first.runs(2).await;
    world.feed(40).await;
    let second = start();
    assert_eq!(first.ended_by_itself().await, Some(EXIT_FAILED));
    second.runs(2).await;
    world.feed(40).await;
    world.settle().await;
    second.has_violated_nothing().await;
}

fn member<'a>(world: &'a World, instance: &str, transaction_timeout_ms: u32) -> Start<'a> {
    world
        .toy(instance)
        .set("RUNTIME__SESSION_TIMEOUT_MS", SESSION_MS)
        .set("RUNTIME__TRANSACTION_TIMEOUT_MS", transaction_timeout_ms)
        .set("RUNTIME__MAX_BATCH", 5)
}

/// The sleeper wakes to a `refusal`, rejoins, and takes everything back when the other leaves.
async fn sleeper_is_refused(step: Step, beside: Option<Step>, refusal: &str) {
    let world = World::new("stale", 2).await;
    let start = |instance: &str| member(&world, instance, 2_000);
    world.feed(40).await;
    let sleeper = match beside {
        Some(beside) => start("sleeper").halt_beside(step, beside, 3, Halt::Stop),
        None => start("sleeper").halt(step, 3, Halt::Stop),
    };
    let sleeper = sleeper.start();
    sleeper.stopped().await;
    let successor = start("successor").start();
    successor.runs(2).await;
    world.feed(20).await;
    world.settle().await;
    sleeper.wake();
    sleeper.counts(refusal).await;
    world.feed(20).await;
    world.settle().await;
    gets_them_back(&world, &sleeper, successor).await;
}

/// A member that lost its lanes gets them back: with nothing remembered, or it would do again what the other has done.
async fn gets_them_back(world: &World, sleeper: &Toy, successor: Toy) {
    successor.has_violated_nothing().await;
    successor.terminate().await;
    sleeper.runs(2).await;
    world.feed(20).await;
    world.settle().await;
    sleeper.has_violated_nothing().await;
}
