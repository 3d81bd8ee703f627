//! PUBLISH: the one Kafka transaction an owner's producer can have, from its first record to the commit.
//!
//! Produced batches carry sequence numbers, by which the broker refuses an old one that arrives late; offsets and the
//! end of a transaction carry only the producer's id and epoch, so those are the requests that can be late here.

use crate::protocol::{Protocol, Safeguard};
use crate::state::{LANES, Memory, Phase, Publish, PublishStep, Record, Request, State, Work};
use crate::step::{Outcome, Step};

/// The ways a request can end without an answer. A copy that lands after the request itself was applied matters only
/// to a producer that is used on: to a dead producer's transaction it changes nothing.
const UNKNOWN: [Outcome; 3] = [Outcome::Lost, Outcome::Applied, Outcome::Late];
const UNKNOWN_TO_A_LIVING_PRODUCER: [Outcome; 4] = [
    Outcome::Lost,
    Outcome::Applied,
    Outcome::Late,
    Outcome::AppliedAndLate,
];

impl Protocol {
    pub fn publish_steps(&self, state: &State, owner: usize, out: &mut Vec<(Step, State)>) {
        if state.owners[owner].uninitialised {
            if let Some(next) = state.initialised(owner) {
                out.push((Step::InitTransactions { owner }, next));
            }
            return;
        }
        match state.owners[owner].publish.step {
            PublishStep::Idle => {
                for lanes in 1..1 << self.scenario.lanes {
                    self.produce(state, owner, lanes, out);
                }
            }
            PublishStep::Produced => self.send_offsets(state, owner, out),
            PublishStep::OffsetsSent => self.commit_transaction(state, owner, out),
        }
    }

    /// Begins a transaction of these lanes, if they are ready for it and may share one, and produces their rows.
    fn produce(&self, state: &State, owner: usize, lanes: u8, out: &mut Vec<(Step, State)>) {
        let held = &state.owners[owner].lanes;
        let ready = in_set(lanes).all(|lane| matches!(held[lane].work, Work::Publish { .. }));
        let generation = in_set(lanes)
            .map(|lane| held[lane].generation)
            .max()
            .unwrap_or(0);
        let together = in_set(lanes).all(|lane| held[lane].generation == generation)
            || !self.keeps(Safeguard::OneGenerationPerTransaction);
        // While the last transaction writes its markers the coordinator answers "concurrent transactions": again.
        if !ready || !together || state.transactions[owner].phase == Phase::Prepared {
            return;
        }
        let mut begun = *state;
        begun.owners[owner].publish = Publish {
            step: PublishStep::Produced,
            lanes,
            generation,
        };
        let mut produced = begun;
        for lane in in_set(lanes) {
            produced.append_rows(owner, lane);
        }
        out.push((
            Step::Produce {
                owner,
                lanes,
                outcome: Outcome::Told,
            },
            produced,
        ));
        if state.left.unknowns > 0 && produced.log != begun.log {
            for (outcome, broker) in [(Outcome::Lost, begun), (Outcome::Applied, produced)] {
                out.push((
                    Step::Produce {
                        owner,
                        lanes,
                        outcome,
                    },
                    self.gave_up(broker, owner, None),
                ));
            }
        }
    }

    fn send_offsets(&self, state: &State, owner: usize, out: &mut Vec<(Step, State)>) {
        let publish = state.owners[owner].publish;
        let generation = if self.keeps(Safeguard::MetadataCapturedAtAssignment) {
            publish.generation
        } else {
            state.group.joined[owner]
        };
        let mut offsets = [None; LANES];
        let mut has_rows = false;
        for lane in in_set(publish.lanes) {
            if let Work::Publish { memory, from, .. } = state.owners[owner].lanes[lane].work {
                has_rows |= from <= memory.seq;
                offsets[lane] = self.has_offset(state, owner, lane).then_some(memory.seq);
            }
        }
        let mut sent = *state;
        sent.owners[owner].publish.step = PublishStep::OffsetsSent;
        if offsets == [None; LANES] {
            // librdkafka answers Ok and sends nothing.
            out.push((
                Step::SendOffsets {
                    owner,
                    outcome: Outcome::Told,
                },
                sent,
            ));
            return;
        }
        let begun = if has_rows { Phase::Open } else { Phase::None };
        let accepted = state.transactions[owner].phase == begun
            && sent.offsets_accepted(owner, generation, offsets);
        let mut told = sent;
        if !accepted {
            told.abort_publish(owner);
        }
        out.push((
            Step::SendOffsets {
                owner,
                outcome: Outcome::Told,
            },
            told,
        ));
        for outcome in self.unknown(state) {
            let applied = matches!(outcome, Outcome::Applied | Outcome::AppliedAndLate);
            let late = matches!(outcome, Outcome::Late | Outcome::AppliedAndLate).then_some(
                Request::Offsets {
                    generation,
                    offsets,
                },
            );
            let broker = if applied { sent } else { *state };
            out.push((
                Step::SendOffsets {
                    owner,
                    outcome: *outcome,
                },
                self.gave_up(broker, owner, late),
            ));
        }
    }

