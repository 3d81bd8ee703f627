//! Kafka: the consumer group, the transaction coordinator, and its faults.
//!
//! The broker accepts offsets of a transaction by the member's generation and by nothing else; it does not know which
//! member owns which lane. A request of a replaced producer still reaches the transaction that producer had open.

use crate::protocol::Protocol;
use crate::state::{LANES, OWNERS, Phase, Request, SLOTS, State, Transaction};
use crate::step::Step;

impl Protocol {
    pub fn group_steps(&self, state: &State, out: &mut Vec<(Step, State)>) {
        let absent = self.lanes().any(|lane| {
            let owner = state.group.assigned[lane] as usize;
            state.group.joined[owner] != state.group.generation
        });
        for (members, assigned) in self.assignments() {
            let next = state.rebalanced(self, members, assigned);
            if absent {
                out.push((Step::SessionExpires { members, assigned }, next));
            }
            if state.left.rebalances > 0 {
                let mut next = next;
                next.left.rebalances -= 1;
                out.push((Step::Rebalance { members, assigned }, next));
            }
        }
        for owner in 0..OWNERS {
            if state.group.joined[owner] != 0 && state.group.joined[owner] != state.group.generation
            {
                let mut next = *state;
                next.group.joined[owner] = 0;
                next.group.view[owner] = 0;
                out.push((Step::LearnsOfLoss { owner }, next));
            }
        }
    }

    /// Every membership with every way to spread the lanes over it.
    fn assignments(&self) -> impl Iterator<Item = (u8, [u8; LANES])> {
        let two_lanes = self.scenario.lanes == 2;
        (1..4u8).flat_map(move |members| {
            (0..4u8).filter_map(move |choice| {
                let assigned = [choice & 1, choice >> 1];
                let possible = assigned.iter().all(|owner| members >> owner & 1 == 1);
                // With one lane the second entry is unused; it follows the first.
                let distinct = two_lanes || assigned[0] == assigned[1];
                (possible && distinct).then_some((members, assigned))
            })
        })
    }

    pub fn broker_steps(&self, state: &State, out: &mut Vec<(Step, State)>) {
        for slot in 0..SLOTS {
            let transaction = state.transactions[slot];
            if transaction.late.is_some() {
                out.push((
                    Step::LateRequestLands { slot },
                    state.late_request_landed(slot),
                ));
            }
            match transaction.phase {
                Phase::Open => {
                    let mut next = *state;
                    next.abort(slot);
                    if slot < OWNERS {
                        next.transactions[slot].phase = Phase::TimedOut;
                    }
                    out.push((Step::TransactionTimesOut { slot }, next));
                }
                Phase::Prepared => out.push((Step::MarkersWritten { slot }, state.marked(slot))),
                Phase::None | Phase::TimedOut => {}
            }
        }
        for lane in self.lanes() {
            if state.left.forgotten > 0
                && state.committed[lane].is_some()
                && !state.offset_pending(lane)
            {
                let mut next = *state;
                next.left.forgotten -= 1;
                next.committed[lane] = None;
                out.push((Step::OffsetForgotten { lane }, next));
            }
        }
    }
}

impl State {
    fn rebalanced(&self, protocol: &Protocol, members: u8, assigned: [u8; LANES]) -> State {
        let mut next = *self;
        next.group.generation += 1;
        next.group.assigned = assigned;
        for owner in (0..OWNERS).filter(|owner| members >> owner & 1 == 1) {
            let was_member = self.group.joined[owner] == self.group.generation;
            next.group.joined[owner] = next.group.generation;
            next.group.view[owner] = 0;
            for lane in protocol.lanes() {
                if assigned[lane] as usize == owner {
                    next.group.view[owner] |= 1 << lane;
                }
                let kept = was_member && self.group.assigned[lane] as usize == owner;
                let held = &mut next.owners[owner].lanes[lane];
                held.interrupted |= held.generation != 0 && !kept;
            }
        }
        next
    }

