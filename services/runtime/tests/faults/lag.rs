//! How far a lane is behind its log is told while it is, and told again when it is not.

use crate::world::World;

const MESSAGES: i32 = 300;

#[tokio::test]
async fn a_lane_says_how_far_it_is_behind_and_that_it_has_caught_up() {
    let world = World::new("lag", 1).await;
    world.feed(MESSAGES).await;
    // A message per cycle: the end of the log is told long before the lane is there.
    let toy = world.toy("a").set("RUNTIME__MAX_BATCH", 1).start();
    let lag = format!(
        "runtime_lag_messages{{topic=\"{}\",partition=\"0\"}}",
        world.input
    );
    toy.counts(&lag).await;
    let behind = toy.metric(&lag).await;
    assert!(
        behind.is_some_and(|behind| behind <= f64::from(MESSAGES)),
        "{behind:?}"
    );
    world.settle().await;
    toy.reaches(&lag, 0.0).await;
    let lane = format!("{}/0", world.input);
    for told in ["runtime_lag_seconds", "runtime_outbox_unpublished_rows"] {
        toy.reaches(&format!("{told}{{lane=\"{lane}\"}}"), 0.0)
            .await;
    }
    toy.has_violated_nothing().await;
}
