//! Whose turn it is at the gateway: the oldest payment of all lanes, as many at a time as the gate has room for.
//!
//! A payment that cannot be called for at once waits in its lane. While any waits, turns are given at common instants, in
//! one cycle for all lanes that have some waiting, and newer payments line up behind. So after an outage the backlog
//! drains oldest first and at the configured pace. Costs: a cycle per [`BEAT`] while something waits and the gateway
//! works, and up to a beat of delay for what has to wait at all.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, DurationRound, TimeDelta, Utc};
use uuid::Uuid;

use crate::gateway::{Gate, Room};
use crate::payment::Payment;

/// Time between two rounds of turns: short against the latency of a gateway.
const BEAT: TimeDelta = TimeDelta::milliseconds(20);

/// The payments of one lane that wait for their turn, the oldest first.
#[derive(Debug, Default)]
pub struct Queue {
    places: BTreeSet<Place>,
    /// As many of them as the metric counts.
    counted: usize,
}

/// Gauge: payments of this process that wait for their turn at the gateway.
const WAITING: &str = "payments_waiting";

/// By age; of the same age, by id.
type Place = (DateTime<Utc>, Uuid);

impl Queue {
    pub fn join(&mut self, payment: &Payment) {
        self.places.insert((payment.requested_at, payment.order_id));
    }

    pub fn leave(&mut self, payment: &Payment) {
        self.places
            .remove(&(payment.requested_at, payment.order_id));
    }

    /// Tells the metric of what has changed since the last time.
    pub fn count(&mut self) {
        let now = self.places.len();
        if now != self.counted {
            metrics::gauge!(WAITING).increment(now as f64 - self.counted as f64);
            self.counted = now;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // Its lane is lost, or loaded afresh.
        metrics::gauge!(WAITING).decrement(self.counted as f64);
    }
}

/// Gives turns.
#[derive(Debug, Default)]
pub struct Turns {
    /// Until then some lane has payments waiting for the next common instant.
    waited_for: Mutex<Option<DateTime<Utc>>>,
}

impl Turns {
    /// The payments whose turn it is, each with the index of its queue. `common`: it is a common instant, at which the
    /// lanes with a backlog are all there.
    pub fn give(
        &self,
        gate: &Gate,
        queues: &[&Queue],
        common: bool,
        now: DateTime<Utc>,
    ) -> Vec<(usize, Uuid)> {
        let Room::Calls(room) = gate.room() else {
            return Vec::new();
        };
        if !common && self.waited_for().is_some_and(|until| now <= until) {
            return Vec::new();
        }
        let mut queues: Vec<_> = queues.iter().map(|queue| queue.places.iter()).collect();
        let heads = queues.iter_mut().enumerate();
        let mut heads: BinaryHeap<_> = heads
            .filter_map(|(index, queue)| Some(Reverse((*queue.next()?, index))))
            .collect();
        let mut turns = Vec::new();
        while turns.len() < room
            && let Some(Reverse(((_, order_id), index))) = heads.pop()
        {
            turns.push((index, order_id));
            heads.extend(queues[index].next().map(|place| Reverse((*place, index))));
        }
        turns
    }

    /// The common instant at which a lane with payments left waiting has to be there.
    pub fn next(&self, gate: &Gate, now: DateTime<Utc>) -> DateTime<Utc> {
        let shut = match gate.room() {
            Room::Calls(_) => Duration::ZERO,
            Room::Shut(wait) => wait,
        };
        let earliest = TimeDelta::from_std(shut).map_or(now, |shut| now + shut);
        // The same instant for whoever asks within a beat.
        let next = earliest
            .duration_trunc(BEAT)
            .map_or(earliest + BEAT, |beat| beat + BEAT);
        // One beat longer, so that a late cycle is not overtaken by what has just come.
        *self.waited_for() = Some(next + BEAT);
        next
    }

    fn waited_for(&self) -> std::sync::MutexGuard<'_, Option<DateTime<Utc>>> {
        self.waited_for
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::{BreakerPolicy, InstantGateway};

    fn gate(concurrency: usize) -> Gate {
        let policy = BreakerPolicy {
            failures: 5,
            window: Duration::from_secs(60),
            open: Duration::from_secs(10),
            trials: 1,
        };
        Gate::new(Box::new(InstantGateway), policy, concurrency)
    }

    /// Queues of orders by the second they were asked for.
    fn queues(seconds: &[&[i64]]) -> Vec<Queue> {
        let place = |second: &i64| {
            (
                DateTime::from_timestamp(*second, 0).unwrap(),
                Uuid::from_u128(*second as u128),
            )
        };
        seconds
            .iter()
            .map(|queue| Queue {
                places: queue.iter().map(place).collect(),
                counted: 0,
            })
            .collect()
    }

    fn turns(turns: &Turns, gate: &Gate, queues: &[Queue], common: bool) -> Vec<(usize, u128)> {
        let queues: Vec<&Queue> = queues.iter().collect();
        let given = turns.give(gate, &queues, common, DateTime::UNIX_EPOCH);
        given
            .into_iter()
            .map(|(at, id)| (at, id.as_u128()))
            .collect()
    }

    #[test]
    fn the_oldest_of_all_lanes_come_first_and_no_more_than_there_is_room_for() {
        let queues = queues(&[&[3, 9], &[1, 2, 8], &[]]);
        let given = turns(&Turns::default(), &gate(4), &queues, true);
        assert_eq!(given, [(1, 1), (1, 2), (0, 3), (1, 8)]);
    }

    #[test]
    fn while_a_backlog_stands_turns_are_given_at_common_instants_only() {
        let (line, gate, queues) = (Turns::default(), gate(4), queues(&[&[1]]));
        assert_eq!(turns(&line, &gate, &queues, false), [(0, 1)]);
        let next = line.next(&gate, DateTime::UNIX_EPOCH);
        assert!(next > DateTime::UNIX_EPOCH && next <= DateTime::UNIX_EPOCH + BEAT);
        assert_eq!(turns(&line, &gate, &queues, false), []);
        assert_eq!(turns(&line, &gate, &queues, true), [(0, 1)]);
    }
}
