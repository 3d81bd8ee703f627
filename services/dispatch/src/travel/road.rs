//! The first model of a city: great circle, stretched by a detour factor, driven at a speed that depends on the local hour.
//!
//! No rounding and no floor: a driver at the door is zero seconds away. Sine and arcsine come from `libm`, not from the platform's C library, so a replay on another machine
//! computes the same bits. An eta costs some 50 ns.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::TravelTime;
use super::hours::Hours;
use crate::point::{Place, Point};
use crate::time::{At, Seconds};

/// Mean radius of the earth (IUGG), metres.
const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// What a geo says about its streets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoadConfig {
    /// Metres of street per metre of great circle; at least 1. Too low: drivers are sent late, food waits; too high: drivers wait.
    #[serde(default = "RoadConfig::usual_detour")]
    pub detour: f64,
    /// Speed in km/h over streets, by local hour of day 0..=23; above 0. Wrong in the same two directions.
    #[serde(default = "RoadConfig::usual_speed")]
    pub speed_kmh: [f64; 24],
    /// IANA name of the zone whose hours `speed_kmh` counts; wrong: the rush hour comes at the wrong time.
    #[serde(default = "RoadConfig::utc")]
    pub time_zone: String,
}

impl RoadConfig {
    fn usual_detour() -> f64 {
        1.35
    }

    fn usual_speed() -> [f64; 24] {
        let mut speed = [24.0; 24];
        speed[..6].fill(30.0);
        speed[22..].fill(28.0);
        speed[7..10].fill(20.0);
        speed[16..19].fill(18.0);
        speed
    }

    fn utc() -> String {
        "UTC".to_owned()
    }
}

impl Default for RoadConfig {
    fn default() -> Self {
        Self {
            detour: Self::usual_detour(),
            speed_kmh: Self::usual_speed(),
            time_zone: Self::utc(),
        }
    }
}

/// A road configuration that describes no streets.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum RoadConfigError {
    #[error("detour must be a number from 1 up, not {0}")]
    Detour(f64),
    #[error("speed_kmh of hour {hour} must be a number above 0, not {speed}")]
    Speed { hour: usize, speed: f64 },
    #[error("time_zone {0:?} is no IANA time zone")]
    TimeZone(String),
}

/// Great circle x detour / speed of the local hour.
#[derive(Debug, Clone)]
pub struct Road {
    /// Seconds per metre of great circle, by local hour.
    pace: [f64; 24],
    hours: Hours,
}

impl Road {
    pub fn new(config: &RoadConfig) -> Result<Road, RoadConfigError> {
        if !(config.detour >= 1.0 && config.detour.is_finite()) {
            return Err(RoadConfigError::Detour(config.detour));
        }
        if let Some((hour, &speed)) = config
            .speed_kmh
            .iter()
            .enumerate()
            .find(|(_, s)| !(**s > 0.0 && s.is_finite()))
        {
            return Err(RoadConfigError::Speed { hour, speed });
        }
        let zone = config
            .time_zone
            .parse()
            .map_err(|_| RoadConfigError::TimeZone(config.time_zone.clone()))?;
        Ok(Road {
            pace: config.speed_kmh.map(|kmh| config.detour * 3.6 / kmh),
            hours: Hours::new(zone),
        })
    }

    fn pace(&self, at: At) -> f64 {
        self.pace[usize::from(self.hour(at))]
    }
}

impl TravelTime for Road {
    fn place(&self, point: Point) -> Place {
        let (lat, lon) = (point.lat().to_radians(), point.lon().to_radians());
        let ring = EARTH_RADIUS_M * libm::cos(lat);
        Place([
            ring * libm::cos(lon),
            ring * libm::sin(lon),
            EARTH_RADIUS_M * libm::sin(lat),
        ])
    }

    fn distance_m(&self, from: Place, to: Place) -> f64 {
        // The chord's arc: the haversine formula, whose square root term is this very chord.
        let half_chord = from.chord2(to).sqrt() / (2.0 * EARTH_RADIUS_M);
        2.0 * EARTH_RADIUS_M * libm::asin(half_chord.min(1.0))
    }

