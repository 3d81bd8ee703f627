//! The protocol of the runtime as an exhaustive explicit-state model: every state that two owners, both logs and the
//! faults of a scenario can get into is visited. The whole protocol must be without a violation in all of them, and
//! each of its fourteen safeguards, taken out, must be seen to break it in the way the protocol says. The model is
//! independent of the runtime's code: it is the specification, checked; the tests against the real logs are the code's.
//!
//! # What is modelled
//! - PostgreSQL per lane: version and epoch (as "still what I read"), position, seq, outbox rows and their deletion, and
//!   how often each event was applied. A COMMIT may be lost, applied without an answer, or land later (`postgres.rs`).
//! - Kafka: generations, members, assignments; transactions with records, offsets and `seq`, decided before their
//!   markers are written; transaction timeouts; late and duplicated requests; forgotten offsets (`broker.rs`).
//! - Two owners with ASSIGN, REVOKE and LOST, recovery a to f, cycle, publish and idle work (`owner.rs`, `recover.rs`,
//!   `publish.rs`). A crash, a rebalance, or an unknown outcome is possible wherever the budget still has one; a zombie
//!   is an owner that takes no step while others do, and the client of a process may be generations ahead of the workers
//!   of its lanes.
//! - Source messages in order, and one timer that is due at any time and emits a record, or changes state only. (The
//!   answer of an outside call is an event of the same sort: it comes with no offset.)
//!
//! # What must hold (`properties.rs`)
//! In every state: each event applied at most once and messages in order; each record visible at most once and in
//! lane order; no visible record without its state; nothing marked as done that is not; no lane refused for corruption,
//! for there is none. From every state, by steps without further faults: all applied and all visible, once.
//!
//! # What is left out, and why that is sound
//! - A cycle has one event, a lane one position: all of a cycle is one PostgreSQL transaction, which is atomic at any size.
//! - A lane's PostgreSQL transaction is one step: its row lock lets no other of that lane in between. Where records go into
//!   a Kafka transaction before its COMMIT, the lock is left out: others may come in between, which leaves more to chance.
//! - Outgoing records are visible once their transaction is decided: markers come in the end, and aborted records
//!   only delay readers. Markers of offsets, which recovery reads, are steps of their own.
//! - An abort without an answer is not a step of its own: it leaves what an unanswered request before it leaves, an open
//!   transaction of a producer that is gone.
//! - Late produced batches: their sequence numbers make the broker refuse them.
//! - Business state and what a record says: the protocol looks at neither.
//! - Versions are only compared for equality and only grow, so that "nobody moved it since" says all of them, and a model
//!   in which fenced owners may recover for ever is still finite.
//!
//! Two assumptions are the broker's and the client's, not the protocol's: a request is late only after its caller got no
//! answer (librdkafka repeats some requests by itself after a broken connection), and every commit of an offset, also
//! of a new lane's start and of an idle lane, goes through PUBLISH. A plain commit has no producer that could be
//! replaced: late, but with a valid generation, it would put an older `seq` over a newer one.
//!
//! # Size
//! States visited under the whole protocol: 2,409,190 with a rebalance, a crash and an unknown outcome anywhere; 822,024
//! with fixed transactional ids; 1,232,556 with two rebalances and a crash; 145,802 with a crash and two unknown outcomes;
//! 229,436 with an emitting timer; 710,485 on a new lane; 550,222 with a forgotten offset; 464,988 with an idle commit;
//! 784,903 with two lanes: a bit over a minute on one core in a debug build. `PROTOCOL_MODEL_MORE=rebalances,messages` (or
//! `crashes`, `unknowns`) adds one of each named to all of these. With one more rebalance two lanes hold too, in 21,287,371
//! states at some 300 bytes of memory each; the others were not searched so far since records may precede their COMMIT.

mod broker;
mod owner;
mod postgres;
mod properties;
mod protocol;
mod publish;
mod recover;
mod search;
mod state;
mod step;

use properties::Violation::{self, *};
use protocol::{Protocol, Safeguard, Safeguard::*, Scenario, Timer};
use search::{Target, search};
use state::Budget;
use step::Step;

const NO_FAULTS: Budget = Budget {
    rebalances: 0,
    crashes: 0,
    unknowns: 0,
    forgotten: 0,
    recommits: 0,
};

