//! Recovery of lanes by the engine: read Kafka's side, take the lanes in PostgreSQL, publish what is left, read on.
//!
//! Any number of lanes recover together. Reading Kafka happens beside the engine, since it waits for transactions that are
//! still being decided; the rest is one step of the engine like a cycle. A producer that was given up is replaced before
//! the read: until its successor is initialised, a late request of the old transaction could still change what is read.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use thiserror::Error;

use crate::cycle::backoff;
use crate::engine::Engine;
use crate::lane::{Lane, LaneId};
use crate::metric;
use crate::probe::Step;
use crate::processor::{ApplyError, Loaded, Processor};
use crate::publisher::{CommitPosition, Publication, PublishError};
use crate::queue::Queue;
use crate::recovery::{self, KafkaSides, Plan};
use crate::refusal::Doubted;
use crate::running::{Phase, Running};
use crate::store::{self, LaneRow};
use crate::timers::Timers;

/// Kafka's side of some lanes, as answer to a ticket.
pub(crate) struct CommittedRead {
    ticket: u64,
    lanes: Vec<Arc<Lane>>,
    sides: Result<Vec<KafkaSides>, PublishError>,
}

/// Why lanes could not be recovered this time.
#[derive(Debug, Error)]
enum RestoreError {
    #[error("loading: {0}")]
    Load(#[from] ApplyError),
    #[error("publishing: {0}")]
    Publish(#[from] PublishError),
    #[error("not a member of the group")]
    NoGeneration,
    #[error("the processor loaded {0} of {1} lanes")]
    Incomplete(usize, usize),
}

impl From<sqlx::Error> for RestoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Load(error.into())
    }
}

/// A lane taken in PostgreSQL, with what to do about it.
struct Restored<P: Processor> {
    lane: Arc<Lane>,
    row: LaneRow,
    plan: Plan,
    undeleted: bool,
    loaded: Loaded<P>,
}

/// How long one read of Kafka's side may take before it is repeated.
const READ: Duration = Duration::from_secs(15);

impl<P: Processor> Engine<P> {
    /// Starts the recovery of lanes whose pause is over; says whether any were waiting.
    pub(crate) async fn restore(&mut self) -> bool {
        if self.generation.is_none() {
            return false;
        }
        let now = Instant::now();
        let ticket = self.next_number();
        let mut lanes = Vec::new();
        for slot in self.slots.values_mut() {
            if matches!(slot.phase, Phase::Waiting { until } if until <= now) {
                slot.phase = Phase::Reading { ticket };
                lanes.push(slot.lane.clone());
            }
        }
        if lanes.is_empty() {
            return false;
        }
        let (publisher, asker) = (self.parts.publisher.clone(), self.parts.asker.clone());
        let answer = self.committed_reader.clone();
        tokio::spawn(async move {
            let sides = match publisher.ready().await {
                Ok(()) => {
                    let lanes = lanes.clone();
                    let read =
                        tokio::task::spawn_blocking(move || recovery::read(&asker, &lanes, READ))
                            .await;
                    read.map_or(Err(PublishError::Ended), |read| {
                        read.map_err(PublishError::Refused)
                    })
                }
                Err(error) => Err(error),
            };
            // The engine is gone only when the process is ending.
            _ = answer.send(CommittedRead {
                ticket,
                lanes,
                sides,
            });
        });
        true
    }

    /// Goes on with the lanes that still wait for this read.
    pub(crate) async fn committed_read(&mut self, read: CommittedRead) {
        let sides = match read.sides {
            Ok(sides) => sides,
            Err(error) => {
                tracing::warn!(%error, lanes = read.lanes.len(), "reading committed positions");
                self.wait_again(read.lanes.iter().map(|lane| &lane.id), Some(read.ticket));
                return;
            }
        };
        let mut lanes = Vec::new();
        for (lane, side) in read.lanes.into_iter().zip(sides) {
            let Some(slot) = self.slots.get_mut(&lane.id) else {
                continue;
            };
            if matches!(slot.phase, Phase::Reading { ticket } if ticket == read.ticket) {
                slot.phase = Phase::Busy;
                lanes.push((lane, side));
            }
        }
        if lanes.is_empty() {
            return;
        }
        self.parts.probe.reached(Step::CommittedRead);
        match self.take_and_publish(&lanes).await {
            Ok(restored) => {
                self.parts.probe.reached(Step::Recovered);
                restored
                    .into_iter()
                    .for_each(|restored| self.resume(restored));
            }
            Err(error) => {
                metrics::counter!(metric::CYCLE_FAILURES, "kind" => "recovery").increment(1);
                if matches!(error, RestoreError::Publish(PublishError::Refused(_))) {
                    metrics::counter!(metric::FENCES, "log" => "kafka").increment(1);
                }
                tracing::warn!(%error, lanes = lanes.len(), "recovery failed");
                self.wait_again(lanes.iter().map(|(lane, _)| &lane.id), None);
            }
        }
    }

