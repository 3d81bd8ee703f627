//! What is due when: a heap, ties in the order of writing, so that a city repeats exactly.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use dispatch::At;
use uuid::Uuid;

/// Something that will happen by itself. Orders by their place in the plan or id, drivers by index, and what belongs to
/// a driver's job with the turn it was written down in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    Place(usize),
    Cancel(usize),
    Poison(usize),
    DelayTold(Uuid),
    FoodReady(Uuid),
    Announce(usize),
    GoOnline(usize),
    ShiftEnd(usize),
    Ping(usize),
    Answer(usize, u32),
    Arrive(usize, u32),
    Collect(usize, u32),
    Drop(usize, u32),
}

#[derive(Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<(At, u64, Due)>>,
    written: u64,
}

impl Agenda {
    pub(super) fn add(&mut self, at: At, due: Due) {
        self.written += 1;
        self.heap.push(Reverse((at, self.written, due)));
    }

    pub(super) fn next(&self) -> Option<At> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }

    /// The earliest entry, when it is due by `now`.
    pub(super) fn take(&mut self, now: At) -> Option<(At, Due)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((at, _, due))| (at, due))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_out_when_due_and_ties_in_the_order_of_writing() {
        let mut agenda = Agenda::default();
        agenda.add(At(5), Due::Place(9));
        agenda.add(At(3), Due::Place(2));
        agenda.add(At(3), Due::Place(1));
        assert_eq!(agenda.take(At(2)), None);
        let taken: Vec<_> = std::iter::from_fn(|| agenda.take(At(4))).collect();
        assert_eq!(taken, [(At(3), Due::Place(2)), (At(3), Due::Place(1))]);
        assert_eq!(agenda.next(), Some(At(5)));
    }
}
