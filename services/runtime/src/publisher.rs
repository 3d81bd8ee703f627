//! Publishing: outbox rows and positions in one Kafka transaction, with a verdict that is never guessed.
//!
//! A transaction is filled while PostgreSQL still commits what it tells of, and ends only after that: what is in it is
//! invisible until then, and taken back if PostgreSQL refuses.
//!
//! One producer per process, on a thread of its own, since every transactional call blocks. After a timeout or anything
//! else that leaves the outcome open the producer is destroyed and replaced: used on, a late request of the old
//! transaction could land in the next one.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use thiserror::Error;
use tokio::sync::oneshot;

use crate::membership::Generation;
use crate::metric;
use crate::probe::{Probe, Step};
use crate::record::{self, MalformedRow, Record};

/// A lane's position in one source partition, with the number of the lane's last published row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CommitPosition {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) seq: i64,
}

/// One Kafka transaction: the rows of some lanes in order, their positions, and the generation that owns them.
pub(crate) struct Publication {
    pub(crate) rows: Vec<Arc<Vec<u8>>>,
    pub(crate) positions: Vec<CommitPosition>,
    pub(crate) generation: Arc<Generation>,
}

/// Why a publication is not known to be done.
#[derive(Debug, Error)]
pub(crate) enum PublishError {
    /// Kafka refused it and it is aborted: nothing of it is visible.
    #[error("refused: {0}")]
    Refused(KafkaError),
    /// It may or may not have been committed: ask the log.
    #[error("unknown outcome: {0}")]
    Unknown(KafkaError),
    /// A row cannot be read; nothing of the transaction is visible.
    #[error(transparent)]
    Malformed(#[from] MalformedRow),
    /// Its caller gave it up before the commit, and it is aborted.
    #[error("given up before the commit")]
    GivenUp,
    /// The publisher has ended.
    #[error("the publisher has ended")]
    Ended,
}

/// The metadata string that carries a row number through Kafka's offset commit.
pub(crate) fn seq_metadata(seq: i64) -> String {
    format!("seq={seq}")
}

/// The row number in a commit's metadata; `None` when there is none.
pub(crate) fn seq_of(metadata: &str) -> Option<i64> {
    metadata.strip_prefix("seq=")?.parse().ok()
}

enum Request {
    Publish(
        Publication,
        Permit,
        oneshot::Sender<Result<(), PublishError>>,
    ),
    Ready(oneshot::Sender<Result<(), PublishError>>),
    IsCurrent(Publication, oneshot::Sender<bool>),
}

/// Sent when the transaction may be committed; dropped when it must not.
type Permit = oneshot::Receiver<()>;

/// A transaction that is being filled, and is committed only by [`Begun::commit`]: dropped, it is aborted.
pub(crate) struct Begun {
    permit: oneshot::Sender<()>,
    answered: oneshot::Receiver<Result<(), PublishError>>,
}

impl Begun {
    /// Commits once everything is in the transaction.
    pub(crate) async fn commit(self) -> Result<(), PublishError> {
        // Nobody waits for the permit of a transaction that has failed: the answer says how.
        _ = self.permit.send(());
        self.answered.await.unwrap_or(Err(PublishError::Ended))
    }
}

/// Handle of the publishing thread; dropping it ends the thread.
#[derive(Clone)]
pub(crate) struct Publisher {
    requests: Sender<Request>,
}

impl Publisher {
    /// Creates the producer and ends whatever transaction its predecessor left open. Blocks until that is done.
    pub(crate) fn start(
        config: ClientConfig,
        timeout: Duration,
        probe: Arc<dyn Probe>,
    ) -> Result<Self, KafkaError> {
        let producer = Transactor::create(&config, timeout)?;
        let (requests, received) = channel();
        let transactor = Transactor {
            config,
            timeout,
            probe,
            producer: Some(producer),
        };
        std::thread::Builder::new()
            .name("publisher".to_owned())
            .spawn(move || transactor.run(&received))
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self { requests })
    }

