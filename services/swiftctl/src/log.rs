//! Topics read as an outsider reads them: committed records only, from a beginning or an instant to the end as of now.
//!
//! Nothing here joins a group or commits an offset. A topic at a time, since the event that tells a partition's end names no
//! topic. Reading blocks the thread, which has nothing else to do.

use std::collections::{BTreeMap, HashSet};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Utc};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};

use crate::progress::Progress;

/// How long the broker may be silent.
pub const TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// A record as the broker holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub at: DateTime<Utc>,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Stored {
    /// The last header of that name, as text; Kafka's clients resolve duplicates so.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().rev().find(|(known, _)| known == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }

    pub fn key_text(&self) -> Option<&str> {
        std::str::from_utf8(self.key.as_deref()?).ok()
    }

    /// The W3C trace id.
    pub fn trace(&self) -> Option<&str> {
        let parent = self.header(contracts::headers::TRACEPARENT)?;
        parent.split('-').nth(1).filter(|id| id.len() == 32)
    }
}

/// Reads topics.
pub struct Log {
    consumer: BaseConsumer,
    config: ClientConfig,
}

impl Log {
    /// `kafka`: how the cluster is reached.
    pub fn connect(kafka: &ClientConfig) -> Result<Self> {
        let mut config = kafka.clone();
        config
            // Required to be there; nothing is ever committed under it.
            .set("group.id", "swiftctl")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "50");
        let consumer = config.create().context("a Kafka consumer")?;
        Ok(Log { consumer, config })
    }

    /// How its clients are set up.
    pub fn config(&self) -> &ClientConfig {
        &self.config
    }

    pub fn consumer(&self) -> &BaseConsumer {
        &self.consumer
    }

    /// Every topic of the cluster with its number of partitions.
    pub fn topics(&self) -> Result<BTreeMap<String, i32>> {
        let metadata = self.consumer.fetch_metadata(None, TIMEOUT);
        let brokers = self.config.get("bootstrap.servers").unwrap_or_default();
        let metadata = metadata.with_context(|| format!("brokers {brokers} do not answer"))?;
        let mut topics = BTreeMap::new();
        for topic in metadata.topics() {
            let partitions = i32::try_from(topic.partitions().len())?;
            topics.insert(topic.name().to_owned(), partitions);
        }
        Ok(topics)
    }

    /// Calls `each` with every committed record of a topic, partition by partition in order, from its beginning or from an
    /// instant (by the records' timestamps). A transaction that is still open ends a partition.
    pub fn read(
        &self,
        topic: &str,
        partitions: i32,
        since: Option<DateTime<Utc>>,
        progress: &Progress,
        mut each: impl FnMut(Stored),
    ) -> Result<()> {
        let from = self.start(topic, partitions, since)?;
        self.poll(topic, &from, |stored| {
            progress.read();
            each(stored);
            false
        })
    }

    /// Calls `each` with the first committed record at or behind an offset, of every partition that has one.
    pub fn first(
        &self,
        topic: &str,
        from: &[(i32, i64)],
        mut each: impl FnMut(Stored),
    ) -> Result<()> {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in from {
            list.add_partition_offset(topic, *partition, Offset::Offset(*offset))?;
        }
        self.poll(topic, &list, |stored| {
            each(stored);
            true
        })
    }

    /// Reads partitions of one topic to their ends, or until `each` has had enough of one.
    fn poll(
        &self,
        topic: &str,
        from: &TopicPartitionList,
        mut each: impl FnMut(Stored) -> bool,
    ) -> Result<()> {
        let mut open: HashSet<i32> = from.elements().iter().map(|e| e.partition()).collect();
        if open.is_empty() {
            return Ok(());
        }
        self.consumer.assign(from)?;
        let mut moved = Instant::now();
        while !open.is_empty() {
            match self.consumer.poll(POLL) {
                None if moved.elapsed() > TIMEOUT => {
                    bail!("no end of {topic}, partitions {open:?}, within {TIMEOUT:?}")
                }
                None => continue,
                Some(Ok(message)) => {
                    let partition = message.partition();
                    if open.contains(&partition) && each(stored(&message)) {
                        open.remove(&partition);
                        let mut enough = TopicPartitionList::new();
                        enough.add_partition(topic, partition);
                        self.consumer.pause(&enough)?;
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    open.remove(&partition);
                }
                Some(Err(error)) => return Err(error).with_context(|| format!("reading {topic}")),
            }
            moved = Instant::now();
        }
        self.consumer.unassign()?;
        Ok(())
    }

    /// Where to start; partitions in which nothing is, or nothing as young, are left out.
    fn start(
        &self,
        topic: &str,
        partitions: i32,
        since: Option<DateTime<Utc>>,
    ) -> Result<TopicPartitionList> {
        let at = since.map_or(Offset::Beginning, |at| {
            Offset::Offset(at.timestamp_millis())
        });
        let found = self.offsets(topic, partitions, at)?;
        let ends = self.offsets(topic, partitions, Offset::End)?;
        let mut from = TopicPartitionList::new();
        for (partition, offset) in found {
            if ends.get(&partition).is_some_and(|end| offset < *end) {
                from.add_partition_offset(topic, partition, Offset::Offset(offset))?;
            }
        }
        Ok(from)
    }

    /// The first offset that is as young; the broker takes "beginning" and "end" as times too.
    pub fn offsets(&self, topic: &str, partitions: i32, at: Offset) -> Result<BTreeMap<i32, i64>> {
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, at)?;
        }
        let found = self.consumer.offsets_for_times(list, TIMEOUT);
        let found = found.with_context(|| format!("asking where to start in {topic}"))?;
        let mut offsets = BTreeMap::new();
        for element in found.elements() {
            element.error()?;
            if let Offset::Offset(offset) = element.offset()
                && offset >= 0
            {
                offsets.insert(element.partition(), offset);
            }
        }
        Ok(offsets)
    }

    /// Waits until no transaction is open below what the topic holds now: [`Log::read`] then sees all that was decided.
    pub fn settle(&self, topic: &str, partitions: i32) -> Result<()> {
        let mut config = self.config.clone();
        config.set("isolation.level", "read_uncommitted");
        let raw: BaseConsumer = config.create().context("a Kafka consumer")?;
        let begin = Instant::now();
        for partition in 0..partitions {
            let (_, end) = raw.fetch_watermarks(topic, partition, TIMEOUT)?;
            while self.consumer.fetch_watermarks(topic, partition, TIMEOUT)?.1 < end {
                if begin.elapsed() > TIMEOUT {
                    bail!("a transaction on {topic}/{partition} stays open: try again later");
                }
                std::thread::sleep(POLL);
            }
        }
        Ok(())
    }
}

/// Copies a message out of the client's buffer.
pub fn stored(message: &BorrowedMessage<'_>) -> Stored {
    let headers = message.headers().into_iter().flat_map(|all| all.iter());
    let at = message.timestamp().to_millis().unwrap_or_default();
    Stored {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        at: DateTime::from_timestamp_millis(at).unwrap_or_default(),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers
            .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
            .collect(),
    }
}
