//! The group's committed offsets are gone (Kafka forgets them, operators delete them): missing is not zero.

use harness::wait_for;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use runtime::Step;

use crate::operator::decides;
use crate::toy::Halt;
use crate::world::{DEADLINE, World};

/// Deletes the group with its offsets, which the broker allows once the last session has expired.
async fn forget_offsets(world: &World) {
    assert!(!world.committed().await.is_empty());
    let admin: AdminClient<DefaultClientContext> = world.broker.config().create().unwrap();
    wait_for("the group to be deleted", DEADLINE, async || {
        let deleted = admin
            .delete_groups(&[&world.group], &AdminOptions::new())
            .await;
        deleted.unwrap().iter().all(Result::is_ok)
    })
    .await;
    assert!(world.committed().await.is_empty());
}

#[tokio::test]
async fn with_nothing_left_to_publish_the_word_of_postgresql_is_enough() {
    let world = World::new("forgotten", 2).await;
    world.feed(20).await;
    let toy = world.toy("a").start();
    world.settle().await;
    toy.terminate().await;
    forget_offsets(&world).await;
    world.feed(20).await;
    let toy = world.toy("a").start();
    world.settle().await;
    toy.has_violated_nothing().await;
}

#[tokio::test]
async fn rows_that_may_be_published_or_not_are_published_when_the_operator_says_so() {
    undecided("--publish-outbox", 10).await;
}

#[tokio::test]
async fn rows_that_may_be_published_or_not_are_dropped_when_the_operator_says_so() {
    undecided("--drop-outbox", 0).await;
}

/// With rows that may be published or not the lane is refused and the others run; `decision` publishes so many records.
async fn undecided(decision: &str, records: usize) {
    let world = World::new("undecided", 2).await;
    let start = || world.toy("a").set("RUNTIME__SESSION_TIMEOUT_MS", 2_000);
    world.feed(20).await;
    let toy = start().start();
    world.settle().await;
    toy.terminate().await;
    world.feed_partition(0, 10).await;
    let halted = start().halt(Step::Committed, 1, Halt::Abort).start();
    halted.aborted().await;
    assert_eq!(world.number("SELECT count(*) FROM toy.outbox").await, 1);
    forget_offsets(&world).await;
    world.give_up(0);
    let published = world.read(&world.output).await.len();
    let mut toy = start().start();
    toy.reaches("runtime_lanes{phase=\"refused\"}", 1.0).await;
    let log = toy.log();
    let command = "swiftctl lanes reset --publish-outbox` or `--drop-outbox`";
    assert!(log.contains(command), "{log}");
    world.feed_partition(1, 10).await;
    world.settle().await;
    assert_eq!(world.read(&world.output).await.len(), published + 10);
    assert!(toy.is_running());
    decides(&world, &toy, decision).await;
    let all = world.read(&world.output).await.len();
    assert_eq!(all, published + 10 + records + 10);
}
