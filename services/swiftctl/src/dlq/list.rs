//! `dlq list`: a line per letter, or per topic and reason.

use std::collections::BTreeMap;

use anyhow::Result;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::Desk;
use super::letter::{Letter, Settlement};
use crate::Outcome;
use crate::output::{self, Format, Row, second, short};

/// A letter as a line.
#[derive(Serialize)]
struct Line {
    letter: String,
    died_at: DateTime<Utc>,
    reason: String,
    message: String,
    replays: u32,
    key: Option<String>,
    /// The record's name, where it could be decoded.
    record: Option<String>,
    state: String,
    settlement: Option<Settlement>,
}

impl Row for Line {
    const COLUMNS: &'static [&'static str] = &[
        "letter", "died at", "reason", "replays", "key", "record", "state", "error",
    ];

    fn cells(&self) -> Vec<String> {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        let state = match &self.settlement {
            Some(settled) => format!("{} by {} {}", self.state, settled.by, second(settled.at)),
            None => self.state.clone(),
        };
        vec![
            self.letter.clone(),
            second(self.died_at),
            self.reason.clone(),
            self.replays.to_string(),
            short(&or_dash(&self.key), 36),
            or_dash(&self.record),
            state,
            short(&self.message, 120),
        ]
    }
}

/// Open letters of one topic that died of one reason.
#[derive(Serialize)]
struct Count {
    topic: String,
    reason: String,
    letters: usize,
    first: DateTime<Utc>,
    last: DateTime<Utc>,
    /// What the first of them says.
    message: String,
}

impl Row for Count {
    const COLUMNS: &'static [&'static str] = &[
        "letters",
        "topic",
        "reason",
        "first",
        "last",
        "error of the first",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.letters.to_string(),
            self.topic.clone(),
            self.reason.clone(),
            second(self.first),
            second(self.last),
            short(&self.message, 100),
        ]
    }
}

pub(super) async fn print(
    desk: &mut Desk,
    letters: Vec<Letter>,
    settled: bool,
    count: bool,
    limit: usize,
    format: Format,
) -> Result<Outcome> {
    let mut letters: Vec<Letter> = letters
        .into_iter()
        .filter(|letter| settled || letter.is_open())
        .collect();
    letters.sort_by_key(|letter| letter.stored.at);
    let open = letters.iter().filter(|letter| letter.is_open()).count();
    let mut summary = format!("dead letters: {open} open");
    if settled {
        summary += &format!(", {} settled", letters.len() - open);
    }
    if count {
        output::print(format, &counts(&letters), &summary)?;
        return Ok(Outcome::Done);
    }
    if letters.len() > limit {
        summary += &format!(
            "; {} more are not listed: raise --limit",
            letters.len() - limit
        );
        letters.truncate(limit);
    }
    let mut lines = Vec::new();
    for letter in letters {
        lines.push(line(desk, letter).await);
    }
    output::print(format, &lines, &summary)?;
    Ok(Outcome::Done)
}

async fn line(desk: &mut Desk, letter: Letter) -> Line {
    let decoded = desk.schemas.decode(letter.stored.value.as_deref()).await;
    Line {
        letter: letter.id().to_string(),
        died_at: letter.stored.at,
        reason: letter.reason().to_owned(),
        message: letter.message().to_owned(),
        replays: letter.replays(),
        key: letter.stored.key_text().map(str::to_owned),
        record: decoded.ok().map(|decoded| decoded.name().to_owned()),
        state: letter.state(),
        settlement: letter.settlement,
    }
}

/// Most first.
fn counts(letters: &[Letter]) -> Vec<Count> {
    let mut counts: BTreeMap<(&str, &str), Count> = BTreeMap::new();
    for letter in letters.iter().filter(|letter| letter.is_open()) {
        let (topic, reason) = (letter.stored.topic.as_str(), letter.reason());
        let count = counts.entry((topic, reason)).or_insert_with(|| Count {
            topic: topic.to_owned(),
            reason: reason.to_owned(),
            letters: 0,
            first: letter.stored.at,
            last: letter.stored.at,
            message: letter.message().to_owned(),
        });
        count.letters += 1;
        count.last = letter.stored.at;
    }
    let mut counts: Vec<Count> = counts.into_values().collect();
    counts.sort_by_key(|count| std::cmp::Reverse(count.letters));
    counts
}
