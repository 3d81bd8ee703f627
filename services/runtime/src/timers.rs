//! Timers of a lane, in memory; their durable form is in the processor's tables.

use std::collections::BTreeSet;
use std::hash::Hash;

use chrono::{DateTime, Utc};
use foldhash::HashMap;

/// Due instants by key, ordered.
pub(crate) struct Timers<T> {
    at: HashMap<T, DateTime<Utc>>,
    by_time: BTreeSet<(DateTime<Utc>, T)>,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self {
            at: HashMap::default(),
            by_time: BTreeSet::new(),
        }
    }
}

impl<T: Clone + Ord + Hash> Timers<T> {
    /// Sets, moves or (with `None`) cancels a timer.
    pub(crate) fn set(&mut self, timer: T, at: Option<DateTime<Utc>>) {
        let before = match at {
            Some(at) => self.at.insert(timer.clone(), at),
            None => self.at.remove(&timer),
        };
        if let Some(before) = before {
            self.by_time.remove(&(before, timer.clone()));
        }
        if let Some(at) = at {
            self.by_time.insert((at, timer));
        }
    }

    /// The first instant at which something is due.
    pub(crate) fn next(&self) -> Option<DateTime<Utc>> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// How many timers are due at `now`.
    pub(crate) fn count_due(&self, now: DateTime<Utc>) -> usize {
        let due = self.by_time.iter().take_while(|(at, _)| *at <= now);
        due.count()
    }

    /// Up to `limit` timers due at `now`, by instant. They stay set until [`Timers::fired`].
    pub(crate) fn due(&self, now: DateTime<Utc>, limit: usize) -> Vec<(DateTime<Utc>, T)> {
        self.by_time
            .iter()
            .take_while(|(at, _)| *at <= now)
            .take(limit)
            .cloned()
            .collect()
    }

    /// Takes out timers whose cycle is committed.
    pub(crate) fn fired(&mut self, timers: &[(DateTime<Utc>, T)]) {
        for (at, timer) in timers {
            if self.by_time.remove(&(*at, timer.clone())) {
                self.at.remove(timer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(second, 0).unwrap()
    }

    #[test]
    fn a_timer_set_again_is_moved() {
        let mut timers = Timers::default();
        timers.set("a", Some(at(5)));
        timers.set("a", Some(at(9)));
        assert_eq!(
            (timers.next(), timers.due(at(8), 10)),
            (Some(at(9)), vec![])
        );
        timers.set("a", None);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn due_timers_come_by_instant_and_go_when_fired() {
        let mut timers = Timers::default();
        for (timer, second) in [("b", 2), ("a", 3), ("c", 1), ("d", 9)] {
            timers.set(timer, Some(at(second)));
        }
        let due = timers.due(at(3), 10);
        assert_eq!(
            due.iter().map(|(_, timer)| *timer).collect::<Vec<_>>(),
            ["c", "b", "a"]
        );
        timers.fired(&due);
        assert_eq!(timers.next(), Some(at(9)));
    }

    #[test]
    fn a_timer_moved_while_it_fired_stays() {
        let mut timers = Timers::default();
        timers.set("a", Some(at(1)));
        let due = timers.due(at(1), 10);
        timers.set("a", Some(at(4)));
        timers.fired(&due);
        assert_eq!(timers.next(), Some(at(4)));
    }
}