    /// Whether the list of offsets names this lane. It always does; with safeguard 8 removed, only if what is published
    /// came with a new offset, which a timer's record does not.
    fn has_offset(&self, state: &State, owner: usize, lane: usize) -> bool {
        let rows = state.rows_to_publish(owner, lane);
        self.keeps(Safeguard::OffsetsNeverEmpty)
            || rows.is_empty()
            || rows.iter().any(|row| row.1 != self.timer())
    }

    /// The runtime waits with this until PostgreSQL has committed what the transaction tells of.
    fn commit_transaction(&self, state: &State, owner: usize, out: &mut Vec<(Step, State)>) {
        let held = &state.owners[owner].lanes;
        let is_permitted = in_set(state.owners[owner].publish.lanes).all(|lane| {
            !matches!(
                held[lane].work,
                Work::Publish {
                    committed: false,
                    ..
                }
            )
        });
        if self.keeps(Safeguard::KafkaCommitsAfterDatabase) && !is_permitted {
            return;
        }
        let mut committed = *state;
        let open = state.transactions[owner].phase == Phase::Open;
        if open {
            committed.decide(owner);
        }
        let mut told = committed;
        if open {
            told.published(owner);
        } else {
            told.abort_publish(owner);
        }
        out.push((
            Step::CommitTransaction {
                owner,
                outcome: Outcome::Told,
            },
            told,
        ));
        for outcome in self.unknown(state) {
            let step = Step::CommitTransaction {
                owner,
                outcome: *outcome,
            };
            let applied = matches!(outcome, Outcome::Applied | Outcome::AppliedAndLate);
            let late = matches!(outcome, Outcome::Late | Outcome::AppliedAndLate)
                .then_some(Request::Commit);
            let broker = if applied { committed } else { *state };
            if self.keeps(Safeguard::UnknownKafkaCommitIsNotGuessed) {
                out.push((step, self.gave_up(broker, owner, late)));
                continue;
            }
            let mut taken_as_done = broker;
            taken_as_done.published(owner);
            out.push((step, self.gave_up(taken_as_done, owner, late)));
            let mut taken_as_failed = self.gave_up(broker, owner, late);
            for lane in in_set(state.owners[owner].publish.lanes) {
                taken_as_failed.owners[owner].lanes[lane].work =
                    state.owners[owner].lanes[lane].work;
            }
            out.push((step, taken_as_failed));
        }
    }

    fn unknown(&self, state: &State) -> &'static [Outcome] {
        match state.left.unknowns {
            0 => &[],
            _ if self.keeps(Safeguard::ProducerReplacedAfterTimeout) => &UNKNOWN,
            _ => &UNKNOWN_TO_A_LIVING_PRODUCER,
        }
    }

    /// A call without an answer: a new producer, and recovery of every lane the transaction held.
    fn gave_up(&self, broker: State, owner: usize, late: Option<Request>) -> State {
        let mut next = broker;
        next.left.unknowns -= 1;
        if self.keeps(Safeguard::ProducerReplacedAfterTimeout) {
            next.orphan(owner, late);
            next.owners[owner].uninitialised = self.scenario.fixed_ids;
        } else {
            next.transactions[owner].late = late;
        }
        next.abort_publish(owner);
        next
    }
}

fn in_set(lanes: u8) -> impl Iterator<Item = usize> {
    (0..LANES).filter(move |lane| lanes >> lane & 1 == 1)
}

impl State {
    /// `(seq, event)` of the rows a lane in PUBLISH holds: those its cycle just wrote, or those its recovery read.
    fn rows_to_publish(&self, owner: usize, lane: usize) -> Vec<(u8, u8)> {
        let Work::Publish {
            memory,
            from,
            event,
            ..
        } = self.owners[owner].lanes[lane].work
        else {
            return Vec::new();
        };
        (from..=memory.seq)
            .map(|seq| {
                (
                    seq,
                    event.unwrap_or(self.postgres[lane].rows[seq as usize - 1]),
                )
            })
            .collect()
    }

    fn append_rows(&mut self, owner: usize, lane: usize) {
        for (seq, event) in self.rows_to_publish(owner, lane) {
            self.transactions[owner].phase = Phase::Open;
            self.transactions[owner].owner = owner as u8;
            self.log.append(Record {
                lane: lane as u8,
                seq,
                event,
                pending: Some(owner as u8),
            });
        }
    }

    /// The commit was answered Ok: the lanes' rows are known to be published and their next cycle may begin.
    fn published(&mut self, owner: usize) {
        for lane in in_set(self.owners[owner].publish.lanes) {
            if let Work::Publish { memory, .. } = self.owners[owner].lanes[lane].work {
                self.owners[owner].lanes[lane].work = Work::ready(Memory {
                    published: memory.seq,
                    ..memory
                });
            }
        }
        self.owners[owner].publish = Publish::default();
    }

    /// The transaction was refused, or one of its lanes is gone: takes back what is open; its lanes recover.
    pub fn abort_publish(&mut self, owner: usize) {
        match self.transactions[owner].phase {
            Phase::Open => self.abort(owner),
            Phase::TimedOut => self.transactions[owner].phase = Phase::None,
            Phase::None | Phase::Prepared => {}
        }
        for lane in in_set(self.owners[owner].publish.lanes) {
            self.detach(owner, lane);
            if matches!(self.owners[owner].lanes[lane].work, Work::Publish { .. }) {
                self.owners[owner].lanes[lane].work = Work::recover();
            }
        }
        self.owners[owner].publish = Publish::default();
    }
}
