//! The cycle: gather, apply in one PostgreSQL transaction, publish in one Kafka transaction, then start calls.
//!
//! The Kafka transaction is filled while PostgreSQL commits, which halves what an order waits, and is committed after.
//!
//! A cycle owns the memory of its lanes while it runs. If anything at all goes wrong, that memory is dropped and the lanes
//! are recovered from the logs; there is no other error path, so none can forget a case. What went wrong only decides how
//! soon, and whether the next cycle is smaller.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::dead_letter::Stage;
use crate::engine::Engine;
use crate::lane::LaneId;
use crate::membership::Generation;
use crate::metric;
use crate::part::{Outcome, Part, advance, settlement};
use crate::probe::Step;
use crate::processor::{ApplyError, Cycle, DecodeError, Effects, LaneCycle, Processor, Received};
use crate::publisher::{Begun, Publication, PublishError};
use crate::record::Outgoing;
use crate::running::Phase;
use crate::share::fair_share;
use crate::store;

/// Why a cycle did not complete. Its lanes are recovered in any case.
#[derive(Debug, Error)]
enum CycleError {
    #[error("decoding: {0}")]
    Decode(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("another owner has taken {0} of the lanes")]
    Fenced(u64),
    #[error("applying: {0}")]
    Apply(#[from] ApplyError),
    #[error("outcome of the PostgreSQL commit unknown: {0}")]
    CommitUnknown(#[source] sqlx::Error),
    #[error("publishing: {0}")]
    Publish(#[from] PublishError),
    #[error("not a member of the group")]
    NoGeneration,
}

impl CycleError {
    fn kind(&self) -> &'static str {
        match self {
            Self::Decode(_) => "decode",
            Self::Fenced(_) => "fenced",
            Self::Apply(ApplyError::Transient(_)) => "apply_transient",
            Self::Apply(ApplyError::Permanent(_)) => "apply_permanent",
            Self::CommitUnknown(_) => "commit_unknown",
            Self::Publish(PublishError::Refused(_)) => "publish_refused",
            Self::Publish(_) => "publish_unknown",
            Self::NoGeneration => "no_generation",
        }
    }
}

impl From<sqlx::Error> for CycleError {
    fn from(error: sqlx::Error) -> Self {
        Self::Apply(error.into())
    }
}

/// Largest record a processor may publish, in bytes of key and value: below every broker default, headers included. A record
/// that Kafka refuses for its size would hold its lane up for ever.
const MAX_RECORD: usize = 900_000;
/// So many waiting messages need no more company.
const COMPANY: usize = 200;

impl<P: Processor> Engine<P> {
    /// Runs one cycle over all lanes that have something to do; says whether there were any.
    pub(crate) async fn cycle(&mut self) -> bool {
        let now = Utc::now();
        let picked = self.pick(now);
        if picked.is_empty() {
            return false;
        }
        let mut parts = self.fire(now, picked);
        if parts.is_empty() {
            return true;
        }
        let started = Instant::now();
        let events: usize = parts.iter().map(|part| part.events).sum();
        match self.run_cycle(now, &mut parts).await {
            Ok(outcomes) => {
                self.limit = (self.limit * 2).min(self.parts.settings.max_batch);
                self.complete(parts, outcomes);
            }
            Err(error) => self.fail(&error, &parts),
        }
        metrics::histogram!(metric::CYCLE_SECONDS, "phase" => "total")
            .record(started.elapsed().as_secs_f64());
        metrics::histogram!(metric::CYCLE_EVENTS).record(events as f64);
        true
    }

    /// The lanes with something to do, none while all of it may still wait for company; first the one after that which came
    /// last.
    fn wanting(&self, now: DateTime<Utc>) -> Vec<LaneId> {
        let idle = Duration::from_millis(self.parts.settings.idle_ms);
        let refresh = Duration::from_secs(self.parts.settings.offset_refresh_s);
        let instant = Instant::now();
        let (mut ids, mut due, mut queued) = (Vec::new(), false, 0);
        for (id, running) in self.running() {
            let untidy = running.tidy_at(&self.slots[id].lane, idle, refresh) <= instant;
            let is_due = untidy || running.is_due(now, instant);
            if is_due || !running.queue.is_empty() {
                ids.push(id.clone());
            }
            due |= is_due;
            queued += running.queue.len();
        }
        if !due && queued < COMPANY {
            return Vec::new();
        }
        if let Some(last) = &self.picked_last {
            let after = ids.partition_point(|id| id <= last);
            ids.rotate_left(after);
        }
        ids
    }

    /// Takes lanes with something to do out of their slots, each up to its fair share of the limit.
    fn pick(&mut self, now: DateTime<Utc>) -> Vec<Part<P>> {
        let ids = self.wanting(now);
        let waiting: Vec<usize> = ids.iter().map(|id| self.events(id, now)).collect();
        let share = fair_share(waiting, self.limit);
        let mut parts = Vec::with_capacity(ids.len());
        let mut room = self.limit;
        for id in ids {
            if room == 0 {
                break;
            }
            let Some(slot) = self.slots.get_mut(&id) else {
                continue;
            };
            let Phase::Running(running) = std::mem::replace(&mut slot.phase, Phase::Busy) else {
                continue;
            };
            let part = Part::gather(
                slot.lane.clone(),
                running,
                slot.condemned.clone(),
                now,
                room.min(share),
            );
            room -= part.events.min(room);
            self.picked_last = Some(id);
            parts.push(part);
        }
        parts
    }

    /// Lets the lanes to which nothing but timers happened fire them in memory, and puts those back that leave nothing to store;
    /// returns the others.
    fn fire(&mut self, now: DateTime<Utc>, picked: Vec<Part<P>>) -> Vec<Part<P>> {
        let mut parts = Vec::with_capacity(picked.len());
        for mut part in picked {
            let Some(timers) = part.fire(&*self.parts.processor, now) else {
                parts.push(part);
                continue;
            };
            part.running.timers.fired(&part.timers);
            for (timer, at) in timers {
                part.running.timers.set(timer, at);
            }
            if let Some(slot) = self.slots.get_mut(&part.lane.id) {
                slot.phase = Phase::Running(part.running);
            }
        }
        parts
    }

    /// How many events of a lane wait.
    fn events(&self, id: &LaneId, now: DateTime<Utc>) -> usize {
        match self.slots.get(id).map(|slot| &slot.phase) {
            Some(Phase::Running(running)) => running.events(now),
            _ => 0,
        }
    }

    async fn run_cycle(
        &self,
        now: DateTime<Utc>,
        parts: &mut [Part<P>],
    ) -> Result<Vec<Outcome<P>>, CycleError> {
        let generation = self.generation.clone().ok_or(CycleError::NoGeneration)?;
        let started = Instant::now();
        let received = self.decode(parts).await?;
        self.parts.probe.reached(Step::Gathered);
        let phase = |name: &'static str, since: Instant| {
            metrics::histogram!(metric::CYCLE_SECONDS, "phase" => name)
                .record(since.elapsed().as_secs_f64());
        };
        phase("decode", started);
        let started = Instant::now();
        let mut tx = self.parts.db.begin().await?;
        let held: Vec<_> = parts
            .iter()
            .map(|part| (&part.lane, part.running.version, part.running.epoch))
            .collect();
        let passed = store::fence(&mut tx, &held).await?;
        if passed != held.len() as u64 {
            return Err(CycleError::Fenced(held.len() as u64 - passed));
        }
        self.parts.probe.reached(Step::Fenced);
        let effects = self.apply(now, parts, received, &mut tx).await?;
        self.parts.probe.reached(Step::Applied);
        let outcomes = self.outcomes(now, parts, effects)?;
        let settlement = settlement(parts, &outcomes);
        advance(parts, &outcomes);
        // Should anything fail from here on, the transaction begun is dropped, and aborted.
        let begun = self.begin(parts, &outcomes, generation)?;
        store::settle(&mut tx, &settlement).await?;
        self.parts.probe.reached(Step::Settled);
        phase("apply", started);
        let started = Instant::now();
        tx.commit().await.map_err(CycleError::CommitUnknown)?;
        self.parts.probe.reached(Step::Committed);
        phase("commit", started);
        let started = Instant::now();
        if let Some((begun, speakers)) = begun {
            begun.commit().await?;
            let now = Instant::now();
            for speaker in speakers {
                parts[speaker].running.note_published(now);
            }
        }
        phase("publish", started);
        Ok(outcomes)
    }

    /// Reads each part's messages; those that cannot be read are rejected without being applied.
    async fn decode(
        &self,
        parts: &mut [Part<P>],
    ) -> Result<Vec<Vec<Received<P::Event>>>, CycleError> {
        let mut all = Vec::with_capacity(parts.len());
        for part in parts {
            let mut received = Vec::with_capacity(part.messages);
            for (index, queued) in part.running.queue.iter().take(part.messages).enumerate() {
                let condemned = part
                    .condemned
                    .as_ref()
                    .filter(|it| (it.source, it.offset) == (queued.source, queued.message.offset));
                if let Some(condemned) = condemned {
                    part.rejected
                        .push((index, Stage::Apply, condemned.reject.clone()));
                    continue;
                }
                match self.parts.processor.decode(&queued.message).await {
                    Ok(event) => {
                        let (trace, span) = self.parts.spans.open(&queued.message);
                        part.spans.push(span);
                        let (offset, timestamp_ms) =
                            (queued.message.offset, queued.message.timestamp_ms);
                        received.push(Received {
                            event,
                            source: queued.source,
                            offset,
                            timestamp_ms,
                            trace,
                        });
                    }
                    Err(DecodeError::Reject(reject)) => {
                        part.rejected.push((index, Stage::Decode, reject))
                    }
                    Err(DecodeError::Retry(error)) => return Err(CycleError::Decode(error)),
                }
            }
            all.push(received);
        }
        Ok(all)
    }

    /// Lets the processor apply the events; a lane that is only tidied up has none.
    async fn apply(
        &self,
        now: DateTime<Utc>,
        parts: &mut [Part<P>],
        received: Vec<Vec<Received<P::Event>>>,
        tx: &mut sqlx::PgConnection,
    ) -> Result<Vec<Effects<P>>, ApplyError> {
        let mut lanes = Vec::with_capacity(parts.len());
        let mut has_events = false;
        for (part, messages) in parts.iter_mut().zip(received) {
            let positions = part.positions();
            let timers: Vec<P::Timer> =
                part.timers.iter().map(|(_, timer)| timer.clone()).collect();
            let answers = std::mem::take(&mut part.answers);
            has_events |= !messages.is_empty() || !timers.is_empty() || !answers.is_empty();
            let effects = Effects::new(messages.len());
            let (lane, state) = (&part.lane, &mut part.running.state);
            lanes.push(LaneCycle {
                lane,
                state,
                messages,
                timers,
                answers,
                positions,
                effects,
            });
        }
        let mut cycle = Cycle { now, lanes };
        if has_events {
            self.parts.processor.apply(&mut cycle, tx).await?;
        }
        Ok(cycle.lanes.into_iter().map(|lane| lane.effects).collect())
    }

    /// Turns effects into what is written and published: verdicts are counted, dead letters added, records packed.
    fn outcomes(
        &self,
        now: DateTime<Utc>,
        parts: &mut [Part<P>],
        effects: Vec<Effects<P>>,
    ) -> Result<Vec<Outcome<P>>, ApplyError> {
        let outcome = |(part, mut effects): (&mut Part<P>, Effects<P>)| {
            part.settle_verdicts(std::mem::take(&mut effects.verdicts))?;
            let mut outgoing = effects.outgoing;
            if outgoing.largest() > MAX_RECORD {
                return Err(ApplyError::permanent(format!(
                    "a record of {} bytes is too large",
                    outgoing.largest()
                )));
            }
            let rejects = self.bury(now, part, &mut outgoing);
            Ok(Outcome {
                positions: part.positions(),
                row: (!outgoing.is_empty()).then(|| Arc::new(outgoing.pack())),
                records: outgoing.len(),
                rejects,
                timers: effects.timers,
                calls: effects.calls,
            })
        };
        parts.iter_mut().zip(effects).map(outcome).collect()
    }

    /// Adds the dead letters of a part, in the order of its messages; returns how many.
    fn bury(&self, now: DateTime<Utc>, part: &mut Part<P>, outgoing: &mut Outgoing) -> u32 {
        part.rejected.sort_by_key(|(index, ..)| *index);
        let queued = part
            .rejected
            .iter()
            .map(|(index, stage, reject)| (&part.running.queue.at(*index).message, *stage, reject));
        let soft = part
            .running
            .unreadable
            .iter()
            .map(|(_, message, reject)| (message, Stage::Decode, reject));
        let mut rejects = 0;
        for (message, stage, reject) in queued.chain(soft) {
            tracing::warn!(
                topic = &*message.source.topic,
                partition = message.partition,
                offset = message.offset,
                kind = reject.kind,
                error = reject.message,
                "dead letter"
            );
            metrics::counter!(metric::MESSAGES, "verdict" => "reject", "reason" => reject.kind)
                .increment(1);
            self.parts
                .undertaker
                .bury(message, reject, stage, now, outgoing);
            rejects += 1;
        }
        rejects
    }

    /// Begins to publish what the lanes have to say, if they have anything; with the indices of the parts that have.
    fn begin(
        &self,
        parts: &[Part<P>],
        outcomes: &[Outcome<P>],
        generation: Arc<Generation>,
    ) -> Result<Option<(Begun, Vec<usize>)>, PublishError> {
        let refresh = Duration::from_secs(self.parts.settings.offset_refresh_s);
        let mut publication = Publication {
            rows: Vec::new(),
            positions: Vec::new(),
            generation,
        };
        let mut speakers = Vec::new();
        for (index, (part, outcome)) in parts.iter().zip(outcomes).enumerate() {
            if !part.speaks(outcome, refresh) {
                continue;
            }
            publication.rows.extend(outcome.row.clone());
            publication
                .positions
                .extend(part.running.commit_positions(&part.lane));
            speakers.push(index);
        }
        if publication.positions.is_empty() {
            return Ok(None);
        }
        Ok(Some((self.parts.publisher.begin(publication)?, speakers)))
    }

    /// Puts the lanes back and starts what follows from the cycle.
    fn complete(&mut self, parts: Vec<Part<P>>, outcomes: Vec<Outcome<P>>) {
        let now = Instant::now();
        for (mut part, outcome) in parts.into_iter().zip(outcomes) {
            metrics::counter!(metric::RECORDS).increment(outcome.records.into());
            let bytes = part.running.queue.remove(part.messages, now);
            self.held = self.held.saturating_sub(bytes);
            part.running.unreadable.clear();
            part.running.timers.fired(&part.timers);
            for (timer, at) in outcome.timers {
                part.running.timers.set(timer, at);
            }
            let (id, incarnation) = (part.lane.id.clone(), part.running.incarnation);
            // Answers to calls that were not wanted any more cannot arrive: the slot is this incarnation's.
            let Some(slot) = self.slots.get_mut(&id) else {
                continue;
            };
            (slot.failures, slot.condemned) = (
                0,
                slot.condemned
                    .take()
                    .filter(|it| it.offset >= outcome.positions[it.source]),
            );
            slot.phase = match slot.rejects.add(outcome.rejects, now) {
                None => Phase::Running(part.running),
                Some(until) => {
                    tracing::error!(lane = %id, "too many dead letters: pausing");
                    metrics::counter!(metric::REJECT_PAUSES).increment(1);
                    Phase::Waiting { until }
                }
            };
            if matches!(slot.phase, Phase::Running(_)) {
                self.calls.enqueue(&id, incarnation, outcome.calls);
            } else {
                self.forget_dropped();
            }
        }
    }

    /// Drops the memory of the lanes and decides when they are recovered, and how large the next cycle may be.
    fn fail(&mut self, error: &CycleError, parts: &[Part<P>]) {
        metrics::counter!(metric::CYCLE_FAILURES, "kind" => error.kind()).increment(1);
        match error {
            CycleError::Fenced(_) => {
                metrics::counter!(metric::FENCES, "log" => "postgres").increment(1)
            }
            CycleError::Publish(PublishError::Refused(_)) => {
                metrics::counter!(metric::FENCES, "log" => "kafka").increment(1)
            }
            _ => {}
        }
        let permanent = matches!(error, CycleError::Apply(ApplyError::Permanent(_)));
        let events: usize = parts.iter().map(|part| part.events).sum();
        tracing::warn!(%error, lanes = parts.len(), events, "cycle failed");
        if permanent {
            self.limit = (events / 2).max(1);
        }
        let now = Instant::now();
        for part in parts {
            let Some(slot) = self.slots.get_mut(&part.lane.id) else {
                continue;
            };
            // A lane that was only tidied up beside the event has nothing to blame.
            let alone = permanent && events == 1 && part.events == 1;
            if alone && !part.condemn(error, &mut slot.condemned) {
                metrics::counter!(metric::VIOLATIONS, "kind" => "event_not_applicable")
                    .increment(1);
                tracing::error!(lane = %part.lane.id, %error, "a timer or an answer cannot be applied: the lane stands still");
            }
            slot.failures += 1;
            // The search for the event at fault does not wait; everything else gives the other side time.
            let searching = permanent && (events > 1 || slot.condemned.is_some());
            let pause = if searching {
                Duration::ZERO
            } else {
                backoff(slot.failures)
            };
            slot.phase = Phase::Waiting { until: now + pause };
        }
        self.forget_dropped();
    }
}

/// Pause before the next try: 50 ms, doubling to 5 s, half of it random so that instances do not move in step.
pub(crate) fn backoff(failures: u32) -> Duration {
    let full = Duration::from_millis(50) * 2u32.saturating_pow(failures.saturating_sub(1).min(7));
    let full = full.min(Duration::from_secs(5));
    full / 2 + full.mul_f64(rand::random::<f64>() / 2.0)
}
