//! Ownership of lanes by Kafka's group protocol: who may run what, and under which generation.
//!
//! One consumer subscribes and never reads: the units it is assigned are paused at once; the [reader](crate::reader)
//! reads what the lanes stand for. Keeping the two apart means that reading starts exactly where PostgreSQL says, and
//! that a lane may read more than the unit it is owned by.
//!
//! Two rules of the protocol live here. The group metadata that fences publications is captured in the assign callback
//! (also when nothing new came), never later: a fresher one would let a stale owner pass. And a revocation returns to the
//! group only when the engine has let go of the lanes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::bindings::rd_kafka_resp_err_t;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, ConsumerGroupMetadata};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::sync::mpsc::UnboundedSender;

use crate::lane::Unit;

/// One generation of the group as seen by this member. Everything published carries the one current when it was owned.
pub(crate) struct Generation {
    pub(crate) metadata: ConsumerGroupMetadata,
}

/// What the group decided.
pub(crate) enum Ownership {
    /// A new generation; `units` are new in it, all others are retained.
    Assigned {
        units: Vec<Unit>,
        generation: Arc<Generation>,
    },
    /// Stop these lanes and drop their memory, then answer.
    Revoked {
        units: Vec<Unit>,
        lost: bool,
        done: mpsc::SyncSender<()>,
    },
    /// This member can never work again (another process took its slot, or it was configured away).
    Failed(KafkaError),
}

/// The thread that keeps the membership alive.
pub(crate) struct Membership {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

const POLL: Duration = Duration::from_millis(100);

impl Membership {
    /// Joins the group. Publishing must be ready before: a member may own lanes from the first callback on.
    pub(crate) fn join(
        config: &ClientConfig,
        subscription: &[&str],
        events: UnboundedSender<Ownership>,
    ) -> Result<Self, KafkaError> {
        let context = GroupContext {
            events: events.clone(),
            assigned: Mutex::default(),
        };
        let consumer: BaseConsumer<GroupContext> = config.create_with_context(context)?;
        consumer.subscribe(subscription)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("membership".to_owned())
            .spawn(move || keep(&consumer, &stopped, &events))
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self {
            stop,
            thread: Some(thread),
        })
    }

    /// Starts leaving the group: lanes are revoked through the usual events, which end when it is done.
    pub(crate) fn leave(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn left(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

/// Polls until told to stop, then leaves: unsubscribing makes even a static member leave at once, where closing would not.
/// It is no member any more once its leave is under way; closed before that, librdkafka would not send it. How long that may
/// take is up to the engine, which waits for the events to end.
fn keep(
    consumer: &BaseConsumer<GroupContext>,
    stop: &AtomicBool,
    events: &UnboundedSender<Ownership>,
) {
    while !stop.load(Ordering::Relaxed) {
        match consumer.poll(POLL) {
            Some(Err(error @ KafkaError::MessageConsumptionFatal(_))) => {
                // Nobody listens any more only when the process is ending anyway.
                _ = events.send(Ownership::Failed(error));
                return;
            }
            Some(Err(error)) => tracing::debug!(%error, "group membership"),
            Some(Ok(_)) | None => {}
        }
    }
    consumer.unsubscribe();
    while consumer.context().holds_any() || is_member(consumer) {
        _ = consumer.poll(POLL);
    }
}

struct GroupContext {
    events: UnboundedSender<Ownership>,
    assigned: Mutex<usize>,
}

impl GroupContext {
    fn count(&self, change: impl FnOnce(usize) -> usize) {
        let mut assigned = self.assigned.lock().unwrap_or_else(PoisonError::into_inner);
        *assigned = change(*assigned);
    }

    fn holds_any(&self) -> bool {
        *self.assigned.lock().unwrap_or_else(PoisonError::into_inner) > 0
    }

    fn assign(
        &self,
        consumer: &BaseConsumer<Self>,
        units: &TopicPartitionList,
    ) -> Result<(), KafkaError> {
        // An explicit offset, so that nothing is looked up for partitions that are never read here.
        let mut at_zero = TopicPartitionList::with_capacity(units.count());
        for unit in units.elements() {
            at_zero.add_partition_offset(unit.topic(), unit.partition(), Offset::Offset(0))?;
        }
        consumer.incremental_assign(&at_zero)?;
        consumer.pause(&at_zero)?;
        self.count(|assigned| assigned + units.count());
        let metadata = consumer.group_metadata().filter(|_| is_member(consumer));
        let Some(metadata) = metadata else {
            return Err(KafkaError::ClientCreation(
                "assigned without being a member of the group".to_owned(),
            ));
        };
        let generation = Arc::new(Generation { metadata });
        _ = self.events.send(Ownership::Assigned {
            units: units_of(units),
            generation,
        });
        Ok(())
    }

    fn revoke(
        &self,
        consumer: &BaseConsumer<Self>,
        units: &TopicPartitionList,
    ) -> Result<(), KafkaError> {
        let lost = consumer.assignment_lost();
        let (done, let_go) = mpsc::sync_channel(1);
        if self
            .events
            .send(Ownership::Revoked {
                units: units_of(units),
                lost,
                done,
            })
            .is_ok()
        {
            // An error means the engine has ended, and with it everything it held.
            _ = let_go.recv();
        }
        self.count(|assigned| assigned.saturating_sub(units.count()));
        consumer.incremental_unassign(units)
    }
}

impl ClientContext for GroupContext {}

impl ConsumerContext for GroupContext {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        kind: RDKafkaRespErr,
        units: &mut TopicPartitionList,
    ) {
        let done = match kind {
            rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                self.assign(consumer, units)
            }
            _ => self.revoke(consumer, units),
        };
        if let Err(error) = done {
            tracing::error!(%error, "rebalance callback");
            _ = self.events.send(Ownership::Failed(error));
        }
    }
}

/// Whether the group knows this consumer. The broker takes offsets of one that never joined (generation -1) without any
/// check, so such metadata must never fence a publication. rdkafka does not expose the fields.
#[expect(
    unsafe_code,
    reason = "three read-only calls on metadata that lives until it is destroyed here"
)]
fn is_member(consumer: &BaseConsumer<GroupContext>) -> bool {
    use rdkafka::bindings;
    // SAFETY: the consumer outlives the call; the metadata is owned here and destroyed once.
    unsafe {
        let metadata = bindings::rd_kafka_consumer_group_metadata(consumer.client().native_ptr());
        if metadata.is_null() {
            return false;
        }
        let member = bindings::rd_kafka_consumer_group_metadata_member_id(metadata);
        let named = !member.is_null() && *member != 0;
        let generation = bindings::rd_kafka_consumer_group_metadata_generation_id(metadata);
        bindings::rd_kafka_consumer_group_metadata_destroy(metadata);
        named && generation >= 0
    }
}

fn units_of(list: &TopicPartitionList) -> Vec<Unit> {
    let unit = |topic: &str, partition| Unit {
        topic: topic.to_owned(),
        partition,
    };
    list.elements()
        .iter()
        .map(|element| unit(element.topic(), element.partition()))
        .collect()
}

impl Drop for Membership {
    /// Without a clean leave the thread is left to itself: the process is ending.
    fn drop(&mut self) {
        self.leave();
        if self.left()
            && let Some(thread) = self.thread.take()
        {
            _ = thread.join();
        }
    }
}
