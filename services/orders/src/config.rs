//! The `[orders]` section of the configuration.

use std::time::Duration;

use runtime::ConfigError;
use serde::Deserialize;

use crate::decide::Policy;

#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How far from the restaurant a driver may be, in metres; default 8000. Too small: orders end undeliverable while
    /// drivers stand idle behind the border. Too large: drivers are sent across the city, and the food waits for them.
    pub search_radius_m: u32,
    /// For how long after acceptance the money is wanted, in seconds; default 900. Too small: an outage of the gateway
    /// fails orders that it should only delay. Too large: customers are charged for meals they have given up on.
    pub payment_expires_s: u64,
    /// For how long a kitchen's or customer's event waits for its order to be placed, in seconds; default 900. Too small:
    /// one that overtook its order while a partition lagged is given up. Too large: events of orders that never existed
    /// are looked for, once a minute each, for that long.
    pub early_max_age_s: u64,
    /// For how long nothing may move an order (from when its food should be ready, if that is later) before it is shown as
    /// stuck, in seconds; default 1800. Too small: a slow kitchen raises an alarm; too large: nobody looks while it can help.
    pub stuck_after_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            search_radius_m: 8_000,
            payment_expires_s: 900,
            early_max_age_s: 900,
            stuck_after_s: 1_800,
        }
    }
}

/// Longest of the durations above: a week is longer than any topic they concern is worth reading.
const LONGEST_S: u64 = 604_800;

impl Config {
    /// The policy that this asks for; an error names field and value.
    pub fn policy(&self) -> Result<Policy, ConfigError> {
        let search_radius_m = i32::try_from(self.search_radius_m)
            .ok()
            .filter(|radius| (1..=1_000_000).contains(radius));
        let search_radius_m = search_radius_m.ok_or_else(|| {
            ConfigError::invalid(
                "orders.search_radius_m",
                self.search_radius_m,
                "not within 1 to 1000000",
            )
        })?;
        Ok(Policy {
            search_radius_m,
            payment_expires: seconds("orders.payment_expires_s", self.payment_expires_s)?,
            stuck_after: seconds("orders.stuck_after_s", self.stuck_after_s)?,
            early_max_age: seconds("orders.early_max_age_s", self.early_max_age_s)?,
        })
    }
}

fn seconds(field: &str, value: u64) -> Result<Duration, ConfigError> {
    if (1..=LONGEST_S).contains(&value) {
        Ok(Duration::from_secs(value))
    } else {
        Err(ConfigError::invalid(
            field,
            value,
            format!("not within 1 to {LONGEST_S}"),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        let policy = Config::default().policy().unwrap();
        assert_eq!(
            (policy.search_radius_m, policy.payment_expires.as_secs()),
            (8_000, 900)
        );
    }

    #[test]
    fn a_wrong_value_is_named_with_its_field() {
        let wrong = [
            (
                Config {
                    search_radius_m: 0,
                    ..Config::default()
                },
                "orders.search_radius_m = 0",
            ),
            (
                Config {
                    payment_expires_s: 0,
                    ..Config::default()
                },
                "orders.payment_expires_s = 0",
            ),
            (
                Config {
                    early_max_age_s: 604_801,
                    ..Config::default()
                },
                "orders.early_max_age_s = 604801",
            ),
        ];
        for (config, named) in wrong {
            let error = config.policy().unwrap_err().to_string();
            assert!(error.contains(named), "{error}");
        }
    }
}
