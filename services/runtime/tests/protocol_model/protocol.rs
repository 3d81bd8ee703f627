//! What is searched: the protocol in a scenario, whole or without one of its safeguards.

use crate::state::{
    Budget, Group, LANES, Lane, Log, OWNERS, Owner, Row, SLOTS, State, Transaction, Work,
};
use crate::step::Step;

/// The fourteen rules whose removal must break something, in the order the protocol lists them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Safeguard {
    MetadataCapturedAtAssignment,
    MissingOffsetIsNotZero,
    EveryTransactionMovesTheVersion,
    LaneAndRowsInOneSnapshot,
    UnknownDatabaseCommitIsNotDone,
    UnknownKafkaCommitIsNotGuessed,
    OffsetsReadStably,
    OffsetsNeverEmpty,
    OneGenerationPerTransaction,
    MemoryDroppedWhenRegained,
    ProducerReplacedAfterTimeout,
    GapMayBeAZombies,
    MetadataRefreshedWhenRetained,
    KafkaCommitsAfterDatabase,
}

/// Size of the world and number of faults. Small on purpose: the search visits everything within it.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub lanes: u8,
    /// Source messages of each lane; each applies state and emits one record.
    pub messages: u8,
    pub timer: Timer,
    pub budget: Budget,
    /// Kafka has no offset of the lanes yet.
    pub new_lanes: bool,
    /// A producer that replaces another takes its transactional.id, so that its `init_transactions` ends what the other
    /// left; otherwise that waits for the transaction timeout.
    pub fixed_ids: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timer {
    None,
    /// Changes state, emits nothing.
    Silent,
    /// Changes state and emits a record.
    Emitting,
}

#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    pub scenario: Scenario,
    pub removed: Option<Safeguard>,
}

impl Protocol {
    pub fn keeps(&self, safeguard: Safeguard) -> bool {
        self.removed != Some(safeguard)
    }

    pub fn lanes(&self) -> std::ops::Range<usize> {
        0..self.scenario.lanes as usize
    }

    /// Number of the timer among a lane's events: after the messages.
    pub fn timer(&self) -> u8 {
        self.scenario.messages
    }

    pub fn events(&self) -> u8 {
        self.scenario.messages + u8::from(self.scenario.timer != Timer::None)
    }

    pub fn emits(&self, event: u8) -> bool {
        event != self.timer() || self.scenario.timer == Timer::Emitting
    }

    /// Owner 0 was just assigned every lane; owner 1 is a member without lanes.
    pub fn initial(&self) -> State {
        let mut owners = [Owner::default(); OWNERS];
        for lane in self.lanes() {
            owners[0].lanes[lane] = Lane {
                generation: 1,
                interrupted: false,
                work: Work::recover(),
            };
        }
        State {
            left: self.scenario.budget,
            postgres: [Row::default(); LANES],
            group: Group {
                generation: 1,
                assigned: [0; LANES],
                joined: [1; OWNERS],
                view: [(1 << self.scenario.lanes) - 1, 0],
            },
            committed: [(!self.scenario.new_lanes).then_some(0); LANES],
            transactions: [Transaction::default(); SLOTS],
            log: Log::default(),
            owners,
            unfenced: false,
        }
    }

    /// Every step possible in `state`, with the state it leads to.
    pub fn steps(&self, state: &State, out: &mut Vec<(Step, State)>) {
        self.group_steps(state, out);
        self.broker_steps(state, out);
        self.postgres_steps(state, out);
        for owner in 0..OWNERS {
            self.owner_steps(state, owner, out);
        }
    }
}
