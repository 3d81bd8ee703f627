//! Liveness and readiness, and the watchdog that ends a process whose lanes stand still.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What the engine last said of itself.
pub struct Health {
    started: Instant,
    ready: AtomicBool,
    stopping: AtomicBool,
    /// Milliseconds from `started` to the last movement, or moment without work.
    moved: AtomicU64,
    stall: Duration,
}

impl Health {
    pub(crate) fn new(stall: Duration) -> Arc<Self> {
        let health = Self {
            started: Instant::now(),
            ready: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            moved: AtomicU64::new(0),
            stall,
        };
        Arc::new(health)
    }

    /// `ready`: in the group, and no lane waits for recovery. `alive`: something moved, or there was nothing to do.
    pub(crate) fn report(&self, ready: bool, alive: bool) {
        self.ready.store(ready, Ordering::Relaxed);
        if alive {
            self.moved
                .store(self.started.elapsed().as_millis() as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed) && !self.stopping.load(Ordering::Relaxed)
    }

    /// How long lanes with work have not moved.
    pub fn still_for(&self) -> Duration {
        self.started
            .elapsed()
            .saturating_sub(Duration::from_millis(self.moved.load(Ordering::Relaxed)))
    }

    pub fn is_live(&self) -> bool {
        self.still_for() < self.stall
    }

    /// Ends the process when it stalls. A thread of its own: a blocked async runtime must not be able to hide.
    pub(crate) fn watch(self: &Arc<Self>) {
        let health = self.clone();
        let watch = move || {
            while health.is_live() {
                std::thread::sleep(Duration::from_secs(1).min(health.stall / 4));
            }
            tracing::error!(still_for = ?health.still_for(), "lanes with work have not moved: ending the process");
            std::process::exit(crate::service::EXIT_STALLED);
        };
        let started = std::thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(watch);
        if let Err(error) = started {
            tracing::error!(%error, "no watchdog");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_live_while_it_reports_and_not_when_it_has_stalled() {
        let health = Health::new(Duration::from_secs(60));
        health.report(true, true);
        assert!(health.is_live() && health.is_ready());
        let stalled = Health::new(Duration::ZERO);
        stalled.report(false, false);
        assert!(!stalled.is_live());
    }

    #[test]
    fn a_stopping_process_is_not_ready() {
        let health = Health::new(Duration::from_secs(60));
        health.report(true, true);
        health.stop();
        assert!(!health.is_ready());
    }
}
