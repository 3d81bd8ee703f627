//! How the tolerance widens under pressure: the more requests wait per free driver, the earlier each is due, so that those
//! who are free are not kept for the last moment while others queue.
//!
//! Pressure is the number of waiting requests that would be due for a driver at the door, per free driver. It follows from
//! the state and the instant of the tick alone, so a rebuilt lane and a replay find the same; each tick says what it found.
//! Costs a count of those requests per tick, and a look at those that the widest tolerance could make due.

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::time::Seconds;

/// The named policies of widening.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Widening {
    /// The tolerance is what is configured.
    #[default]
    None,
    /// From nothing at the pressure `widening_from` up to `widening_s` at `widening_to`, in proportion.
    Linear,
}

impl Widening {
    /// What comes on top of the tolerance when so many requests wait for so many free drivers.
    pub(crate) fn extra(self, config: &Config, waiting: usize, free: usize) -> Seconds {
        let pressure = waiting as f64 / free.max(1) as f64;
        let (from, to) = (config.widening_from, config.widening_to);
        match self {
            Widening::None => Seconds::ZERO,
            Widening::Linear => {
                let share = ((pressure - from) / (to - from)).clamp(0.0, 1.0);
                Seconds(config.widening_s * share)
            }
        }
    }

    /// The most that ever comes on top.
    pub(crate) fn most(self, config: &Config) -> Seconds {
        match self {
            Widening::None => Seconds::ZERO,
            Widening::Linear => Seconds(config.widening_s),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_widens_in_proportion_between_two_pressures() {
        let config = Config {
            widening_from: 1.0,
            widening_to: 3.0,
            widening_s: 200.0,
            ..Config::default()
        };
        let extra = |waiting, free| Widening::Linear.extra(&config, waiting, free).0;
        assert_eq!([extra(0, 0), extra(10, 10)], [0.0, 0.0]);
        assert_eq!([extra(20, 10), extra(30, 10)], [100.0, 200.0]);
        assert_eq!([extra(99, 10), extra(3, 0)], [200.0, 200.0]);
        assert_eq!(Widening::None.extra(&config, 99, 1).0, 0.0);
    }
}
