//! A server is gone for a while and comes back: the process stays, waits, and goes on.
//!
//! `FAULT_OUTAGE_S` sets how long (default 12); a minute is what production should sit out.

use std::time::{Duration, Instant};

use harness::{Chunks, Proxy, wait_for};

use crate::toy::Toy;
use crate::world::{World, fault_listener};

#[tokio::test]
async fn an_outage_of_postgresql_is_sat_out() {
    let world = World::new("outage-postgres", 2).await;
    let proxy = Proxy::start("127.0.0.1:0", &world.db.address(), Chunks::relay())
        .await
        .unwrap();
    let toy = world
        .toy("a")
        .set("POSTGRES__URL", world.db.url_through(proxy.address()))
        .start();
    is_sat_out(&world, &proxy, toy).await;
}

#[tokio::test]
async fn an_outage_of_kafka_is_sat_out() {
    let _turn = fault_listener().await;
    let world = World::new("outage-kafka", 2).await;
    let proxy = Proxy::for_broker(world.stack.fault_listener(), Chunks::relay())
        .await
        .unwrap();
    let toy = world
        .toy("a")
        .set("KAFKA__BROKERS", proxy.address())
        .start();
    is_sat_out(&world, &proxy, toy).await;
}

#[tokio::test]
async fn a_process_that_is_told_to_stop_during_an_outage_stops() {
    let _turn = fault_listener().await;
    let world = World::new("outage-stop", 2).await;
    let kafka = Proxy::for_broker(world.stack.fault_listener(), Chunks::relay())
        .await
        .unwrap();
    let postgres = Proxy::start("127.0.0.1:0", &world.db.address(), Chunks::relay())
        .await
        .unwrap();
    for gone in [&postgres, &kafka] {
        let toy = world
            .toy("a")
            .set("KAFKA__BROKERS", kafka.address())
            .set("POSTGRES__URL", world.db.url_through(postgres.address()))
            .start();
        toy.runs(2).await;
        world.feed(200).await;
        // Whatever was under way is cut.
        gone.outage();
        world.feed(20).await;
        toy.terminate().await;
        gone.resume();
    }
    let _toy = world.toy("a").start();
    world.settle().await;
}

async fn is_sat_out(world: &World, proxy: &Proxy, mut toy: Toy) {
    toy.runs(2).await;
    world.feed(20).await;
    world.settle().await;
    let accepted = proxy.accepted();
    assert!(accepted > 0, "the process does not go through the proxy");
    world.feed(200).await;
    proxy.outage();
    let seconds = std::env::var("FAULT_OUTAGE_S").map_or(12, |text| text.parse().unwrap());
    let (start, lasts) = (Instant::now(), Duration::from_secs(seconds));
    // Messages keep coming; whatever was under way is cut.
    world.feed(20).await;
    let over = lasts + Duration::from_secs(30);
    wait_for("the outage to have lasted", over, async || {
        start.elapsed() >= lasts
    })
    .await;
    assert!(toy.is_running());
    proxy.resume();
    world.settle().await;
    assert!(
        proxy.accepted() > accepted,
        "nothing was connected again, so nothing was cut"
    );
    toy.has_violated_nothing().await;
    toy.terminate().await;
}
