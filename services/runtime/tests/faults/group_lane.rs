//! A lane that is a group of partitions, owned through a topic of its own, with soft telemetry beside its messages; and
//! what a lane has promised for later: timers and calls.

use runtime::Step;

use crate::toy::{Halt, Toy};
use crate::world::{Command, Grouped, World};

/// By a process that knew of no soft message, and by one that knew the last of them.
const CAUGHT_UP_COLD: &str = "toy_caught_up_total{soft=\"\"}";
const CAUGHT_UP_WARM: &str = "toy_caught_up_total{soft=\"-warm\"}";
const OBSERVED: &str = "runtime_messages_total{verdict=\"observed\",reason=\"\"}";

#[tokio::test]
async fn timers_and_calls_outlive_a_crash_and_fire_once() {
    let world = World::new("later", 2).await;
    let start = || world.toy("a").set("RUNTIME__MAX_BATCH", 4);
    let commands = (0..24).map(|index| {
        let value = ["later 2000", "call", "later 1", "add"][index % 4];
        let partition = (index / 4) as i32 % 2;
        Command::new(partition, &format!("k{partition}"), value)
    });
    world.send(commands).await;
    // Calls are started only after this step: those of its cycle are lost with the process.
    let crash = |step, n| start().halt(step, n, Halt::Abort).start().aborted();
    crash(Step::Published, 3).await;
    let pending = world.number("SELECT count(*) FROM toy.pending").await;
    assert!(pending > 0);
    // While answers are applied, and between the logs.
    crash(Step::Applied, 4).await;
    crash(Step::Committed, 4).await;
    let toy = start().start();
    // Perhaps all others were applied before the last crash, and this process would check none.
    world.feed(4).await;
    world.settle().await;
    toy.has_violated_nothing().await;
}

#[tokio::test]
async fn timers_that_leave_nothing_to_store_fire_without_a_transaction() {
    let world = World::new("doze", 1).await;
    let toy = world.toy("a").start();
    world.feed(1).await;
    world.settle().await;
    let transactions = "SELECT version FROM toy.lanes";
    let before = world.number(transactions).await;
    world.send([Command::new(0, "k0", "doze 50")]).await;
    world.settle().await;
    assert_eq!(toy.metric("toy_dozed_total").await, Some(50.0));
    // The command, the timer that counts it, and tidying up between and after.
    let transactions = world.number(transactions).await - before;
    assert!((2..=4).contains(&transactions), "{transactions}");
    toy.has_violated_nothing().await;
}

#[tokio::test]
async fn a_group_of_partitions_is_one_lane_whatever_crashes() {
    let world = World::grouped("group", 3).await;
    let start = || world.toy("a").set("RUNTIME__MAX_BATCH", 5);
    world.feed(60).await;
    for (step, n) in [
        (Step::LanesLoaded, 1),
        (Step::Committed, 2),
        (Step::OffsetsSent, 2),
        (Step::Published, 4),
    ] {
        start().halt(step, n, Halt::Abort).start().aborted().await;
    }
    let toy = start().start();
    world.settle().await;
    toy.runs(1).await;
    // Each commit names the lane's last row; the highest over its partitions counts.
    let committed = world.committed().await;
    assert_eq!(committed.len(), 3);
    let seq = |metadata: &str| metadata.strip_prefix("seq=").unwrap().parse::<i64>();
    let highest = committed
        .values()
        .map(|(_, metadata)| seq(metadata).unwrap())
        .max();
    assert_eq!(
        highest,
        Some(world.number("SELECT seq FROM toy.lanes").await)
    );
    toy.terminate().await;
    // One partition alone moves the number on for all.
    world.feed_partition(2, 10).await;
    let toy = start().start();
    world.settle().await;
    toy.has_violated_nothing().await;
}

#[tokio::test]
async fn soft_messages_are_observed_without_a_transaction_and_again_after_a_take_over() {
    let world = World::grouped("soft", 2).await;
    let Some(Grouped { soft, .. }) = &world.grouped else {
        unreachable!()
    };
    let toy = world.toy("a").start();
    world.feed(4).await;
    world.settle().await;
    let transactions = "SELECT version FROM toy.lanes";
    let before = world.number(transactions).await;
    toy.counts(CAUGHT_UP_COLD).await;
    for value in ["soft -hot", "soft -cool", "soft -warm"] {
        let value = Some(value.as_bytes());
        let sent = world.broker.produce(soft, Some(1), None, value, &[]).await;
        sent.unwrap();
    }
    toy.reaches(OBSERVED, 3.0).await;
    assert_eq!(world.number(transactions).await, before);
    carries_on(&world, 4).await;
    toy.kill().await;
    let toy = world.toy("a").start();
    // Not before all was read that there was.
    toy.counts(CAUGHT_UP_WARM).await;
    assert_eq!(toy.metric(CAUGHT_UP_COLD).await, None);
    carries_on(&world, 4).await;
    is_unmoved(&world, &toy, soft).await;
}

/// The next counts come with the soft value that was observed.
async fn carries_on(world: &World, count: usize) {
    let before = world.read(&world.output).await.len();
    world.feed(i32::try_from(count).unwrap()).await;
    world.settle().await;
    let output = world.read(&world.output).await;
    assert_eq!(output.len(), before + count);
    let warm = output
        .iter()
        .filter(|record| record.value.as_ref().unwrap().ends_with(b"-warm"));
    assert!(warm.count() >= count);
}

/// A soft source has no position that anything depends on.
async fn is_unmoved(world: &World, toy: &Toy, soft: &str) {
    let moved = format!("SELECT max(next_offset) FROM toy.positions WHERE topic = '{soft}'");
    assert_eq!(world.number(&moved).await, 0);
    toy.has_violated_nothing().await;
}
