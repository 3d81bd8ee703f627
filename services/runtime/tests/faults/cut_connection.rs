//! The connection to a server is cut in the middle of a call, so that nobody knows whether it was carried out.
//!
//! Cut before the request the server has heard nothing; cut before the response it has done what it was asked to.

use std::time::Duration;

use harness::{ApiKey, Fault, KafkaFrames, PostgresFrames, Proxy, When, wait_for};

use crate::toy::Toy;
use crate::world::{Command, DEADLINE, World, fault_listener};

const BOTH: [When; 2] = [When::BeforeRequest, When::BeforeResponse];
const FAILED_COMMIT: &str = "runtime_cycle_failures_total{kind=\"commit_unknown\"}";
const FAILED_RECOVERY: &str = "runtime_cycle_failures_total{kind=\"recovery\"}";
const UNKNOWN_PUBLICATION: &str = "runtime_cycle_failures_total{kind=\"publish_unknown\"}";

async fn fires(fault: &Fault) {
    wait_for("the connection to be cut", DEADLINE, async || {
        fault.fired() > 0
    })
    .await;
}

#[tokio::test]
async fn a_commit_of_postgresql_that_nobody_answers_is_not_guessed() {
    let world = World::new("cut-commit", 2).await;
    let frames = PostgresFrames::new();
    let proxy = Proxy::start("127.0.0.1:0", &world.db.address(), frames.clone())
        .await
        .unwrap();
    let url = world.db.url_through(proxy.address());
    for when in BOTH {
        let toy = world.toy("a").set("POSTGRES__URL", &url).start();
        toy.runs(2).await;
        // Only cycles commit while the lanes run.
        let fault = frames.cut_on_commit(when, 1);
        world.feed(10).await;
        world.settle().await;
        assert_eq!(fault.fired(), 1, "{when:?}");
        toy.counts(FAILED_COMMIT).await;
        // A cycle that breaks does not commit, so the next commit is its recovery's.
        let fault = frames.cut_on_commit(when, 1);
        world.send([Command::new(0, "broken", "break")]).await;
        world.settle().await;
        assert_eq!(fault.fired(), 1, "{when:?}");
        toy.counts(FAILED_RECOVERY).await;
        toy.has_violated_nothing().await;
        toy.terminate().await;
    }
}

#[tokio::test]
async fn a_call_to_kafka_that_is_cut_in_a_cycle_changes_nothing() {
    let _turn = fault_listener().await;
    let world = World::new("cut-cycle", 2).await;
    let frames = KafkaFrames::new();
    let proxy = Proxy::for_broker(world.stack.fault_listener(), frames.clone())
        .await
        .unwrap();
    let toy = through(&world, &proxy);
    toy.runs(2).await;
    for api_key in [
        ApiKey::ADD_PARTITIONS_TO_TXN,
        ApiKey::PRODUCE,
        ApiKey::ADD_OFFSETS_TO_TXN,
        ApiKey::TXN_OFFSET_COMMIT,
        ApiKey::END_TXN,
        ApiKey::FETCH,
        ApiKey::HEARTBEAT,
    ] {
        for when in BOTH {
            let fault = frames.cut_on(api_key, when, 1);
            world.feed(4).await;
            fires(&fault).await;
            world.settle().await;
        }
    }
    toy.has_violated_nothing().await;
    toy.terminate().await;
}

#[tokio::test]
async fn a_call_to_kafka_that_is_cut_while_a_process_starts_is_made_again() {
    let _turn = fault_listener().await;
    let world = World::new("cut-start", 2).await;
    let frames = KafkaFrames::new();
    let proxy = Proxy::for_broker(world.stack.fault_listener(), frames.clone())
        .await
        .unwrap();
    for api_key in [
        ApiKey::FIND_COORDINATOR,
        ApiKey::INIT_PRODUCER_ID,
        ApiKey::JOIN_GROUP,
        ApiKey::SYNC_GROUP,
        ApiKey::OFFSET_FETCH,
        ApiKey::LIST_OFFSETS,
    ] {
        for when in BOTH {
            let fault = frames.cut_on(api_key, when, 1);
            world.feed(4).await;
            let toy = through(&world, &proxy);
            fires(&fault).await;
            world.settle().await;
            toy.has_violated_nothing().await;
            toy.terminate().await;
        }
    }
}

#[tokio::test]
async fn a_commit_of_kafka_that_stays_unanswered_is_looked_up_and_not_guessed() {
    let _turn = fault_listener().await;
    let world = World::new("cut-unknown", 2).await;
    let frames = KafkaFrames::new();
    let proxy = Proxy::for_broker(world.stack.fault_listener(), frames.clone())
        .await
        .unwrap();
    for when in BOTH {
        let toy = through(&world, &proxy);
        toy.runs(2).await;
        // The client tries again by itself; all of its tries have to fail.
        let fault = frames.cut_on(ApiKey::END_TXN, when, 3);
        world.feed(20).await;
        fires(&fault).await;
        proxy.outage();
        toy.counts(UNKNOWN_PUBLICATION).await;
        proxy.resume();
        world.settle().await;
        toy.has_violated_nothing().await;
        toy.terminate().await;
    }
}

/// A process that knows the broker only by the proxy.
fn through(world: &World, proxy: &Proxy) -> Toy {
    let timeout = Duration::from_secs(2).as_millis();
    world
        .toy("a")
        .set("KAFKA__BROKERS", proxy.address())
        .set("RUNTIME__TRANSACTION_TIMEOUT_MS", timeout)
        .start()
}
