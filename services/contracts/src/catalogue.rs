//! What exists: the geos, and in each of them the topics with their partitions and retention.
//!
//! Read from `schemas/topics.toml` and `schemas/geos.toml`, checked as a whole: a catalogue that loads is consistent, and
//! an error names the file, the field and the value. The files of this tree are compiled in ([`Catalogue::embedded`]), so
//! a service needs none at run time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use chrono_tz::Tz;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::value::Point;
use crate::{Geo, Topic};

const TOPICS: &str = "topics.toml";
const GEOS: &str = "geos.toml";

/// The catalogue cannot be used, or was asked for what it does not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {field} = {value:?}: {problem}")]
pub struct CatalogueError {
    pub file: String,
    pub field: String,
    pub value: String,
    pub problem: String,
}

/// Largest message of a topic: Kafka's own default.
const MESSAGE_BYTES: u32 = 1_048_588;
/// Largest dead letter: the largest message, and the headers that say why it died. One that did not fit would be refused
/// again and again, and hold its lane up.
const DEAD_LETTER_BYTES: u32 = 2_000_000;

/// Geos and topics.
#[derive(Debug, Clone)]
pub struct Catalogue {
    geos: Vec<GeoSpec>,
    streams: Vec<StreamSpec>,
    classes: BTreeMap<String, u32>,
    dead_letters: DeadLetters,
    ownership: Ownership,
}

/// A geo: its area is the circle around `centre`.
#[derive(Debug, Clone)]
pub struct GeoSpec {
    pub name: Geo,
    pub centre: Point,
    /// Metres.
    pub radius_m: u32,
    /// A partition class of topics.toml.
    pub class: String,
    pub time_zone: Tz,
}

/// A kind of topic; there is one of it in each geo.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamSpec {
    pub family: String,
    pub kind: String,
    /// Field of every record of it that is the Kafka key.
    pub key: String,
    pub records: Vec<String>,
    partitions: Partitions,
    retention_h: u64,
    cleanup_policy: CleanupPolicy,
    pub dead_letters: bool,
}

