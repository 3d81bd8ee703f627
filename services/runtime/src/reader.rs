//! Reading: consumers with manual assignment that start each partition where PostgreSQL says.
//!
//! One consumer reads what is answered for, as soon as it is there. Soft sources, if there are any, have one of their own, which
//! lets their messages come together first: nobody waits for one, they come by the thousand, and asking for a few at a time is
//! most of what they would cost.
//!
//! Every message is tagged with the *incarnation* of its lane, the number of the recovery that started the reading. The
//! thread that polls is the thread that assigns, so no message fetched for an earlier incarnation can carry a later tag;
//! whoever sees an old tag drops the message, since the newer incarnation reads it again.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use foldhash::HashMap;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers as _, Message as _};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::mpsc as tokio_mpsc;

use crate::lane::{LaneId, SourcePartition};
use crate::message::{Headers, Message};

/// A message and the reading it belongs to.
pub(crate) struct Fetched {
    pub(crate) lane: LaneId,
    pub(crate) incarnation: u64,
    /// Index of the source partition in the lane.
    pub(crate) source: usize,
    pub(crate) message: Message,
}

/// What the reader reports.
pub(crate) enum Read {
    Messages(Vec<Fetched>),
    /// A position is no longer in its log: some lane has to be looked at again.
    OutOfRange,
}

enum Command {
    Assign {
        lane: LaneId,
        incarnation: u64,
        at: Vec<Start>,
    },
    Unassign {
        sources: Vec<SourcePartition>,
    },
}

/// From where a partition is read.
struct Start {
    /// Of the source partition in its lane.
    index: usize,
    source: SourcePartition,
    offset: i64,
}

/// Handle of the reading threads; dropping it ends them.
pub(crate) struct Reader {
    prompt: Sender<Command>,
    soft: Option<Sender<Command>>,
}

/// How long a poll waits; also how late a command may be noticed.
const POLL: Duration = Duration::from_millis(20);
const BATCH_MESSAGES: usize = 1_000;
const BATCH_BYTES: usize = 1 << 20;
/// Batches that may wait for the engine. Beyond, the thread waits, and librdkafka's own bound holds the rest back.
const BATCHES: usize = 4;

impl Reader {
    /// `soft`: for the consumer of soft sources, if there are any.
    pub(crate) fn start(
        prompt: &ClientConfig,
        soft: Option<&ClientConfig>,
    ) -> Result<(Self, tokio_mpsc::Receiver<Read>), KafkaError> {
        let (reads, received) = tokio_mpsc::channel(BATCHES);
        let reader = Self {
            prompt: Polling::start("reader", prompt, reads.clone())?,
            soft: soft
                .map(|soft| Polling::start("soft reader", soft, reads))
                .transpose()?,
        };
        Ok((reader, received))
    }

    /// Reads a lane's partitions from the given offsets on, tagged with `incarnation`.
    pub(crate) fn assign(&self, lane: LaneId, incarnation: u64, at: Vec<(SourcePartition, i64)>) {
        let starts = at.into_iter().enumerate();
        let starts = starts.map(|(index, (source, offset))| Start {
            index,
            source,
            offset,
        });
        let (soft, prompt) = starts.partition(|start| start.source.is_soft());
        let assign = |at| Command::Assign {
            lane: lane.clone(),
            incarnation,
            at,
        };
        self.send(assign(prompt), assign(soft));
    }

    /// Stops reading.
    pub(crate) fn unassign(&self, sources: Vec<SourcePartition>) {
        let (soft, prompt) = sources.into_iter().partition(SourcePartition::is_soft);
        let unassign = |sources| Command::Unassign { sources };
        self.send(unassign(prompt), unassign(soft));
    }

    fn send(&self, prompt: Command, soft: Command) {
        // The threads end only after this handle: nobody is there to miss a command.
        _ = self.prompt.send(prompt);
        _ = self.soft.as_ref().map(|commands| commands.send(soft));
    }
}

struct Owner {
    lane: LaneId,
    incarnation: u64,
    index: usize,
    source: SourcePartition,
}

struct Polling {
    consumer: BaseConsumer,
    commands: Receiver<Command>,
    reads: tokio_mpsc::Sender<Read>,
    /// By topic and partition; no topic without partitions.
    owners: HashMap<Arc<str>, HashMap<i32, Owner>>,
}

