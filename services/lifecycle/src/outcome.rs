//! What an event does to an order: it moves it, it comes too late, it asks too much, or it cannot be.

use crate::effect::Effects;
use crate::state::State;

/// The answer to a (state, event).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Transition(Transition),
    /// Rightly without effect: known already, or overtaken.
    Stale(Staleness),
    /// A request that comes too late to be granted; whoever asked should be told why.
    Refused(Refusal),
    /// It contradicts what its own topic said before, or answers what nobody asked: somebody has to look at it.
    Illegal(Contradiction),
}

/// A move. Some change an axis only and leave the status as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    pub state: State,
    pub effects: Effects,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Staleness {
    /// The same was said before.
    Duplicate,
    /// Something later has been heard of already.
    Overtaken,
    /// The order ended without it.
    OrderEnded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    AlreadyPickedUp,
    AlreadyDelivered,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Contradiction {
    /// It answers a request that was never made.
    NotAskedFor,
    /// Declined, although the money was taken.
    AlreadyCaptured,
    /// Given back, although it was never taken.
    NeverCaptured,
    /// The meal is with a driver already.
    AlreadyPickedUp,
}

impl Staleness {
    /// Labels a metric.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Overtaken => "overtaken",
            Self::OrderEnded => "order_ended",
        }
    }
}

impl Refusal {
    /// Labels a metric.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AlreadyPickedUp => "refused_already_picked_up",
            Self::AlreadyDelivered => "refused_already_delivered",
        }
    }
}

impl Contradiction {
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotAskedFor => "not_asked_for",
            Self::AlreadyCaptured => "already_captured",
            Self::NeverCaptured => "never_captured",
            Self::AlreadyPickedUp => "already_picked_up",
        }
    }
}
