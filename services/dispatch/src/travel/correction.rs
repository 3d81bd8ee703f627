//! How far travel times may be corrected by what drivers were seen to need, and on how many drives' word.

use serde::{Deserialize, Serialize};

use crate::config::ConfigError;

/// The most drives that an hour of day may remember.
const MOST_DRIVES: u32 = 1_000;

/// Travel times of an hour of day are multiplied by the median of `needed / estimated` over its latest drives.
///
/// On by default: configured speeds are guesses, and a wrong guess sends every driver of the hour too early or too late. Until
/// an hour has seen enough drives it changes nothing, and never more than its bounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Correction {
    /// Whether travel times are corrected. Default true; off, nothing is learned either.
    pub on: bool,
    /// How many of the latest drives of an hour of day count; 1 to 1000, default 60. Fewer: today's traffic sooner, and chance
    /// with it; more: the other way round.
    pub drives: u32,
    /// How many an hour must have seen before they count; from 1 to `drives`, default 20. Too few: the first odd
    /// drives move all estimates.
    pub at_least: u32,
    /// The factor is never below this; above 0 and at most 1, default 0.5. Too low: drivers who confirm deliveries late or
    /// early can spoil estimates further.
    pub least: f64,
    /// Nor above this; at least 1, default 2. Too high: likewise, and requests are looked at earlier than they need.
    pub most: f64,
    /// Drives that were estimated to take fewer seconds do not count; default 60. Too low: what is learned is how long doors and
    /// stairs take.
    pub shortest_s: f64,
}

impl Default for Correction {
    fn default() -> Self {
        Self {
            on: true,
            drives: 60,
            at_least: 20,
            least: 0.5,
            most: 2.0,
            shortest_s: 60.0,
        }
    }
}

impl Correction {
    /// The factor that no correction exceeds.
    pub(crate) fn slowest(&self) -> f64 {
        if self.on { self.most } else { 1.0 }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let fields = [
            (
                "correction.drives",
                "between 1 and 1000",
                f64::from(self.drives),
                (1..=MOST_DRIVES).contains(&self.drives),
            ),
            (
                "correction.at_least",
                "between 1 and correction.drives",
                f64::from(self.at_least),
                (1..=self.drives).contains(&self.at_least),
            ),
            (
                "correction.least",
                "above 0 and at most 1",
                self.least,
                self.least > 0.0 && self.least <= 1.0,
            ),
            (
                "correction.most",
                "a number from 1 up",
                self.most,
                self.most >= 1.0 && self.most.is_finite(),
            ),
            (
                "correction.shortest_s",
                "0 or more",
                self.shortest_s,
                self.shortest_s >= 0.0,
            ),
        ];
        match fields.into_iter().find(|(.., right)| !right) {
            None => Ok(()),
            Some((field, must, value, _)) => Err(ConfigError::OutOfRange { field, must, value }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_value_is_refused_by_field_and_value() {
        let usual = Correction::default;
        for (wrong, expected) in [
            (
                Correction {
                    drives: 0,
                    ..usual()
                },
                "correction.drives must be between 1 and 1000, not 0",
            ),
            (
                Correction {
                    at_least: 61,
                    ..usual()
                },
                "correction.at_least must be between 1 and correction.drives, not 61",
            ),
            (
                Correction {
                    least: 1.5,
                    ..usual()
                },
                "correction.least must be above 0 and at most 1, not 1.5",
            ),
            (
                Correction {
                    most: 0.9,
                    ..usual()
                },
                "correction.most must be a number from 1 up, not 0.9",
            ),
            (
                Correction {
                    shortest_s: f64::NAN,
                    ..usual()
                },
                "correction.shortest_s must be 0 or more, not NaN",
            ),
        ] {
            let error = wrong.check().map_err(|error| error.to_string());
            assert_eq!(error, Err(expected.to_owned()));
        }
        assert_eq!(usual().check(), Ok(()));
    }
}
