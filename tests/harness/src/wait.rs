//! Waiting on a condition, with a deadline: the only place under `tests` that pauses.

use std::time::{Duration, Instant};

/// Between two looks: short enough not to lengthen a test, long enough to leave the processors to those who are waited for.
const PAUSE: Duration = Duration::from_millis(20);

/// Waits until `condition` is true.
///
/// # Panics
/// When it is still false after `deadline`; the message names `what`.
pub async fn wait_for(what: &str, deadline: Duration, mut condition: impl AsyncFnMut() -> bool) {
    wait_for_value(what, deadline, async || condition().await.then_some(())).await;
}

/// Waits until `value` gives one, and returns it.
///
/// # Panics
/// When there is still none after `deadline`; the message names `what`.
pub async fn wait_for_value<T>(
    what: &str,
    deadline: Duration,
    mut value: impl AsyncFnMut() -> Option<T>,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = value().await {
            return value;
        }
        assert!(
            start.elapsed() < deadline,
            "waited {deadline:?} in vain for: {what}"
        );
        tokio::time::sleep(PAUSE).await; // waits: between two looks at the condition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_that_becomes_true_ends_the_wait() {
        let mut looks = 0;
        wait_for("the third look", Duration::from_secs(5), async || {
            looks += 1;
            looks == 3
        })
        .await;
        assert_eq!(looks, 3);
    }

    #[tokio::test]
    #[should_panic(expected = "in vain for: pigs to fly")]
    async fn a_condition_that_stays_false_fails_and_says_what_it_was() {
        wait_for("pigs to fly", Duration::from_millis(1), async || false).await;
    }
}
