//! The `[payments]` section: which gateway, how long to wait for it, when to try again.

use std::time::Duration;

use runtime::ConfigError;
use serde::Deserialize;

use crate::decide::RetryPolicy;
use crate::gateway::BreakerPolicy;

/// Settings of the payments processor.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PaymentsSettings {
    /// `http` (default), the API of the mock gateway; `stripe`, which needs Stripe's secret key in the environment as
    /// STRIPE_API_KEY; or `instant`, which moves no money: for measuring everything around the gateway only.
    pub gateway: GatewayKind,
    /// Base URL of the gateway, without a path. Default http://127.0.0.1:8090, where the mock gateway listens. Wrong:
    /// payments are deferred, none fails.
    pub gateway_url: String,
    /// Base URL of Stripe, without a path. Default https://api.stripe.com; anything else is for tests.
    pub stripe_url: String,
    /// Calls of this process at once; more than runtime.call_concurrency has no effect. Default 32. Too small: payments
    /// queue in a rush; too large: the gateway meets a stampede after an outage.
    pub concurrency: usize,
    /// How long a call may take, in milliseconds. Default 5000. Too short: outcomes stay unknown and calls are repeated;
    /// too long: a hanging gateway holds all calls of the instance for that long.
    pub timeout_ms: u64,
    /// How long a connection may take to be made, in milliseconds; at most `timeout_ms`. Default 1000.
    pub connect_timeout_ms: u64,
    /// Pauses before the first repetitions of a failed call, in milliseconds; each varies by 20 %. Default 1000, 2000, 4000.
    pub retry_ms: Vec<u64>,
    /// Pause before every further repetition, in milliseconds; varies by 20 %, and ends when the breaker closes. Default
    /// 30000. Too short: a gateway that is ill is answered by a storm; too long: payments wait that long for nothing.
    pub deferral_ms: u64,
    /// Failures within `breaker_window_ms` after which calls are deferred instead of made. Default 5.
    pub breaker_failures: usize,
    /// In milliseconds. Default 60000.
    pub breaker_window_ms: u64,
    /// How long calls are deferred before trials, in milliseconds. Default 10000. Too long: payments wait needlessly once
    /// the gateway is back.
    pub breaker_open_ms: u64,
    /// Trials at once once the breaker may close again. Default 1.
    pub breaker_trials: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GatewayKind {
    Http,
    Stripe,
    Instant,
}

impl Default for PaymentsSettings {
    fn default() -> Self {
        Self {
            gateway: GatewayKind::Http,
            gateway_url: "http://127.0.0.1:8090".to_owned(),
            stripe_url: "https://api.stripe.com".to_owned(),
            concurrency: 32,
            timeout_ms: 5_000,
            connect_timeout_ms: 1_000,
            retry_ms: vec![1_000, 2_000, 4_000],
            deferral_ms: 30_000,
            breaker_failures: 5,
            breaker_window_ms: 60_000,
            breaker_open_ms: 10_000,
            breaker_trials: 1,
        }
    }
}

impl PaymentsSettings {
    pub fn validate(&self) -> Result<(), ConfigError> {
        let invalid = |field: &str, value: &dyn ToString, problem| {
            Err(ConfigError::invalid(
                format!("payments.{field}"),
                value.to_string(),
                problem,
            ))
        };
        for (field, url) in [
            ("gateway_url", &self.gateway_url),
            ("stripe_url", &self.stripe_url),
        ] {
            if !url.starts_with("http://") && !url.starts_with("https://") {
                return invalid(field, url, "must start with http:// or https://");
            }
        }
        if !(1..=10_000).contains(&self.concurrency) {
            return invalid(
                "concurrency",
                &self.concurrency,
                "must lie between 1 and 10000",
            );
        }
        if !(1..=60_000).contains(&self.timeout_ms) {
            return invalid(
                "timeout_ms",
                &self.timeout_ms,
                "must lie between 1 and 60000",
            );
        }
        if !(1..=self.timeout_ms).contains(&self.connect_timeout_ms) {
            return invalid(
                "connect_timeout_ms",
                &self.connect_timeout_ms,
                "must lie between 1 and timeout_ms",
            );
        }
        if let Some(pause) = self
            .retry_ms
            .iter()
            .find(|pause| !(1..=3_600_000).contains(*pause))
        {
            return invalid("retry_ms", pause, "must lie between 1 and 3600000");
        }
        if !(1..=3_600_000).contains(&self.deferral_ms) {
            return invalid(
                "deferral_ms",
                &self.deferral_ms,
                "must lie between 1 and 3600000",
            );
        }
        if self.breaker_failures == 0 {
            return invalid(
                "breaker_failures",
                &self.breaker_failures,
                "must be at least 1",
            );
        }
        if self.breaker_trials == 0 {
            return invalid("breaker_trials", &self.breaker_trials, "must be at least 1");
        }
        for (field, value) in [
            ("breaker_window_ms", self.breaker_window_ms),
            ("breaker_open_ms", self.breaker_open_ms),
        ] {
            if !(1..=3_600_000).contains(&value) {
                return invalid(field, &value, "must lie between 1 and 3600000");
            }
        }
        Ok(())
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub fn retries(&self) -> RetryPolicy {
        RetryPolicy {
            pauses: self
                .retry_ms
                .iter()
                .copied()
                .map(Duration::from_millis)
                .collect(),
            deferral: Duration::from_millis(self.deferral_ms),
        }
    }

    pub fn breaker(&self) -> BreakerPolicy {
        BreakerPolicy {
            failures: self.breaker_failures,
            window: Duration::from_millis(self.breaker_window_ms),
            open: Duration::from_millis(self.breaker_open_ms),
            trials: self.breaker_trials,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        PaymentsSettings::default().validate().unwrap();
    }

    #[test]
    fn a_wrong_value_is_named_with_its_field() {
        type Change = fn(&mut PaymentsSettings);
        let message = |change: Change| {
            let mut settings = PaymentsSettings::default();
            change(&mut settings);
            settings.validate().unwrap_err().to_string()
        };
        let wrong: [(Change, &str); 6] = [
            (|it| it.concurrency = 0, "payments.concurrency = 0"),
            (
                |it| it.gateway_url = "localhost".to_owned(),
                "payments.gateway_url = localhost",
            ),
            (|it| it.timeout_ms = 0, "payments.timeout_ms = 0"),
            (
                |it| it.connect_timeout_ms = 9_999,
                "payments.connect_timeout_ms = 9999",
            ),
            (|it| it.retry_ms.push(0), "payments.retry_ms = 0"),
            (
                |it| it.breaker_failures = 0,
                "payments.breaker_failures = 0",
            ),
        ];
        for (change, expected) in wrong {
            assert!(
                message(change).contains(expected),
                "{} should contain {expected}",
                message(change)
            );
        }
    }

    #[test]
    fn a_misspelt_field_is_an_error() {
        assert!(toml::from_str::<PaymentsSettings>("timeout = 3").is_err());
        assert!(toml::from_str::<PaymentsSettings>("gateway = \"instant\"").is_ok());
    }
}
