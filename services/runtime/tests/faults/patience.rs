//! A message that nobody is in a hurry for starts no cycle before its time, and comes along with one that somebody is.

use crate::world::{Command, World};

/// Partitions of the first input, and of the second, whose messages are patient.
const HASTY: i32 = 0;
const PATIENT: i32 = 1;

#[tokio::test]
async fn a_patient_message_waits_for_company_and_shares_its_cycle() {
    let world = World::companions("patience", 1).await;
    let an_hour = 3_600_000;
    let toy = world.toy("a").set("TOY__COMPANION_PATIENCE_MS", an_hour);
    let toy = toy.start();
    toy.runs(2).await;
    let fetched = "runtime_invariant_checks_total{kind=\"offset_order\"}";
    world.feed_partition(PATIENT, 1).await;
    toy.reaches(fetched, 1.0).await;
    world.feed_partition(HASTY, 1).await;
    world.settle().await;
    // Of all cycles, those that tidy up included, one had more than a single event.
    let cycles = toy.metric("runtime_cycle_events_count").await;
    let small = toy.metric("runtime_cycle_events_bucket{le=\"1\"}").await;
    assert_eq!(cycles.zip(small).map(|(all, small)| all - small), Some(1.0));
    toy.has_violated_nothing().await;
}

#[tokio::test]
async fn a_patient_message_alone_is_applied_when_it_has_waited() {
    let world = World::companions("patience-alone", 1).await;
    let toy = world.toy("a").set("TOY__COMPANION_PATIENCE_MS", 300);
    let toy = toy.start();
    world.send([Command::new(PATIENT, "k", "add")]).await;
    world.settle().await;
    toy.has_violated_nothing().await;
}
