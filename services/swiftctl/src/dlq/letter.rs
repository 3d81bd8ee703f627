//! A dead letter, and what became of it.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use runtime::dead_letter;
use serde::Serialize;

use crate::log::Stored;

/// Headers of the record that settles a letter.
pub const SETTLED: &str = "dlq.settled";
pub const SETTLED_OFFSET: &str = "dlq.settled.offset";
pub const SETTLED_BY: &str = "dlq.settled.by";
pub const SETTLED_NOTE: &str = "dlq.settled.note";
pub const SETTLED_EDITED: &str = "dlq.settled.edited";

/// Where a letter stands: its name on the command line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LetterId {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}@{}", self.topic, self.partition, self.offset)
    }
}

impl FromStr for LetterId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (topic, place) = text.rsplit_once('/')?;
            let (partition, offset) = place.split_once('@')?;
            Some(LetterId {
                topic: topic.to_owned(),
                partition: partition.parse().ok()?,
                offset: offset.parse().ok()?,
            })
        };
        let id = parse().ok_or("expected <dead-letter topic>/<partition>@<offset>")?;
        match is_dead_letters(&id.topic) {
            true => Ok(id),
            false => Err(format!("{} is no topic of dead letters", id.topic)),
        }
    }
}

/// Whether this is the name of a topic of dead letters, `<family>.<kind>.dlq.<geo>`.
pub fn is_dead_letters(topic: &str) -> bool {
    matches!(topic.split('.').collect::<Vec<_>>()[..], [_, _, "dlq", _])
}

/// A dead letter.
#[derive(Debug, Clone)]
pub struct Letter {
    pub stored: Stored,
    /// `None` while it is open.
    pub settlement: Option<Settlement>,
}

/// What was done about a letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Settlement {
    pub action: String,
    pub at: DateTime<Utc>,
    pub by: String,
    pub note: String,
    /// Whether it went back with another value.
    pub edited: bool,
}

/// Where a message died.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Origin {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
}

impl Letter {
    pub fn id(&self) -> LetterId {
        let Stored {
            topic,
            partition,
            offset,
            ..
        } = &self.stored;
        LetterId {
            topic: topic.clone(),
            partition: *partition,
            offset: *offset,
        }
    }

    pub fn origin(&self) -> Result<Origin> {
        let header = |name: &str| {
            let value = self.stored.header(name);
            value.with_context(|| format!("the letter has no header {name}"))
        };
        Ok(Origin {
            topic: header(dead_letter::ORIGINAL_TOPIC)?.to_owned(),
            partition: header(dead_letter::ORIGINAL_PARTITION)?.parse()?,
            offset: header(dead_letter::ORIGINAL_OFFSET)?.parse()?,
        })
    }

    /// How often it was put back before.
    pub fn replays(&self) -> u32 {
        let count = self.stored.header(dead_letter::REPLAY_COUNT);
        count.and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    pub fn reason(&self) -> &str {
        self.stored.header(dead_letter::ERROR_KIND).unwrap_or("?")
    }

    pub fn message(&self) -> &str {
        self.stored.header(dead_letter::ERROR_MESSAGE).unwrap_or("")
    }

    pub fn is_open(&self) -> bool {
        self.settlement.is_none()
    }

    pub fn state(&self) -> String {
        let settled = self.settlement.as_ref();
        settled.map_or("open".to_owned(), |settled| settled.action.clone())
    }
}

/// Tells letters from the records that settle them, of one topic in the order of its partitions.
pub fn sort(records: Vec<Stored>) -> Vec<Letter> {
    let mut settlements = HashMap::new();
    let mut letters = Vec::new();
    for record in records {
        match settlement(&record) {
            Some((offset, settlement)) => {
                settlements.insert((record.partition, offset), settlement);
            }
            None => letters.push(record),
        }
    }
    letters.sort_by_key(|letter| (letter.partition, letter.offset));
    let letter = |stored: Stored| Letter {
        settlement: settlements.remove(&(stored.partition, stored.offset)),
        stored,
    };
    letters.into_iter().map(letter).collect()
}

fn settlement(record: &Stored) -> Option<(i64, Settlement)> {
    let text = |name| record.header(name).unwrap_or_default().to_owned();
    let offset = record.header(SETTLED_OFFSET)?.parse().ok()?;
    let settlement = Settlement {
        action: record.header(SETTLED)?.to_owned(),
        at: record.at,
        by: text(SETTLED_BY),
        note: text(SETTLED_NOTE),
        edited: record.header(SETTLED_EDITED) == Some("true"),
    };
    Some((offset, settlement))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_is_named_by_its_place_and_no_other_topic_holds_any() {
        let text = "orders.requests.dlq.berlin-mitte/0@17";
        let id: LetterId = text.parse().expect("a letter");
        assert_eq!((id.offset, id.to_string().as_str()), (17, text));
        for wrong in [
            "orders.requests.berlin-mitte/0@17",
            "a.b.dlq.c/0",
            "a.b.dlq.c@4",
            "",
        ] {
            assert!(wrong.parse::<LetterId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_letter_is_open_until_a_record_settles_just_it() {
        let record = |offset: i64, headers: &[(&str, &str)]| Stored {
            topic: "a.b.dlq.c".to_owned(),
            partition: 0,
            offset,
            at: DateTime::default(),
            key: None,
            value: None,
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), Some(value.as_bytes().to_vec())))
                .collect(),
        };
        let settled = [
            (SETTLED, "discarded"),
            (SETTLED_OFFSET, "4"),
            (SETTLED_BY, "ann"),
        ];
        let letters = sort(vec![record(3, &[]), record(4, &[]), record(5, &settled)]);
        let states: Vec<_> = letters
            .iter()
            .map(|l| (l.stored.offset, l.state()))
            .collect();
        assert_eq!(
            states,
            [(3, "open".to_owned()), (4, "discarded".to_owned())]
        );
        assert_eq!(
            letters[1].settlement.as_ref().map(|s| s.by.as_str()),
            Some("ann")
        );
    }
}
