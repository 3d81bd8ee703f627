//! Bounds of what an order may hold: below what PostgreSQL can store and Kafka can carry, far above what a meal needs.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

/// Lines of an order.
pub const LINES: usize = 200;
/// Of one dish.
pub const QUANTITY: i32 = 1_000;
/// Bytes of an id or token.
pub const ID: usize = 256;
/// Bytes of a name.
pub const NAME: usize = 512;
/// Bytes of a URL.
pub const URL: usize = 2_048;
/// Bytes of what somebody says in their own words; longer texts are cut.
pub const WORDS: usize = 1_024;
/// Reasons that a rejection lists.
pub const REASONS: usize = 100;
/// Bytes of a value that a rejection quotes.
pub const QUOTE: usize = 64;
/// Seconds of preparation.
pub const PREPARATION_S: i32 = 86_400;

/// Attempts at finding a driver.
pub const ATTEMPTS: i32 = 1_000_000;

/// Instants from 2000 to 2200, in seconds since the epoch.
const INSTANTS: std::ops::Range<i64> = 946_684_800..7_258_118_400;

/// Whether an instant can belong to a meal.
pub fn is_plausible(instant: DateTime<Utc>) -> bool {
    INSTANTS.contains(&instant.timestamp())
}

/// The instant itself, when it is plausible.
pub fn nearest_instant(instant: DateTime<Utc>) -> DateTime<Utc> {
    if is_plausible(instant) {
        return instant;
    }
    instant.clamp(at(INSTANTS.start), at(INSTANTS.end - 1))
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).expect("both bounds are within chrono's range")
}

/// The first `longest` bytes of a text, to a character's border.
pub fn cut(text: &str, longest: usize) -> Cow<'_, str> {
    if text.len() <= longest {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text[..text.floor_char_boundary(longest)].to_owned())
}
