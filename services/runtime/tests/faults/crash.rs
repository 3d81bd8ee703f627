//! The process aborts at every step of the cycle and of recovery, early and late, and also while it recovers from a crash.

use futures::StreamExt;
use runtime::Step;

use crate::toy::Halt;
use crate::world::{Command, World};

/// So many steps are tried at a time.
const AT_A_TIME: usize = 4;

#[tokio::test]
async fn a_crash_at_any_step_loses_nothing_and_doubles_nothing() {
    let alone = Step::ALL.map(|step| (step, None));
    // The Kafka transaction is full and PostgreSQL has not committed; PostgreSQL has committed and Kafka knows no offset.
    let beside = [
        (Step::Settled, Some(Step::Filled)),
        (Step::Committed, Some(Step::Produced)),
    ];
    let mut steps = futures::stream::iter(alone.into_iter().chain(beside))
        .map(crash_at)
        .buffer_unordered(AT_A_TIME);
    let mut crashed = 0;
    while let Some(crashes) = steps.next().await {
        crashed += crashes;
    }
    assert_eq!(crashed, (2 * 5) + (4 * 8) + (2 * 2));
}

/// Whether recovery passes here too.
fn is_of_recovery(step: Step) -> bool {
    !matches!(
        step,
        Step::Gathered | Step::Fenced | Step::Applied | Step::Settled | Step::Committed
    )
}

/// Crashes at a step for its first and a later occurrence, then with rows of a crashed cycle left to publish. Says how
/// often.
async fn crash_at((step, beside): (Step, Option<Step>)) -> u32 {
    let world = World::new("crash", 2).await;
    // Small cycles, so that there are many; what breaks a cycle makes for more recoveries.
    let start = || world.toy("a").set("RUNTIME__MAX_BATCH", 5);
    let crashing = |n| match beside {
        Some(beside) => start().halt_beside(step, beside, n, Halt::Abort),
        None => start().halt(step, n, Halt::Abort),
    };
    world.feed(20).await;
    let special = ["later 20", "call", "break", "reject", "break", "call"];
    let special = special
        .into_iter()
        .zip([0, 1].into_iter().cycle())
        .map(|(value, partition)| Command::new(partition, &format!("special-{partition}"), value));
    world.send(special).await;
    world.feed(20).await;
    let mut crashes = 2;
    crashing(1).start().aborted().await;
    crashing(3).start().aborted().await;
    let toy = start().start();
    world.settle().await;
    toy.has_violated_nothing().await;
    toy.terminate().await;
    if is_of_recovery(step) {
        world.feed(20).await;
        let halted = start().halt(Step::Committed, 1, Halt::Abort).start();
        halted.aborted().await;
        assert!(world.number("SELECT count(*) FROM toy.outbox").await > 0);
        crashing(1).start().aborted().await;
        let toy = start().start();
        world.settle().await;
        toy.has_violated_nothing().await;
        crashes += 2;
    }
    crashes
}
