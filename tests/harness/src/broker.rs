//! The broker as a test sees it: topics of its own, raw records in, everything out.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Header, Headers, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::sync::mpsc;

/// How long one request to the broker may take before the test fails.
const REQUEST: Duration = Duration::from_secs(30);

/// A Kafka cluster by its bootstrap servers.
#[derive(Clone, Debug)]
pub struct Broker {
    bootstrap: String,
}

/// Which records a reader sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isolation {
    /// Those of committed transactions, and those without one: what an outside consumer sees.
    Committed,
    /// Also those of aborted and open transactions.
    Uncommitted,
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// Milliseconds since the epoch.
    pub timestamp_ms: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

impl Received {
    /// The value of a header as text: the last one of that name, as Kafka's clients resolve duplicates.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().rev().find(|(known, _)| known == name)?;
        std::str::from_utf8(value.as_deref()?).ok()
    }

    pub fn key_text(&self) -> Option<&str> {
        std::str::from_utf8(self.key.as_deref()?).ok()
    }
}

impl Broker {
    pub fn new(bootstrap: &str) -> Self {
        Self {
            bootstrap: bootstrap.to_owned(),
        }
    }

    /// The settings every client of this cluster starts from.
    pub fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.bootstrap);
        config
    }

    /// Creates a topic of a unique name and returns it.
    pub async fn unique_topic(&self, prefix: &str, partitions: i32) -> anyhow::Result<String> {
        let name = crate::unique(prefix);
        self.create_topics(&[(&name, partitions)]).await?;
        Ok(name)
    }

    /// Creates topics (replication factor 1) and returns once their partitions have leaders.
    pub async fn create_topics(&self, topics: &[(&str, i32)]) -> anyhow::Result<()> {
        let wanted: Vec<NewTopic<'_>> = topics
            .iter()
            .map(|(name, count)| NewTopic::new(name, *count, TopicReplication::Fixed(1)))
            .collect();
        for outcome in self.admin()?.create_topics(&wanted, &options()).await? {
            outcome.map_err(|(topic, code)| anyhow::anyhow!("creating {topic}: {code}"))?;
        }
        for (name, partitions) in topics {
            let (broker, name, count) = (self.clone(), (*name).to_owned(), *partitions as usize);
            let ready = async || {
                broker
                    .partitions_with_leader(&name)
                    .await
                    .is_ok_and(|ready| ready == count)
            };
            crate::wait_for(&format!("leaders of {name}"), REQUEST, ready).await;
        }
        Ok(())
    }

    pub async fn delete_topic(&self, topic: &str) -> anyhow::Result<()> {
        for outcome in self.admin()?.delete_topics(&[topic], &options()).await? {
            outcome.map_err(|(topic, code)| anyhow::anyhow!("deleting {topic}: {code}"))?;
        }
        Ok(())
    }

    /// Raises the number of partitions of a topic.
    pub async fn add_partitions(&self, topic: &str, count: usize) -> anyhow::Result<()> {
        for outcome in self
            .admin()?
            .create_partitions(&[NewPartitions::new(topic, count)], &options())
            .await?
        {
            outcome
                .map_err(|(topic, code)| anyhow::anyhow!("adding partitions to {topic}: {code}"))?;
        }
        Ok(())
    }

    /// An idempotent producer that places keys as Java clients do.
    pub fn producer(&self) -> anyhow::Result<FutureProducer> {
        let mut config = self.config();
        config
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "1");
        Ok(config.create()?)
    }

    /// Writes one record and returns the partition and offset it got.
    pub async fn produce(
        &self,
        topic: &str,
        partition: Option<i32>,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> anyhow::Result<(i32, i64)> {
        let mut all = OwnedHeaders::new_with_capacity(headers.len());
        for (key, value) in headers {
            all = all.insert(Header { key, value: *value });
        }
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(topic).headers(all);
        record.partition = partition;
        record.key = key;
        record.payload = value;
        let sent = self
            .producer()?
            .send(record, REQUEST)
            .await
            .map_err(|(error, _)| error)?;
        Ok((sent.partition, sent.offset))
    }

    /// Everything in the topics from their beginning to their end, sorted by topic, partition and offset.
    pub async fn read_all(
        &self,
        topics: &[&str],
        isolation: Isolation,
    ) -> anyhow::Result<Vec<Received>> {
        let mut each = self.read_each(topics, isolation);
        let mut received = Vec::new();
        while let Some(topic) = each.recv().await {
            received.extend(topic?);
        }
        received.sort_by(|a, b| {
            (&a.topic, a.partition, a.offset).cmp(&(&b.topic, b.partition, b.offset))
        });
        Ok(received)
    }

    /// The same, a topic at a time and in the order given, so that no more than two are held in memory.
    pub fn read_each(
        &self,
        topics: &[&str],
        isolation: Isolation,
    ) -> mpsc::Receiver<anyhow::Result<Vec<Received>>> {
        let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let (sender, receiver) = mpsc::channel(1);
        let broker = self.clone();
        // Dropping a consumer polls it, which must not happen on a runtime's thread.
        tokio::task::spawn_blocking(move || {
            let consumer = match broker.reader(isolation) {
                Ok(consumer) => consumer,
                Err(error) => return drop(sender.blocking_send(Err(error))),
            };
            for topic in topics {
                let read =
                    read_topic(&consumer, &topic).with_context(|| format!("reading {topic}"));
                if sender.blocking_send(read).is_err() {
                    return;
                }
            }
        });
        receiver
    }

    /// Whether everything in the topics is decided: a commit is answered before its markers let readers see it.
    pub async fn is_decided(&self, topics: &[&str]) -> anyhow::Result<bool> {
        let topics: Vec<String> = topics.iter().map(|topic| (*topic).to_owned()).collect();
        let broker = self.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let written = broker.reader(Isolation::Uncommitted)?;
            let visible = broker.reader(Isolation::Committed)?;
            for topic in topics {
                for partition in 0..partitions(&written, &topic)? {
                    let end = |consumer: &BaseConsumer| {
                        consumer.fetch_watermarks(&topic, partition, REQUEST)
                    };
                    if end(&written)?.1 != end(&visible)?.1 {
                        return Ok(false);
                    }
                }
            }
            Ok(true)
        });
        asked.await?
    }

    fn reader(&self, isolation: Isolation) -> anyhow::Result<BaseConsumer> {
        let level = match isolation {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        };
        let mut config = self.config();
        config
            .set("group.id", crate::unique("reader"))
            .set("isolation.level", level)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "20");
        Ok(config.create()?)
    }

    fn admin(&self) -> anyhow::Result<AdminClient<DefaultClientContext>> {
        Ok(self.config().create()?)
    }

    async fn partitions_with_leader(&self, topic: &str) -> anyhow::Result<usize> {
        let (admin, topic) = (self.admin()?, topic.to_owned());
        tokio::task::spawn_blocking(move || {
            let metadata = admin.inner().fetch_metadata(Some(&topic), REQUEST)?;
            let partitions = metadata
                .topics()
                .iter()
                .flat_map(|topic| topic.partitions());
            Ok(partitions
                .filter(|partition| partition.leader() >= 0)
                .count())
        })
        .await?
    }
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .operation_timeout(Some(REQUEST))
        .request_timeout(Some(REQUEST))
}