    /// Begins a transaction and fills it while the caller goes on.
    pub(crate) fn begin(&self, publication: Publication) -> Result<Begun, PublishError> {
        let (permit, permitted) = oneshot::channel();
        let (answer, answered) = oneshot::channel();
        self.requests
            .send(Request::Publish(publication, permitted, answer))
            .map_err(|_| PublishError::Ended)?;
        Ok(Begun { permit, answered })
    }

    pub(crate) async fn publish(&self, publication: Publication) -> Result<(), PublishError> {
        self.begin(publication)?.commit().await
    }

    /// Makes sure that no transaction of an earlier producer can still change anything.
    pub(crate) async fn ready(&self) -> Result<(), PublishError> {
        let (answer, answered) = oneshot::channel();
        self.requests
            .send(Request::Ready(answer))
            .map_err(|_| PublishError::Ended)?;
        answered.await.unwrap_or(Err(PublishError::Ended))
    }

    /// Whether Kafka accepts offsets of this publication's generation. Nothing is committed.
    pub(crate) async fn is_current(&self, publication: Publication) -> bool {
        let (answer, answered) = oneshot::channel();
        self.requests
            .send(Request::IsCurrent(publication, answer))
            .is_ok()
            && answered.await.unwrap_or(false)
    }
}

struct Transactor {
    config: ClientConfig,
    timeout: Duration,
    probe: Arc<dyn Probe>,
    /// `None` after an unknown outcome, until a new one is initialised.
    producer: Option<BaseProducer>,
}

/// How long a flush rests at least before it looks again. The client's own flush either oversleeps, since it can miss its
/// wake-up, or spins through the last millisecond of its timeout.
const FLUSH: Duration = Duration::from_micros(500);
/// A flush rests for such a part of the time it has taken: to look a thousand times at a long one is what it would cost most.
const PATIENCE: u32 = 64;
const RETRY: Duration = Duration::from_millis(5);
/// How long the client's log lines and errors may wait to be written down while nothing is published. The thread that would
/// serve them all the time spins through the last millisecond of each of its waits.
const IDLE: Duration = Duration::from_millis(500);

impl Transactor {
    fn create(config: &ClientConfig, timeout: Duration) -> Result<BaseProducer, KafkaError> {
        let producer: BaseProducer = config.create()?;
        producer.init_transactions(timeout)?;
        Ok(producer)
    }

