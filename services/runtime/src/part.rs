//! One lane's part of a cycle: what it brings, what becomes of its messages, and what it leaves for PostgreSQL and Kafka.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::dead_letter::Stage;
use crate::lane::Lane;
use crate::metric;
use crate::processor::{ApplyError, Processor, Reject, TimerChanges, Verdict};
use crate::running::{Condemned, Running};
use crate::store::Settlement;
use crate::trace::OpenSpan;

/// One lane's part of a running cycle.
pub(crate) struct Part<P: Processor> {
    pub(crate) lane: Arc<Lane>,
    pub(crate) running: Box<Running<P>>,
    pub(crate) condemned: Option<Condemned>,
    /// How many events the cycle has of this lane; none when it is only tidied up.
    pub(crate) events: usize,
    /// How many messages from the front of the queue are in this cycle.
    pub(crate) messages: usize,
    pub(crate) timers: Vec<(DateTime<Utc>, P::Timer)>,
    pub(crate) answers: Vec<P::Answer>,
    /// Durable messages that cannot be read or applied, by index in the queue.
    pub(crate) rejected: Vec<(usize, Stage, Reject)>,
    pub(crate) spans: Vec<OpenSpan>,
}

/// What a part leaves for after the commit.
pub(crate) struct Outcome<P: Processor> {
    pub(crate) positions: Vec<i64>,
    pub(crate) row: Option<Arc<Vec<u8>>>,
    pub(crate) records: u32,
    pub(crate) rejects: u32,
    pub(crate) timers: TimerChanges<P>,
    pub(crate) calls: Vec<P::Call>,
}

impl<P: Processor> Part<P> {
    /// Takes up to `room` events of a lane: timers, then answers, then messages.
    pub(crate) fn gather(
        lane: Arc<Lane>,
        mut running: Box<Running<P>>,
        condemned: Option<Condemned>,
        now: DateTime<Utc>,
        room: usize,
    ) -> Self {
        let timers = running.timers.due(now, room);
        for (at, _) in &timers {
            let late = (now - at).to_std().unwrap_or_default();
            metrics::histogram!(metric::TIMER_LATENESS).record(late.as_secs_f64());
        }
        let room = room - timers.len();
        let answers: Vec<P::Answer> = running
            .answers
            .drain(..room.min(running.answers.len()))
            .collect();
        let messages = (room - answers.len()).min(running.queue.len());
        let events = timers.len() + answers.len() + messages + running.unreadable.len();
        Self {
            lane,
            running,
            condemned,
            events,
            messages,
            timers,
            answers,
            rejected: Vec::new(),
            spans: Vec::new(),
        }
    }

    /// Lets timers that are all that happened fire in memory; `None` if there is more to do.
    pub(crate) fn fire(&mut self, processor: &P, now: DateTime<Utc>) -> Option<TimerChanges<P>> {
        if self.timers.is_empty() || self.events > self.timers.len() {
            return None;
        }
        let timers: Vec<P::Timer> = self.timers.iter().map(|(_, timer)| timer.clone()).collect();
        processor.fire(&mut self.running.state, &timers, now)
    }

    /// Positions once this cycle's messages are applied.
    pub(crate) fn positions(&self) -> Vec<i64> {
        let mut positions = self.running.positions.clone();
        for queued in self.running.queue.iter().take(self.messages) {
            positions[queued.source] = queued.message.offset + 1;
        }
        positions
    }

    /// Takes the processor's verdicts: each message that was not rejected while decoding must have one.
    pub(crate) fn settle_verdicts(
        &mut self,
        verdicts: Vec<Option<Verdict>>,
    ) -> Result<(), ApplyError> {
        let mut unread = self.rejected.iter().map(|(index, ..)| *index).peekable();
        let read = (0..self.messages)
            .filter(|index| unread.next_if_eq(index).is_none())
            .collect::<Vec<_>>();
        let (mut done, mut skipped) = (0, BTreeMap::new());
        for (index, verdict) in read.into_iter().zip(verdicts) {
            match verdict {
                Some(Verdict::Done) => done += 1,
                Some(Verdict::Skip(reason)) => *skipped.entry(reason).or_default() += 1,
                Some(Verdict::Reject(reject)) => self.rejected.push((index, Stage::Apply, reject)),
                None => {
                    return Err(ApplyError::permanent(
                        "the processor did not answer for every message",
                    ));
                }
            }
        }
        metrics::counter!(metric::MESSAGES, "verdict" => "done", "reason" => "").increment(done);
        for (reason, times) in skipped {
            metrics::counter!(metric::MESSAGES, "verdict" => "skip", "reason" => reason)
                .increment(times);
        }
        Ok(())
    }

    /// Blames the only message of this cycle for its failure; `false` when the only event was no message.
    pub(crate) fn condemn(
        &self,
        error: &dyn std::fmt::Display,
        condemned: &mut Option<Condemned>,
    ) -> bool {
        let blamed = self.running.queue.front().filter(|_| self.messages == 1);
        if let Some(queued) = blamed {
            let reject = Reject::new("unprocessable", error.to_string());
            *condemned = Some(Condemned {
                source: queued.source,
                offset: queued.message.offset,
                reject,
            });
        }
        blamed.is_some()
    }

    /// Whether there is something to tell Kafka: a row, or, at rest, a position that it does not know or may soon forget.
    pub(crate) fn speaks(&self, outcome: &Outcome<P>, refresh: Duration) -> bool {
        outcome.row.is_some()
            || (self.events == 0 && self.running.is_uncommitted(&self.lane, refresh))
    }
}

/// What the last statement of the cycle writes.
pub(crate) fn settlement<P: Processor>(parts: &[Part<P>], outcomes: &[Outcome<P>]) -> Settlement {
    let mut settlement = Settlement::default();
    for (part, outcome) in parts.iter().zip(outcomes) {
        let id = &part.lane.id;
        for (index, source) in part.lane.sources.iter().enumerate() {
            // A soft position is kept only to reject nothing twice.
            let counts = if source.is_soft() {
                part.running
                    .unreadable
                    .iter()
                    .any(|(unread, ..)| *unread == index)
            } else {
                outcome.positions[index] != part.running.positions[index]
            };
            if counts {
                let topic = source.source.topic.clone();
                settlement.positions.push((
                    id.clone(),
                    topic,
                    source.partition,
                    outcome.positions[index],
                ));
            }
        }
        if let Some(row) = &outcome.row {
            settlement
                .rows
                .push((id.clone(), part.running.seq + 1, row.clone()));
        }
        if part.running.undeleted {
            settlement
                .published
                .push((id.clone(), part.running.published));
        }
    }
    settlement
}

/// Memory as it is once PostgreSQL has committed; should it not, the lanes are loaded again.
pub(crate) fn advance<P: Processor>(parts: &mut [Part<P>], outcomes: &[Outcome<P>]) {
    let now = Instant::now();
    for (part, outcome) in parts.iter_mut().zip(outcomes) {
        let running = &mut part.running;
        running.version += 1;
        running.seq += i64::from(outcome.row.is_some());
        running.undeleted = outcome.row.is_some();
        for (source, ..) in &running.unreadable {
            running.rejected_below[*source] = outcome.positions[*source];
        }
        running.positions.clone_from(&outcome.positions);
        if part.events > 0 {
            running.active_at = now;
        }
    }
}
