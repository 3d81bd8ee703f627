//! City time and wall time.
//!
//! A city lives `speed` times faster than the clock on the wall. Plans are written in city seconds from its beginning;
//! everything that leaves the city carries instants of the wall, because that is the clock the services have. So a
//! twenty-minute preparation at speed 60 becomes twenty seconds in every message.

use chrono::{DateTime, Utc};
use dispatch::{At, Seconds};

/// Maps between the two.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: At,
    speed: f64,
}

impl Clock {
    /// City time 0 is at `start`; `speed` is above 0.
    pub fn new(start: At, speed: f64) -> Self {
        assert!(
            speed > 0.0 && speed.is_finite(),
            "speed = {speed}: must be above 0"
        );
        Self { start, speed }
    }

    pub fn start(&self) -> At {
        self.start
    }

    pub fn speed(&self) -> f64 {
        self.speed
    }

    /// The wall's instant of a city time.
    pub fn at(&self, city: Seconds) -> At {
        self.start.plus(self.wall(city))
    }

    /// How long a span of the city takes on the wall.
    pub fn wall(&self, city: Seconds) -> Seconds {
        city / self.speed
    }

    /// The city time of a wall's instant.
    pub fn city(&self, at: At) -> Seconds {
        at.since(self.start) * self.speed
    }
}

/// An instant as the contracts carry it.
pub(crate) fn instant(at: At) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at.0).unwrap_or(DateTime::UNIX_EPOCH)
}

/// An instant as the contracts carry it, back as the city's.
pub(crate) fn at(instant: DateTime<Utc>) -> At {
    At(instant.timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_of_the_city_is_a_second_of_the_wall_at_speed_60() {
        let clock = Clock::new(At(5_000_000), 60.0);
        assert_eq!(clock.at(Seconds(60.0)), At(6_000_000));
        assert_eq!(clock.city(At(6_000_000)), Seconds(60.0));
        assert_eq!(clock.wall(Seconds(30.0)), Seconds(0.5));
    }
}