    /// A transaction holds an offset of this lane that is neither committed nor aborted: a stable read waits.
    pub fn offset_pending(&self, lane: usize) -> bool {
        self.transactions
            .iter()
            .any(|transaction| transaction.offsets[lane].is_some())
    }

    /// TxnOffsetCommit: whether the group coordinator took it.
    pub fn offsets_accepted(
        &mut self,
        slot: usize,
        generation: u8,
        offsets: [Option<u8>; LANES],
    ) -> bool {
        let accepted = generation == self.group.generation;
        if accepted {
            self.transactions[slot].phase = Phase::Open;
            self.transactions[slot].offsets = offsets;
        }
        accepted
    }

    /// EndTxn(commit): from here on the outcome stands, whoever hears of it.
    pub fn decide(&mut self, slot: usize) {
        for record in self
            .log
            .iter()
            .filter(|record| record.pending == Some(slot as u8))
        {
            self.unfenced |= self.transactions[slot].offsets[record.lane as usize].is_none();
        }
        self.log.settle(slot, |mut record| {
            record.pending = None;
            Some(record)
        });
        self.transactions[slot].phase = Phase::Prepared;
    }

    /// Takes an open transaction back. A late request stays on its way, unless nothing is left for it to hit.
    pub fn abort(&mut self, slot: usize) {
        self.log.settle(slot, |_| None);
        self.clear(slot);
    }

    fn marked(&self, slot: usize) -> State {
        let mut next = *self;
        for lane in 0..LANES {
            next.committed[lane] = self.transactions[slot].offsets[lane].or(self.committed[lane]);
        }
        next.clear(slot);
        next
    }

    fn clear(&mut self, slot: usize) {
        let late = self.transactions[slot].late.filter(|_| slot < OWNERS);
        self.transactions[slot] = Transaction {
            late,
            ..Transaction::default()
        };
    }

    fn late_request_landed(&self, slot: usize) -> State {
        let mut next = *self;
        let late = next.transactions[slot].late.take();
        match late {
            // Accepted or not: nobody waits for the answer.
            Some(Request::Offsets {
                generation,
                offsets,
            }) if self.transactions[slot].phase == Phase::Open => {
                next.offsets_accepted(slot, generation, offsets);
            }
            Some(Request::Commit) if self.transactions[slot].phase == Phase::Open => {
                next.decide(slot)
            }
            _ => {}
        }
        next
    }

    /// The producer of this owner is gone for good: what it left open becomes an orphan.
    pub fn orphan(&mut self, owner: usize, late: Option<Request>) {
        let mut left = std::mem::take(&mut self.transactions[owner]);
        if late.is_some() && left.phase == Phase::None {
            // The transaction was about to be opened by this request.
            left.phase = Phase::Open;
        }
        if matches!(left.phase, Phase::None | Phase::TimedOut) {
            return;
        }
        let free = (OWNERS..SLOTS)
            .find(|slot| self.transactions[*slot].phase == Phase::None)
            .expect("a scenario has no more crashes and unknown outcomes than there are slots for orphans");
        self.transactions[free] = Transaction {
            owner: owner as u8,
            late,
            ..left
        };
        self.log.settle(owner, |mut record| {
            record.pending = Some(free as u8);
            Some(record)
        });
    }

    /// `init_transactions` with a fixed transactional.id ends what earlier producers of this id left open, and waits
    /// (`None`) while a decided one is still writing its markers.
    pub fn initialised(&self, owner: usize) -> Option<State> {
        let mut next = *self;
        next.owners[owner].uninitialised = false;
        for slot in OWNERS..SLOTS {
            let transaction = self.transactions[slot];
            match transaction.phase {
                Phase::Open if transaction.owner as usize == owner => next.abort(slot),
                Phase::Prepared if transaction.owner as usize == owner => return None,
                _ => {}
            }
        }
        Some(next)
    }
}
