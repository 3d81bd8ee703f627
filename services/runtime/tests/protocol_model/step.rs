//! The steps of the model: what can happen, what a trace calls it, and which of it termination may count on.

use std::fmt;

use crate::state::{LANES, OWNERS};

/// How a request ended. All but `Told` leave the client without an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// Answered: done or refused.
    Told,
    Lost,
    Applied,
    /// On its way; lands at some later time, or never.
    Late,
    /// Applied, and a copy is on its way.
    AppliedAndLate,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    Rebalance {
        members: u8,
        assigned: [u8; LANES],
    },
    SessionExpires {
        members: u8,
        assigned: [u8; LANES],
    },
    LearnsOfLoss {
        owner: usize,
    },
    Callback {
        owner: usize,
        lane: usize,
    },
    Crash {
        owner: usize,
    },
    InitTransactions {
        owner: usize,
    },
    ReadOffset {
        owner: usize,
        lane: usize,
    },
    ReadRows {
        owner: usize,
        lane: usize,
        outcome: Outcome,
    },
    Recommit {
        owner: usize,
        lane: usize,
    },
    Begin {
        owner: usize,
        lane: usize,
        event: u8,
    },
    Cycle {
        owner: usize,
        lane: usize,
        event: Option<u8>,
        outcome: Outcome,
    },
    Fenced {
        owner: usize,
        lane: usize,
    },
    DetachedCommitLands {
        lane: usize,
    },
    Produce {
        owner: usize,
        lanes: u8,
        outcome: Outcome,
    },
    SendOffsets {
        owner: usize,
        outcome: Outcome,
    },
    CommitTransaction {
        owner: usize,
        outcome: Outcome,
    },
    LateRequestLands {
        slot: usize,
    },
    TransactionTimesOut {
        slot: usize,
    },
    MarkersWritten {
        slot: usize,
    },
    OffsetForgotten {
        lane: usize,
    },
}

impl Step {
    /// Names of the kinds, by `Step::kind`.
    pub const KINDS: [&'static str; 20] = [
        "rebalance",
        "session expires",
        "learns of loss",
        "callback",
        "crash",
        "init_transactions",
        "read offset",
        "read rows",
        "cycle",
        "fenced",
        "detached commit lands",
        "produce",
        "send_offsets",
        "commit_transaction",
        "late request lands",
        "transaction times out",
        "markers written",
        "offset forgotten",
        "recommit",
        "begin",
    ];

    pub fn kind(&self) -> usize {
        match self {
            Step::Rebalance { .. } => 0,
            Step::SessionExpires { .. } => 1,
            Step::LearnsOfLoss { .. } => 2,
            Step::Callback { .. } => 3,
            Step::Crash { .. } => 4,
            Step::InitTransactions { .. } => 5,
            Step::ReadOffset { .. } => 6,
            Step::ReadRows { .. } => 7,
            Step::Cycle { .. } => 8,
            Step::Fenced { .. } => 9,
            Step::DetachedCommitLands { .. } => 10,
            Step::Produce { .. } => 11,
            Step::SendOffsets { .. } => 12,
            Step::CommitTransaction { .. } => 13,
            Step::LateRequestLands { .. } => 14,
            Step::TransactionTimesOut { .. } => 15,
            Step::MarkersWritten { .. } => 16,
            Step::OffsetForgotten { .. } => 17,
            Step::Recommit { .. } => 18,
            Step::Begin { .. } => 19,
        }
    }

    /// Whether termination may count on it: not on faults, and not on luck with what is still in the network.
    pub fn is_progress(&self) -> bool {
        match self {
            Step::Rebalance { .. } | Step::Crash { .. } | Step::OffsetForgotten { .. } => false,
            Step::DetachedCommitLands { .. } | Step::LateRequestLands { .. } => false,
            Step::TransactionTimesOut { slot } => *slot >= OWNERS,
            Step::ReadRows { outcome, .. }
            | Step::Cycle { outcome, .. }
            | Step::Produce { outcome, .. }
            | Step::SendOffsets { outcome, .. }
            | Step::CommitTransaction { outcome, .. } => *outcome == Outcome::Told,
            _ => true,
        }
    }
}

