//! Records, topics and geos: what crosses a service border, and nothing else.
//!
//! Guarantees: the Rust types are the schemas (generated from `schemas/avro`, never written twice); what [`Codec`] writes
//! is plain Avro in Confluent's wire format, which any client in any language reads; a reader built yesterday reads what
//! tomorrow's compatible writer sends; names, partitions and retention of topics come from one [`Catalogue`].
//! Why: the services share no database and no calls, so this is their whole agreement.
//! Costs: a registry lookup per schema id, once per process; after that about a microsecond per record each way.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod catalogue;
mod codec;
pub mod compatibility;
mod geo;
pub mod headers;
mod identity;
mod money;
mod record;
mod rejection;
pub mod released;
mod topic;
mod writers;

pub use catalogue::{Catalogue, CatalogueError, GeoSpec, StreamSpec, TopicSpec};
pub use codec::{Codec, ConnectError, EncodeError};
pub use geo::{Geo, InvalidGeo};
pub use identity::{derived, event_id, tick_id};
pub use money::MoneyError;
pub use record::{Body, Contract, Malformed, Message, Record, contract_of};
pub use rejection::{CodecError, RejectKind, Rejection};
pub use topic::{InvalidTopic, Topic};

include!(concat!(env!("OUT_DIR"), "/contracts.rs"));
