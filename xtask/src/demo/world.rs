//! How rough the world is that the demo plays in: what goes wrong at the gateway, in kitchens, on the road and on the wire.

use anyhow::{Result, ensure};
use clap::ValueEnum;
use serde_json::{Value, json};

use super::platform::Platform;

/// The world of a demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum World {
    /// Nothing goes wrong.
    Calm,
    /// Everything does, now and then: payments are declined, fail, hang and are half answered, and for a while none goes
    /// through; customers cancel, kitchens reject and are late, drivers decline, ignore and vanish, and messages are garbage.
    Rough,
}

/// Shares of orders or offers, as `city run` takes them.
const CITY: [(&str, &str); 6] = [
    ("--cancels", "0.10"),
    ("--kitchen-rejections", "0.05"),
    ("--delays", "0.20"),
    ("--declines", "0.12"),
    ("--silence", "0.08"),
    ("--vanishing", "0.05"),
];
/// One of so many orders comes with a message that nobody can read.
const ORDERS_PER_POISON: usize = 100;
/// Seconds of ours for which the gateway refuses everything.
const OUTAGE_S: u64 = 15;

/// What is changed in the settings of the services, so that it all fits into minutes: milliseconds of ours.
const PAYMENTS: [(&str, i64); 3] = [
    ("timeout_ms", 2_000),
    ("deferral_ms", 5_000),
    ("breaker_open_ms", 3_000),
];
/// Seconds of ours after which a driver who is not heard counts as gone; phones ping more than once a second.
const VANISH_S: f64 = 15.0;
/// Seconds of the world after which a meal that does not arrive is given up.
const ABANDON_S: f64 = 3_600.0;

impl World {
    /// Arguments of `city run`, for so many orders.
    pub fn city(self, orders: usize) -> Vec<String> {
        match self {
            World::Calm => Vec::new(),
            World::Rough => {
                let poison = orders.div_ceil(ORDERS_PER_POISON).to_string();
                let shares = CITY.iter().flat_map(|(flag, share)| [*flag, *share]);
                let with_poison = shares.chain(["--poison", poison.as_str()]);
                with_poison.map(str::to_owned).collect()
            }
        }
    }

    /// How the gateway behaves while it is up; 15 % of its answers are no answers.
    pub fn gateway(self) -> Value {
        match self {
            World::Calm => json!({}),
            World::Rough => json!({
                "decline_rate": 0.10,
                "error_rate": 0.09,
                "half_answered_rate": 0.04,
                "hang_rate": 0.02,
                "hang_ms": 4_000,
            }),
        }
    }

    /// Settings of the services by section, to be laid over the repository's.
    pub fn settings(self) -> Vec<(&'static str, &'static str, toml::Value)> {
        match self {
            World::Calm => Vec::new(),
            World::Rough => {
                let payments = PAYMENTS.map(|(field, ms)| ("payments", field, ms.into()));
                let dispatch = [("vanish_after_s", VANISH_S), ("abandon_after_s", ABANDON_S)];
                let dispatch = dispatch.map(|(field, s)| ("assignment.dispatch", field, s.into()));
                payments.into_iter().chain(dispatch).collect()
            }
        }
    }
}

/// The gateway's great outage, in the middle of the day.
pub struct Outage {
    /// Begins when so many orders have been placed.
    placed: u64,
    began: Option<u64>,
    over: bool,
}

impl Outage {
    pub fn amid(orders: usize) -> Self {
        Self {
            placed: orders as u64 / 2,
            began: None,
            over: false,
        }
    }

    /// Called once a second with what the city tells.
    pub fn act(&mut self, second: u64, line: &Value, platform: &Platform) -> Result<()> {
        match self.began {
            None if line["placed"].as_u64() >= Some(self.placed) => {
                eprintln!("demo: the gateway refuses everything for {OUTAGE_S} s");
                platform.set_gateway(&json!({ "error_rate": 1.0 }))?;
                self.began = Some(second);
            }
            Some(began) if !self.over && second >= began + OUTAGE_S => {
                eprintln!("demo: the gateway is back");
                platform.set_gateway(&World::Rough.gateway())?;
                self.over = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// An error when the city ended before the gateway came back: the demo then showed less than it says.
    pub fn check(&self) -> Result<()> {
        ensure!(self.over, "the city ended before the gateway's outage did");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_calm_world_changes_nothing() {
        assert!(World::Calm.city(1_000).is_empty() && World::Calm.settings().is_empty());
        assert_eq!(World::Calm.gateway(), json!({}));
    }

    #[test]
    fn a_rough_world_poisons_one_message_in_a_hundred_orders_but_at_least_one() {
        let poison = |orders| World::Rough.city(orders).last().cloned();
        assert_eq!(poison(60).as_deref(), Some("1"));
        assert_eq!(poison(250).as_deref(), Some("3"));
    }
}