/// How many partitions the topic has.
fn partitions(consumer: &BaseConsumer, topic: &str) -> anyhow::Result<i32> {
    let metadata = consumer.fetch_metadata(Some(topic), REQUEST)?;
    let topic = metadata.topics().first();
    let count = topic.map_or(0, |topic| topic.partitions().len());
    if count == 0 {
        bail!("the topic does not exist");
    }
    Ok(count as i32)
}

/// Reads one topic from its beginning to its end as of now, by partition and offset; a transaction that is still open
/// ends it too. The event that tells the end names a partition and no topic, hence one topic at a time.
fn read_topic(consumer: &BaseConsumer, topic: &str) -> anyhow::Result<Vec<Received>> {
    let mut assignment = TopicPartitionList::new();
    let mut open: HashSet<i32> = (0..partitions(consumer, topic)?).collect();
    for partition in &open {
        assignment.add_partition_offset(topic, *partition, Offset::Beginning)?;
    }
    consumer.assign(&assignment)?;
    let (mut received, mut moved) = (Vec::new(), Instant::now());
    while !open.is_empty() {
        match consumer.poll(Duration::from_millis(100)) {
            None if moved.elapsed() > REQUEST => {
                bail!("no end of partitions {open:?} within {REQUEST:?}")
            }
            None => continue,
            Some(Ok(message)) => received.push(own(&message)),
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                open.remove(&partition);
            }
            Some(Err(error)) => return Err(error.into()),
        }
        moved = Instant::now();
    }
    received.sort_by_key(|record: &Received| (record.partition, record.offset));
    Ok(received)
}

fn own(message: &BorrowedMessage<'_>) -> Received {
    let headers = message
        .headers()
        .into_iter()
        .flat_map(|headers| headers.iter());
    Received {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key().map(<[u8]>::to_vec),
        value: message.payload().map(<[u8]>::to_vec),
        headers: headers
            .map(|header| (header.key.to_owned(), header.value.map(<[u8]>::to_vec)))
            .collect(),
    }
}
