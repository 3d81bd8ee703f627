//! The cycle: Kafka to PostgreSQL to Kafka, each message once.
//!
//! This crate runs stream processors and names no business type. A processor implements [`Processor`]; [`service::run`]
//! makes a process of it. What the runtime guarantees, whatever crashes and whenever:
//!
//! 1. Every message changes state once, and every record reaches `read_committed` readers once, in lane order.
//! 2. A stale owner changes nothing: PostgreSQL refuses its version, Kafka its group generation.
//! 3. Nothing is dropped silently: a message is applied, skipped with a reason, or becomes a dead letter.
//! 4. No message blocks the messages behind it: what must wait is state with a due time.
//!
//! How: a cycle applies a batch of events in one PostgreSQL transaction, which also holds the positions and the records to
//! publish (one outbox row per lane), then publishes them in one Kafka transaction, which also holds the offsets and the
//! number of the row. Two logs hold one position, so recovery ([`recovery`]) reads both and publishes what is missing.
//!
//! The cost: a PostgreSQL and a Kafka transaction per cycle, whatever its size, and a latency of both per hop.

pub mod config;
pub mod dead_letter;
pub mod lane;
pub mod message;
pub mod probe;
pub mod processor;
pub mod record;
pub mod rehearsal;
pub mod service;
pub mod trace;

mod calls;
mod clients;
mod cycle;
mod engine;
mod health;
mod http;
mod instance;
mod lag;
mod membership;
mod metric;
mod part;
mod publisher;
mod queue;
mod reader;
mod recovery;
mod refusal;
mod restore;
mod running;
mod share;
mod store;
mod telemetry;
mod timers;

pub use config::{ConfigError, Settings};
pub use lane::{
    Companions, Lane, LaneId, SourceKind, SourcePartition, SourceTopic, Topology, Uneven, Unit,
};
pub use message::{Headers, Message};
pub use probe::{Probe, Step};
pub use processor::{
    ApplyError, Cycle, DecodeError, Effects, LaneCycle, Loaded, Observed, Processor, Received,
    Reject, TimerChanges, Verdict,
};
pub use record::Record;
pub use rehearsal::Rehearsal;
pub use service::Service;
pub use trace::Trace;
