//! The durable messages of a lane that were fetched and are not applied yet, and when they should start a cycle.
//!
//! Whoever waits for a message of a patient source has time: it starts a cycle only when it has waited for company that long,
//! and comes along at once in a cycle that something else starts. A transaction of Kafka costs the same for one message as
//! for ten, and a cycle begun for what nobody waits for holds up what somebody does.

use std::collections::VecDeque;
use std::time::Instant;

use crate::message::Message;

/// A fetched message of a durable source.
pub(crate) struct Queued {
    pub(crate) source: usize,
    pub(crate) message: Message,
}

/// Messages in the order in which they were fetched.
#[derive(Default)]
pub(crate) struct Queue {
    messages: VecDeque<Queued>,
    /// When they should start a cycle; `None` while there are none.
    ripe_at: Option<Instant>,
}

impl Queue {
    /// Appends a message that may wait for company until then.
    pub(crate) fn push(&mut self, queued: Queued, ripe_at: Instant) {
        self.messages.push_back(queued);
        self.ripe_at = Some(self.ripe_at.map_or(ripe_at, |earlier| earlier.min(ripe_at)));
    }

    /// Removes the messages of a cycle from the front; those that had no room in it have waited enough. Returns their bytes.
    pub(crate) fn remove(&mut self, messages: usize, now: Instant) -> usize {
        let bytes = self
            .messages
            .drain(..messages)
            .map(|it| it.message.bytes())
            .sum();
        self.ripe_at = (!self.messages.is_empty()).then_some(now);
        bytes
    }

    pub(crate) fn ripe_at(&self) -> Option<Instant> {
        self.ripe_at
    }

    pub(crate) fn is_ripe(&self, now: Instant) -> bool {
        self.ripe_at.is_some_and(|at| at <= now)
    }

    pub(crate) fn front(&self) -> Option<&Queued> {
        self.messages.front()
    }

    pub(crate) fn at(&self, index: usize) -> &Queued {
        &self.messages[index]
    }

    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &Queued> {
        self.messages.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Size in memory, for bounding what is held.
    pub(crate) fn bytes(&self) -> usize {
        self.iter().map(|queued| queued.message.bytes()).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::lane::{SourceKind, SourceTopic};
    use crate::message::Headers;

    const PATIENCE: Duration = Duration::from_millis(50);

    fn queued(offset: i64) -> Queued {
        let source = SourceTopic {
            topic: "t".into(),
            partitions: 1,
            dead_letters: "d".into(),
            kind: SourceKind::Durable,
            patience: PATIENCE,
        };
        let message = Message {
            source: source.into(),
            partition: 0,
            offset,
            timestamp_ms: 0,
            key: None,
            value: Some(vec![0; 100].into()),
            headers: Headers::default(),
        };
        Queued { source: 0, message }
    }

    #[test]
    fn messages_are_ripe_as_soon_as_the_least_patient_is() {
        let start = Instant::now();
        let mut queue = Queue::default();
        assert!(!queue.is_ripe(start + PATIENCE));
        queue.push(queued(0), start + PATIENCE);
        assert!(!queue.is_ripe(start));
        assert!(queue.is_ripe(start + PATIENCE));
        queue.push(queued(1), start + PATIENCE * 2);
        assert_eq!(queue.ripe_at(), Some(start + PATIENCE));
        queue.push(queued(2), start);
        assert!(queue.is_ripe(start));
    }

    #[test]
    fn what_had_no_room_in_a_cycle_has_waited_enough() {
        let start = Instant::now();
        let mut queue = Queue::default();
        (0..3).for_each(|offset| queue.push(queued(offset), start + PATIENCE));
        let bytes = queue.bytes();
        assert_eq!(queue.remove(2, start), bytes / 3 * 2);
        assert!(queue.is_ripe(start));
        assert_eq!(queue.front().map(|it| it.message.offset), Some(2));
        queue.remove(1, start);
        assert!(queue.is_empty() && !queue.is_ripe(start + PATIENCE));
        queue.push(queued(3), start + PATIENCE);
        assert!(!queue.is_ripe(start));
    }
}
