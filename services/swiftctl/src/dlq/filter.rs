//! Which dead letters are meant.

use chrono::{DateTime, Utc};
use clap::Args;
use runtime::dead_letter;
use uuid::Uuid;

use super::letter::{Letter, LetterId};
use crate::instant::instant;

/// All conditions that are given must hold.
#[derive(Args, Default)]
pub struct Filter {
    /// These letters, `<dead-letter topic>/<partition>@<offset>`.
    #[arg(value_name = "LETTER")]
    letters: Vec<LetterId>,
    /// Only of this geo.
    #[arg(long)]
    geo: Option<String>,
    /// Only of this topic: `orders.requests`, `orders.requests.berlin-mitte`, or the topic of the letters itself.
    #[arg(long)]
    topic: Option<String>,
    /// Only those that died of this, e.g. `malformed`.
    #[arg(long)]
    reason: Option<String>,
    /// Only since then: an instant (RFC 3339), or so long ago (`90s`, `15m`, `2h`, `3d`).
    #[arg(long, value_parser = instant)]
    since: Option<DateTime<Utc>>,
    /// Only until then.
    #[arg(long, value_parser = instant)]
    until: Option<DateTime<Utc>>,
    /// Only about this order.
    #[arg(long)]
    order: Option<Uuid>,
}

impl Filter {
    /// Whether it says nothing, and so means all there are.
    pub fn is_empty(&self) -> bool {
        let Filter {
            letters,
            geo,
            topic,
            reason,
            since,
            until,
            order,
        } = self;
        letters.is_empty()
            && [geo, topic, reason].iter().all(|text| text.is_none())
            && since.is_none()
            && until.is_none()
            && order.is_none()
    }

    pub fn since(&self) -> Option<DateTime<Utc>> {
        self.since
    }

    pub fn order(&self) -> Option<String> {
        self.order.map(|order| order.to_string())
    }

    /// Only these letters.
    pub fn of(letters: impl IntoIterator<Item = LetterId>) -> Self {
        Filter {
            letters: letters.into_iter().collect(),
            ..Filter::default()
        }
    }

    /// Whether letters of this topic can be meant.
    pub fn takes_topic(&self, dead_letters: &str) -> bool {
        let mut parts = dead_letters.splitn(4, '.');
        let mut part = || parts.next().unwrap_or_default();
        let (family, kind, _, geo) = (part(), part(), part(), part());
        let named = |topic: &String| {
            let stream = format!("{family}.{kind}");
            *topic == stream || *topic == format!("{stream}.{geo}") || topic == dead_letters
        };
        self.geo.as_ref().is_none_or(|wanted| wanted == geo)
            && self.topic.as_ref().is_none_or(named)
            && (self.letters.is_empty() || self.letters.iter().any(|l| l.topic == dead_letters))
    }

    /// Whether this letter is meant, as far as that can be told without its order.
    pub fn takes(&self, letter: &Letter) -> bool {
        let reason = letter.stored.header(dead_letter::ERROR_KIND);
        (self.letters.is_empty() || self.letters.contains(&letter.id()))
            && self
                .reason
                .as_deref()
                .is_none_or(|wanted| Some(wanted) == reason)
            && self.since.is_none_or(|since| letter.stored.at >= since)
            && self.until.is_none_or(|until| letter.stored.at <= until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_meant_by_its_stream_its_own_name_or_that_of_its_letters() {
        for topic in [
            "orders.requests",
            "orders.requests.x-1",
            "orders.requests.dlq.x-1",
        ] {
            let filter = Filter {
                topic: Some(topic.to_owned()),
                ..Filter::default()
            };
            assert!(filter.takes_topic("orders.requests.dlq.x-1"), "{topic}");
            assert!(!filter.takes_topic("orders.events.dlq.x-1"), "{topic}");
        }
        let geo = Filter {
            geo: Some("x-1".to_owned()),
            ..Filter::default()
        };
        assert!(geo.takes_topic("a.b.dlq.x-1") && !geo.takes_topic("a.b.dlq.x-2"));
    }
}
