//! A plane around a point of the earth, in metres: distances in it are those on the ground, within 0.2 % over a city.
//!
//! Equirectangular: a metre north is the same everywhere, a metre east is measured at the centre's latitude.

use contracts::value::Point;

/// Mean radius of the earth (IUGG), metres.
const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// The plane.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    lat: f64,
    lon: f64,
    metres_per_degree: f64,
    shrink: f64,
}

impl Frame {
    /// `centre` becomes (0, 0).
    pub fn around(centre: &Point) -> Self {
        let metres_per_degree = EARTH_RADIUS_M.to_radians();
        Self {
            lat: centre.lat,
            lon: centre.lon,
            metres_per_degree,
            shrink: centre.lat.to_radians().cos(),
        }
    }

    /// Metres east and north to degrees.
    pub fn to_earth(self, x: f64, y: f64) -> Point {
        Point {
            lat: self.lat + y / self.metres_per_degree,
            lon: self.lon + x / (self.metres_per_degree * self.shrink),
        }
    }

    /// Degrees to metres east and north.
    pub fn to_plane(self, point: &Point) -> (f64, f64) {
        let x = (point.lon - self.lon) * self.metres_per_degree * self.shrink;
        (x, (point.lat - self.lat) * self.metres_per_degree)
    }
}

/// The point a share (0 to 1) of the way from one to the other, over the short distances of a city.
pub fn between(from: &Point, to: &Point, share: f64) -> Point {
    let share = share.clamp(0.0, 1.0);
    Point {
        lat: from.lat + (to.lat - from.lat) * share,
        lon: from.lon + (to.lon - from.lon) * share,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dispatch::{Road, RoadConfig, TravelTime};

    #[test]
    fn distances_of_the_plane_are_those_on_the_ground() {
        let road = Road::new(&RoadConfig::default()).unwrap();
        let place =
            |point: &Point| road.place(dispatch::Point::degrees(point.lat, point.lon).unwrap());
        let frame = Frame::around(&Point {
            lat: 52.52,
            lon: 13.405,
        });
        for (a, b) in [
            ((0.0, 0.0), (3_000.0, 4_000.0)),
            ((-6_000.0, 5_000.0), (6_000.0, 5_000.0)),
        ] {
            let (from, to) = (frame.to_earth(a.0, a.1), frame.to_earth(b.0, b.1));
            let ground = road.distance_m(place(&from), place(&to));
            let plane = (a.0 - b.0).hypot(a.1 - b.1);
            assert!(
                (ground / plane - 1.0).abs() < 0.002,
                "{ground} m on the ground, {plane} m in the plane"
            );
        }
    }

    #[test]
    fn a_point_comes_back_from_the_plane() {
        let frame = Frame::around(&Point {
            lat: -33.9,
            lon: 151.2,
        });
        let (x, y) = frame.to_plane(&frame.to_earth(1_234.0, -567.0));
        assert!((x - 1_234.0).abs() < 1e-6 && (y + 567.0).abs() < 1e-6);
    }
}
