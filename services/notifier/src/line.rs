//! The lines of a lane: what waits for one receiver waits behind nothing else, and one after the other.
//!
//! A lane calls a receiver for one message at a time. While the receiver is to be left alone, its line stands still; when
//! it goes on, the next message is called for, not the one that failed, which comes again at its own time: a message that
//! a receiver chokes on does not hold up the others.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// All lines of a lane, by the address of the receiver.
#[derive(Debug, Default)]
pub struct Lines(HashMap<String, Line>);

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Uuid>,
    under_way: bool,
    not_before: Option<DateTime<Utc>>,
}

/// What a line does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Call(Uuid),
    /// Nothing before this instant.
    Wait(DateTime<Utc>),
    /// Nothing before an answer or another message.
    Rest,
}

impl Lines {
    /// A message whose turn may come.
    pub fn join(&mut self, url: &str, notification: Uuid) {
        let line = self.0.entry(url.to_owned()).or_default();
        line.waiting.push_back(notification);
    }

    /// The addresses of all receivers with a line.
    pub fn all(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// The call under way has been answered; `not_before`: until when the receiver is to be left alone.
    pub fn answered(&mut self, url: &str, not_before: Option<DateTime<Utc>>) {
        let line = self.0.entry(url.to_owned()).or_default();
        (line.under_way, line.not_before) = (false, not_before);
    }

    /// What is next for a receiver; `is_ready` is false for what has ended while it waited.
    pub fn next(&mut self, url: &str, now: DateTime<Utc>, is_ready: impl Fn(Uuid) -> bool) -> Next {
        let Some(line) = self.0.get_mut(url) else {
            return Next::Rest;
        };
        if line.under_way {
            return Next::Rest;
        }
        while line.waiting.front().is_some_and(|id| !is_ready(*id)) {
            line.waiting.pop_front();
        }
        if let Some(at) = line.not_before.filter(|at| *at > now) {
            return if line.waiting.is_empty() {
                Next::Rest
            } else {
                Next::Wait(at)
            };
        }
        line.not_before = None;
        if let Some(id) = line.waiting.pop_front() {
            line.under_way = true;
            return Next::Call(id);
        }
        self.0.remove(url);
        Next::Rest
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const A: Uuid = Uuid::from_u128(1);
    const B: Uuid = Uuid::from_u128(2);

    fn next(lines: &mut Lines, url: &str, now: DateTime<Utc>) -> Next {
        lines.next(url, now, |_| true)
    }

    #[test]
    fn one_message_at_a_time_goes_to_a_receiver_and_others_are_not_held_up() {
        let (mut lines, now) = (Lines::default(), Utc::now());
        lines.join("x", A);
        lines.join("x", B);
        lines.join("y", B);
        assert_eq!(next(&mut lines, "x", now), Next::Call(A));
        assert_eq!(next(&mut lines, "x", now), Next::Rest);
        assert_eq!(next(&mut lines, "y", now), Next::Call(B));
        lines.answered("x", None);
        assert_eq!(next(&mut lines, "x", now), Next::Call(B));
    }

    #[test]
    fn a_receiver_to_be_left_alone_is_and_then_the_next_message_goes() {
        let (mut lines, now) = (Lines::default(), Utc::now());
        lines.join("x", A);
        lines.join("x", B);
        next(&mut lines, "x", now);
        let later = now + TimeDelta::seconds(5);
        lines.answered("x", Some(later));
        assert_eq!(next(&mut lines, "x", now), Next::Wait(later));
        lines.join("x", A);
        assert_eq!(next(&mut lines, "x", later), Next::Call(B));
    }

    #[test]
    fn what_has_ended_is_passed_over_and_a_line_without_anything_is_forgotten() {
        let (mut lines, now) = (Lines::default(), Utc::now());
        lines.join("x", A);
        assert_eq!(lines.next("x", now, |id| id != A), Next::Rest);
        assert!(lines.0.is_empty());
    }

    #[test]
    fn a_receiver_is_left_alone_also_by_what_comes_later() {
        let (mut lines, now) = (Lines::default(), Utc::now());
        lines.join("x", A);
        next(&mut lines, "x", now);
        let later = now + TimeDelta::seconds(5);
        lines.answered("x", Some(later));
        assert_eq!(next(&mut lines, "x", now), Next::Rest);
        lines.join("x", B);
        assert_eq!(next(&mut lines, "x", now), Next::Wait(later));
    }
}
