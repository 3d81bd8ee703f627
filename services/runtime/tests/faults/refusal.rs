//! Logs that contradict each other: the lane does not run, says why and what decides, and the other lanes go on.

use harness::Broker;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};

use crate::operator::{decides, reset};
use crate::toy::Toy;
use crate::world::World;

/// The lane of partition 0 is refused, with a message that names the command that decides; partition 1 goes on.
async fn is_refused(world: &World, toy: &mut Toy, command: &str) {
    world.give_up(0);
    toy.reaches("runtime_lanes{phase=\"refused\"}", 1.0).await;
    let log = toy.log();
    assert!(
        log.contains("lane refused") && log.contains(command),
        "{log}"
    );
    let violation = "runtime_invariant_violations_total{kind=\"lane_refused\"}";
    toy.reaches(violation, 1.0).await;
    world.feed_partition(1, 10).await;
    world.settle().await;
    assert!(toy.is_running() && toy.is_ready().await);
}

#[tokio::test]
async fn a_database_restored_from_a_backup_is_not_applied_to_again() {
    let world = World::new("restored", 2).await;
    let toy = world.toy("a").start();
    world.feed(20).await;
    world.settle().await;
    world
        .execute("CREATE TABLE saved AS SELECT * FROM toy.lanes; CREATE TABLE saved_positions AS SELECT * FROM toy.positions")
        .await;
    world.feed(20).await;
    world.settle().await;
    toy.terminate().await;
    let lane = format!("lane = '{}/0'", world.input);
    world
        .execute(&format!(
            "DELETE FROM toy.positions WHERE {lane}; DELETE FROM toy.lanes WHERE {lane};
             INSERT INTO toy.lanes SELECT * FROM saved WHERE {lane};
             INSERT INTO toy.positions SELECT * FROM saved_positions WHERE {lane}"
        ))
        .await;
    let published = world.read(&world.output).await.len();
    let mut toy = world.toy("a").start();
    is_refused(&world, &mut toy, "swiftctl lanes reset --to-kafka").await;
    // Nothing of the refused lane, which would have counted the same messages again.
    assert_eq!(world.read(&world.output).await.len(), published + 10);
    for (arguments, said) in [
        (&["--to-earliest", "--yes"][..], "does not resolve it"),
        (&["--to-kafka"], "gives something up"),
    ] {
        let (code, printed) = reset(&world, arguments);
        assert!(code == 3 && printed.contains(said), "{code}: {printed}");
    }
    let (code, printed) = reset(&world, &["--to-kafka", "--dry-run"]);
    assert!(code == 0 && printed.contains("row number"), "{printed}");
    let refused = "SELECT count(*) FROM toy.lanes WHERE refused LIKE '%--to-kafka%'";
    assert_eq!(world.number(refused).await, 1);
    decides(&world, &toy, "--to-kafka").await;
    let (code, printed) = reset(&world, &["--to-kafka", "--yes"]);
    assert!(
        code == 3 && printed.contains("nobody refuses"),
        "{code}: {printed}"
    );
}

#[tokio::test]
async fn a_topic_that_was_created_anew_is_not_read_as_if_it_were_the_old_one() {
    let world = World::new("recreated", 2).await;
    let toy = world.toy("a").start();
    // Partition 1 stays at offset 0, which the new topic has too.
    world.feed_partition(0, 10).await;
    world.settle().await;
    toy.terminate().await;
    recreate(&world.broker, &world.input, world.partitions).await;
    let mut toy = world.toy("a").start();
    is_refused(&world, &mut toy, "swiftctl lanes reset --to-earliest").await;
    decides(&world, &toy, "--to-earliest").await;
}

#[tokio::test]
async fn a_topic_that_is_created_anew_under_a_running_lane_stops_it() {
    let world = World::new("replaced", 2).await;
    let mut toy = world.toy("a").start();
    world.feed_partition(0, 10).await;
    world.settle().await;
    recreate(&world.broker, &world.input, world.partitions).await;
    is_refused(&world, &mut toy, "swiftctl lanes reset --to-earliest").await;
    decides(&world, &toy, "--to-latest").await;
}

#[tokio::test]
async fn messages_that_retention_took_before_they_were_read_are_not_passed_over() {
    let world = World::new("retention", 2).await;
    let toy = world.toy("a").start();
    world.feed(20).await;
    world.settle().await;
    toy.terminate().await;
    world.feed(20).await;
    let mut taken = TopicPartitionList::new();
    taken
        .add_partition_offset(&world.input, 0, Offset::Offset(15))
        .unwrap();
    let admin: AdminClient<DefaultClientContext> = world.broker.config().create().unwrap();
    let deleted = admin.delete_records(&taken, &AdminOptions::new()).await;
    assert_eq!(deleted.unwrap().elements()[0].offset(), Offset::Offset(15));
    let mut toy = world.toy("a").start();
    is_refused(&world, &mut toy, "swiftctl lanes reset --to-earliest").await;
    let applied = world
        .number("SELECT sum(count)::bigint FROM toy.counters")
        .await;
    decides(&world, &toy, "--to-earliest").await;
    // What retention has left in the log, and what came afterwards.
    let now = world
        .number("SELECT sum(count)::bigint FROM toy.counters")
        .await;
    assert_eq!(now, applied + 5 + 10);
}

async fn recreate(broker: &Broker, topic: &str, partitions: i32) {
    broker.delete_topic(topic).await.unwrap();
    // The broker deletes in the background; until it has, the name is taken.
    harness::wait_for(
        "the topic to be created anew",
        crate::world::DEADLINE,
        async || broker.create_topics(&[(topic, partitions)]).await.is_ok(),
    )
    .await;
}
