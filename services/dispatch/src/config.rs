//! What a geo may tune. Every field in seconds unless it says otherwise; a missing one takes its default.
//!
//! A changed value changes decisions, so the values in force are part of what a recorded tick names.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::travel::Correction;
use crate::widening::Widening;

/// The settings of one geo's scheduler.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// A request is due once its slack is at most this; `-max_wait_s` at least. Default 120. Too low: nobody is free in time and
    /// food waits; too high: drivers wait at the counter while other orders lack them.
    pub tolerance_s: f64,
    /// How the tolerance widens under pressure: `none` (default) or `linear`, by the three fields that follow. Widening too
    /// little or too late keeps free drivers waiting beside a queue; too much brings them to counters too early.
    pub widening: Widening,
    /// Waiting requests per free driver above which it widens. Default 1.
    pub widening_from: f64,
    /// The same at which it is widest; above `widening_from`. Default 3.
    pub widening_to: f64,
    /// By how much it widens at most. Default 180.
    pub widening_s: f64,
    /// A driver silent for longer is no candidate. Default 30. Too low: a tunnel empties the pool; too
    /// high: orders go to phones that are switched off.
    pub location_ttl_s: f64,
    /// Longest pause between two ticks while a request waits. Default 1. It bounds how late silence is
    /// noticed and how often a policy that holds requests back thinks again.
    pub tick_s: f64,
    /// How many drivers may decline or ignore one order before it fails for good. Default 5.
    pub max_attempts: u32,
    /// How long an order may stay unassigned after its food is ready before it fails for good.
    /// Default 2700. Too low: a short rush loses orders; too high: customers wait for cold food.
    pub max_wait_s: f64,
    /// For how long a driver who declined (or ignored) an order is not asked for it again. Default 600.
    pub cool_down_s: f64,
    /// How long a driver may leave an offer unanswered; absent: offers need no answer. Default 30.
    pub offer_timeout_s: Option<f64>,
    /// How long a driver who holds an order may be silent before he counts as gone: an order that he has not picked up
    /// is released, one that he has is reported. Absent: however long. Default 180. Too low: a tunnel costs a driver his
    /// order; too high: food waits for nobody.
    pub vanish_after_s: Option<f64>,
    /// How long after its pickup an order may stay undelivered before it is given up. Absent: for ever. Default 5400.
    /// Too low: orders under way are refunded; too high: customers wait for an answer.
    pub abandon_after_s: Option<f64>,
    /// Time at the restaurant: half of it from arrival to the counter, half from the counter to leaving.
    /// Default 120. Only estimates of when a busy driver will be free depend on it.
    pub pickup_service_s: f64,
    /// Time at the customer's, halved alike. Default 120.
    pub dropoff_service_s: f64,
    /// How travel times are corrected by the drives that were seen.
    pub correction: Correction,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            tolerance_s: 120.0,
            widening: Widening::None,
            widening_from: 1.0,
            widening_to: 3.0,
            widening_s: 180.0,
            location_ttl_s: 30.0,
            tick_s: 1.0,
            max_attempts: 5,
            max_wait_s: 2_700.0,
            cool_down_s: 600.0,
            offer_timeout_s: Some(30.0),
            vanish_after_s: Some(180.0),
            abandon_after_s: Some(5_400.0),
            pickup_service_s: 120.0,
            dropoff_service_s: 120.0,
            correction: Correction::default(),
        }
    }
}

/// A setting under which the scheduler could not work.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ConfigError {
    #[error("{field} must be {must}, not {value}")]
    OutOfRange {
        field: &'static str,
        must: &'static str,
        value: f64,
    },
}

impl Config {
    /// Refuses what no scheduler could work with; to be called once, where the configuration is read.
    pub fn check(&self) -> Result<(), ConfigError> {
        let at_least_zero = [
            ("widening_from", self.widening_from),
            ("widening_s", self.widening_s),
            ("location_ttl_s", self.location_ttl_s),
            ("max_wait_s", self.max_wait_s),
            ("cool_down_s", self.cool_down_s),
            ("offer_timeout_s", self.offer_timeout_s.unwrap_or(0.0)),
            ("vanish_after_s", self.vanish_after_s.unwrap_or(0.0)),
            ("abandon_after_s", self.abandon_after_s.unwrap_or(0.0)),
            ("pickup_service_s", self.pickup_service_s),
            ("dropoff_service_s", self.dropoff_service_s),
        ];
        for (field, value) in at_least_zero {
            if value.is_nan() || value < 0.0 {
                return Err(ConfigError::OutOfRange {
                    field,
                    must: "0 or more",
                    value,
                });
            }
        }
        // Later an order would be given up before it is due. Not a number is not above anything either.
        let due_in_time = self.tolerance_s.partial_cmp(&-self.max_wait_s);
        if due_in_time.is_none_or(Ordering::is_lt) {
            let value = self.tolerance_s;
            return Err(ConfigError::OutOfRange {
                field: "tolerance_s",
                must: "at least -max_wait_s",
                value,
            });
        }
        if self.widening_to.partial_cmp(&self.widening_from) != Some(Ordering::Greater) {
            let value = self.widening_to;
            return Err(ConfigError::OutOfRange {
                field: "widening_to",
                must: "above widening_from",
                value,
            });
        }
        if self.tick_s.is_nan() || self.tick_s < 0.001 {
            let value = self.tick_s;
            return Err(ConfigError::OutOfRange {
                field: "tick_s",
                must: "at least 0.001",
                value,
            });
        }
        self.correction.check()?;
        if self.max_attempts == 0 {
            return Err(ConfigError::OutOfRange {
                field: "max_attempts",
                must: "at least 1",
                value: 0.0,
            });
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_can_be_worked_with_and_read_back() {
        let config = Config::default();
        assert_eq!(config.check(), Ok(()));
        let text = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<Config>(&text).unwrap(), config);
        assert_eq!(serde_json::from_str::<Config>("{}").unwrap(), config);
    }

    #[test]
    fn a_wrong_value_is_refused_by_name() {
        for (field, config) in [
            (
                "tick_s",
                Config {
                    tick_s: 0.0,
                    ..Config::default()
                },
            ),
            (
                "tolerance_s",
                Config {
                    tolerance_s: f64::NAN,
                    ..Config::default()
                },
            ),
            (
                "tolerance_s",
                Config {
                    tolerance_s: -601.0,
                    max_wait_s: 600.0,
                    ..Config::default()
                },
            ),
            (
                "widening_to",
                Config {
                    widening_to: 1.0,
                    ..Config::default()
                },
            ),
            (
                "location_ttl_s",
                Config {
                    location_ttl_s: -1.0,
                    ..Config::default()
                },
            ),
            (
                "max_attempts",
                Config {
                    max_attempts: 0,
                    ..Config::default()
                },
            ),
        ] {
            assert!(
                config.check().unwrap_err().to_string().starts_with(field),
                "{field}"
            );
        }
        assert!(serde_json::from_str::<Config>(r#"{"tolerance": 1}"#).is_err());
    }
}
