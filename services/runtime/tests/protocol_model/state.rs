//! The global state of the model: both logs, the consumer group, and what each owner holds in memory.
//!
//! Everything is `Copy` and of fixed size, so that millions of states fit in memory and a step is a copy and a few
//! writes. Numbers that only ever grow and are only compared for equality are not kept as numbers: a lane's version
//! and epoch become `Memory::current` ("nobody moved them since I read them"), or the state space would be infinite.

use std::hash::{Hash, Hasher};

pub const OWNERS: usize = 2;
pub const LANES: usize = 2;
/// Messages and the timer of one lane.
pub const EVENTS: usize = 5;
/// Orphaned transactions (their producer is dead) that can exist together: one per crash or unknown outcome.
pub const ORPHANS: usize = 4;
/// Slot `o` is the transaction of owner `o`'s living producer; the rest are orphans.
pub const SLOTS: usize = OWNERS + ORPHANS;
/// Records in the output log, duplicates included.
pub const LOG: usize = 14;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct State {
    pub left: Budget,
    pub postgres: [Row; LANES],
    pub group: Group,
    /// The `seq` in the metadata of each lane's committed offset; `None` is a missing offset.
    pub committed: [Option<u8>; LANES],
    pub transactions: [Transaction; SLOTS],
    pub log: Log,
    pub owners: [Owner; OWNERS],
    /// Some transaction was committed with records of a lane and without that lane's offset.
    pub unfenced: bool,
}

/// How often things may still happen that would otherwise happen without end.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Budget {
    /// Rebalances without a cause in the model: a member was slow, paused, cut off, or a new one came.
    pub rebalances: u8,
    pub crashes: u8,
    /// Requests to either log whose outcome the client never learns.
    pub unknowns: u8,
    /// Committed offsets that Kafka forgets.
    pub forgotten: u8,
    /// IDLE's commits of an offset that has not changed.
    pub recommits: u8,
}

/// What PostgreSQL holds of one lane.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Row {
    /// Next message to apply.
    pub position: u8,
    /// Number of the last outbox row.
    pub seq: u8,
    /// Outbox rows up to this number are deleted.
    pub deleted: u8,
    /// The event whose record row `seq` carries, at index `seq - 1`; kept after deletion for comparison.
    pub rows: [u8; EVENTS],
    /// The business state: how often each event was applied.
    pub applied: [u8; EVENTS],
    /// A COMMIT on its way that its client gave up on. It holds the lane's row lock, so it lands before the lane's
    /// next transaction or never.
    pub detached: Option<Apply>,
    /// The same for a transaction that did not lock the lane (safeguard 3 removed): it may land at any time.
    pub detached_unlocked: Option<Apply>,
}

/// What a lane's transaction does besides moving the version.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Apply {
    /// `None` only deletes published rows.
    pub event: Option<u8>,
    /// Rows up to this number are known to be published and are deleted.
    pub published: u8,
}