    fn seconds(&self, distance_m: f64, at: At) -> Seconds {
        Seconds(distance_m * self.pace(at))
    }

    fn reach_m(&self, within: Seconds, at: At) -> f64 {
        within.0.max(0.0) / self.pace(at)
    }

    fn changes_after(&self, at: At) -> At {
        self.hours.next(at)
    }

    fn hour(&self, at: At) -> u8 {
        self.hours.of_day(at)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn point(lat: f64, lon: f64) -> Point {
        Point::degrees(lat, lon).unwrap()
    }

    fn road(detour: f64, kmh: f64) -> Road {
        Road::new(&RoadConfig {
            detour,
            speed_kmh: [kmh; 24],
            time_zone: "UTC".into(),
        })
        .unwrap()
    }

    #[test]
    fn the_distance_is_the_great_circle() {
        let road = road(1.0, 36.0);
        // Berlin to Paris; 877.46 km by the haversine formula.
        let metres = road.distance_m(
            road.place(point(52.5200, 13.4050)),
            road.place(point(48.8566, 2.3522)),
        );
        assert!((metres - 877_464.0).abs() < 100.0, "{metres}");
        // Across the date line and over the pole the short way counts.
        let short = road.distance_m(
            road.place(point(0.0, 179.999)),
            road.place(point(0.0, -179.999)),
        );
        assert!((short - 222.39).abs() < 0.1, "{short}");
        let polar = road.distance_m(
            road.place(point(89.999, 0.0)),
            road.place(point(89.999, 180.0)),
        );
        assert!((polar - 222.39).abs() < 0.1, "{polar}");
    }

    #[test]
    fn an_eta_is_distance_times_detour_over_speed_without_rounding_or_floor() {
        let road = road(1.5, 36.0);
        assert!((road.seconds(1000.0, At(0)).0 - 150.0).abs() < 1e-9);
        assert!((road.seconds(0.01, At(0)).0 - 0.0015).abs() < 1e-12);
        let here = road.place(point(1.0, 1.0));
        assert_eq!(road.eta(here, here, At(0)), Seconds::ZERO);
        assert!((road.reach_m(Seconds(150.0), At(0)) - 1000.0).abs() < 1e-9);
    }

    #[test]
    fn speed_follows_the_local_hour_and_announces_its_change() {
        let mut speed_kmh = [36.0; 24];
        speed_kmh[18] = 18.0;
        let road = Road::new(&RoadConfig {
            detour: 1.0,
            speed_kmh,
            time_zone: "Asia/Kolkata".into(),
        })
        .unwrap();
        // 12:29:59.5 UTC is 17:59:59.5 in Kolkata (UTC+5:30); half a second later the slow hour begins.
        let before = At::from_seconds(12.0 * 3600.0 + 29.0 * 60.0 + 59.5);
        let change = road.changes_after(before);
        assert_eq!(change, At::from_seconds(12.5 * 3600.0));
        assert!((road.seconds(100.0, before).0 - 10.0).abs() < 1e-9);
        assert!((road.seconds(100.0, change).0 - 20.0).abs() < 1e-9);
        assert_eq!(road.changes_after(change), At::from_seconds(13.5 * 3600.0));
    }

    #[test]
    fn streets_that_cannot_be_are_refused_by_name() {
        let wrong = RoadConfig {
            detour: 0.9,
            ..RoadConfig::default()
        };
        assert_eq!(Road::new(&wrong).unwrap_err(), RoadConfigError::Detour(0.9));
        let mut wrong = RoadConfig::default();
        wrong.speed_kmh[7] = 0.0;
        assert_eq!(
            Road::new(&wrong).unwrap_err(),
            RoadConfigError::Speed {
                hour: 7,
                speed: 0.0
            }
        );
        let wrong = RoadConfig {
            time_zone: "Mars/Olympus".into(),
            ..RoadConfig::default()
        };
        assert_eq!(
            Road::new(&wrong).unwrap_err(),
            RoadConfigError::TimeZone("Mars/Olympus".into())
        );
    }
}
