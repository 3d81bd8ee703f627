//! What a processor is: it decodes messages, applies a cycle's events in one PostgreSQL transaction, and says what follows.
//!
//! The runtime owns everything else (positions, versions, publishing, recovery), so a processor cannot get those wrong.
//! In return it must keep three promises: `apply` changes nothing but its own tables (through `tx`) and the lane states
//! it was given; it waits for nothing outside PostgreSQL; and whatever it wants to happen later is in its tables *and*
//! in the effects, so that [`Processor::load`] brings it back after a crash.

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use thiserror::Error;

use crate::lane::Lane;
use crate::message::Message;
use crate::record::{Outgoing, Record};
use crate::trace::{TRACEPARENT, TRACESTATE, Trace};

/// A stream processor. One instance serves all lanes of a process.
pub trait Processor: Sized + Send + Sync + 'static {
    /// A decoded message.
    type Event: Send;
    /// What a lane keeps in memory between cycles: a cache of its rows, thrown away at every recovery. May be `()`.
    type State: Send;
    /// The key of a timer: setting a timer again moves it.
    type Timer: Clone + Ord + Hash + Send;
    /// A request to the world outside, started once the cycle that asked for it has been published.
    type Call: Send + 'static;
    /// What became of a call; it comes back to the lane as an event.
    type Answer: Send + 'static;

    /// Reads a message. May fetch a schema; must not touch PostgreSQL.
    fn decode(
        &self,
        message: &Message,
    ) -> impl Future<Output = Result<Self::Event, DecodeError>> + Send;

    /// Loads lanes from their rows, in the order given: at take-over, and after anything went wrong.
    fn load(
        &self,
        lanes: &[Arc<Lane>],
        now: DateTime<Utc>,
        tx: &mut PgConnection,
    ) -> impl Future<Output = Result<Vec<Loaded<Self>>, ApplyError>> + Send;

    /// Applies the events of a cycle, set-based, and answers for each message.
    fn apply(
        &self,
        cycle: &mut Cycle<'_, Self>,
        tx: &mut PgConnection,
    ) -> impl Future<Output = Result<(), ApplyError>> + Send;

    /// Takes note of messages of a soft source, in memory only; returns timers to set. Called between cycles, in the
    /// order of each partition. The default suits processors without soft sources.
    fn observe(
        &self,
        _state: &mut Self::State,
        _events: Vec<Observed<Self::Event>>,
        _now: DateTime<Utc>,
    ) -> Vec<(Self::Timer, DateTime<Utc>)> {
        Vec::new()
    }

    /// Lets timers fire that are all that happened to a lane, in memory only. `Some`: there was nothing to store or to publish,
    /// and these timers are set or cancelled. `None`: a cycle follows at once, at the same instant and with the same timers, and
    /// applies what has to be stored. The default leaves everything to the cycle.
    fn fire(
        &self,
        _state: &mut Self::State,
        _timers: &[Self::Timer],
        _now: DateTime<Utc>,
    ) -> Option<TimerChanges<Self>> {
        None
    }

    /// All soft sources have been read up to where they ended when the lane was taken over; called once per take-over, for a
    /// processor that waits for it before it acts. Returns timers to set.
    fn caught_up(
        &self,
        _state: &mut Self::State,
        _now: DateTime<Utc>,
    ) -> Vec<(Self::Timer, DateTime<Utc>)> {
        Vec::new()
    }

    /// Performs a call. It has no lane any more: only its answer counts, and only if the lane is still owned. It bounds
    /// its own time.
    fn call(self: &Arc<Self>, call: Self::Call) -> impl Future<Output = Self::Answer> + Send;
}

/// Timers that are set, or cancelled where no instant is named.
pub type TimerChanges<P> = Vec<(<P as Processor>::Timer, Option<DateTime<Utc>>)>;

/// A lane as loaded from its rows.
pub struct Loaded<P: Processor> {
    pub state: P::State,
    pub timers: Vec<(P::Timer, DateTime<Utc>)>,
    /// Calls that were asked for and have no answer on record; they are started again.
    pub calls: Vec<P::Call>,
}

