//! Named points of the cycle and of recovery, where a fault test can stop or kill the process.

/// A point between two effects. Whatever is killed at any of them must change nothing in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Events gathered and decoded; nothing written.
    Gathered,
    /// The lanes' versions are taken in an open PostgreSQL transaction.
    Fenced,
    /// The processor has applied its events.
    Applied,
    /// Positions and outbox rows are written, not committed.
    Settled,
    /// PostgreSQL has committed; Kafka has not.
    Committed,
    /// A Kafka transaction is open and holds a record, but no offsets. This and the next two come while PostgreSQL settles
    /// and commits, or after.
    Produced,
    /// The offsets are in the Kafka transaction too.
    OffsetsSent,
    /// Everything is in the Kafka transaction, which ends only after PostgreSQL has committed.
    Filled,
    /// Kafka has committed; the runtime has not taken note yet.
    Published,
    /// Recovery has read Kafka's committed offsets.
    CommittedRead,
    /// Recovery has taken the lanes in an open PostgreSQL transaction.
    LanesTaken,
    /// Recovery's PostgreSQL transaction is committed.
    LanesLoaded,
    /// Recovery has published what was left and is about to read on.
    Recovered,
}

impl Step {
    pub const ALL: [Self; 13] = [
        Self::Gathered,
        Self::Fenced,
        Self::Applied,
        Self::Settled,
        Self::Committed,
        Self::Produced,
        Self::OffsetsSent,
        Self::Filled,
        Self::Published,
        Self::CommittedRead,
        Self::LanesTaken,
        Self::LanesLoaded,
        Self::Recovered,
    ];
}

/// Told of every step. Production uses `()`.
pub trait Probe: Send + Sync + 'static {
    fn reached(&self, _step: Step) {}
}

impl Probe for () {}
