//! Instances join and leave while messages stream through; lanes change hands at once, and nothing is lost on the way.

use std::cell::Cell;

use crate::world::{DEADLINE, World};

/// Longer than anything here is waited for: a hand-over that needs a session to expire fails its test.
const SESSION_MS: u128 = 2 * DEADLINE.as_millis();

#[tokio::test]
async fn lanes_change_hands_while_messages_stream_through() {
    let world = World::new("rebalance", 6).await;
    let start = |instance: &str| {
        world
            .toy(instance)
            .set("RUNTIME__SESSION_TIMEOUT_MS", SESSION_MS)
    };
    let streaming = Cell::new(true);
    let stream = async {
        while streaming.get() {
            world.feed(12).await;
        }
    };
    let changes = async {
        let first = start("first").start();
        first.runs(6).await;
        let second = start("second").start();
        second.runs(3).await;
        let third = start("third").start();
        third.runs(2).await;
        second.has_violated_nothing().await;
        second.terminate().await;
        first.runs(3).await;
        let fourth = start("fourth").start();
        fourth.runs(2).await;
        first.has_violated_nothing().await;
        first.terminate().await;
        third.has_violated_nothing().await;
        third.terminate().await;
        fourth.runs(6).await;
        streaming.set(false);
        fourth
    };
    let (fourth, ()) = tokio::join!(changes, stream);
    world.settle().await;
    fourth.has_violated_nothing().await;
    fourth.terminate().await;
}

#[tokio::test]
async fn lanes_of_one_number_change_hands_together() {
    let world = World::companions("companions", 3).await;
    let start = |instance: &str| {
        world
            .toy(instance)
            .set("RUNTIME__SESSION_TIMEOUT_MS", SESSION_MS)
    };
    let first = start("first").start();
    first.runs(6).await;
    world.feed(24).await;
    // One of three units: the lanes of its number of both inputs, where six lanes dealt one by one would be three.
    let second = start("second").start();
    second.runs(2).await;
    first.runs(4).await;
    world.feed(24).await;
    world.settle().await;
    first.has_violated_nothing().await;
    first.terminate().await;
    second.runs(6).await;
    world.feed(24).await;
    world.settle().await;
    second.has_violated_nothing().await;
    second.terminate().await;
}

#[tokio::test]
async fn a_killed_instance_that_comes_back_takes_its_lanes_without_waiting_for_its_session() {
    let world = World::new("restart", 2).await;
    let start = || {
        world
            .toy("a")
            .set("RUNTIME__SESSION_TIMEOUT_MS", SESSION_MS)
    };
    let toy = start().start();
    toy.runs(2).await;
    world.feed(10).await;
    toy.kill().await;
    let toy = start().start();
    toy.runs(2).await;
    world.settle().await;
}
