//! Instants and durations as values.
//!
//! The crate has no clock: every instant comes in with an input or with a tick. Instants are whole microseconds (what the contracts carry), so
//! comparing them is exact; durations are `f64` seconds, computed in a fixed order, so they repeat bit for bit.

use std::cmp::Ordering;
use std::ops::{Add, Div, Mul, Sub};

use serde::{Deserialize, Serialize};

/// An instant: microseconds since the Unix epoch, UTC. In virtual time any origin will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct At(pub i64);

impl At {
    /// Before every instant that occurs.
    pub const MIN: At = At(i64::MIN);
    /// After every instant that occurs.
    pub const MAX: At = At(i64::MAX);

    /// The instant `seconds` after the epoch; for virtual time.
    pub fn from_seconds(seconds: f64) -> At {
        At(to_micros(seconds))
    }

    /// This instant moved by `span`, to the nearest microsecond; saturates.
    pub fn plus(self, span: Seconds) -> At {
        At(self.0.saturating_add(to_micros(span.0)))
    }

    /// The first whole microsecond that is not before `self - span`; saturates.
    ///
    /// Rounded up so that whoever acts at the result acts at most `span` early.
    pub fn minus(self, span: Seconds) -> At {
        // `as` saturates, which makes an unbounded span mean "from the beginning of time".
        At(self.0.saturating_sub((span.0 * 1e6).floor() as i64))
    }

    /// How long after `earlier` this instant is; negative when it is before.
    pub fn since(self, earlier: At) -> Seconds {
        Seconds(self.0.saturating_sub(earlier.0) as f64 / 1e6)
    }
}

fn to_micros(seconds: f64) -> i64 {
    (seconds * 1e6).round() as i64
}

/// A duration in seconds, with fractions; may be negative (slack) or infinite (no bound).
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub f64);

impl Seconds {
    pub const ZERO: Seconds = Seconds(0.0);

    /// A total order, so that sorting by it is deterministic.
    pub fn total_cmp(&self, other: &Seconds) -> Ordering {
        self.0.total_cmp(&other.0)
    }

    pub fn min(self, other: Seconds) -> Seconds {
        Seconds(self.0.min(other.0))
    }

    pub fn max(self, other: Seconds) -> Seconds {
        Seconds(self.0.max(other.0))
    }
}

impl Add for Seconds {
    type Output = Seconds;
    fn add(self, other: Seconds) -> Seconds {
        Seconds(self.0 + other.0)
    }
}

impl Sub for Seconds {
    type Output = Seconds;
    fn sub(self, other: Seconds) -> Seconds {
        Seconds(self.0 - other.0)
    }
}

impl Mul<f64> for Seconds {
    type Output = Seconds;
    fn mul(self, factor: f64) -> Seconds {
        Seconds(self.0 * factor)
    }
}

impl Div<f64> for Seconds {
    type Output = Seconds;
    fn div(self, divisor: f64) -> Seconds {
        Seconds(self.0 / divisor)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn acting_at_an_instant_moved_back_is_never_earlier_than_asked() {
        let ready = At::from_seconds(1000.0);
        let moved = ready.minus(Seconds(0.123_456_7));
        assert!(ready.since(moved).0 <= 0.123_456_7);
        assert!(ready.since(moved).0 > 0.123_455);
    }

    #[test]
    fn an_unbounded_span_reaches_back_to_the_beginning_of_time() {
        assert!(At::from_seconds(1e9).minus(Seconds(f64::INFINITY)) < At::from_seconds(-1e9));
        assert_eq!(At::from_seconds(1.0).plus(Seconds(f64::INFINITY)), At::MAX);
    }
}