/// The consumer group, as the broker sees it, and what each member's client last heard.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Group {
    pub generation: u8,
    pub assigned: [u8; LANES],
    /// Generation each owner's client last joined; 0 is none.
    pub joined: [u8; OWNERS],
    /// Lanes assigned to each owner in that generation, as a bit set.
    pub view: [u8; OWNERS],
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Transaction {
    pub phase: Phase,
    /// Whose transactional.id it was begun with.
    pub owner: u8,
    /// The `seq` to commit for each lane.
    pub offsets: [Option<u8>; LANES],
    /// A request of a given up call that may still arrive at the coordinator.
    pub late: Option<Request>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Phase {
    #[default]
    None,
    Open,
    /// Decided: its records are as good as visible, its offsets wait for their marker.
    Prepared,
    /// The coordinator aborted it for its age; the producer has yet to hear of it.
    TimedOut,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Request {
    Offsets {
        generation: u8,
        offsets: [Option<u8>; LANES],
    },
    Commit,
}

/// The output topic: records in log order; aborted ones are taken out, which keeps the order of the rest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Log {
    len: u8,
    records: [Record; LOG],
}

/// Hashing is most of the search's work, and most of the array is empty.
impl Hash for Log {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        for record in self.iter() {
            record.hash(hasher);
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Record {
    pub lane: u8,
    pub seq: u8,
    pub event: u8,
    /// Slot of the transaction it belongs to; `None` once that is committed.
    pub pending: Option<u8>,
}

impl Log {
    pub fn iter(&self) -> impl Iterator<Item = &Record> {
        self.records[..self.len as usize].iter()
    }

    pub fn visible(&self) -> impl Iterator<Item = &Record> {
        self.iter().filter(|record| record.pending.is_none())
    }

    pub fn append(&mut self, record: Record) {
        self.records[self.len as usize] = record;
        self.len += 1;
    }

    /// Settles or moves the records of one transaction; `None` takes them out.
    pub fn settle(&mut self, slot: usize, with: impl Fn(Record) -> Option<Record>) {
        let before = *self;
        *self = Log::default();
        for record in before.iter() {
            if record.pending != Some(slot as u8) {
                self.append(*record);
            } else if let Some(settled) = with(*record) {
                self.append(settled);
            }
        }
    }
}

/// One process.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Owner {
    pub lanes: [Lane; LANES],
    pub publish: Publish,
    /// The producer was replaced and has not run `init_transactions` yet.
    pub uninitialised: bool,
}

/// How far the owner's producer is with its transaction.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Publish {
    pub step: PublishStep,
    /// The lanes in it, as a bit set.
    pub lanes: u8,
    /// Generation of the group metadata captured for those lanes.
    pub generation: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum PublishStep {
    #[default]
    Idle,
    Produced,
    OffsetsSent,
}

/// One owner's dealings with one lane. Its worker hears of assignments later than the client does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Lane {
    /// Generation of the group metadata captured at assignment; 0: not held.
    pub generation: u8,
    /// Between that and the client's present generation somebody else may have owned the lane.
    pub interrupted: bool,
    pub work: Work,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Work {
    #[default]
    None,
    /// RECOVER a: about to read the committed offset.
    ReadOffset {
        gap: Option<Gap>,
    },
    /// RECOVER b: about to read PostgreSQL.
    ReadRows {
        committed: Option<u8>,
        gap: Option<Gap>,
    },
    /// Safeguard 4 removed: the lane is read, its rows are not.
    RowsLeft {
        committed: u8,
        position: u8,
        fired: bool,
    },
    /// Safeguard 4 removed: the rows are read, their lane is not.
    LaneLeft {
        committed: u8,
        seq: u8,
    },
    Ready(Memory),
    /// Rows `from..=memory.seq` are to be published, or nothing but the offset when that is empty. PostgreSQL may not have
    /// committed them yet: `memory` is what it is to be then.
    Publish {
        memory: Memory,
        from: u8,
        event: Option<u8>,
        committed: bool,
    },
    /// A gap seen with metadata that is no longer current: waits for the callback that will say so.
    Stopped,
    /// RECOVER d: "the logs contradict each other".
    RefusedGap,
    /// RECOVER c: offset forgotten and the outbox not empty.
    RefusedMissing,
}

/// What two logs looked like when they did not fit: committed seq, last row, rows deleted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Gap {
    pub committed: u8,
    pub seq: u8,
    pub deleted: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Memory {
    /// Version and epoch are still those of the lane in PostgreSQL.
    pub current: bool,
    /// Rows up to this number are known to be published.
    pub published: u8,
    pub seq: u8,
    pub position: u8,
    pub fired: bool,
}

impl Work {
    pub fn memory(&mut self) -> Option<&mut Memory> {
        match self {
            Work::Ready(memory) | Work::Publish { memory, .. } => Some(memory),
            _ => None,
        }
    }

    /// A ready lane. Stale memory is good for one thing only, to be fenced, so what else it holds is wiped: states
    /// that differ in it behave alike.
    pub fn ready(memory: Memory) -> Work {
        Work::Ready(if memory.current {
            memory
        } else {
            Memory::default()
        })
    }

    pub fn recover() -> Work {
        Work::ReadOffset { gap: None }
    }
}
