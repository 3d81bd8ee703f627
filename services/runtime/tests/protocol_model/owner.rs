//! An owner between the logs: assignment callbacks and the cycle of each lane.
//!
//! Workers of the lanes run apart from the client: the client may have joined a later generation, or lost its
//! membership, long before a lane's worker hears of it. The real runtime is stricter (one callback stops all lanes it
//! names), so whatever holds here holds there. That a process pauses needs no step of its own: others move, it does not.

use crate::protocol::{Protocol, Safeguard};
use crate::state::{Apply, Lane, Memory, Owner, PublishStep, State, Work};
use crate::step::{Outcome, Step};

impl Protocol {
    pub fn owner_steps(&self, state: &State, owner: usize, out: &mut Vec<(Step, State)>) {
        if state.left.crashes > 0 {
            out.push((Step::Crash { owner }, self.crashed(state, owner)));
        }
        for lane in self.lanes() {
            if let Some(next) = self.called_back(state, owner, lane) {
                out.push((Step::Callback { owner, lane }, next));
            }
            match state.owners[owner].lanes[lane].work {
                Work::ReadOffset { gap } => self.read_offset(state, owner, lane, gap, out),
                Work::ReadRows { committed, gap } => {
                    self.read_rows(state, owner, lane, committed, gap, out)
                }
                Work::RowsLeft { .. } | Work::LaneLeft { .. } => {
                    let next = self.second_snapshot(state, owner, lane);
                    let outcome = Outcome::Told;
                    out.push((
                        Step::ReadRows {
                            owner,
                            lane,
                            outcome,
                        },
                        next,
                    ));
                }
                Work::Ready(memory) if !memory.current => {
                    let mut next = *state;
                    next.owners[owner].lanes[lane].work = Work::recover();
                    out.push((Step::Fenced { owner, lane }, next));
                }
                Work::Ready(memory) => self.cycle(state, owner, lane, memory, out),
                Work::Publish {
                    memory,
                    from,
                    event,
                    committed: false,
                } => self.commit_begun(state, owner, lane, (memory, from, event), out),
                _ => {}
            }
        }
        self.publish_steps(state, owner, out);
    }

    /// The process dies with all its memory; the one started in its place is not a member yet.
    fn crashed(&self, state: &State, owner: usize) -> State {
        let mut next = *state;
        next.left.crashes -= 1;
        for lane in self.lanes() {
            next.detach(owner, lane);
        }
        next.orphan(owner, None);
        next.owners[owner] = Owner {
            uninitialised: self.scenario.fixed_ids,
            ..Owner::default()
        };
        next.group.joined[owner] = 0;
        next.group.view[owner] = 0;
        next
    }

    /// ASSIGN, REVOKE and LOST, for one lane, when there is something to tell it.
    fn called_back(&self, state: &State, owner: usize, lane: usize) -> Option<State> {
        let held = state.owners[owner].lanes[lane];
        let generation = state.group.joined[owner];
        let assigned = state.group.view[owner] >> lane & 1 == 1;
        let mut next = *state;
        if !assigned {
            if held.generation == 0 {
                return None;
            }
            next.drop_lane(owner, lane);
            return Some(next);
        }
        if held.generation == generation {
            return None;
        }
        let regained = held.interrupted && self.keeps(Safeguard::MemoryDroppedWhenRegained);
        if held.generation == 0 || regained {
            next.drop_lane(owner, lane);
            next.owners[owner].lanes[lane] = Lane {
                generation,
                interrupted: false,
                work: Work::recover(),
            };
        } else {
            let retained = &mut next.owners[owner].lanes[lane];
            retained.interrupted = false;
            if !self.keeps(Safeguard::MetadataRefreshedWhenRetained) {
                return None;
            }
            retained.generation = generation;
        }
        Some(next)
    }

    /// CYCLE up to COMMIT, one event each, or up to where its records may be produced; IDLE's deletion of published rows; IDLE's commit of the offset once more.
    fn cycle(
        &self,
        state: &State,
        owner: usize,
        lane: usize,
        memory: Memory,
        out: &mut Vec<(Step, State)>,
    ) {
        let message = (memory.position < self.scenario.messages).then_some(memory.position);
        let timer = (self.timer() < self.events() && !memory.fired).then_some(self.timer());
        for event in [message, timer].into_iter().flatten() {
            self.transact(state, owner, lane, memory, Some(event), out);
            if self.emits(event) {
                let memory = Memory {
                    seq: memory.seq + 1,
                    ..memory
                };
                let mut next = *state;
                next.owners[owner].lanes[lane].work = self.after_commit(memory, Some(event), false);
                out.push((Step::Begin { owner, lane, event }, next));
            }
        }
        if state.postgres[lane].deleted < memory.published {
            self.transact(state, owner, lane, memory, None, out);
        }
        if state.left.recommits > 0 {
            let mut next = *state;
            next.left.recommits -= 1;
            next.owners[owner].lanes[lane].work = Work::Publish {
                memory,
                from: memory.seq + 1,
                event: None,
                committed: true,
            };
            out.push((Step::Recommit { owner, lane }, next));
        }
    }

