//! `swiftctl events`: what the topics say, decoded by the registry: an order's whole story, or what happens now.

mod story;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::{Args, Subcommand};
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use runtime::dead_letter;
use serde::Serialize;
use serde_json::Value as Json;
use uuid::Uuid;

use crate::Outcome;
use crate::avro::Schemas;
use crate::endpoints::Endpoints;
use crate::instant::instant;
use crate::log::{Log, Stored, TIMEOUT, stored};
use crate::output::{self, Format, Row, short};
use crate::registry::Registry;

#[derive(Subcommand)]
pub enum Command {
    /// Everything about an order, from all topics of its geo, dead letters and the decisions of the scheduler included.
    Show(story::Show),
    /// Print what is written from now on, until interrupted.
    Tail(Tail),
}

#[derive(Args)]
pub struct Tail {
    /// Only of this geo.
    #[arg(long)]
    geo: Option<String>,
    /// Only of this topic: `orders.events`, or with the geo `orders.events.berlin-mitte`. Locations only when they are named.
    #[arg(long)]
    topic: Option<String>,
    /// Only about this order.
    #[arg(long)]
    order: Option<Uuid>,
    /// Only such records, e.g. `OrderAccepted`.
    #[arg(long)]
    record: Option<String>,
    /// Start then and not now: an instant (RFC 3339), or so long ago (`90s`, `15m`, `2h`, `3d`).
    #[arg(long, value_parser = instant)]
    since: Option<DateTime<Utc>>,
    /// End after so many.
    #[arg(long)]
    limit: Option<usize>,
}

pub async fn run(command: Command, endpoints: &Endpoints, format: Format) -> Result<Outcome> {
    let log = Log::connect(&endpoints.kafka()?)?;
    let mut schemas = Schemas::new(Registry::new(&endpoints.registry()?)?);
    match command {
        Command::Show(show) => show.run(&log, &mut schemas, endpoints, format).await,
        Command::Tail(tail) => tail.run(&log, &mut schemas, format).await,
    }
}

/// Something that a topic says.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// When it was written.
    pub at: DateTime<Utc>,
    pub topic: String,
    /// The lane of whoever reads it partition by partition.
    pub lane: String,
    pub offset: i64,
    pub key: Option<String>,
    /// Name without namespace; that of the header where the payload cannot be decoded.
    pub record: String,
    pub trace: Option<String>,
    /// Why it is a dead letter.
    pub died: Option<String>,
    pub value: Json,
    pub undecodable: Option<String>,
    /// Seconds since the first of the story.
    pub after_s: Option<f64>,
}

impl Event {
    pub async fn of(stored: &Stored, schemas: &mut Schemas) -> Self {
        let decoded = schemas.decode(stored.value.as_deref()).await;
        let (record, value, undecodable) = match decoded {
            Ok(decoded) => (decoded.name().to_owned(), decoded.view, None),
            Err(why) => {
                let named = stored.header(contracts::headers::EVENT_TYPE);
                (named.unwrap_or("?").to_owned(), Json::Null, Some(why))
            }
        };
        let kind = stored.header(dead_letter::ERROR_KIND);
        let message = stored.header(dead_letter::ERROR_MESSAGE);
        Event {
            at: stored.at,
            topic: stored.topic.clone(),
            lane: format!("{}/{}", stored.topic, stored.partition),
            offset: stored.offset,
            key: stored.key_text().map(str::to_owned),
            record,
            trace: stored.trace().map(str::to_owned),
            died: kind.map(|kind| format!("{kind}: {}", message.unwrap_or_default())),
            value,
            undecodable,
            after_s: None,
        }
    }

    /// What is particular to this event, on a line.
    fn what(&self) -> String {
        let mut parts = Vec::new();
        parts.extend(self.died.as_ref().map(|died| format!("DEAD {died}")));
        parts.extend(self.undecodable.as_ref().map(|why| format!("({why})")));
        for (name, value) in self.value.as_object().into_iter().flatten() {
            if !COMMON.contains(&name.as_str()) {
                parts.extend(brief(value).map(|value| format!("{name}={value}")));
            }
        }
        parts.join(" ")
    }
}

/// Fields that every record has, or that say nothing new within an order.
const COMMON: [&str; 7] = [
    "event_id",
    "occurred_at",
    "geo",
    "order_id",
    "correlation_id",
    "order_version",
    "policy_version",
];

