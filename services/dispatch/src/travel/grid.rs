//! The travel rule of the public Meal Delivery Routing Problem benchmark: straight line in a plane, whole minutes, rounded up.

use super::TravelTime;
use crate::point::{Place, Point};
use crate::time::{At, Seconds};

/// `ceil(euclidean distance / metres per minute)` minutes, at any hour.
#[derive(Debug, Clone, Copy)]
pub struct WholeMinutes {
    metres_per_minute: f64,
}

impl WholeMinutes {
    /// `None` when the speed is not a number above 0.
    pub fn new(metres_per_minute: f64) -> Option<WholeMinutes> {
        (metres_per_minute > 0.0 && metres_per_minute.is_finite())
            .then_some(WholeMinutes { metres_per_minute })
    }
}

impl TravelTime for WholeMinutes {
    fn place(&self, point: Point) -> Place {
        Place([point.x(), point.y(), 0.0])
    }

    fn distance_m(&self, from: Place, to: Place) -> f64 {
        from.chord2(to).sqrt()
    }

    fn seconds(&self, distance_m: f64, _at: At) -> Seconds {
        Seconds(60.0 * (distance_m / self.metres_per_minute).ceil())
    }

    fn reach_m(&self, within: Seconds, _at: At) -> f64 {
        (within.0.max(0.0) / 60.0).floor() * self.metres_per_minute
    }

    fn changes_after(&self, _at: At) -> At {
        At::MAX
    }

    fn hour(&self, _at: At) -> u8 {
        0
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_begun_minute_counts_whole() {
        let model = WholeMinutes::new(320.0).unwrap();
        let place = |x, y| model.place(Point::metres(x, y).unwrap());
        assert_eq!(
            model.eta(place(0.0, 0.0), place(0.0, 0.0), At(0)),
            Seconds(0.0)
        );
        assert_eq!(
            model.eta(place(0.0, 0.0), place(320.0, 0.0), At(0)),
            Seconds(60.0)
        );
        assert_eq!(
            model.eta(place(0.0, 0.0), place(300.0, 400.0), At(0)),
            Seconds(120.0)
        );
        assert_eq!(model.reach_m(Seconds(119.0), At(0)), 320.0);
    }

    #[test]
    fn a_speed_must_be_a_number_above_zero() {
        assert!(WholeMinutes::new(0.0).is_none());
        assert!(WholeMinutes::new(f64::NAN).is_none());
    }
}
