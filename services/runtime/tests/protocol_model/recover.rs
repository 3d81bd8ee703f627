//! RECOVER: how a lane gets from nothing to ready, in one PostgreSQL transaction after one read of Kafka.
//!
//! "If it stays" (step d) is taken to the letter: the second look must show the very same numbers. A zombie that races
//! a busy owner can see one gap after another, but never the same one twice, since its second read of the offset is
//! at least as new as the deletions it saw; a restored backup shows nothing else.

use crate::protocol::{Protocol, Safeguard};
use crate::state::{Gap, Memory, State, Work};
use crate::step::{Outcome, Step};

impl Protocol {
    /// RECOVER a.
    pub fn read_offset(
        &self,
        state: &State,
        owner: usize,
        lane: usize,
        gap: Option<Gap>,
        out: &mut Vec<(Step, State)>,
    ) {
        if self.keeps(Safeguard::OffsetsReadStably) && state.offset_pending(lane) {
            return;
        }
        let mut committed = state.committed[lane];
        if !self.keeps(Safeguard::MissingOffsetIsNotZero) {
            committed = committed.or(Some(0));
        }
        let mut next = *state;
        next.owners[owner].lanes[lane].work = Work::ReadRows { committed, gap };
        out.push((Step::ReadOffset { owner, lane }, next));
    }

    /// RECOVER b: one transaction that moves version and epoch and reads lane, rows and state; then c and d.
    pub fn read_rows(
        &self,
        state: &State,
        owner: usize,
        lane: usize,
        committed: Option<u8>,
        gap: Option<Gap>,
        out: &mut Vec<(Step, State)>,
    ) {
        let step = Step::ReadRows {
            owner,
            lane,
            outcome: Outcome::Told,
        };
        if let (false, Some(committed)) =
            (self.keeps(Safeguard::LaneAndRowsInOneSnapshot), committed)
        {
            let row = state.postgres[lane];
            let lane_first = Work::RowsLeft {
                committed,
                position: row.position,
                fired: self.fired(state, lane),
            };
            let rows_first = Work::LaneLeft {
                committed,
                seq: row.seq,
            };
            for work in [lane_first, rows_first] {
                let mut next = *state;
                next.owners[owner].lanes[lane].work = work;
                out.push((step, next));
            }
            return;
        }
        let mut next = *state;
        next.move_version(lane);
        if state.left.unknowns > 0 {
            // Not told of its commit, it reads again. Had the commit got lost, nothing would have happened at all.
            let mut applied = next;
            applied.left.unknowns -= 1;
            applied.owners[owner].lanes[lane].work = Work::ReadOffset { gap };
            out.push((
                Step::ReadRows {
                    owner,
                    lane,
                    outcome: Outcome::Applied,
                },
                applied,
            ));
        }
        let memory = self.loaded(&next, lane, committed.unwrap_or(0));
        next.owners[owner].lanes[lane].work = match committed {
            None => self.recover_without_offset(&next, lane, memory),
            Some(_) => self.recover(&next, owner, lane, memory, gap),
        };
        out.push((step, next));
    }

    fn fired(&self, state: &State, lane: usize) -> bool {
        self.timer() < self.events() && state.postgres[lane].applied[self.timer() as usize] > 0
    }

    fn loaded(&self, state: &State, lane: usize, published: u8) -> Memory {
        let row = state.postgres[lane];
        Memory {
            current: true,
            published,
            seq: row.seq,
            position: row.position,
            fired: self.fired(state, lane),
        }
    }

    /// RECOVER c.
    fn recover_without_offset(&self, state: &State, lane: usize, memory: Memory) -> Work {
        let row = state.postgres[lane];
        let memory = Memory {
            published: row.seq,
            ..memory
        };
        if row.applied.iter().all(|times| *times == 0) {
            Work::Publish {
                memory,
                from: row.seq + 1,
                event: None,
                committed: true,
            }
        } else if row.deleted == row.seq {
            Work::ready(memory)
        } else {
            Work::RefusedMissing
        }
    }

    /// RECOVER d and e.
    fn recover(
        &self,
        state: &State,
        owner: usize,
        lane: usize,
        memory: Memory,
        seen: Option<Gap>,
    ) -> Work {
        let row = state.postgres[lane];
        let committed = memory.published;
        if row.deleted <= committed && committed <= row.seq {
            return recovered(memory);
        }
        let gap = Gap {
            committed,
            seq: row.seq,
            deleted: row.deleted,
        };
        let captured = state.owners[owner].lanes[lane].generation;
        if !self.keeps(Safeguard::GapMayBeAZombies) {
            Work::RefusedGap
        } else if captured != state.group.joined[owner] {
            Work::Stopped
        } else if seen == Some(gap) {
            Work::RefusedGap
        } else {
            Work::ReadOffset { gap: Some(gap) }
        }
    }

    /// Safeguard 4 removed: the other half of a recovery that reads in two snapshots. The check for gaps sees rows and
    /// their last number in the same one, and so sees nothing.
    pub fn second_snapshot(&self, state: &State, owner: usize, lane: usize) -> State {
        let mut next = *state;
        let half = next.owners[owner].lanes[lane].work;
        next.move_version(lane);
        let memory = match half {
            Work::RowsLeft {
                committed,
                position,
                fired,
            } => Memory {
                position,
                fired,
                ..self.loaded(&next, lane, committed)
            },
            Work::LaneLeft { committed, seq } => Memory {
                seq,
                ..self.loaded(&next, lane, committed)
            },
            _ => unreachable!("only a recovery in two halves has a second one"),
        };
        next.owners[owner].lanes[lane].work = recovered(memory);
        next
    }
}

/// RECOVER e and f: what PostgreSQL has and Kafka has not is published before anything else.
fn recovered(memory: Memory) -> Work {
    if memory.published == memory.seq {
        Work::ready(memory)
    } else {
        Work::Publish {
            memory,
            from: memory.published + 1,
            event: None,
            committed: true,
        }
    }
}
