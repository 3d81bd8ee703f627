//! Messages of several topics, in the order in which a lane heard them.
//!
//! Topics are merged by the broker's time, but live a lane may have read two of them the other way round; about one order that
//! matters: a cancellation before the pickup ends it, after the pickup it comes too late. What the lane told names the
//! message that caused it. So a message that would be told of now and never was ([`crate::book::Book::would_tell`]) is held back,
//! and its partition with it, until what was heard instead has made it one of no effect.

use std::collections::VecDeque;

/// See the module; each message with the number of its partition.
#[derive(Debug)]
pub struct HeldBack<T>(VecDeque<(usize, T)>);

impl<T> Default for HeldBack<T> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T> HeldBack<T> {
    /// The next message by time: `Some` if it is to be heard now.
    pub fn offer(
        &mut self,
        partition: usize,
        message: T,
        is_untold: impl Fn(&T) -> bool,
    ) -> Option<T> {
        let behind = self.0.iter().any(|(held, _)| *held == partition);
        if behind || is_untold(&message) {
            self.0.push_back((partition, message));
            return None;
        }
        Some(message)
    }

    /// After one was heard: the first of those held back that is to be heard now. To be asked until there is none.
    pub fn next(&mut self, is_untold: impl Fn(&T) -> bool) -> Option<T> {
        let first = |index: &usize| {
            let mut before = self.0.iter().take(*index);
            before.all(|(partition, _)| *partition != self.0[*index].0)
        };
        let ripe = |index: &usize| first(index) && !is_untold(&self.0[*index].1);
        let index = (0..self.0.len()).find(ripe)?;
        self.0.remove(index).map(|(_, message)| message)
    }

    /// Nothing else was heard that could explain it: the first, by time.
    pub fn give_up(&mut self) -> Option<T> {
        self.0.pop_front().map(|(_, message)| message)
    }
}