    fn transact(
        &self,
        state: &State,
        owner: usize,
        lane: usize,
        memory: Memory,
        event: Option<u8>,
        out: &mut Vec<(Step, State)>,
    ) {
        let after = |seq: u8, current: bool| {
            let memory = Memory {
                current,
                seq,
                ..memory
            };
            self.after_commit(memory, event, true)
        };
        let apply = Apply {
            event,
            published: memory.published,
        };
        self.commit(state, owner, lane, apply, after, out);
    }

    /// COMMIT of a cycle whose records are, or may be, in an open Kafka transaction. In the runtime it holds the lane's row
    /// from its first statement on; that it is only compared here leaves more to chance.
    fn commit_begun(
        &self,
        state: &State,
        owner: usize,
        lane: usize,
        (memory, from, event): (Memory, u8, Option<u8>),
        out: &mut Vec<(Step, State)>,
    ) {
        if !memory.current {
            let mut next = *state;
            next.give_up(owner, lane);
            out.push((Step::Fenced { owner, lane }, next));
            return;
        }
        let after = |_, current| Work::Publish {
            memory: Memory { current, ..memory },
            from,
            event,
            committed: true,
        };
        let apply = Apply {
            event,
            published: memory.published,
        };
        self.commit(state, owner, lane, apply, after, out);
    }

    /// COMMIT, answered or not; `after` by the number of the last row, and by whether it was applied.
    fn commit(
        &self,
        state: &State,
        owner: usize,
        lane: usize,
        apply: Apply,
        after: impl Fn(u8, bool) -> Work,
        out: &mut Vec<(Step, State)>,
    ) {
        let event = apply.event;
        let locked =
            event != Some(self.timer()) || self.keeps(Safeguard::EveryTransactionMovesTheVersion);
        let commit = |next: &mut State| {
            if locked {
                next.move_version(lane);
            }
            next.apply(self, lane, apply)
        };
        let mut told = *state;
        let seq = commit(&mut told);
        told.owners[owner].lanes[lane].work = after(seq, true);
        out.push((
            Step::Cycle {
                owner,
                lane,
                event,
                outcome: Outcome::Told,
            },
            told,
        ));

        if state.left.unknowns == 0 {
            return;
        }
        for outcome in [Outcome::Lost, Outcome::Applied, Outcome::Late] {
            let mut next = *state;
            next.left.unknowns -= 1;
            match outcome {
                Outcome::Applied => _ = commit(&mut next),
                Outcome::Late if locked => next.postgres[lane].detached = Some(apply),
                Outcome::Late => next.postgres[lane].detached_unlocked = Some(apply),
                _ => {}
            }
            if self.keeps(Safeguard::UnknownDatabaseCommitIsNotDone) {
                next.give_up(owner, lane);
            } else {
                next.owners[owner].lanes[lane].work = after(seq, outcome == Outcome::Applied);
            }
            out.push((
                Step::Cycle {
                    owner,
                    lane,
                    event,
                    outcome,
                },
                next,
            ));
        }
    }

    /// What a lane does once its cycle is, or may be taken to be, in PostgreSQL; `memory.seq` is that of then.
    fn after_commit(&self, mut memory: Memory, event: Option<u8>, committed: bool) -> Work {
        match event {
            Some(event) if event == self.timer() => memory.fired = true,
            Some(event) => memory.position = event + 1,
            None => {}
        }
        match event {
            Some(event) if self.emits(event) => Work::Publish {
                memory,
                from: memory.seq,
                event: Some(event),
                committed,
            },
            _ => Work::ready(memory),
        }
    }
}

impl State {
    /// Forgets a lane and takes back the transaction it is part of; the other lanes in that one recover.
    fn drop_lane(&mut self, owner: usize, lane: usize) {
        self.detach(owner, lane);
        self.give_up(owner, lane);
        self.owners[owner].lanes[lane] = Lane::default();
    }

    /// A cycle failed: takes back the transaction that the lane is part of; all lanes in that one recover.
    fn give_up(&mut self, owner: usize, lane: usize) {
        self.owners[owner].lanes[lane].work = Work::recover();
        let publish = self.owners[owner].publish;
        if publish.step != PublishStep::Idle && publish.lanes >> lane & 1 == 1 {
            self.abort_publish(owner);
        }
    }

    /// Leaves a lane's open PostgreSQL transaction, if there is one, to itself: it may still be committed.
    pub fn detach(&mut self, owner: usize, lane: usize) {
        if let Work::Publish {
            memory,
            event,
            committed: false,
            ..
        } = self.owners[owner].lanes[lane].work
            && memory.current
        {
            self.postgres[lane].detached = Some(Apply {
                event,
                published: memory.published,
            });
        }
    }
}
