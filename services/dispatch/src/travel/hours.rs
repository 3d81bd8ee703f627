//! The local hour of day at an instant, by the rules of a time zone.
//!
//! Thousands of estimates are made for the same instant, and asking the zone is dearer than the rest of an estimate. So the
//! last hour that was asked for is remembered, from its beginning to its end; not if the zone's offset changes within it,
//! so what is answered depends on the instant alone.

use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;

use crate::time::At;

const HOUR_S: i64 = 3_600;
/// Hours of day stand beside the beginning of the hour as remainders by this.
const PACK: i64 = 32;
/// No hour begins here.
const NONE: i64 = i64::MAX;

#[derive(Debug)]
pub(super) struct Hours {
    zone: Tz,
    /// Seconds since the epoch at which the hour began x [`PACK`] + hour of day.
    latest: AtomicI64,
}

impl Clone for Hours {
    fn clone(&self) -> Hours {
        Hours::new(self.zone)
    }
}

impl Hours {
    pub fn new(zone: Tz) -> Hours {
        let latest = AtomicI64::new(NONE);
        Hours { zone, latest }
    }

    /// 0 to 23; instants that no calendar knows count as UTC.
    pub fn of_day(&self, at: At) -> u8 {
        let utc = at.0.div_euclid(1_000_000);
        let latest = self.latest.load(Relaxed);
        let begun = latest.div_euclid(PACK);
        if latest != NONE && (begun..begun + HOUR_S).contains(&utc) {
            return latest.rem_euclid(PACK) as u8;
        }
        let local = self.local_seconds(utc);
        let hour = local.div_euclid(HOUR_S).rem_euclid(24);
        let begins = utc.saturating_sub(local.rem_euclid(HOUR_S));
        let offset_at = |utc: i64| self.offset(utc);
        let steady = offset_at(begins) == offset_at(begins.saturating_add(HOUR_S - 1));
        if steady && let Some(packed) = begins.checked_mul(PACK) {
            self.latest.store(packed + hour, Relaxed);
        }
        hour as u8
    }

    /// The first full local hour after the instant. Offsets change only where one begins.
    pub fn next(&self, at: At) -> At {
        let utc = at.0.div_euclid(1_000_000);
        let into_hour = self.local_seconds(utc).rem_euclid(HOUR_S);
        let whole = utc.saturating_sub(into_hour);
        At(whole.saturating_add(HOUR_S).saturating_mul(1_000_000))
    }

    /// Seconds since local midnight of some day.
    fn local_seconds(&self, utc: i64) -> i64 {
        utc.saturating_add(self.offset(utc))
    }

    fn offset(&self, utc: i64) -> i64 {
        DateTime::from_timestamp(utc, 0).map_or(0, |moment| {
            let offset = self.zone.offset_from_utc_datetime(&moment.naive_utc());
            i64::from(offset.fix().local_minus_utc())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_what_the_zone_says() {
        // Quarters of an hour, an offset that was no multiple of a minute, and a clock put forward within the year.
        for zone in [
            Tz::UTC,
            Tz::Europe__Berlin,
            Tz::Asia__Kathmandu,
            Tz::Africa__Monrovia,
        ] {
            let remembering = Hours::new(zone);
            for minute in (0..366 * 24 * 60).step_by(7) {
                for year in [0, 1_577_836_800] {
                    let at = At((year + minute * 60) * 1_000_000);
                    let asked = Hours::new(zone).of_day(at);
                    assert_eq!(remembering.of_day(at), asked, "{zone} {at:?}");
                    assert_eq!(remembering.of_day(at), asked, "{zone} {at:?}");
                }
            }
        }
    }
}
