//! What must hold: the safety properties of a single state, and the state everything must be able to end in.

use crate::protocol::Protocol;
use crate::state::{LANES, State, Work};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Violation {
    /// A message changed state twice, or a record is visible twice.
    Duplicate,
    /// State or visible records of a lane out of order.
    Reordered,
    /// A log says "published" or "applied" of something that is not, so nobody will do it any more.
    Loss,
    /// A visible record whose event PostgreSQL has not applied.
    OutputWithoutState,
    /// A transaction with records of a lane and without its offset: no generation was compared.
    UnfencedCommit,
    /// A lane refused for corruption that is none.
    FalseAlarm,
    /// From here on, without any further fault, the end is out of reach.
    Wedged,
}

/// A set of violations.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Violations(u8);

impl Violations {
    fn insert_if(&mut self, condition: bool, violation: Violation) {
        self.0 |= u8::from(condition) << violation as u8;
    }

    pub fn contains(self, violation: Violation) -> bool {
        self.0 >> violation as u8 & 1 == 1
    }

    /// Nothing that could only follow from this is of interest. An unfenced commit is no harm yet.
    pub fn ends_the_path(self) -> bool {
        self.0 & !(1 << Violation::UnfencedCommit as u8) != 0
    }
}

impl Protocol {
    pub fn violations(&self, state: &State) -> Violations {
        let mut found = Violations::default();
        found.insert_if(state.unfenced, Violation::UnfencedCommit);
        for lane in self.lanes() {
            self.check_state(state, lane, &mut found);
            self.check_output(state, lane, &mut found);
            let refused = state
                .owners
                .iter()
                .any(|owner| owner.lanes[lane].work == Work::RefusedGap);
            found.insert_if(refused, Violation::FalseAlarm);
        }
        found
    }

    fn check_state(&self, state: &State, lane: usize, found: &mut Violations) {
        let row = &state.postgres[lane];
        let messages = &row.applied[..self.scenario.messages as usize];
        found.insert_if(
            row.applied.iter().any(|times| *times > 1),
            Violation::Duplicate,
        );
        found.insert_if(
            !messages.is_sorted_by(|earlier, later| earlier >= later),
            Violation::Reordered,
        );
        let skipped = messages[..row.position as usize].contains(&0);
        found.insert_if(skipped, Violation::Loss);
    }

    fn check_output(&self, state: &State, lane: usize, found: &mut Violations) {
        let row = &state.postgres[lane];
        let mut events = 0u8;
        let mut numbers = 0u8;
        let mut last = 0;
        for record in state
            .log
            .visible()
            .filter(|record| record.lane as usize == lane)
        {
            found.insert_if(events >> record.event & 1 == 1, Violation::Duplicate);
            found.insert_if(
                events >> record.event & 1 == 0 && record.seq <= last,
                Violation::Reordered,
            );
            found.insert_if(
                row.applied[record.event as usize] == 0,
                Violation::OutputWithoutState,
            );
            events |= 1 << record.event;
            numbers |= 1 << record.seq;
            last = record.seq;
        }
        let settled = row.deleted.max(state.committed[lane].unwrap_or(0));
        found.insert_if(
            (1..=settled).any(|seq| numbers >> seq & 1 == 0),
            Violation::Loss,
        );
    }

    /// Every event applied once and every record of it visible once; or a lane refused because Kafka forgot its offset,
    /// which is what the protocol asks for.
    pub fn complete(&self, state: &State) -> bool {
        let forgotten = self.scenario.budget.forgotten > state.left.forgotten;
        let refused = |owner: usize, lane: usize| {
            state.owners[owner].lanes[lane].work == Work::RefusedMissing
        };
        if forgotten
            && (0..state.owners.len()).any(|owner| (0..LANES).any(|lane| refused(owner, lane)))
        {
            return true;
        }
        self.lanes().all(|lane| {
            (0..self.events()).all(|event| {
                let visible = state
                    .log
                    .visible()
                    .filter(|record| record.lane as usize == lane && record.event == event)
                    .count();
                state.postgres[lane].applied[event as usize] == 1
                    && visible == usize::from(self.emits(event))
            })
        })
    }
}