const ONE_LANE: Scenario = Scenario {
    lanes: 1,
    messages: 2,
    timer: Timer::Silent,
    budget: NO_FAULTS,
    new_lanes: false,
    fixed_ids: false,
};
const TWO_LANES: Scenario = Scenario {
    lanes: 2,
    messages: 1,
    timer: Timer::None,
    ..ONE_LANE
};
const EMITTING_TIMER: Scenario = Scenario {
    messages: 1,
    timer: Timer::Emitting,
    ..ONE_LANE
};
const NEW_LANE: Scenario = Scenario {
    messages: 1,
    new_lanes: true,
    ..ONE_LANE
};
const FIXED_IDS: Scenario = Scenario {
    fixed_ids: true,
    ..ONE_LANE
};

impl Scenario {
    const fn with(self, rebalances: u8, crashes: u8, unknowns: u8) -> Scenario {
        let budget = Budget {
            rebalances,
            crashes,
            unknowns,
            ..self.budget
        };
        Scenario { budget, ..self }
    }

    const fn and_forgotten_offsets(self, forgotten: u8) -> Scenario {
        Scenario {
            budget: Budget {
                forgotten,
                ..self.budget
            },
            ..self
        }
    }

    const fn and_recommits(self, recommits: u8) -> Scenario {
        Scenario {
            budget: Budget {
                recommits,
                ..self.budget
            },
            ..self
        }
    }

    /// Whether a step of this kind must occur somewhere in the scenario.
    fn has_room_for(&self, kind: &str) -> bool {
        let Budget {
            rebalances,
            crashes,
            unknowns,
            forgotten,
            recommits,
        } = self.budget;
        match kind {
            "rebalance" => rebalances > 0,
            "crash" | "session expires" => crashes > 0,
            "callback" | "learns of loss" => rebalances + crashes > 0,
            "fenced" => rebalances > 0,
            "detached commit lands" => rebalances + crashes + unknowns > 0,
            "late request lands" => unknowns > 0,
            "init_transactions" => self.fixed_ids,
            "offset forgotten" => forgotten > 0,
            "recommit" => recommits > 0,
            _ => true,
        }
    }

    /// One more of whatever `PROTOCOL_MODEL_MORE` names.
    fn enlarged(mut self) -> Scenario {
        let more = std::env::var("PROTOCOL_MODEL_MORE").unwrap_or_default();
        for what in more.split(',').filter(|what| !what.is_empty()) {
            match what {
                "rebalances" => self.budget.rebalances += 1,
                "crashes" => self.budget.crashes += 1,
                "unknowns" => self.budget.unknowns += 1,
                "messages" => self.messages += 1,
                other => panic!(
                    "PROTOCOL_MODEL_MORE knows rebalances, crashes, unknowns and messages, not {other:?}"
                ),
            }
        }
        self
    }
}

/// Searches all of a scenario under the whole protocol. `states` is a floor below the count measured: a search that no
/// longer gets anywhere fails, and so does one in which something that can happen never does.
fn holds(scenario: Scenario, states: usize) {
    let scenario = scenario.enlarged();
    let result = search(
        &Protocol {
            scenario,
            removed: None,
        },
        Target::Any,
    );
    println!(
        "{} states, {} transitions",
        result.states, result.transitions
    );
    if let Some(found) = result.found {
        panic!(
            "{:?} under the whole protocol:\n{}{:#?}",
            found.violation, found.trace, found.end
        );
    }
    assert!(
        result.states > states,
        "only {} states visited",
        result.states
    );
    for (kind, taken) in Step::KINDS.iter().zip(result.taken) {
        assert_eq!(
            scenario.has_room_for(kind),
            taken > 0,
            "{kind}: {taken} times"
        );
    }
}

/// Takes one safeguard out and demands every kind of harm named; then puts it back and demands that there is none, so
/// that the harm is the removal's doing.
fn breaks(safeguard: Safeguard, scenario: Scenario, kinds: &[Violation]) {
    for kind in kinds {
        let result = search(
            &Protocol {
                scenario,
                removed: Some(safeguard),
            },
            Target::Only(*kind),
        );
        let Some(found) = result.found else {
            panic!(
                "without {safeguard:?}: no {kind:?} in {} states",
                result.states
            );
        };
        println!(
            "without {safeguard:?}: {kind:?} after {} states\n{}",
            result.states, found.trace
        );
    }
    let kept = search(
        &Protocol {
            scenario,
            removed: None,
        },
        Target::Any,
    );
    assert!(
        kept.found.is_none(),
        "the scenario breaks the whole protocol too"
    );
}

macro_rules! holds {
    ($($name:ident: $scenario:expr, above $states:literal states;)+) => {
        $(
            #[test]
            fn $name() {
                holds($scenario, $states);
            }
        )+
    };
}