    fn run(mut self, requests: &Receiver<Request>) {
        loop {
            let request = match requests.recv_timeout(IDLE) {
                Ok(request) => request,
                Err(RecvTimeoutError::Timeout) => {
                    self.producer.iter().for_each(serve);
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            // An engine that no longer waits for an answer recovers its lanes from the logs.
            match request {
                Request::Publish(publication, permit, answer) => {
                    let transact =
                        |it: &Self, producer: &_| it.transact(producer, &publication, permit);
                    assert!(
                        !publication.positions.is_empty(),
                        "a transaction without offsets would not be fenced"
                    );
                    _ = answer.send(self.with_producer(transact));
                }
                Request::Ready(answer) => _ = answer.send(self.with_producer(|_, _| Ok(()))),
                Request::IsCurrent(publication, answer) => {
                    let attempt = |it: &Self, producer: &_| it.attempt(producer, &publication);
                    _ = answer.send(self.with_producer(attempt).is_ok());
                }
            }
        }
    }

    /// Runs `act` with an initialised producer, and gives the producer up when the outcome is unknown.
    fn with_producer(
        &mut self,
        act: impl FnOnce(&Self, &BaseProducer) -> Result<(), PublishError>,
    ) -> Result<(), PublishError> {
        let producer = match self.producer.take() {
            Some(producer) => producer,
            // Nothing has been sent yet, so a failure to replace the producer is a refusal.
            None => Self::create(&self.config, self.timeout).map_err(PublishError::Refused)?,
        };
        let outcome = act(self, &producer);
        if !matches!(outcome, Err(PublishError::Unknown(_))) {
            self.producer = Some(producer);
        }
        outcome
    }

    fn transact(
        &self,
        producer: &BaseProducer,
        publication: &Publication,
        permit: Permit,
    ) -> Result<(), PublishError> {
        let deadline = Instant::now() + self.timeout;
        producer
            .begin_transaction()
            .map_err(PublishError::Unknown)?;
        let filled = self.fill(producer, publication, deadline);
        let since = Instant::now();
        if filled.is_ok() && permit.blocking_recv().is_err() {
            Self::abort(producer, Instant::now() + self.timeout)?;
            return Err(PublishError::GivenUp);
        }
        took("database", since);
        let Err(failure) = filled.and_then(|()| self.commit(producer)) else {
            self.probe.reached(Step::Published);
            return Ok(());
        };
        match failure {
            Failure::Unknown(error) => Err(PublishError::Unknown(error)),
            Failure::Abort(error) => {
                Self::abort(producer, deadline).map(|()| Err(PublishError::Refused(error)))?
            }
            Failure::Malformed(row) => Self::abort(producer, deadline).map(|()| Err(row.into()))?,
        }
    }

    /// Offers the offsets in a transaction that is aborted.
    fn attempt(
        &self,
        producer: &BaseProducer,
        publication: &Publication,
    ) -> Result<(), PublishError> {
        let deadline = Instant::now() + self.timeout;
        producer
            .begin_transaction()
            .map_err(PublishError::Unknown)?;
        let accepted = self.fill(producer, publication, deadline);
        Self::abort(producer, deadline)?;
        accepted.map_err(|failure| match failure {
            Failure::Abort(error) => PublishError::Refused(error),
            Failure::Unknown(error) => PublishError::Unknown(error),
            Failure::Malformed(row) => row.into(),
        })
    }

    /// Puts the records and the offsets into the open transaction.
    ///
    /// The client sends the records of each partition in a request of their own, and the broker answers one after the other:
    /// the offsets need not wait for the last. Before the first answer it would be too early, since a coordinator that is still
    /// taking note of the partitions asks for the offsets again.
    fn fill(
        &self,
        producer: &BaseProducer,
        publication: &Publication,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let since = Instant::now();
        for row in &publication.rows {
            record::unpack(row, |record| send(producer, record, deadline))?;
        }
        let sent = producer.in_flight_count();
        wait(producer, deadline, || producer.in_flight_count() < sent);
        self.probe.reached(Step::Produced);
        took("first_record", since);
        let since = Instant::now();
        let positions = offsets(&publication.positions)?;
        let metadata = &publication.generation.metadata;
        patiently(deadline, || {
            producer.send_offsets_to_transaction(&positions, metadata, left(deadline))
        })?;
        self.probe.reached(Step::OffsetsSent);
        took("offsets", since);
        let since = Instant::now();
        flush(producer, deadline)?;
        self.probe.reached(Step::Filled);
        took("other_records", since);
        Ok(())
    }

    fn commit(&self, producer: &BaseProducer) -> Result<(), Failure> {
        let since = Instant::now();
        let deadline = since + self.timeout;
        patiently(deadline, || producer.commit_transaction(left(deadline)))?;
        took("commit", since);
        Ok(())
    }

    fn abort(producer: &BaseProducer, deadline: Instant) -> Result<(), PublishError> {
        let deadline = deadline.max(Instant::now() + Duration::from_secs(1));
        patiently(deadline, || producer.abort_transaction(left(deadline))).map_err(|failure| {
            match failure {
                Failure::Unknown(error) | Failure::Abort(error) => PublishError::Unknown(error),
                Failure::Malformed(row) => row.into(),
            }
        })
    }
}

enum Failure {
    /// Kafka asks for an abort: nothing of the transaction will be seen.
    Abort(KafkaError),
    /// Anything may have happened.
    Unknown(KafkaError),
    Malformed(MalformedRow),
}

impl From<KafkaError> for Failure {
    fn from(error: KafkaError) -> Self {
        match &error {
            KafkaError::Transaction(e) if !e.is_fatal() && e.txn_requires_abort() => {
                Self::Abort(error)
            }
            _ => Self::Unknown(error),
        }
    }
}

impl From<MalformedRow> for Failure {
    fn from(row: MalformedRow) -> Self {
        Self::Malformed(row)
    }
}

/// Repeats a transactional call while librdkafka says that the same call may be repeated. A timeout may not: its request
/// can still arrive.
fn patiently(
    deadline: Instant,
    mut call: impl FnMut() -> Result<(), KafkaError>,
) -> Result<(), Failure> {
    loop {
        match call() {
            Ok(()) => return Ok(()),
            Err(KafkaError::Transaction(error))
                if error.is_retriable()
                    && error.code() != RDKafkaErrorCode::OperationTimedOut
                    && Instant::now() < deadline =>
            {
                std::thread::sleep(RETRY);
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn left(deadline: Instant) -> Duration {
    deadline
        .saturating_duration_since(Instant::now())
        .max(Duration::from_millis(1))
}

/// Notes how long a phase of a transaction took.
fn took(phase: &'static str, since: Instant) {
    metrics::histogram!(metric::TRANSACTION_SECONDS, "phase" => phase)
        .record(since.elapsed().as_secs_f64());
}

/// Takes note of what the client has to say.
fn serve(producer: &BaseProducer) {
    producer.poll(Duration::ZERO);
}

/// Waits until the broker has answered for everything sent.
fn flush(producer: &BaseProducer, deadline: Instant) -> Result<(), Failure> {
    wait(producer, deadline, || producer.in_flight_count() == 0);
    producer.flush(Duration::ZERO).map_err(Failure::Unknown)
}

/// Waits for the broker's answers until they are `enough`, or the time is up.
fn wait(producer: &BaseProducer, deadline: Instant, enough: impl Fn() -> bool) {
    let since = Instant::now();
    loop {
        serve(producer);
        if enough() || producer.in_flight_count() == 0 || Instant::now() >= deadline {
            return;
        }
        std::thread::sleep(FLUSH.max(since.elapsed() / PATIENCE));
    }
}

fn send(producer: &BaseProducer, record: &Record<'_>, deadline: Instant) -> Result<(), Failure> {
    let mut message: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(record.topic);
    message.key = record.key;
    message.payload = record.value;
    message.partition = record.partition;
    if !record.headers.is_empty() {
        let headers = OwnedHeaders::new_with_capacity(record.headers.len());
        let insert = |headers: OwnedHeaders, (key, value): &(&str, Option<&[u8]>)| {
            headers.insert(Header { key, value: *value })
        };
        message.headers = Some(record.headers.iter().fold(headers, insert));
    }
    loop {
        match producer.send(message) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                if Instant::now() < deadline =>
            {
                message = back;
                // Those that failed make room only once their reports are taken.
                serve(producer);
                std::thread::sleep(FLUSH);
            }
            // A record that the client refuses (too large, unknown partition) can be aborted cleanly.
            Err((error, _)) => return Err(Failure::Abort(error)),
        }
    }
}

fn offsets(positions: &[CommitPosition]) -> Result<TopicPartitionList, Failure> {
    let mut list = TopicPartitionList::with_capacity(positions.len());
    for position in positions {
        let mut element = list.add_partition(&position.topic, position.partition);
        element
            .set_offset(Offset::Offset(position.offset))
            .map_err(Failure::Abort)?;
        element.set_metadata(seq_metadata(position.seq));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_number_survives_the_metadata_string() {
        assert_eq!(seq_of(&seq_metadata(149)), Some(149));
        for none in ["", "seq=", "seq=x", "149"] {
            assert_eq!(seq_of(none), None, "{none}");
        }
    }
}
