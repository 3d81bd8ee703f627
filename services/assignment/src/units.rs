//! Between the units of the contracts and the tables (UTC instants, points) and those of dispatch.
//!
//! Microseconds on both sides, so an instant survives the way there and back bit for bit; a rebuilt lane depends on it.

use chrono::{DateTime, Utc};
use contracts::value::Point as WirePoint;
use dispatch::{At, InvalidPoint, Point};

pub fn at(instant: DateTime<Utc>) -> At {
    At(instant.timestamp_micros())
}

/// Instants beyond chrono's calendar (there are none in practice: `At::MIN` stands for "never") become its ends.
pub fn instant(at: At) -> DateTime<Utc> {
    let end = if at.0 < 0 {
        DateTime::<Utc>::MIN_UTC
    } else {
        DateTime::<Utc>::MAX_UTC
    };
    DateTime::from_timestamp_micros(at.0).unwrap_or(end)
}

/// PostgreSQL's and Avro's calendars end elsewhere than `At`; "never" is stored as the epoch, before all that happens.
pub fn stored(at: At) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(at.0.max(0)).unwrap_or_default()
}

pub fn point(point: &WirePoint) -> Result<Point, InvalidPoint> {
    Point::degrees(point.lat, point.lon)
}

pub fn wire_point(point: Point) -> WirePoint {
    WirePoint {
        lat: point.lat(),
        lon: point.lon(),
    }
}

/// Whole seconds for a contract that carries integers; nearest, saturating.
pub fn whole_seconds(seconds: f64) -> i32 {
    seconds.round() as i32
}