/// One test per safeguard. The match makes a safeguard without a test a compile error.
macro_rules! breaks {
    ($($name:ident: $safeguard:ident, $scenario:expr => [$($kind:ident),+];)+) => {
        $(
            #[test]
            fn $name() {
                breaks($safeguard, $scenario, &[$($kind),+]);
            }
        )+

        const _: fn(Safeguard) = |safeguard| match safeguard {
            $($safeguard => (),)+
        };
    };
}

holds! {
    the_protocol_holds_with_a_rebalance_a_crash_and_an_unknown_outcome_anywhere:
        ONE_LANE.with(1, 1, 1), above 2_400_000 states;
    the_protocol_holds_when_producers_keep_their_transactional_ids:
        FIXED_IDS.with(1, 1, 1), above 800_000 states;
    the_protocol_holds_when_lanes_are_lost_and_regained:
        ONE_LANE.with(2, 1, 0), above 1_200_000 states;
    the_protocol_holds_when_unknown_outcomes_meet:
        ONE_LANE.with(0, 1, 2), above 140_000 states;
    the_protocol_holds_when_timers_emit_records:
        EMITTING_TIMER.with(1, 1, 0), above 220_000 states;
    the_protocol_holds_on_new_lanes:
        NEW_LANE.with(1, 1, 1), above 700_000 states;
    the_protocol_holds_when_kafka_forgets_an_offset:
        ONE_LANE.with(1, 1, 0).and_forgotten_offsets(1), above 540_000 states;
    the_protocol_holds_when_idle_lanes_commit_again:
        ONE_LANE.with(1, 1, 0).and_recommits(1), above 460_000 states;
    the_protocol_holds_for_two_lanes_of_one_producer:
        TWO_LANES.with(1, 0, 0), above 780_000 states;
}

breaks! {
    group_metadata_taken_at_send_time_lets_a_stale_owner_publish_again:
        MetadataCapturedAtAssignment, ONE_LANE.with(1, 0, 0) => [Duplicate];
    a_missing_offset_read_as_zero_publishes_the_outbox_again:
        MissingOffsetIsNotZero, ONE_LANE.with(1, 0, 0).and_forgotten_offsets(1) => [Duplicate];
    a_timer_that_does_not_move_the_version_is_applied_twice:
        EveryTransactionMovesTheVersion, ONE_LANE.with(0, 0, 1) => [Duplicate];
    a_recovery_in_two_snapshots_duplicates_or_loses:
        LaneAndRowsInOneSnapshot, ONE_LANE.with(0, 0, 1) => [Duplicate, Loss];
    an_unknown_database_commit_taken_as_done_publishes_what_has_no_state:
        UnknownDatabaseCommitIsNotDone, ONE_LANE.with(0, 0, 1) => [OutputWithoutState];
    an_unknown_kafka_commit_guessed_done_loses_and_guessed_failed_duplicates:
        UnknownKafkaCommitIsNotGuessed, ONE_LANE.with(0, 0, 1) => [Loss, Duplicate];
    an_offset_read_before_its_markers_are_written_publishes_again:
        OffsetsReadStably, ONE_LANE.with(0, 0, 1) => [Duplicate];
    an_empty_list_of_offsets_is_an_unfenced_commit:
        OffsetsNeverEmpty, EMITTING_TIMER.with(1, 0, 0) => [UnfencedCommit, Duplicate];
    lanes_of_two_generations_in_one_transaction_publish_again:
        OneGenerationPerTransaction, TWO_LANES.with(1, 0, 0) => [Duplicate];
    memory_kept_of_a_lane_lost_and_regained_publishes_again:
        MemoryDroppedWhenRegained, ONE_LANE.with(2, 0, 0) => [Duplicate];
    a_producer_used_on_after_a_timeout_is_hit_by_its_own_late_request:
        ProducerReplacedAfterTimeout, ONE_LANE.with(1, 0, 1) => [UnfencedCommit, Duplicate];
    a_gap_taken_for_corruption_is_a_false_alarm_of_a_zombie:
        GapMayBeAZombies, ONE_LANE.with(1, 0, 0) => [FalseAlarm];
    metadata_not_refreshed_on_a_retained_lane_is_refused_for_ever:
        MetadataRefreshedWhenRetained, ONE_LANE.with(1, 0, 0) => [Wedged];
    a_kafka_commit_before_the_database_s_shows_what_has_no_state:
        KafkaCommitsAfterDatabase, ONE_LANE.with(0, 1, 0) => [OutputWithoutState];
}
