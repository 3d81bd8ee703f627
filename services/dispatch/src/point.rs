//! Where something is: as it was told (`Point`), and as distances are computed (`Place`).

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A location as it was told: degrees WGS 84, or metres in a plane for a benchmark; which of the two is the travel model's to know.
/// Always finite, also when it was deserialised.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Coordinates", into = "Coordinates")]
pub struct Point {
    lat: f64,
    lon: f64,
}

/// A coordinate that is no place on earth, or no number.
#[derive(Debug, Clone, Copy, PartialEq, Error)]
#[error("no such place: lat {lat}, lon {lon}")]
pub struct InvalidPoint {
    pub lat: f64,
    pub lon: f64,
}

impl Point {
    /// A place on earth: latitude within ±90, longitude within ±180. Zero is as good a coordinate as any.
    pub fn degrees(lat: f64, lon: f64) -> Result<Point, InvalidPoint> {
        if lat.abs() <= 90.0 && lon.abs() <= 180.0 {
            Ok(Point { lat, lon })
        } else {
            Err(InvalidPoint { lat, lon })
        }
    }

    /// A place in a plane, in metres.
    pub fn metres(x: f64, y: f64) -> Result<Point, InvalidPoint> {
        Point::try_from(Coordinates { lat: y, lon: x })
    }

    pub fn lat(self) -> f64 {
        self.lat
    }

    pub fn lon(self) -> f64 {
        self.lon
    }

    /// Metres along the first axis of a plane.
    pub fn x(self) -> f64 {
        self.lon
    }

    /// Metres along the second axis of a plane.
    pub fn y(self) -> f64 {
        self.lat
    }
}

#[derive(Serialize, Deserialize)]
struct Coordinates {
    lat: f64,
    lon: f64,
}

impl TryFrom<Coordinates> for Point {
    type Error = InvalidPoint;
    fn try_from(Coordinates { lat, lon }: Coordinates) -> Result<Point, InvalidPoint> {
        if lat.is_finite() && lon.is_finite() {
            Ok(Point { lat, lon })
        } else {
            Err(InvalidPoint { lat, lon })
        }
    }
}

impl From<Point> for Coordinates {
    fn from(Point { lat, lon }: Point) -> Coordinates {
        Coordinates { lat, lon }
    }
}

/// A location as the travel model's geometry sees it: metres in space, such that the straight line between two places grows with the distance to be travelled.
///
/// On the sphere this is the point on (or in) a ball of the earth's radius: the chord grows with the great circle, everywhere, over poles and date line, so a
/// spatial index over these coordinates finds exactly the nearest by great circle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place(pub [f64; 3]);

impl Place {
    /// The square of the straight line's length, in square metres.
    pub fn chord2(self, other: Place) -> f64 {
        let [dx, dy, dz] = [0, 1, 2].map(|axis| self.0[axis] - other.0[axis]);
        dx * dx + dy * dy + dz * dz
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_gulf_of_guinea_is_a_place() {
        assert!(Point::degrees(0.0, 0.0).is_ok());
    }

    #[test]
    fn what_is_no_place_on_earth_is_refused_with_its_coordinates() {
        for (lat, lon) in [
            (90.1, 0.0),
            (0.0, -180.1),
            (f64::NAN, 0.0),
            (0.0, f64::INFINITY),
        ] {
            assert!(Point::degrees(lat, lon).is_err(), "{lat}, {lon}");
        }
        assert!(Point::metres(f64::NAN, 0.0).is_err());
        assert!(serde_json::from_str::<Point>(r#"{"lat": 1e999, "lon": 0}"#).is_err());
    }
}
