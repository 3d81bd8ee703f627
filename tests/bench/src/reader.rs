//! Reading as an outside consumer does: read_committed, by the header that names the record.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use contracts::{Catalogue, GeoSpec, Topic, headers};
use harness::{Broker, Isolation};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{Message, Offset, TopicPartitionList};
use serde::Serialize;

/// When records of a kind became visible, seconds since the epoch.
#[derive(Serialize)]
pub struct Seen {
    pub records: u64,
    pub first_at: f64,
    pub last_at: f64,
}

/// How many records of each name stand on the topics, and how many orders they are about.
#[derive(Default, Serialize)]
pub struct Counts {
    pub records: BTreeMap<String, u64>,
    /// Distinct keys by record name: less than its records where one stands there twice.
    pub keys: BTreeMap<String, u64>,
    pub dead_letters: u64,
}

/// Reads from the beginning until `count` records of that name have been seen.
pub fn await_records(
    brokers: &str,
    catalogue: &Catalogue,
    geos: &[GeoSpec],
    record: &str,
    count: u64,
    timeout: Duration,
) -> Result<Seen> {
    let consumer = consumer(brokers)?;
    for geo in geos {
        let topic = topic_of(catalogue, geo, record)?;
        let partitions = catalogue.partitions(&topic)?;
        assign(&consumer, &topic, partitions, Offset::Beginning)?;
    }
    let begin = Instant::now();
    let mut seen = Seen {
        records: 0,
        first_at: 0.0,
        last_at: 0.0,
    };
    while seen.records < count {
        if begin.elapsed() > timeout {
            bail!("{} of {count} {record} after {timeout:?}", seen.records);
        }
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        if header(&message?, headers::EVENT_TYPE) == Some(record) {
            seen.last_at = now();
            seen.records += 1;
            if seen.records == 1 {
                seen.first_at = seen.last_at;
            }
        }
    }
    Ok(seen)
}

/// Counts everything that stands on the geos' topics.
pub async fn count(brokers: &str, catalogue: &Catalogue, geos: &[GeoSpec]) -> Result<Counts> {
    let mut topics = Vec::new();
    let mut letters = HashSet::new();
    for (geo, stream) in geos
        .iter()
        .flat_map(|geo| catalogue.streams().iter().map(move |stream| (geo, stream)))
    {
        let topic = Topic {
            family: stream.family.clone(),
            kind: stream.kind.clone(),
            geo: geo.name.clone(),
        };
        topics.push(topic.to_string());
        if stream.dead_letters {
            topics.push(topic.dead_letters());
            letters.insert(topic.dead_letters());
        }
    }
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut each = Broker::new(brokers).read_each(&names, Isolation::Committed);
    let mut counts = Counts::default();
    let mut keys: BTreeMap<String, HashSet<Vec<u8>>> = BTreeMap::new();
    while let Some(topic) = each.recv().await {
        for received in topic? {
            if letters.contains(&received.topic) {
                counts.dead_letters += 1;
                continue;
            }
            let name = received
                .header(headers::EVENT_TYPE)
                .unwrap_or("?")
                .to_owned();
            *counts.records.entry(name.clone()).or_default() += 1;
            keys.entry(name)
                .or_default()
                .insert(received.key.unwrap_or_default());
        }
    }
    counts.keys = keys
        .into_iter()
        .map(|(name, keys)| (name, keys.len() as u64))
        .collect();
    Ok(counts)
}

/// The topic that carries records of this name in the geo.
pub fn topic_of(catalogue: &Catalogue, geo: &GeoSpec, record: &str) -> Result<Topic> {
    let carries = |stream: &&contracts::StreamSpec| {
        stream.records.iter().any(|name| name == record) && stream.family != "driver"
    };
    let stream = catalogue.streams().iter().find(carries);
    let stream = stream.with_context(|| format!("no topic carries {record}"))?;
    Ok(Topic {
        family: stream.family.clone(),
        kind: stream.kind.clone(),
        geo: geo.name.clone(),
    })
}

pub fn consumer(brokers: &str) -> Result<BaseConsumer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("client.id", "bench-reader")
        .set("group.id", "bench-reader")
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "100")
        .set("auto.offset.reset", "error");
    Ok(config.create()?)
}

pub fn assign(consumer: &BaseConsumer, topic: &Topic, partitions: u32, from: Offset) -> Result<()> {
    ensure!(partitions > 0, "{topic} has no partitions");
    let mut list = TopicPartitionList::new();
    let name = topic.to_string();
    for partition in 0..i32::try_from(partitions)? {
        list.add_partition_offset(&name, partition, from)?;
    }
    Ok(consumer.incremental_assign(&list)?)
}

pub fn header<'a>(message: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a str> {
    let all = message.headers()?;
    let found = all.iter().find(|header| header.key == name)?;
    std::str::from_utf8(found.value?).ok()
}

/// Seconds since the epoch.
pub fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
