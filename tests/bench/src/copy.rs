//! What Kafka alone allows: the records of one processor, read and written again in transactions by a bare client.
//!
//! It reads OrderPlaced of a geo and writes, for each order, the bytes that the orders processor wrote for it
//! (OrderAccepted and PaymentRequested) to scratch topics, in transactions that carry the offsets read. It decodes nothing,
//! decides nothing and stores nothing. What it writes was read into memory before; that is not timed. Its clients are set
//! up as the processors' are.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use contracts::{Catalogue, GeoSpec};
use harness::{Broker, Isolation, Received};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Message, Offset, TopicPartitionList};
use serde::Serialize;

use crate::reader;

const INPUT: &str = "OrderPlaced";
const OUTPUTS: [&str; 2] = ["OrderAccepted", "PaymentRequested"];
/// How long any one call may take.
const CALL: Duration = Duration::from_secs(30);

#[derive(Serialize)]
pub struct Copied {
    /// Records read; each is answered by two.
    pub orders: u64,
    pub transactions: u64,
    /// From the start of the clients to the last commit.
    pub seconds: f64,
}

pub async fn copy(
    brokers: &str,
    catalogue: &Catalogue,
    geo: &GeoSpec,
    batch: usize,
) -> Result<Copied> {
    let input = reader::topic_of(catalogue, geo, INPUT)?;
    let partitions = i32::try_from(catalogue.partitions(&input)?)?;
    let broker = Broker::new(brokers);
    let mut answers: HashMap<Vec<u8>, Vec<(usize, Received)>> = HashMap::new();
    let mut scratch = Vec::new();
    for (index, name) in OUTPUTS.into_iter().enumerate() {
        let topic = reader::topic_of(catalogue, geo, name)?.to_string();
        for record in broker.read_all(&[&topic], Isolation::Committed).await? {
            if record.header(contracts::headers::EVENT_TYPE) == Some(name) {
                let key = record.key.clone().unwrap_or_default();
                answers.entry(key).or_default().push((index, record));
            }
        }
        scratch.push(broker.unique_topic("bench-copy", partitions).await?);
    }
    ensure!(
        !answers.is_empty(),
        "the orders processor has written nothing in {}",
        geo.name
    );
    let copying = Copying {
        scratch,
        answers,
        batch,
    };
    let (brokers, input) = (brokers.to_owned(), input.to_string());
    // Blocking clients, off the runtime's thread.
    tokio::task::spawn_blocking(move || copying.run(&brokers, &input, partitions)).await?
}

struct Copying {
    /// Topics to write to, by place in [`OUTPUTS`].
    scratch: Vec<String>,
    /// What to write, by the key of what is read.
    answers: HashMap<Vec<u8>, Vec<(usize, Received)>>,
    batch: usize,
}

type TransactionalProducer = ThreadedProducer<DefaultProducerContext>;

impl Copying {
    fn run(&self, brokers: &str, input: &str, partitions: i32) -> Result<Copied> {
        let began = Instant::now();
        let consumer = consumer(brokers, input, partitions)?;
        let producer = producer(brokers)?;
        let (mut copied, mut transactions) = (0, 0);
        while copied < self.answers.len() {
            let wanted = self.batch.min(self.answers.len() - copied);
            copied += self.transaction(&consumer, &producer, input, wanted)?;
            transactions += 1;
            ensure!(
                began.elapsed() < CALL * 10,
                "{copied} of {} records",
                self.answers.len()
            );
        }
        Ok(Copied {
            orders: copied as u64,
            transactions,
            seconds: began.elapsed().as_secs_f64(),
        })
    }

    /// Takes what is there, up to `wanted` records, and answers it in one transaction.
    fn transaction(
        &self,
        consumer: &BaseConsumer,
        producer: &TransactionalProducer,
        input: &str,
        wanted: usize,
    ) -> Result<usize> {
        let (mut taken, mut next, mut wait) = (0, HashMap::new(), CALL);
        producer.begin_transaction()?;
        while taken < wanted {
            let Some(message) = consumer.poll(wait) else {
                break;
            };
            let message = message?;
            let answers = self.answers.get(message.key().unwrap_or_default());
            for (index, record) in answers.with_context(|| format!("{input} has a stranger"))? {
                send(producer, &self.scratch[*index], record)?;
            }
            next.insert(message.partition(), message.offset() + 1);
            taken += 1;
            wait = Duration::ZERO;
        }
        let mut offsets = TopicPartitionList::new();
        for (partition, offset) in next {
            offsets.add_partition_offset(input, partition, Offset::Offset(offset))?;
        }
        let group = consumer
            .group_metadata()
            .context("the consumer has a group")?;
        // The client's own flush misses its wake-up now and then, as the processors' publisher knows too.
        while producer.in_flight_count() > 0 {
            std::thread::sleep(Duration::from_micros(500)); // waits: the queue empties meanwhile
        }
        producer.send_offsets_to_transaction(&offsets, &group, CALL)?;
        commit(producer)?;
        Ok(taken)
    }
}

/// A new transaction right after a commit is answered with "try again" for a moment.
fn commit(producer: &TransactionalProducer) -> Result<()> {
    let began = Instant::now();
    loop {
        match producer.commit_transaction(CALL) {
            Err(KafkaError::Transaction(error))
                if error.is_retriable() && began.elapsed() < CALL => {}
            done => return Ok(done?),
        }
    }
}

fn send(producer: &TransactionalProducer, topic: &str, record: &Received) -> Result<()> {
    let headers = OwnedHeaders::new_with_capacity(record.headers.len());
    let headers = record.headers.iter().fold(headers, |all, (key, value)| {
        all.insert(Header {
            key,
            value: value.as_deref(),
        })
    });
    let mut message = BaseRecord::<[u8], [u8]>::to(topic)
        .partition(record.partition)
        .headers(headers);
    message.key = record.key.as_deref();
    message.payload = record.value.as_deref();
    while let Err((error, back)) = producer.send(message) {
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
            return Err(error).with_context(|| topic.to_owned());
        }
        message = back;
        std::thread::sleep(Duration::from_micros(500)); // waits: the queue empties meanwhile
    }
    Ok(())
}

fn consumer(brokers: &str, input: &str, partitions: i32) -> Result<BaseConsumer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("group.id", harness::unique("bench-copy"))
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("fetch.wait.max.ms", "100")
        .set("fetch.queue.backoff.ms", "5")
        .set("queued.min.messages", "10000")
        .set("auto.offset.reset", "error");
    let consumer: BaseConsumer = config.create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(input, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    Ok(consumer)
}

fn producer(brokers: &str) -> Result<TransactionalProducer> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("transactional.id", harness::unique("bench-copy"))
        .set("enable.idempotence", "true")
        .set("delivery.report.only.error", "true")
        .set("linger.ms", "0")
        .set("retry.backoff.ms", "5")
        .set("retry.backoff.max.ms", "100");
    let producer: TransactionalProducer = config.create()?;
    producer.init_transactions(CALL)?;
    Ok(producer)
}