/// A value in a word or two; ids of events and parts with parts of their own are left to JSON.
fn brief(value: &Json) -> Option<String> {
    match value {
        Json::Null | Json::Array(_) => None,
        Json::Object(parts) => {
            let (amount, currency) = (parts.get("amount_minor")?, parts.get("currency")?);
            Some(format!("{amount} minor {}", currency.as_str()?))
        }
        Json::String(text) => match DateTime::parse_from_rfc3339(text) {
            Ok(at) => Some(at.format("%H:%M:%S").to_string()),
            Err(_) => text.parse::<Uuid>().is_err().then(|| text.clone()),
        },
        Json::Number(number) if number.is_f64() => {
            number.as_f64().map(|number| format!("{number:.1}"))
        }
        other => Some(other.to_string()),
    }
}

impl Row for Event {
    const COLUMNS: &'static [&'static str] =
        &["at", "after s", "lane", "offset", "trace", "record", "what"];

    fn cells(&self) -> Vec<String> {
        let trace = self.trace.as_deref().unwrap_or("-");
        vec![
            self.at.format("%Y-%m-%d %H:%M:%S%.3f").to_string(),
            self.after_s
                .map_or("-".to_owned(), |after| format!("{after:.1}")),
            self.lane.clone(),
            self.offset.to_string(),
            trace.chars().take(8).collect(),
            self.record.clone(),
            short(&self.what(), 400),
        ]
    }

    fn is_alarming(&self) -> bool {
        self.died.is_some()
    }
}

/// Family, kind and geo of a topic, and whether it holds dead letters.
fn parts(topic: &str) -> Option<(&str, &str, &str, bool)> {
    match topic.split('.').collect::<Vec<_>>()[..] {
        [family, kind, geo] => Some((family, kind, geo, false)),
        [family, kind, "dlq", geo] => Some((family, kind, geo, true)),
        _ => None,
    }
}

impl Tail {
    async fn run(self, log: &Log, schemas: &mut Schemas, format: Format) -> Result<Outcome> {
        let topics = log.topics()?;
        let wanted = topics.iter().filter(|(topic, _)| self.takes(topic));
        let mut from = TopicPartitionList::new();
        for (topic, partitions) in wanted {
            for partition in 0..*partitions {
                let at = self
                    .since
                    .map_or(Offset::End, |at| Offset::Offset(at.timestamp_millis()));
                from.add_partition_offset(topic, partition, at)?;
            }
        }
        if from.count() == 0 {
            bail!("no such topic");
        }
        if self.since.is_some() {
            from = log.consumer().offsets_for_times(from, TIMEOUT)?;
        }
        log.consumer().assign(&from)?;
        let mut left = self.limit.unwrap_or(usize::MAX);
        while left > 0 {
            let message = match log.consumer().poll(Duration::from_millis(500)) {
                None | Some(Err(KafkaError::PartitionEOF(_))) => continue,
                Some(message) => stored(&message.context("reading")?),
            };
            if is_about(
                &message,
                self.order.map(|order| order.to_string()).as_deref(),
            ) {
                let event = Event::of(&message, schemas).await;
                if self
                    .record
                    .as_ref()
                    .is_none_or(|record| *record == event.record)
                {
                    print(&event, format)?;
                    left -= 1;
                }
            }
        }
        Ok(Outcome::Done)
    }

    fn takes(&self, topic: &str) -> bool {
        let Some((family, kind, geo, _)) = parts(topic) else {
            return false;
        };
        let stream = format!("{family}.{kind}");
        let named = match &self.topic {
            Some(wanted) => *wanted == stream || wanted == topic,
            None => stream != story::LOCATIONS,
        };
        named && self.geo.as_ref().is_none_or(|wanted| wanted == geo)
    }
}

/// Whether a record may be about the order: by its key, or because its bytes hold the id, which is text in Avro too.
fn is_about(stored: &Stored, order: Option<&str>) -> bool {
    let Some(order) = order else {
        return true;
    };
    let holds = |bytes: &Vec<u8>| {
        bytes
            .windows(order.len())
            .any(|part| part == order.as_bytes())
    };
    stored.key.iter().chain(&stored.value).any(holds)
}

fn print(event: &Event, format: Format) -> Result<()> {
    match format {
        Format::Json => output::line(&serde_json::to_string(event)?),
        Format::Table => output::line(&format!(
            "{}  {}@{}  {}  {}  {}",
            event.at.to_rfc3339_opts(SecondsFormat::Millis, true),
            event.lane,
            event.offset,
            event.key.as_deref().unwrap_or("-"),
            event.record,
            event.what()
        )),
    }
}
