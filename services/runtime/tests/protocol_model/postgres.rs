//! PostgreSQL: a lane's transaction is one atomic step.
//!
//! That is sound because its first statement locks the lane's row until COMMIT: no other transaction of the lane comes
//! between the comparison of the version and the end. What is left to chance is whether a COMMIT that its client gave
//! up on still lands: it does so before the lane's next transaction, which waits for the lock, or it is rolled back.

use crate::protocol::Protocol;
use crate::state::{Apply, State, Work};
use crate::step::Step;

impl Protocol {
    pub fn postgres_steps(&self, state: &State, out: &mut Vec<(Step, State)>) {
        for lane in self.lanes() {
            if let Some(apply) = state.postgres[lane].detached {
                let mut next = *state;
                next.move_version(lane);
                next.apply(self, lane, apply);
                out.push((Step::DetachedCommitLands { lane }, next));
            }
            if let Some(apply) = state.postgres[lane].detached_unlocked {
                let mut next = *state;
                next.postgres[lane].detached_unlocked = None;
                next.apply(self, lane, apply);
                out.push((Step::DetachedCommitLands { lane }, next));
            }
        }
    }
}

impl State {
    /// `version = version + 1`: whoever read the lane before is stale now, and a detached transaction is either in (it
    /// is the caller) or out.
    pub fn move_version(&mut self, lane: usize) {
        self.postgres[lane].detached = None;
        for owner in &mut self.owners {
            let work = &mut owner.lanes[lane].work;
            if let Some(memory) = work.memory() {
                memory.current = false;
                memory.position = 0;
                memory.fired = false;
            }
            if let Work::Ready(memory) = *work {
                *work = Work::ready(memory);
            }
        }
    }

    /// State, position, row and deletions of one cycle; returns the number of the last row.
    pub fn apply(&mut self, protocol: &Protocol, lane: usize, apply: Apply) -> u8 {
        let row = &mut self.postgres[lane];
        row.deleted = row.deleted.max(apply.published);
        if let Some(event) = apply.event {
            row.applied[event as usize] += 1;
            if event != protocol.timer() {
                row.position = event + 1;
            }
            if protocol.emits(event) {
                row.rows[row.seq as usize] = event;
                row.seq += 1;
            }
        }
        row.seq
    }
}
