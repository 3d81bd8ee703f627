//! The receivers of webhooks, by address: how many calls each may have under way, and when one that fails is called again.
//!
//! Shared by all lanes of a process and forgotten when it ends. A receiver that works has a few calls at once; one that
//! failed has one, after a pause that grows with every further failure, whichever message is next. Of all calls only so
//! many are to receivers that failed last time: so neither one dead receiver nor many take the places of the others.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When a receiver, all of whose places are taken, is worth another look.
const BUSY: Duration = Duration::from_millis(100);
/// Above so many receivers, those whose pause is over are forgotten.
const KNOWN: usize = 10_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Calls at once to one receiver.
    pub per_receiver: usize,
    /// Calls at once to receivers that failed last time.
    pub probes: usize,
    /// Pauses after a first, second, ... failure in a row; the last one also after every further one.
    pub pauses: Vec<Duration>,
}

pub struct Receivers {
    limits: Limits,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Those with calls under way or a failure on record.
    receivers: HashMap<String, Receiver>,
    probes: usize,
}

#[derive(Default)]
struct Receiver {
    under_way: usize,
    /// In a row.
    failures: usize,
    not_before: Option<Instant>,
}

/// Leave to call a receiver; handed back with how it went.
#[derive(Debug, PartialEq, Eq)]
pub struct Leave {
    failures: usize,
}

impl Receivers {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            known: Mutex::default(),
        }
    }

    /// Whether a receiver may be called now; otherwise after what time to ask again.
    pub fn admit(&self, url: &str, now: Instant) -> Result<Leave, Duration> {
        let mut known = self.known();
        let probes = known.probes;
        let Some(receiver) = known.receivers.get_mut(url) else {
            let receiver = Receiver {
                under_way: 1,
                ..Receiver::default()
            };
            known.receivers.insert(url.to_owned(), receiver);
            return Ok(Leave { failures: 0 });
        };
        if let Some(at) = receiver.not_before.filter(|at| *at > now) {
            return Err(at - now);
        }
        let failures = receiver.failures;
        let full = if failures == 0 {
            receiver.under_way >= self.limits.per_receiver
        } else {
            receiver.under_way >= 1 || probes >= self.limits.probes
        };
        if full {
            return Err(BUSY);
        }
        receiver.under_way += 1;
        known.probes += usize::from(failures > 0);
        Ok(Leave { failures })
    }

    /// Notes how a call went; returns how long its receiver is to be left alone.
    pub fn record(&self, url: &str, leave: Leave, alive: bool, now: Instant) -> Option<Duration> {
        let mut known = self.known();
        known.probes -= usize::from(leave.failures > 0);
        let receiver = known.receivers.get_mut(url)?;
        receiver.under_way -= 1;
        if alive {
            (receiver.failures, receiver.not_before) = (0, None);
        } else if leave.failures == receiver.failures {
            // Calls that failed together are one failure.
            let pause = self.pause(receiver.failures, url);
            (receiver.failures, receiver.not_before) = (receiver.failures + 1, Some(now + pause));
        }
        let wait = receiver
            .not_before
            .map(|at| at.saturating_duration_since(now));
        if receiver.under_way == 0 && receiver.failures == 0 {
            known.receivers.remove(url);
        }
        if known.receivers.len() > KNOWN {
            let in_use =
                |it: &Receiver| it.under_way > 0 || it.not_before.is_some_and(|at| at > now);
            known.receivers.retain(|_, receiver| in_use(receiver));
        }
        wait
    }

    /// Shorter by up to a fifth, and not the same for all: what failed together does not come back together.
    fn pause(&self, failures: usize, url: &str) -> Duration {
        let pauses = &self.limits.pauses;
        let pause = pauses.get(failures).or(pauses.last());
        let mut hasher = DefaultHasher::new();
        (failures, url).hash(&mut hasher);
        let part = (hasher.finish() % 1000) as f64 / 1000.0;
        pause.copied().unwrap_or_default().mul_f64(1.0 - 0.2 * part)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Each change under the lock is complete in itself, so a panic elsewhere leaves nothing half done.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receivers() -> Receivers {
        Receivers::new(Limits {
            per_receiver: 2,
            probes: 1,
            pauses: [1, 5].map(Duration::from_secs).to_vec(),
        })
    }

    fn failed(receivers: &Receivers, url: &str, at: Instant) -> Duration {
        let leave = receivers.admit(url, at).unwrap();
        receivers.record(url, leave, false, at).unwrap()
    }

    fn about(pause: Duration, seconds: f64) -> bool {
        (0.8 * seconds..=seconds).contains(&pause.as_secs_f64())
    }

    #[test]
    fn a_receiver_has_a_few_calls_at_once_and_others_theirs() {
        let (receivers, now) = (receivers(), Instant::now());
        let first = receivers.admit("a", now).unwrap();
        receivers.admit("a", now).unwrap();
        assert_eq!(receivers.admit("a", now), Err(BUSY));
        receivers.admit("b", now).unwrap();
        assert_eq!(receivers.record("a", first, true, now), None);
        receivers.admit("a", now).unwrap();
    }

    #[test]
    fn a_receiver_that_fails_is_left_alone_for_longer_and_longer_until_it_works() {
        let (receivers, mut now) = (receivers(), Instant::now());
        for expected in [1.0, 5.0, 5.0] {
            let pause = failed(&receivers, "a", now);
            assert!(about(pause, expected), "{pause:?} instead of {expected} s");
            assert_eq!(receivers.admit("a", now), Err(pause));
            now += pause;
        }
        let leave = receivers.admit("a", now).unwrap();
        assert_eq!(receivers.admit("a", now), Err(BUSY), "one call at a time");
        assert_eq!(receivers.record("a", leave, true, now), None);
        assert!(
            about(failed(&receivers, "a", now), 1.0),
            "from the start again"
        );
    }

    #[test]
    fn calls_that_fail_together_are_one_failure() {
        let (receivers, now) = (receivers(), Instant::now());
        let leaves = [(); 2].map(|()| receivers.admit("a", now).unwrap());
        for leave in leaves {
            assert!(about(
                receivers.record("a", leave, false, now).unwrap(),
                1.0
            ));
        }
    }

    #[test]
    fn receivers_that_failed_share_a_bounded_number_of_calls_and_those_that_work_do_not() {
        let (receivers, now) = (receivers(), Instant::now());
        failed(&receivers, "a", now);
        failed(&receivers, "b", now);
        let later = now + Duration::from_secs(2);
        let probe = receivers.admit("a", later).unwrap();
        assert_eq!(receivers.admit("b", later), Err(BUSY));
        receivers.admit("c", later).unwrap();
        receivers.record("a", probe, false, later);
        receivers.admit("b", later).unwrap();
    }

    #[test]
    fn a_receiver_that_works_is_not_remembered() {
        let (receivers, now) = (receivers(), Instant::now());
        let leave = receivers.admit("a", now).unwrap();
        receivers.record("a", leave, true, now);
        assert!(receivers.known().receivers.is_empty());
    }
}