const LANE_NAMES: [&str; LANES] = ["A", "B"];

fn lanes_of(set: u8) -> String {
    let held: Vec<&str> = (0..LANES)
        .filter(|lane| set >> lane & 1 == 1)
        .map(|lane| LANE_NAMES[lane])
        .collect();
    held.join("+")
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Told => "",
            Outcome::Lost => "; no answer (it was lost)",
            Outcome::Applied => "; no answer (it was applied)",
            Outcome::Late => "; no answer (it is still on its way)",
            Outcome::AppliedAndLate => "; no answer (it was applied and a copy is on its way)",
        })
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |lane: &usize| LANE_NAMES[*lane];
        match self {
            Step::Rebalance { members, assigned } => rebalance(f, "rebalance", *members, assigned),
            Step::SessionExpires { members, assigned } => {
                rebalance(f, "a member is gone, rebalance", *members, assigned)
            }
            Step::LearnsOfLoss { owner } => {
                write!(f, "owner {owner} learns that it is no longer a member")
            }
            Step::Callback { owner, lane } => {
                write!(
                    f,
                    "owner {owner}: rebalance callback reaches lane {}",
                    name(lane)
                )
            }
            Step::Crash { owner } => write!(f, "owner {owner} crashes and starts anew"),
            Step::InitTransactions { owner } => write!(f, "owner {owner}: init_transactions"),
            Step::ReadOffset { owner, lane } => {
                write!(f, "owner {owner}: recover a, lane {}: offset", name(lane))
            }
            Step::ReadRows {
                owner,
                lane,
                outcome,
            } => {
                write!(
                    f,
                    "owner {owner}: recover b-d, lane {}: rows{outcome}",
                    name(lane)
                )
            }
            Step::Recommit { owner, lane } => {
                write!(
                    f,
                    "owner {owner}: will commit the offset of lane {} again",
                    name(lane)
                )
            }
            Step::Begin { owner, lane, event } => write!(
                f,
                "owner {owner}: cycle on lane {} has applied event {event}, not committed",
                name(lane)
            ),
            Step::Cycle {
                owner,
                lane,
                event: Some(event),
                outcome,
            } => {
                write!(
                    f,
                    "owner {owner}: cycle on lane {} commits event {event}{outcome}",
                    name(lane)
                )
            }
            Step::Cycle {
                owner,
                lane,
                event: None,
                outcome,
            } => {
                write!(
                    f,
                    "owner {owner}: lane {} deletes published rows{outcome}",
                    name(lane)
                )
            }
            Step::Fenced { owner, lane } => write!(
                f,
                "owner {owner}: lane {} is fenced by the version",
                name(lane)
            ),
            Step::DetachedCommitLands { lane } => {
                write!(f, "a detached COMMIT lands on lane {}", name(lane))
            }
            Step::Produce {
                owner,
                lanes,
                outcome,
            } => {
                write!(
                    f,
                    "owner {owner}: begins, produces the rows of {}{outcome}",
                    lanes_of(*lanes)
                )
            }
            Step::SendOffsets { owner, outcome } => {
                write!(f, "owner {owner}: send_offsets{outcome}")
            }
            Step::CommitTransaction { owner, outcome } => {
                write!(f, "owner {owner}: commit_transaction{outcome}")
            }
            Step::LateRequestLands { slot } => {
                write!(f, "a late request lands on transaction {slot}")
            }
            Step::TransactionTimesOut { slot } => {
                write!(f, "transaction {slot} is aborted for its age")
            }
            Step::MarkersWritten { slot } => {
                write!(f, "the markers of transaction {slot} are written")
            }
            Step::OffsetForgotten { lane } => {
                write!(f, "Kafka forgets the offset of lane {}", name(lane))
            }
        }
    }
}

fn rebalance(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    members: u8,
    assigned: &[u8; LANES],
) -> fmt::Result {
    let members: Vec<String> = (0..OWNERS)
        .filter(|owner| members >> owner & 1 == 1)
        .map(|owner| owner.to_string())
        .collect();
    write!(
        f,
        "{what}: members {}, lanes to {assigned:?}",
        members.join("+")
    )
}
