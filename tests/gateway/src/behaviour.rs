//! How well the gateway behaves: latency, outcomes, faults. Drawn from a seed and the request, so that a run repeats.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use clap::Args;
use serde::{Deserialize, Serialize};

/// Rates are probabilities from 0 to 1; the three faults exclude each other, so together they stay below 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, Args)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// Shortest time to an answer, in milliseconds.
    #[arg(long, default_value_t = Behaviour::default().latency_min_ms)]
    pub latency_min_ms: u64,
    /// Longest time to an answer, in milliseconds.
    #[arg(long, default_value_t = Behaviour::default().latency_max_ms)]
    pub latency_max_ms: u64,
    /// Share of captures that are declined.
    #[arg(long, default_value_t = 0.0)]
    pub decline_rate: f64,
    /// Share of requests answered by status 500; nothing happened.
    #[arg(long, default_value_t = 0.0)]
    pub error_rate: f64,
    /// Share of requests that hang for `hang_ms` and are performed only then, whether or not anybody still waits.
    #[arg(long, default_value_t = 0.0)]
    pub hang_rate: f64,
    /// Share of requests that are performed, but whose connection is cut within the answer.
    #[arg(long, default_value_t = 0.0)]
    pub half_answered_rate: f64,
    /// How long a hanging request hangs, in milliseconds.
    #[arg(long, default_value_t = Behaviour::default().hang_ms)]
    pub hang_ms: u64,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            latency_min_ms: 50,
            latency_max_ms: 200,
            decline_rate: 0.0,
            error_rate: 0.0,
            hang_rate: 0.0,
            half_answered_rate: 0.0,
            hang_ms: 30_000,
        }
    }
}

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    Error,
    Hang,
    HalfAnswered,
}

impl Behaviour {
    /// Immediate answers, no declines, no faults.
    pub fn instant() -> Self {
        Self {
            latency_min_ms: 0,
            latency_max_ms: 0,
            ..Self::default()
        }
    }

    /// What is wrong with it, naming field and value.
    pub fn check(&self) -> Result<(), String> {
        let rates = [
            ("decline_rate", self.decline_rate),
            ("error_rate", self.error_rate),
            ("hang_rate", self.hang_rate),
            ("half_answered_rate", self.half_answered_rate),
        ];
        if let Some((name, rate)) = rates.iter().find(|(_, rate)| !(0.0..=1.0).contains(rate)) {
            return Err(format!("{name} = {rate}: must lie between 0 and 1"));
        }
        let faults = self.error_rate + self.hang_rate + self.half_answered_rate;
        if faults > 1.0 {
            return Err(format!(
                "error_rate + hang_rate + half_answered_rate = {faults}: must not exceed 1"
            ));
        }
        if self.latency_min_ms > self.latency_max_ms {
            let (min, max) = (self.latency_min_ms, self.latency_max_ms);
            return Err(format!(
                "latency_min_ms = {min}: must not exceed latency_max_ms = {max}"
            ));
        }
        Ok(())
    }

    /// Whether the capture of this key is declined: the same at every try.
    pub(crate) fn declines(&self, seed: u64, key: &str) -> bool {
        draw(seed, key, 0, "outcome") < self.decline_rate
    }

    /// The fault of the `nth` request of a key: each try has its own.
    pub(crate) fn fault(&self, seed: u64, key: &str, nth: u32) -> Fault {
        let drawn = draw(seed, key, nth, "fault");
        let mut bound = self.error_rate;
        if drawn < bound {
            return Fault::Error;
        }
        bound += self.hang_rate;
        if drawn < bound {
            return Fault::Hang;
        }
        bound += self.half_answered_rate;
        if drawn < bound {
            Fault::HalfAnswered
        } else {
            Fault::None
        }
    }

    pub(crate) fn latency(&self, seed: u64, key: &str, nth: u32) -> Duration {
        let span = (self.latency_max_ms - self.latency_min_ms) as f64;
        let drawn = draw(seed, key, nth, "latency") * span;
        Duration::from_millis(self.latency_min_ms + drawn as u64)
    }
}

/// A number from 0 to 1 (exclusive) that depends on nothing but its arguments.
fn draw(seed: u64, key: &str, nth: u32, what: &str) -> f64 {
    let mut hasher = DefaultHasher::new();
    (seed, key, nth, what).hash(&mut hasher);
    (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_come_out_as_configured() {
        let behaviour = Behaviour {
            error_rate: 0.2,
            hang_rate: 0.1,
            half_answered_rate: 0.3,
            ..Behaviour::default()
        };
        let count = |fault| {
            (0..10_000)
                .filter(|nth| behaviour.fault(1, "key", *nth) == fault)
                .count()
        };
        for (fault, expected) in [
            (Fault::Error, 2000),
            (Fault::Hang, 1000),
            (Fault::HalfAnswered, 3000),
            (Fault::None, 4000),
        ] {
            assert!(
                count(fault).abs_diff(expected) < 300,
                "{fault:?}: {}",
                count(fault)
            );
        }
    }

    #[test]
    fn latency_stays_within_its_bounds_and_spreads() {
        let drawn: Vec<u128> = (0..1000)
            .map(|nth| Behaviour::default().latency(7, "key", nth).as_millis())
            .collect();
        assert!(drawn.iter().all(|ms| (50..200).contains(ms)));
        assert!(drawn.iter().min().unwrap() < &60 && drawn.iter().max().unwrap() > &190);
    }

    #[test]
    fn a_wrong_behaviour_is_named() {
        let wrong = Behaviour {
            error_rate: 0.7,
            hang_rate: 0.7,
            ..Behaviour::default()
        };
        assert!(wrong.check().unwrap_err().contains("must not exceed 1"));
        let wrong = Behaviour {
            decline_rate: -0.1,
            ..Behaviour::default()
        };
        assert!(
            wrong
                .check()
                .unwrap_err()
                .starts_with("decline_rate = -0.1")
        );
        let wrong = Behaviour {
            latency_min_ms: 300,
            ..Behaviour::default()
        };
        assert!(
            wrong
                .check()
                .unwrap_err()
                .starts_with("latency_min_ms = 300")
        );
    }
}
