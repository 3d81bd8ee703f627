//! The engine: one task that owns every lane of the process and does one thing at a time.
//!
//! It takes what came in (ownership, messages, answers), recovers lanes that need it, and runs cycles. Because everything
//! of a lane happens between two of its awaits, there is nothing in flight when ownership changes: a revocation is
//! answered by dropping the lane's memory. The order of the inputs matters once: ownership before everything else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rdkafka::consumer::BaseConsumer;
use rdkafka::error::KafkaError;
use sqlx::PgPool;
use thiserror::Error;
use tokio::sync::mpsc::{Receiver, UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

use crate::calls::{Answered, Calls};
use crate::config::RuntimeSettings;
use crate::dead_letter::Undertaker;
use crate::health::Health;
use crate::lag::Lag;
use crate::lane::{LaneId, Topology, Unit};
use crate::membership::{Generation, Membership, Ownership};
use crate::metric;
use crate::probe::Probe;
use crate::processor::{DecodeError, Observed, Processor};
use crate::publisher::Publisher;
use crate::queue::Queued;
use crate::reader::{Fetched, Read, Reader};
use crate::restore::CommittedRead;
use crate::running::{Phase, RejectRate, Running, Slot};
use crate::trace::Spans;

/// The engine cannot go on; the process has to end and start again.
#[derive(Debug, Error)]
pub enum EngineError {
    #[error("group membership: {0}")]
    Membership(#[source] KafkaError),
    #[error("the {0} thread has ended")]
    ThreadEnded(&'static str),
}

/// What the engine is built from.
pub(crate) struct Parts<P: Processor> {
    pub(crate) processor: Arc<P>,
    pub(crate) topology: Topology,
    pub(crate) settings: RuntimeSettings,
    pub(crate) undertaker: Undertaker,
    pub(crate) db: PgPool,
    pub(crate) publisher: Publisher,
    pub(crate) reader: Reader,
    pub(crate) reads: Receiver<Read>,
    /// Asks for committed positions and the bounds of logs; never fetches.
    pub(crate) asker: Arc<BaseConsumer>,
    pub(crate) ownership: UnboundedReceiver<Ownership>,
    pub(crate) spans: Spans,
    pub(crate) health: Arc<Health>,
    pub(crate) probe: Arc<dyn Probe>,
}

pub(crate) struct Engine<P: Processor> {
    pub(crate) parts: Parts<P>,
    pub(crate) slots: BTreeMap<LaneId, Slot<P>>,
    pub(crate) calls: Calls<P>,
    /// The generation under which all lanes here are owned; `None` before the first assignment and after a loss.
    pub(crate) generation: Option<Arc<Generation>>,
    pub(crate) committed_reads: UnboundedReceiver<CommittedRead>,
    pub(crate) committed_reader: UnboundedSender<CommittedRead>,
    /// Source of incarnation numbers and recovery tickets.
    pub(crate) counter: u64,
    /// Most events in the next cycle: halved when one cannot be applied, doubled when one can.
    pub(crate) limit: usize,
    /// The lane after which the next cycle starts to pick, so that a small limit is fair.
    pub(crate) picked_last: Option<LaneId>,
    /// Bytes of messages held in queues.
    pub(crate) held: usize,
    pub(crate) lag: Lag,
}

/// Longest the loop rests without looking around.
const REST: Duration = Duration::from_millis(250);
/// How long leaving the group may take before the session is left to expire.
const LEAVE: Duration = Duration::from_secs(5);

/// One thing that came in.
enum Input<P: Processor> {
    Ownership(Ownership),
    Read(Read),
    Answer(Answered<P::Answer>),
    Committed(CommittedRead),
}

impl<P: Processor> Engine<P> {
    pub(crate) fn new(parts: Parts<P>) -> Self {
        let (committed_reader, committed_reads) = unbounded_channel();
        Self {
            calls: Calls::new(parts.processor.clone(), parts.settings.call_concurrency),
            limit: parts.settings.max_batch,
            parts,
            slots: BTreeMap::new(),
            generation: None,
            committed_reads,
            committed_reader,
            counter: 0,
            picked_last: None,
            held: 0,
            lag: Lag::default(),
        }
    }

    /// Runs until told to stop and out of the group, or until it cannot go on.
    pub(crate) async fn run(
        mut self,
        membership: Membership,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), EngineError> {
        loop {
            self.take_inputs().await?;
            if *stop.borrow() {
                return self.leave(&membership).await;
            }
            self.heed_decisions().await;
            let restored = self.restore().await;
            let cycled = self.cycle().await;
            self.report(restored || cycled);
            self.watch_lag().await;
            if !restored && !cycled {
                self.rest(&mut stop).await?;
            }
        }
    }

    /// Hands the lanes over and leaves the group. No cycle and no recovery is begun any more: what a broker that is away would
    /// hold up is the next owner's to finish.
    async fn leave(mut self, membership: &Membership) -> Result<(), EngineError> {
        membership.leave();
        let left = async {
            while let Some(ownership) = self.parts.ownership.recv().await {
                self.take(Input::Ownership(ownership)).await?;
            }
            Ok(())
        };
        let left = tokio::time::timeout(LEAVE, left).await;
        left.unwrap_or_else(|_| {
            tracing::warn!("the group did not take leave in time: it will miss this member when the session expires");
            Ok(())
        })
    }

    /// Takes everything that is already there.
    async fn take_inputs(&mut self) -> Result<(), EngineError> {
        while let Ok(ownership) = self.parts.ownership.try_recv() {
            self.take(Input::Ownership(ownership)).await?;
        }
        while let Ok(read) = self.committed_reads.try_recv() {
            self.take(Input::Committed(read)).await?;
        }
        while let Some(answer) = self.calls.try_next() {
            self.take(Input::Answer(answer)).await?;
        }
        while self.has_room()
            && let Ok(read) = self.parts.reads.try_recv()
        {
            self.take(Input::Read(read)).await?;
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.held < self.parts.settings.fetch_mb << 20
    }

    async fn take(&mut self, input: Input<P>) -> Result<(), EngineError> {
        match input {
            Input::Ownership(Ownership::Assigned { units, generation }) => {
                self.assigned(&units, generation)
            }
            Input::Ownership(Ownership::Revoked { units, lost, done }) => {
                self.revoked(&units, lost);
                // The callback waits for this; it is gone only when the process is ending.
                _ = done.send(());
            }
            Input::Ownership(Ownership::Failed(error)) => {
                return Err(EngineError::Membership(error));
            }
            Input::Read(Read::Messages(messages)) => self.fetched(messages).await,
            Input::Read(Read::OutOfRange) => self.doubt_positions(),
            Input::Answer(answered) => self.answered(answered),
            Input::Committed(read) => self.committed_read(read).await,
        }
        Ok(())
    }

    /// Waits for the first input, timer or deadline.
    async fn rest(&mut self, stop: &mut watch::Receiver<bool>) -> Result<(), EngineError> {
        let until = tokio::time::Instant::from_std(self.next_deadline());
        let room = self.has_room();
        let input = tokio::select! {
            biased;
            ownership = self.parts.ownership.recv() => match ownership {
                Some(ownership) => Input::Ownership(ownership),
                None => return Err(EngineError::ThreadEnded("membership")),
            },
            Some(read) = self.committed_reads.recv() => Input::Committed(read),
            Some(answer) = self.calls.next() => Input::Answer(answer),
            read = self.parts.reads.recv(), if room => Input::Read(read.ok_or(EngineError::ThreadEnded("reader"))?),
            _ = stop.changed() => return Ok(()),
            () = tokio::time::sleep_until(until) => return Ok(()),
        };
        self.take(input).await
    }

    /// When something will have to be done even if nothing comes in.
    fn next_deadline(&self) -> Instant {
        let (now, wall) = (Instant::now(), Utc::now());
        let settings = &self.parts.settings;
        let (idle, refresh) = (
            Duration::from_millis(settings.idle_ms),
            Duration::from_secs(settings.offset_refresh_s),
        );
        let deadline = |slot: &Slot<P>| match &slot.phase {
            Phase::Waiting { until } => Some(*until),
            Phase::Running(running) => {
                let timer = running
                    .timers
                    .next()
                    .map(|at| now + (at - wall).to_std().unwrap_or_default());
                let tidy = running.tidy_at(&slot.lane, idle, refresh);
                let first = [timer, running.queue.ripe_at()].into_iter().flatten().min();
                Some(first.map_or(tidy, |first| first.min(tidy)))
            }
            Phase::Refused { look_at } => Some(*look_at),
            Phase::Reading { .. } | Phase::Busy => None,
        };
        self.slots
            .values()
            .filter_map(deadline)
            .min()
            .unwrap_or(now + REST)
            .min(now + REST)
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = (&LaneId, &Running<P>)> {
        self.slots
            .iter()
            .filter_map(|(id, slot)| match &slot.phase {
                Phase::Running(running) => Some((id, &**running)),
                _ => None,
            })
    }

    pub(crate) fn next_number(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn assigned(&mut self, units: &[Unit], generation: Arc<Generation>) {
        metrics::counter!(metric::REBALANCES, "kind" => "assigned").increment(1);
        tracing::info!(units = units.len(), "assigned");
        self.generation = Some(generation);
        let now = Instant::now();
        for unit in units {
            let lanes = self.parts.topology.lanes_of(unit);
            if lanes.is_empty() {
                // Rightly so where this process serves some of the geos only.
                tracing::info!(
                    topic = unit.topic,
                    partition = unit.partition,
                    "assigned a partition of no lane of this process"
                );
            }
            for lane in lanes {
                let slot = Slot {
                    phase: Phase::Waiting { until: now },
                    doubt: None,
                    failures: 0,
                    condemned: None,
                    rejects: RejectRate::new(self.parts.settings.reject_limit_per_minute, now),
                    lane: lane.clone(),
                };
                // A lane regained replaces whatever was remembered of it.
                self.slots.insert(lane.id.clone(), slot);
            }
        }
        self.forget_dropped();
    }

    fn revoked(&mut self, units: &[Unit], lost: bool) {
        metrics::counter!(metric::REBALANCES, "kind" => if lost { "lost" } else { "revoked" })
            .increment(1);
        tracing::info!(units = units.len(), lost, "revoked");
        for lane in units
            .iter()
            .flat_map(|unit| self.parts.topology.lanes_of(unit))
        {
            self.slots.remove(&lane.id);
            self.parts.reader.unassign(lane.sources.clone());
        }
        if lost {
            self.generation = None;
        }
        self.forget_dropped();
    }

    /// After lanes were dropped: their waiting calls and queued bytes go with them.
    pub(crate) fn forget_dropped(&mut self) {
        let slots = &self.slots;
        self.calls.retain(|lane, incarnation| {
            matches!(slots.get(lane).map(|slot| &slot.phase), Some(Phase::Running(running)) if running.incarnation == incarnation)
        });
        let bytes = |(_, running): (_, &Running<P>)| running.queue.bytes();
        self.held = self.running().map(bytes).sum();
    }

    /// A position may be outside its log: look at every lane again, the checks of recovery find the one.
    fn doubt_positions(&mut self) {
        let until = Instant::now();
        for slot in self.slots.values_mut() {
            if matches!(slot.phase, Phase::Running(_)) {
                slot.phase = Phase::Waiting { until };
            }
        }
        self.forget_dropped();
    }

    fn answered(&mut self, answered: Answered<P::Answer>) {
        let slot = self
            .slots
            .get_mut(&answered.lane)
            .map(|slot| &mut slot.phase);
        if let Some(Phase::Running(running)) = slot
            && running.incarnation == answered.incarnation
        {
            running.answers.push_back(answered.answer);
        }
    }

    /// Sorts messages into their lanes; those of an earlier incarnation are read again anyway.
    async fn fetched(&mut self, messages: Vec<Fetched>) {
        let mut soft: BTreeMap<LaneId, Vec<Queued>> = BTreeMap::new();
        let mut checked = 0;
        let now = Instant::now();
        let gather = self.parts.settings.gather_ms.map(Duration::from_millis);
        for Fetched {
            lane,
            incarnation,
            source,
            message,
        } in messages
        {
            let Some(slot) = self.slots.get_mut(&lane) else {
                continue;
            };
            let Phase::Running(running) = &mut slot.phase else {
                continue;
            };
            if running.incarnation != incarnation {
                continue;
            }
            if slot.lane.sources[source].is_soft() {
                soft.entry(lane)
                    .or_default()
                    .push(Queued { source, message });
                continue;
            }
            checked += 1;
            let expected = running
                .queue
                .iter()
                .rev()
                .find(|queued| queued.source == source);
            let expected = expected.map_or(running.positions[source], |queued| {
                queued.message.offset + 1
            });
            if message.offset < expected {
                metrics::counter!(metric::VIOLATIONS, "kind" => "offset_order").increment(1);
                continue;
            }
            self.held += message.bytes();
            let patience = gather.unwrap_or(message.source.patience);
            running
                .queue
                .push(Queued { source, message }, now + patience);
        }
        metrics::counter!(metric::CHECKS, "kind" => "offset_order").increment(checked);
        for (lane, messages) in soft {
            self.observe(&lane, messages).await;
        }
    }

    /// Soft messages go straight into the lane's memory.
    async fn observe(&mut self, lane: &LaneId, messages: Vec<Queued>) {
        let now = Utc::now();
        let processor = self.parts.processor.clone();
        let Some(Phase::Running(running)) = self.slots.get_mut(lane).map(|slot| &mut slot.phase)
        else {
            return;
        };
        let mut events = Vec::with_capacity(messages.len());
        for Queued { source, message } in messages {
            running.positions[source] = message.offset + 1;
            match processor.decode(&message).await {
                Ok(event) => {
                    let (offset, timestamp_ms) = (message.offset, message.timestamp_ms);
                    events.push(Observed { event, source, offset, timestamp_ms });
                }
                Err(DecodeError::Reject(reject)) if message.offset >= running.rejected_below[source] => {
                    running.unreadable.push((source, message, reject));
                }
                // Telemetry whose schema is not to be had right now is not waited for: newer values follow.
                _ => metrics::counter!(metric::MESSAGES, "verdict" => "skip", "reason" => "soft_unreadable").increment(1),
            }
        }
        metrics::counter!(metric::MESSAGES, "verdict" => "observed", "reason" => "")
            .increment(events.len() as u64);
        for (timer, at) in processor.observe(&mut running.state, events, now) {
            running.timers.set(timer, Some(at));
        }
        if !running.behind.is_empty() {
            running.note_caught_up(&*processor);
        }
    }

    /// Tells watchdog and probes how things stand.
    fn report(&self, moved: bool) {
        let now: DateTime<Utc> = Utc::now();
        let (mut waiting, mut running, mut refused, mut work) = (0, 0, 0, 0);
        for slot in self.slots.values() {
            match &slot.phase {
                Phase::Running(lane) => {
                    running += 1;
                    work += usize::from(lane.has_events(now));
                }
                Phase::Refused { .. } => refused += 1,
                _ => waiting += 1,
            }
        }
        for (phase, lanes) in [
            ("waiting", waiting),
            ("running", running),
            ("refused", refused),
        ] {
            metrics::gauge!(metric::LANES, "phase" => phase).set(f64::from(lanes));
        }
        let joined = self.generation.is_some();
        self.parts
            .health
            .report(joined && waiting == 0, moved || (waiting == 0 && work == 0));
    }
}
