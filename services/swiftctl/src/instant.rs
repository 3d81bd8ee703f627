//! Instants on the command line.

use chrono::{DateTime, TimeDelta, Utc};

/// An instant in RFC 3339, or how long ago it was: a number and `s`, `m`, `h` or `d`.
pub fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.to_utc());
    }
    let expected = || "expected an instant (RFC 3339), or so long ago: 90s, 15m, 2h, 3d".to_owned();
    let unit = text.chars().last().ok_or_else(expected)?;
    let number = text[..text.len() - unit.len_utf8()].parse::<u32>();
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(expected()),
    };
    let number = i64::from(number.map_err(|_| expected())?);
    Ok(Utc::now() - TimeDelta::seconds(number * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_may_be_so_long_ago() {
        let hour = (Utc::now() - instant("1h").expect("an hour")).num_seconds();
        assert!((3_590..3_610).contains(&hour), "{hour}");
        assert!(
            instant("2027-01-01T10:00:00+01:00").is_ok_and(|at| at.to_rfc3339().contains("T09"))
        );
        for wrong in ["", "h", "5", "5y", "-5m", "é"] {
            assert!(instant(wrong).is_err(), "{wrong}");
        }
    }
}