    /// Back to waiting, for those lanes that are not yet in another phase.
    fn wait_again<'a>(&mut self, lanes: impl Iterator<Item = &'a LaneId>, reading: Option<u64>) {
        for id in lanes {
            let Some(slot) = self.slots.get_mut(id) else {
                continue;
            };
            let ours = match slot.phase {
                Phase::Reading { ticket } => reading == Some(ticket),
                Phase::Busy => reading.is_none(),
                _ => false,
            };
            if ours {
                slot.failures += 1;
                slot.phase = Phase::Waiting {
                    until: Instant::now() + backoff(slot.failures),
                };
            }
        }
    }

    async fn take_and_publish(
        &mut self,
        lanes: &[(Arc<Lane>, KafkaSides)],
    ) -> Result<Vec<Restored<P>>, RestoreError> {
        let (restored, doubted) = self.take_lanes(lanes).await?;
        self.doubt(doubted, lanes).await;
        self.publish_remainder(&restored).await?;
        Ok(restored)
    }

    /// Steps b to d in one transaction: nobody else can write these lanes from here on.
    async fn take_lanes(
        &self,
        lanes: &[(Arc<Lane>, KafkaSides)],
    ) -> Result<(Vec<Restored<P>>, Vec<Doubted>), RestoreError> {
        let mut tx = self.parts.db.begin().await?;
        let ids: Vec<LaneId> = lanes.iter().map(|(lane, _)| lane.id.clone()).collect();
        let mut taken = store::take(&mut tx, &ids).await?;
        self.parts.probe.reached(Step::LanesTaken);
        let (mut plans, mut doubted, mut starts) = (Vec::new(), Vec::new(), Vec::new());
        for (lane, sides) in lanes {
            let Some(taken) = taken.remove(&lane.id) else {
                continue;
            };
            match recovery::plan(lane, &taken, sides) {
                Ok(plan) => {
                    starts.extend(plan.begun.iter().map(|index| {
                        let source = &lane.sources[*index];
                        (
                            lane.id.clone(),
                            source.source.topic.clone(),
                            source.partition,
                            plan.positions[*index],
                        )
                    }));
                    plans.push((lane.clone(), taken, plan));
                }
                Err(contradiction) => doubted.push(Doubted {
                    lane: lane.clone(),
                    epoch: taken.row.epoch,
                    contradiction,
                }),
            }
        }
        store::begin_positions(&mut tx, &starts).await?;
        let lanes: Vec<Arc<Lane>> = plans.iter().map(|(lane, ..)| lane.clone()).collect();
        let loaded = self
            .parts
            .processor
            .load(&lanes, Utc::now(), &mut tx)
            .await?;
        if loaded.len() != lanes.len() {
            return Err(RestoreError::Incomplete(loaded.len(), lanes.len()));
        }
        tx.commit().await?;
        self.parts.probe.reached(Step::LanesLoaded);
        let restored = plans
            .into_iter()
            .zip(loaded)
            .map(|((lane, taken, plan), loaded)| Restored {
                lane,
                row: taken.row,
                undeleted: !taken.outbox.is_empty(),
                plan,
                loaded,
            });
        Ok((restored.collect(), doubted))
    }

    /// Step e, for all lanes in one Kafka transaction.
    async fn publish_remainder(&self, restored: &[Restored<P>]) -> Result<(), RestoreError> {
        let generation = self.generation.clone().ok_or(RestoreError::NoGeneration)?;
        let mut publication = Publication {
            rows: Vec::new(),
            positions: Vec::new(),
            generation,
        };
        for restored in restored {
            publication.rows.extend(
                restored
                    .plan
                    .rows
                    .iter()
                    .map(|row| Arc::new(row.records.clone())),
            );
            publication.positions.extend(restored.commit_positions());
        }
        if publication.positions.is_empty() {
            return Ok(());
        }
        Ok(self.parts.publisher.publish(publication).await?)
    }

    /// Step f: the lane runs.
    fn resume(&mut self, restored: Restored<P>) {
        let incarnation = self.next_number();
        let Some(slot) = self.slots.get_mut(&restored.lane.id) else {
            return;
        };
        metrics::counter!(metric::RECOVERIES).increment(1);
        let Restored {
            lane,
            row,
            mut plan,
            undeleted,
            loaded,
        } = restored;
        let rejected_below = plan.positions.clone();
        let soft = (0..lane.sources.len()).filter(|index| lane.sources[*index].is_soft());
        soft.for_each(|index| plan.positions[index] = plan.read_from[index]);
        let now = Instant::now();
        let mut timers = Timers::default();
        loaded
            .timers
            .into_iter()
            .for_each(|(timer, at)| timers.set(timer, Some(at)));
        let mut running = Running {
            incarnation,
            version: row.version,
            epoch: row.epoch,
            seq: row.seq,
            published: row.seq,
            undeleted,
            rejected_below,
            committed: plan.positions.clone(),
            positions: plan.positions,
            behind: plan.behind,
            committed_at: now,
            queue: Queue::default(),
            unreadable: Vec::new(),
            timers,
            answers: std::collections::VecDeque::new(),
            state: loaded.state,
            active_at: now,
        };
        running.note_caught_up(&*self.parts.processor);
        // `failures` stays until a cycle succeeds: a cycle that keeps failing must not be tried faster for recovering well.
        (slot.phase, slot.doubt) = (Phase::Running(Box::new(running)), None);
        let at = lane.sources.iter().cloned().zip(plan.read_from).collect();
        self.parts.reader.assign(lane.id.clone(), incarnation, at);
        self.calls.enqueue(&lane.id, incarnation, loaded.calls);
        tracing::debug!(lane = %lane.id, seq = row.seq, "lane runs");
    }
}

impl<P: Processor> Restored<P> {
    /// Positions that Kafka lacks; with rows to publish at least one, to carry the number of the last.
    fn commit_positions(&self) -> Vec<CommitPosition> {
        let mut indices = self.plan.stale_offsets.clone();
        if indices.is_empty() && !self.plan.rows.is_empty() {
            indices.extend(
                self.lane
                    .sources
                    .iter()
                    .position(|source| !source.is_soft()),
            );
        }
        let position = |index: usize| CommitPosition {
            topic: self.lane.sources[index].source.topic.clone(),
            partition: self.lane.sources[index].partition,
            offset: self.plan.positions[index],
            seq: self.row.seq,
        };
        indices.into_iter().map(position).collect()
    }
}