/// A topic as the cluster should have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: u32,
    pub retention: Duration,
    /// Kafka's `cleanup.policy`.
    pub cleanup_policy: &'static str,
    /// Kafka's `max.message.bytes`.
    pub max_message_bytes: u32,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Partitions {
    Number(u32),
    Named(String),
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CleanupPolicy {
    Delete,
    Compact,
}

impl CleanupPolicy {
    fn kafka(self) -> &'static str {
        match self {
            Self::Delete => "delete",
            Self::Compact => "compact",
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeadLetters {
    partitions: u32,
    retention_h: u64,
    cleanup_policy: CleanupPolicy,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ownership {
    family: String,
    kind: String,
    retention_h: u64,
    cleanup_policy: CleanupPolicy,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicsFile {
    partition_classes: BTreeMap<String, u32>,
    dead_letters: DeadLetters,
    ownership: Ownership,
    stream: Vec<StreamSpec>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GeosFile {
    geo: Vec<GeoEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GeoEntry {
    name: String,
    centre: Point,
    radius_m: u32,
    class: String,
    time_zone: String,
}

impl Catalogue {
    /// The catalogue that this build was made with.
    pub fn embedded() -> Self {
        Self::parse(
            include_str!("../../../schemas/topics.toml"),
            include_str!("../../../schemas/geos.toml"),
        )
        .expect("a test reads the files of this tree")
    }

    /// The catalogue of a directory with `topics.toml` and `geos.toml`.
    pub fn load(dir: &Path) -> Result<Self, CatalogueError> {
        let read = |file: &str| {
            let path = dir.join(file);
            fs::read_to_string(&path)
                .map_err(|e| error(file, "path", path.display(), &e.to_string()))
        };
        Self::parse(&read(TOPICS)?, &read(GEOS)?)
    }

    /// The catalogue in the text of the two files.
    pub fn parse(topics: &str, geos: &str) -> Result<Self, CatalogueError> {
        let topics: TopicsFile = syntax(TOPICS, topics)?;
        let geos: GeosFile = syntax(GEOS, geos)?;
        check_streams(&topics)?;
        let mut names = BTreeSet::new();
        let mut specs = Vec::new();
        for (index, entry) in geos.geo.into_iter().enumerate() {
            let spec = check_geo(index, entry, &topics.partition_classes)?;
            if !names.insert(spec.name.clone()) {
                return Err(geo_error(
                    index,
                    "name",
                    &spec.name,
                    "a name that is not taken",
                ));
            }
            specs.push(spec);
        }
        Ok(Catalogue {
            geos: specs,
            streams: topics.stream,
            classes: topics.partition_classes,
            dead_letters: topics.dead_letters,
            ownership: topics.ownership,
        })
    }

    /// All geos, in the order of the file: a geo's place is its partition of the ownership topic.
    pub fn geos(&self) -> &[GeoSpec] {
        &self.geos
    }

    /// The geo of that name; an error names it.
    pub fn geo(&self, name: &str) -> Result<&GeoSpec, CatalogueError> {
        let known = self.geos.iter().find(|g| g.name.as_str() == name);
        known.ok_or_else(|| error(GEOS, "geo", name, "is not a geo of the catalogue"))
    }

    pub fn streams(&self) -> &[StreamSpec] {
        &self.streams
    }

    /// The empty topic whose partitions stand for the geos.
    pub fn ownership_topic(&self) -> String {
        format!("{}.{}", self.ownership.family, self.ownership.kind)
    }

    /// The partition of the ownership topic that stands for the geo.
    pub fn ownership_partition(&self, geo: &Geo) -> Option<i32> {
        let place = self.geos.iter().position(|g| g.name == *geo)?;
        i32::try_from(place).ok()
    }

    /// How many partitions the topic has.
    pub fn partitions(&self, topic: &Topic) -> Result<u32, CatalogueError> {
        let geo = self.geo(topic.geo.as_str())?;
        let stream = self
            .streams
            .iter()
            .find(|s| s.family == topic.family && s.kind == topic.kind);
        let stream = stream
            .ok_or_else(|| error(TOPICS, "topic", topic, "is not a topic of the catalogue"))?;
        Ok(self.partitions_of(stream, geo))
    }

    /// Everything that has to exist for these geos: topics, dead letters, and the ownership topic of all geos.
    pub fn topics(&self, geos: &[Geo]) -> Result<Vec<TopicSpec>, CatalogueError> {
        let mut specs = vec![TopicSpec {
            name: self.ownership_topic(),
            partitions: u32::try_from(self.geos.len()).unwrap_or(u32::MAX),
            retention: hours(self.ownership.retention_h),
            cleanup_policy: self.ownership.cleanup_policy.kafka(),
            max_message_bytes: MESSAGE_BYTES,
        }];
        for geo in geos {
            let geo = self.geo(geo.as_str())?;
            for stream in &self.streams {
                self.add_topics(stream, geo, &mut specs);
            }
        }
        Ok(specs)
    }

    fn add_topics(&self, stream: &StreamSpec, geo: &GeoSpec, specs: &mut Vec<TopicSpec>) {
        let topic = Topic {
            family: stream.family.clone(),
            kind: stream.kind.clone(),
            geo: geo.name.clone(),
        };
        specs.push(TopicSpec {
            name: topic.to_string(),
            partitions: self.partitions_of(stream, geo),
            retention: hours(stream.retention_h),
            cleanup_policy: stream.cleanup_policy.kafka(),
            max_message_bytes: MESSAGE_BYTES,
        });
        if stream.dead_letters {
            specs.push(TopicSpec {
                name: topic.dead_letters(),
                partitions: self.dead_letters.partitions,
                retention: hours(self.dead_letters.retention_h),
                cleanup_policy: self.dead_letters.cleanup_policy.kafka(),
                max_message_bytes: DEAD_LETTER_BYTES,
            });
        }
    }

    fn partitions_of(&self, stream: &StreamSpec, geo: &GeoSpec) -> u32 {
        match &stream.partitions {
            Partitions::Number(number) => *number,
            Partitions::Named(_) => self.classes[&geo.class],
        }
    }
}

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 3_600)
}

fn check_streams(topics: &TopicsFile) -> Result<(), CatalogueError> {
    let wrong = |field: String, value: String, expected: &str| {
        error(TOPICS, &field, value, &format!("must be {expected}"))
    };
    for (class, partitions) in &topics.partition_classes {
        if *partitions == 0 {
            return Err(wrong(
                format!("partition_classes.{class}"),
                "0".into(),
                "at least 1",
            ));
        }
    }
    let mut names = BTreeSet::new();
    for (index, stream) in topics.stream.iter().enumerate() {
        let name = format!("{}.{}.x", stream.family, stream.kind);
        let field = |name: &str| format!("stream[{index}].{name}");
        if Topic::from_str(&name).is_err() || !names.insert(name.clone()) {
            return Err(wrong(
                field("family"),
                name,
                "family and kind of [a-z_], once",
            ));
        }
        match &stream.partitions {
            Partitions::Number(1..) => {}
            Partitions::Named(named) if named == "class" => {}
            other => {
                let value = format!("{other:?}");
                return Err(wrong(field("partitions"), value, "\"class\" or at least 1"));
            }
        }
    }
    Ok(())
}

fn check_geo(
    index: usize,
    entry: GeoEntry,
    classes: &BTreeMap<String, u32>,
) -> Result<GeoSpec, CatalogueError> {
    let name: Geo = entry
        .name
        .parse()
        .map_err(|_| geo_error(index, "name", &entry.name, "[a-z0-9-]{1,48}"))?;
    let Point { lat, lon } = entry.centre;
    if !(-90.0..=90.0).contains(&lat) || !(-180.0..=180.0).contains(&lon) {
        return Err(geo_error(
            index,
            "centre",
            format!("{lat}, {lon}"),
            "degrees",
        ));
    }
    if entry.radius_m == 0 {
        return Err(geo_error(index, "radius_m", 0, "at least 1"));
    }
    if !classes.contains_key(&entry.class) {
        return Err(geo_error(index, "class", &entry.class, "a partition class"));
    }
    let time_zone = Tz::from_str(&entry.time_zone)
        .map_err(|_| geo_error(index, "time_zone", &entry.time_zone, "an IANA time zone"))?;
    Ok(GeoSpec {
        name,
        centre: entry.centre,
        radius_m: entry.radius_m,
        class: entry.class,
        time_zone,
    })
}

fn geo_error(index: usize, field: &str, value: impl ToString, expected: &str) -> CatalogueError {
    error(
        GEOS,
        &format!("geo[{index}].{field}"),
        value,
        &format!("must be {expected}"),
    )
}

fn error(file: &str, field: &str, value: impl ToString, problem: &str) -> CatalogueError {
    CatalogueError {
        file: file.to_owned(),
        field: field.to_owned(),
        value: value.to_string(),
        problem: problem.to_owned(),
    }
}

fn syntax<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, CatalogueError> {
    toml::from_str(text).map_err(|e| {
        let line = e
            .span()
            .map_or(1, |s| text[..s.start].matches('\n').count() + 1);
        let content = text.lines().nth(line - 1).unwrap_or_default();
        error(file, &format!("line {line}"), content, e.message())
    })
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