impl Polling {
    /// Starts a consumer with a thread of its own.
    fn start(
        name: &str,
        config: &ClientConfig,
        reads: tokio_mpsc::Sender<Read>,
    ) -> Result<Sender<Command>, KafkaError> {
        let (commands, received_commands) = channel();
        let polling = Self {
            consumer: config.create()?,
            commands: received_commands,
            reads,
            owners: HashMap::default(),
        };
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || polling.run())
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(commands)
    }

    fn run(mut self) {
        loop {
            match self.next_command() {
                Ok(Some(command)) => self.obey(command),
                Ok(None) => {}
                Err(()) => return,
            }
            if !self.owners.is_empty() && self.poll().is_err() {
                return;
            }
        }
    }

    /// Waits for a command only while there is nothing to read. `Err` when the handle is gone.
    fn next_command(&self) -> Result<Option<Command>, ()> {
        if self.owners.is_empty() {
            return match self.commands.recv_timeout(POLL * 10) {
                Ok(command) => Ok(Some(command)),
                Err(RecvTimeoutError::Timeout) => {
                    // What the client has to say is taken here too.
                    drop(self.consumer.poll(Duration::ZERO));
                    Ok(None)
                }
                Err(RecvTimeoutError::Disconnected) => Err(()),
            };
        }
        match self.commands.try_recv() {
            Ok(command) => Ok(Some(command)),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(()),
        }
    }

    fn obey(&mut self, command: Command) {
        let done = match command {
            Command::Assign {
                lane,
                incarnation,
                at,
            } => self.assign(&lane, incarnation, at),
            Command::Unassign { sources } => self.unassign(&sources),
        };
        if let Err(error) = done {
            tracing::error!(%error, "assigning source partitions");
        }
    }

    fn assign(
        &mut self,
        lane: &LaneId,
        incarnation: u64,
        at: Vec<Start>,
    ) -> Result<(), KafkaError> {
        let sources: Vec<SourcePartition> = at.iter().map(|start| start.source.clone()).collect();
        self.unassign(&sources)?;
        let mut list = TopicPartitionList::with_capacity(at.len());
        for Start {
            index,
            source,
            offset,
        } in at
        {
            list.add_partition_offset(
                &source.source.topic,
                source.partition,
                Offset::Offset(offset),
            )?;
            let topic = self.owners.entry(source.source.topic.clone()).or_default();
            topic.insert(
                source.partition,
                Owner {
                    lane: lane.clone(),
                    incarnation,
                    index,
                    source,
                },
            );
        }
        self.consumer.incremental_assign(&list)
    }

    fn unassign(&mut self, sources: &[SourcePartition]) -> Result<(), KafkaError> {
        let mut list = TopicPartitionList::new();
        for source in sources {
            let topic = self.owners.get_mut(&source.source.topic);
            if topic.is_some_and(|partitions| partitions.remove(&source.partition).is_some()) {
                list.add_partition(&source.source.topic, source.partition);
            }
        }
        self.owners.retain(|_, partitions| !partitions.is_empty());
        if list.count() == 0 {
            return Ok(());
        }
        self.consumer.incremental_unassign(&list)
    }

    /// Takes what is there, at most a batch, and hands it over. `Err` when the engine has ended.
    fn poll(&self) -> Result<(), ()> {
        let mut batch = BatchBuilder::default();
        let mut wait = POLL;
        while !batch.is_full() {
            match self.consumer.poll(wait) {
                Some(Ok(message)) => self.take(&message, &mut batch),
                Some(Err(error)) => self.report(&error)?,
                None => break,
            }
            wait = Duration::ZERO;
        }
        if batch.heads.is_empty() {
            return Ok(());
        }
        self.reads
            .blocking_send(Read::Messages(batch.finish()))
            .map_err(drop)
    }

    fn take(&self, message: &BorrowedMessage<'_>, batch: &mut BatchBuilder) {
        let topic = self.owners.get(message.topic());
        if let Some(owner) = topic.and_then(|partitions| partitions.get(&message.partition())) {
            batch.push(owner, message);
        }
    }

    fn report(&self, error: &KafkaError) -> Result<(), ()> {
        use rdkafka::error::RDKafkaErrorCode::{AutoOffsetReset, OffsetOutOfRange};
        match error.rdkafka_error_code() {
            Some(AutoOffsetReset | OffsetOutOfRange) => {
                tracing::warn!(%error, "a position is outside its log");
                self.reads.blocking_send(Read::OutOfRange).map_err(drop)
            }
            _ => {
                tracing::debug!(%error, "reading");
                Ok(())
            }
        }
    }
}

/// Copies messages into one buffer, and cuts it up only when it is complete.
#[derive(Default)]
struct BatchBuilder {
    heads: Vec<Head>,
    buffer: BytesMut,
}

struct Head {
    lane: LaneId,
    incarnation: u64,
    index: usize,
    source: SourcePartition,
    offset: i64,
    timestamp_ms: i64,
    key: Option<usize>,
    value: Option<usize>,
    headers: usize,
}

impl BatchBuilder {
    fn is_full(&self) -> bool {
        self.heads.len() >= BATCH_MESSAGES || self.buffer.len() >= BATCH_BYTES
    }

    fn push(&mut self, owner: &Owner, message: &BorrowedMessage<'_>) {
        let mut append = |part: Option<&[u8]>| {
            self.buffer.extend_from_slice(part.unwrap_or_default());
            part.map(<[u8]>::len)
        };
        let (key, value) = (append(message.key()), append(message.payload()));
        let before = self.buffer.len();
        if let Some(headers) = message.headers() {
            for header in headers.iter() {
                Headers::pack(&mut self.buffer, header.key, header.value);
            }
        }
        self.heads.push(Head {
            lane: owner.lane.clone(),
            incarnation: owner.incarnation,
            index: owner.index,
            source: owner.source.clone(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(-1),
            key,
            value,
            headers: self.buffer.len() - before,
        });
    }

    fn finish(self) -> Vec<Fetched> {
        let mut rest: Bytes = self.buffer.freeze();
        let mut cut = |length: usize| rest.split_to(length);
        let fetched = |head: Head| {
            let message = Message {
                source: head.source.source,
                partition: head.source.partition,
                offset: head.offset,
                timestamp_ms: head.timestamp_ms,
                key: head.key.map(&mut cut),
                value: head.value.map(&mut cut),
                headers: Headers::packed(cut(head.headers)),
            };
            Fetched {
                lane: head.lane,
                incarnation: head.incarnation,
                source: head.index,
                message,
            }
        };
        self.heads.into_iter().map(fetched).collect()
    }
}
