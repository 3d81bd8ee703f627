//! The gate in front of the gateway: never more calls at once than configured, and none while the breaker is open.
//!
//! It is one per process and shared by all lanes. It tells how much room there is, so that payments wait in their lanes,
//! the oldest first, and not here; what passes all the same is still bounded. Costs: instances do not know of each other,
//! so the gateway sees at most the bound times the number of instances.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::{Breaker, BreakerPolicy, Call, Gateway, Outcome};

pub struct Gate {
    gateway: Box<dyn Gateway>,
    breaker: Mutex<Breaker>,
    places: Semaphore,
    concurrency: usize,
    /// Calls that have come to the gate and not yet left it.
    present: AtomicUsize,
}

/// How many calls may be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    Calls(usize),
    /// None before this time has passed.
    Shut(Duration),
}

impl Gate {
    pub fn new(gateway: Box<dyn Gateway>, policy: BreakerPolicy, concurrency: usize) -> Self {
        Self {
            gateway,
            breaker: Mutex::new(Breaker::new(policy)),
            places: Semaphore::new(concurrency),
            concurrency,
            present: AtomicUsize::new(0),
        }
    }

    /// A gate that bounds nothing, for a gateway that takes no time.
    pub fn wide_open(gateway: Box<dyn Gateway>, policy: BreakerPolicy) -> Self {
        Self::new(gateway, policy, Semaphore::MAX_PERMITS)
    }

    pub fn room(&self) -> Room {
        match self.breaker().room(Instant::now()) {
            Ok(calls) => {
                let present = self.present.load(Ordering::Relaxed);
                Room::Calls(calls.min(self.concurrency.saturating_sub(present)))
            }
            Err(wait) => Room::Shut(wait),
        }
    }

    /// How often the gateway has come back after an outage.
    pub fn closings(&self) -> u64 {
        self.breaker().closings()
    }

    /// Performs a call when there is a place for it, unless the breaker is open by then.
    pub async fn perform(&self, call: &Call) -> Outcome {
        let _present = Present::count(&self.present);
        // It is never closed, and without a place an error here would only let the call through.
        let _place = self.places.acquire().await;
        let Ok(leave) = self.breaker().admit(Instant::now()) else {
            return Outcome::Deferred;
        };
        let outcome = self.gateway.perform(call).await;
        let good = !matches!(outcome, Outcome::Failed { .. });
        let mut breaker = self.breaker();
        let was_closed = breaker.is_closed();
        breaker.record(leave, good, Instant::now());
        if was_closed != breaker.is_closed() {
            tracing::warn!(
                closed = breaker.is_closed(),
                "the breaker of the gateway changed"
            );
        }
        metrics::gauge!("payments_breaker_closed").set(u8::from(breaker.is_closed()));
        outcome
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        // Each change under the lock is complete in itself, so a panic elsewhere leaves nothing half done.
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call at the gate, counted for as long as it lives.
struct Present<'a>(&'a AtomicUsize);

impl<'a> Present<'a> {
    fn count(counter: &'a AtomicUsize) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
