//! Many partitions read side by side, merged by time: what replay reads the topics with.
//!
//! Each partition has a queue of its own in the client, which holds a bounded part of it: memory does not grow with what is
//! read. Of all partitions the record with the lowest timestamp comes next, ties by topic and partition, so two runs over the
//! same topics read the same sequence. Costs one comparison per partition and record.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Utc};
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer, DefaultConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{Message, Offset, TopicPartitionList};

use crate::log::{Log, Stored, TIMEOUT, stored};

/// How long one look at a queue may take.
const LOOK: std::time::Duration = std::time::Duration::from_millis(100);

/// A partition, from where to read it.
#[derive(Debug, Clone)]
pub struct Start {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    /// Where it ended when the replay began.
    pub end: i64,
}

/// A partition being read.
pub struct Cursor {
    pub start: Start,
    queue: PartitionQueue<DefaultConsumerContext>,
    head: Option<Stored>,
    /// Of the next record to look at.
    next: i64,
    exhausted: bool,
}

/// Partitions being read side by side.
pub struct Cursors {
    consumer: Arc<BaseConsumer>,
}

impl Cursors {
    /// Reads all of these; their records come out of the cursors returned, in the same order.
    pub fn open(log: &Log, starts: Vec<Start>) -> Result<(Cursors, Vec<Cursor>)> {
        let mut config = log.config().clone();
        config
            .set("queued.min.messages", "1000")
            .set("queued.max.messages.kbytes", "1024")
            // A partition that was read ahead of the others is asked again soon once it is needed.
            .set("fetch.queue.backoff.ms", "10");
        let consumer: BaseConsumer = config.create().context("a Kafka consumer")?;
        let consumer = Arc::new(consumer);
        let mut assignment = TopicPartitionList::new();
        for start in starts.iter().filter(|start| start.offset < start.end) {
            let offset = Offset::Offset(start.offset);
            assignment.add_partition_offset(&start.topic, start.partition, offset)?;
        }
        consumer.assign(&assignment)?;
        let mut cursors = Vec::with_capacity(starts.len());
        for start in starts {
            let queue = consumer.split_partition_queue(&start.topic, start.partition);
            let named = || format!("a queue for {}/{}", start.topic, start.partition);
            cursors.push(Cursor {
                queue: queue.with_context(named)?,
                head: None,
                next: start.offset,
                exhausted: start.offset >= start.end,
                start,
            });
        }
        Ok((Cursors { consumer }, cursors))
    }

    /// The next record of the cursor; `None` at the end.
    fn head<'a>(&self, cursor: &'a mut Cursor) -> Result<Option<&'a Stored>> {
        let begin = Instant::now();
        while cursor.head.is_none() && !cursor.exhausted {
            match cursor.queue.poll(LOOK) {
                Some(Ok(message)) => {
                    cursor.next = message.offset() + 1;
                    if message.offset() >= cursor.start.end {
                        cursor.exhausted = true;
                    } else {
                        cursor.head = Some(stored(&message));
                    }
                }
                Some(Err(KafkaError::PartitionEOF(_))) => cursor.exhausted = true,
                Some(Err(error)) => {
                    return Err(error).with_context(|| format!("reading {}", cursor.start.topic));
                }
                None => {
                    // Errors of the client itself come here; records do not.
                    if let Some(Err(error)) = self.consumer.poll(std::time::Duration::ZERO) {
                        recoverable(&error)?;
                    }
                    if begin.elapsed() > TIMEOUT {
                        let Start {
                            topic, partition, ..
                        } = &cursor.start;
                        bail!("no answer about {topic}/{partition} within {TIMEOUT:?}");
                    }
                }
            }
        }
        Ok(cursor.head.as_ref())
    }

    /// Takes the earliest of the next records: of each cursor only below its limit (an offset), and only until an instant,
    /// that instant excluded. Returns the cursor's place with it.
    pub fn take(
        &self,
        cursors: &mut [Cursor],
        limits: &[i64],
        until: Option<DateTime<Utc>>,
    ) -> Result<Option<(usize, Stored)>> {
        let mut first: Option<(DateTime<Utc>, usize)> = None;
        for (place, (cursor, limit)) in cursors.iter_mut().zip(limits).enumerate() {
            if cursor.head.is_none() && cursor.next >= *limit {
                continue;
            }
            let Some(head) = self.head(cursor)?.filter(|head| head.offset < *limit) else {
                continue;
            };
            let early_enough = until.is_none_or(|until| head.at < until);
            if early_enough && first.is_none_or(|(at, _)| head.at < at) {
                first = Some((head.at, place));
            }
        }
        let taken = first.and_then(|(_, place)| Some((place, cursors[place].head.take()?)));
        Ok(taken)
    }
}

/// Errors of the client as a whole: those it recovers from by itself are no reason to stop.
fn recoverable(error: &KafkaError) -> Result<()> {
    use rdkafka::error::RDKafkaErrorCode::{AllBrokersDown, BrokerTransportFailure};
    match error.rdkafka_error_code() {
        Some(AllBrokersDown | BrokerTransportFailure) | None => Ok(()),
        Some(_) => Err(error.clone()).context("reading the topics"),
    }
}