/// Why a message could not be read.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// It never will be: it becomes a dead letter.
    #[error("{0}")]
    Reject(Reject),
    /// It might be, later: the cycle is tried again.
    #[error("decoding has to wait: {0}")]
    Retry(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Why applying failed.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// The same cycle again, after a pause.
    #[error("transient: {0}")]
    Transient(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It would fail again: the cycle is halved until the message at fault stands alone, and that one is rejected.
    #[error("permanent: {0}")]
    Permanent(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl ApplyError {
    pub fn permanent(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Permanent(error.into())
    }
}

impl From<sqlx::Error> for ApplyError {
    fn from(error: sqlx::Error) -> Self {
        if crate::store::is_transient(&error) {
            Self::Transient(error.into())
        } else {
            Self::Permanent(error.into())
        }
    }
}

/// The events of all lanes of an instance that have something to do now.
pub struct Cycle<'a, P: Processor> {
    /// The instant of this cycle: the only clock `apply` may look at.
    pub now: DateTime<Utc>,
    pub lanes: Vec<LaneCycle<'a, P>>,
}

/// One lane's part of a cycle: what happened, and what follows.
pub struct LaneCycle<'a, P: Processor> {
    pub lane: &'a Arc<Lane>,
    pub state: &'a mut P::State,
    /// In the order of each source partition.
    pub messages: Vec<Received<P::Event>>,
    /// Timers that are due, by instant.
    pub timers: Vec<P::Timer>,
    pub answers: Vec<P::Answer>,
    /// Next offset to read of each of the lane's sources, this cycle's messages and all observed ones counted as read.
    pub positions: Vec<i64>,
    pub effects: Effects<P>,
}

/// A decoded message of a durable source.
pub struct Received<E> {
    pub event: E,
    /// Index of the source partition in the lane's `sources`.
    pub source: usize,
    pub offset: i64,
    /// Broker time.
    pub timestamp_ms: i64,
    /// The span of this message: what it causes carries it on.
    pub trace: Trace,
}

/// A decoded message of a soft source.
pub struct Observed<E> {
    pub event: E,
    pub source: usize,
    pub offset: i64,
    pub timestamp_ms: i64,
}

/// What follows from one lane's events.
pub struct Effects<P: Processor> {
    pub(crate) outgoing: Outgoing,
    pub(crate) verdicts: Vec<Option<Verdict>>,
    pub(crate) timers: TimerChanges<P>,
    pub(crate) calls: Vec<P::Call>,
}

impl<P: Processor> Effects<P> {
    pub(crate) fn new(messages: usize) -> Self {
        let mut verdicts = Vec::new();
        verdicts.resize_with(messages, || None);
        Self {
            outgoing: Outgoing::default(),
            verdicts,
            timers: Vec::new(),
            calls: Vec::new(),
        }
    }

    /// Answers for message `index` of this lane's `messages`. Every message must be answered for.
    pub fn answer(&mut self, index: usize, verdict: Verdict) {
        self.verdicts[index] = Some(verdict);
    }

    /// Publishes a record; `trace` is added to its headers.
    pub fn publish(&mut self, record: Record<'_>, trace: &Trace) {
        let traceparent = trace.header();
        let mut headers: Vec<(&str, Option<&[u8]>)> = Vec::with_capacity(record.headers.len() + 2);
        headers.extend_from_slice(record.headers);
        headers.push((TRACEPARENT, Some(&traceparent)));
        if let Some(state) = trace.tracestate() {
            headers.push((TRACESTATE, Some(state.as_bytes())));
        }
        self.outgoing.push(Record {
            headers: &headers,
            ..record
        });
    }

    /// Fires `timer` as an event at or after `at`; a timer of the same key is moved.
    pub fn set_timer(&mut self, timer: P::Timer, at: DateTime<Utc>) {
        self.timers.push((timer, Some(at)));
    }

    pub fn cancel_timer(&mut self, timer: P::Timer) {
        self.timers.push((timer, None));
    }

    /// Asks for a call once this cycle has been published. Its durable form must be in the processor's tables.
    pub fn call(&mut self, call: P::Call) {
        self.calls.push(call);
    }
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Applied.
    Done,
    /// Rightly without effect (stale, a duplicate); counted by reason.
    Skip(&'static str),
    /// It can never be applied: it becomes a dead letter.
    Reject(Reject),
}

/// Why a message was rejected.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{kind}: {message}")]
pub struct Reject {
    /// From a closed set: it labels a metric.
    pub kind: &'static str,
    /// Names the field and the value.
    pub message: String,
}

impl Reject {
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}
