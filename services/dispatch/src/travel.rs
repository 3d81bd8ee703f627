//! How long a driver takes from here to there: the seam between dispatch and everything that knows roads.
//!
//! The geometry is the model's too: it maps points to places and measures between them. What the scheduler relies on is small, and each method says it.

mod corrected;
mod correction;
mod grid;
mod hours;
mod road;

use std::fmt;

pub(crate) use corrected::Corrected;
pub use correction::Correction;
pub use grid::WholeMinutes;
pub use road::{Road, RoadConfig, RoadConfigError};

use crate::point::{Place, Point};
use crate::time::{At, Seconds};

/// A travel time model of one geo.
///
/// The scheduler relies on four properties: `distance_m` is a metric and grows with the straight line between the places; `seconds` never shrinks as the distance grows;
/// `reach_m` is its inverse; and for given places nothing changes before `changes_after`. All of it a pure function of its arguments.
pub trait TravelTime: fmt::Debug + Send + Sync {
    /// Where the point lies in the model's geometry.
    fn place(&self, point: Point) -> Place;

    /// The length of the way that `seconds` understands, in metres; detours are for `seconds` to add.
    fn distance_m(&self, from: Place, to: Place) -> f64;

    /// The travel time over such a distance for a driver who leaves at `at`.
    fn seconds(&self, distance_m: f64, at: At) -> Seconds;

    /// The longest distance that takes at most `within` for a driver who leaves at `at`; 0 when `within` is negative.
    fn reach_m(&self, within: Seconds, at: At) -> f64;

    /// The first instant after `at` at which the same distance may take another time; `At::MAX` when it never changes.
    fn changes_after(&self, at: At) -> At;

    /// The hour of day there, 0 to 23; 0 where times do not depend on it.
    fn hour(&self, at: At) -> u8;

    /// The travel time between two places for a driver who leaves at `at`.
    fn eta(&self, from: Place, to: Place, at: At) -> Seconds {
        self.seconds(self.distance_m(from, to), at)
    }
}
