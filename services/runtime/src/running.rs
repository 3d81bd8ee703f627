//! A lane in the hands of this process: its phase, and while it runs everything that is remembered of it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::lane::Lane;
use crate::message::Message;
use crate::processor::{Processor, Reject};
use crate::publisher::CommitPosition;
use crate::queue::Queue;
use crate::recovery::Contradiction;
use crate::timers::Timers;

/// A lane that the group gave to this process.
pub(crate) struct Slot<P: Processor> {
    pub(crate) lane: Arc<Lane>,
    pub(crate) phase: Phase<P>,
    /// The contradiction that recovery found last, and how often in a row it found just this one. A lane that moves under
    /// another owner shows a different one each time.
    pub(crate) doubt: Option<(Contradiction, u32)>,
    /// How often in a row something failed; sets the pause before the next recovery.
    pub(crate) failures: u32,
    /// A message that broke a cycle of its own, and is rejected without being applied.
    pub(crate) condemned: Option<Condemned>,
    pub(crate) rejects: RejectRate,
}

/// A durable message that cannot be applied, by source and offset.
#[derive(Clone, Debug)]
pub(crate) struct Condemned {
    pub(crate) source: usize,
    pub(crate) offset: i64,
    pub(crate) reject: Reject,
}

pub(crate) enum Phase<P: Processor> {
    /// Nothing is remembered; recovery may start at that instant.
    Waiting {
        until: Instant,
    },
    /// Kafka's side is being read; an answer with another ticket is of an earlier attempt.
    Reading {
        ticket: u64,
    },
    Running(Box<Running<P>>),
    /// In the middle of a cycle or a recovery.
    Busy,
    /// The logs contradict each other: an operator has to decide. When to look whether he has.
    Refused {
        look_at: Instant,
    },
}

/// What is remembered of a running lane. A cache: after any failure it is dropped and loaded again.
pub(crate) struct Running<P: Processor> {
    pub(crate) incarnation: u64,
    pub(crate) version: i64,
    pub(crate) epoch: i64,
    /// Last outbox row written, and the last known to be published.
    pub(crate) seq: i64,
    pub(crate) published: i64,
    /// Whether published rows are still in the table.
    pub(crate) undeleted: bool,
    /// Next offset to apply (soft sources: to observe), by source.
    pub(crate) positions: Vec<i64>,
    /// Soft sources not yet read to where they ended at the take-over, with those ends.
    pub(crate) behind: Vec<(usize, i64)>,
    /// What Kafka has committed, by source.
    pub(crate) committed: Vec<i64>,
    pub(crate) committed_at: Instant,
    /// Durable messages fetched and not yet applied.
    pub(crate) queue: Queue,
    /// Soft messages that could not be read, for the next cycle's dead letters.
    pub(crate) unreadable: Vec<(usize, Message, Reject)>,
    /// Soft sources: messages below are not rejected again, by source.
    pub(crate) rejected_below: Vec<i64>,
    pub(crate) timers: Timers<P::Timer>,
    pub(crate) answers: VecDeque<P::Answer>,
    pub(crate) state: P::State,
    pub(crate) active_at: Instant,
}

impl<P: Processor> Running<P> {
    /// Tells the processor once every soft source has been read to where it ended at the take-over; to be called at the take-over,
    /// and while [`Running::behind`] is not empty after every reading.
    pub(crate) fn note_caught_up(&mut self, processor: &P) {
        let positions = &self.positions;
        self.behind
            .retain(|(source, end)| positions[*source] < *end);
        if self.behind.is_empty() {
            for (timer, at) in processor.caught_up(&mut self.state, Utc::now()) {
                self.timers.set(timer, Some(at));
            }
        }
    }

    /// Whether anything has happened to this lane.
    pub(crate) fn has_events(&self, now: DateTime<Utc>) -> bool {
        !self.queue.is_empty() || self.has_more_than_messages(now)
    }

    /// Whether anything has happened to this lane that does not wait for company.
    pub(crate) fn is_due(&self, now: DateTime<Utc>, instant: Instant) -> bool {
        self.queue.is_ripe(instant) || self.has_more_than_messages(now)
    }

    fn has_more_than_messages(&self, now: DateTime<Utc>) -> bool {
        !self.answers.is_empty()
            || !self.unreadable.is_empty()
            || self.timers.next().is_some_and(|at| at <= now)
    }

    /// How many events wait.
    pub(crate) fn events(&self, now: DateTime<Utc>) -> usize {
        let timers = self.timers.count_due(now);
        timers + self.answers.len() + self.queue.len() + self.unreadable.len()
    }

    /// When this resting lane should tidy up: published rows go, and Kafka hears of positions that moved without output.
    pub(crate) fn tidy_at(&self, lane: &Lane, idle: Duration, refresh: Duration) -> Instant {
        let untidy = self.undeleted || self.moved(lane).next().is_some();
        if untidy {
            self.active_at + idle
        } else {
            self.committed_at + refresh
        }
    }

    /// Whether Kafka has to be told where this lane is: something moved, or the last commit is old.
    pub(crate) fn is_uncommitted(&self, lane: &Lane, refresh: Duration) -> bool {
        self.moved(lane).next().is_some() || self.committed_at.elapsed() >= refresh
    }

    /// Durable sources whose position Kafka does not know yet.
    fn moved<'a>(&'a self, lane: &'a Lane) -> impl Iterator<Item = usize> + 'a {
        let durable = |index: &usize| !lane.sources[*index].is_soft();
        (0..self.positions.len())
            .filter(durable)
            .filter(|index| self.positions[*index] != self.committed[*index])
    }

    /// What to commit to Kafka: every position that moved, or else the first, which then only carries the row number.
    pub(crate) fn commit_positions(&self, lane: &Lane) -> Vec<CommitPosition> {
        let mut moved: Vec<usize> = self.moved(lane).collect();
        if moved.is_empty() {
            moved.extend(lane.sources.iter().position(|source| !source.is_soft()));
        }
        let position = |index: usize| CommitPosition {
            topic: lane.sources[index].source.topic.clone(),
            partition: lane.sources[index].partition,
            offset: self.positions[index],
            seq: self.seq,
        };
        moved.into_iter().map(position).collect()
    }

    /// Kafka has committed everything up to here.
    pub(crate) fn note_published(&mut self, at: Instant) {
        self.published = self.seq;
        self.committed.clone_from(&self.positions);
        self.committed_at = at;
    }
}

/// Limits dead letters to a number per minute: above, the lane pauses until the minute has passed.
pub(crate) struct RejectRate {
    limit: u32,
    since: Instant,
    count: u32,
}

const MINUTE: Duration = Duration::from_secs(60);

impl RejectRate {
    pub(crate) fn new(limit: u32, now: Instant) -> Self {
        Self {
            limit,
            since: now,
            count: 0,
        }
    }

    /// Counts rejects; returns until when the lane has to pause, if it has to.
    pub(crate) fn add(&mut self, rejects: u32, now: Instant) -> Option<Instant> {
        if now.duration_since(self.since) >= MINUTE {
            (self.since, self.count) = (now, 0);
        }
        self.count = self.count.saturating_add(rejects);
        (self.count > self.limit).then(|| self.since + MINUTE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_pauses_when_its_rejects_exceed_the_limit_and_goes_on_a_minute_later() {
        let start = Instant::now();
        let mut rate = RejectRate::new(10, start);
        assert_eq!(rate.add(10, start), None);
        assert_eq!(
            rate.add(1, start + Duration::from_secs(5)),
            Some(start + MINUTE)
        );
        assert_eq!(rate.add(1, start + MINUTE), None);
    }
}
