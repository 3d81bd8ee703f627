//! What all generated types have in common: a record knows its contract, a message knows which record it is.
//!
//! The implementations are generated (build/records.rs, build/streams.rs); nothing here is written per record.

use std::io::BufRead;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_avro_fast::Schema;
use serde_avro_fast::de::DeserializerState;
use serde_avro_fast::de::read::SliceRead;
use uuid::Uuid;

use crate::{Codec, EncodeError};

/// A record that travels on a topic on its own.
pub trait Record: Serialize + DeserializeOwned {
    /// Place in [`crate::CONTRACTS`]; not stable between builds.
    const INDEX: usize;
    /// Namespace and name: the subject in the registry.
    const FULL_NAME: &'static str;
    /// Name without namespace: the header `event_type`.
    const NAME: &'static str;
    /// The schema as it is registered: JSON on one line, attributes sorted.
    const SCHEMA: &'static str;
    /// The schema's version: the header `schema_version`.
    const VERSION: u32;

    /// Identity of the event.
    fn event_id(&self) -> Uuid;
    /// When it happened, by the writer's clock.
    fn occurred_at(&self) -> DateTime<Utc>;
    /// The geo as written; nobody has checked it yet.
    fn geo(&self) -> &str;
}

/// The facts of a [`Record`] as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contract {
    pub index: usize,
    pub full_name: &'static str,
    pub name: &'static str,
    pub schema: &'static str,
    pub version: u32,
}

impl Contract {
    pub const fn of<R: Record>() -> Self {
        Contract {
            index: R::INDEX,
            full_name: R::FULL_NAME,
            name: R::NAME,
            schema: R::SCHEMA,
            version: R::VERSION,
        }
    }
}

/// The contract of a record at hand.
pub fn contract_of<R: Record>(_: &R) -> &'static Contract {
    &crate::CONTRACTS[R::INDEX]
}

/// One of the records that may stand on the topics of one stream: the enums of [`crate::streams`].
pub trait Message: Sized {
    /// First part of the topic's name.
    const FAMILY: &'static str;
    /// Second part of the topic's name.
    const KIND: &'static str;
    /// What may stand on it.
    const RECORDS: &'static [Contract];

    fn contract(&self) -> &'static Contract;
    fn event_id(&self) -> Uuid;
    fn occurred_at(&self) -> DateTime<Utc>;
    fn geo(&self) -> &str;
    /// The Kafka key, as text.
    fn key(&self) -> String;
    /// Reads the record with that [`Record::INDEX`]; `None` when it has no place on this stream.
    fn decode(index: usize, body: Body<'_>) -> Option<Result<Self, Malformed>>;
    /// Appends the record in wire format, as [`Codec::encode_into`].
    fn encode_into(&self, codec: &Codec, out: &mut Vec<u8>) -> Result<(), EncodeError>;
}

/// Arrays longer than this are taken for corruption: it bounds the time that a few hostile bytes can cost.
const MAX_ARRAY: usize = 1_000_000;

/// The bytes of one record, and the schema they were written with.
pub struct Body<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) schema: &'a Schema,
}

/// The bytes are not a value that the type can hold.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(String);

impl Body<'_> {
    /// Reads the value; fields that the type does not know are skipped, bytes that are left over are an error.
    pub fn read<R: Record>(self) -> Result<R, Malformed> {
        let mut config = serde_avro_fast::de::DeserializerConfig::new(self.schema);
        config.max_seq_size = MAX_ARRAY;
        let mut state = DeserializerState::with_config(SliceRead::new(self.bytes), config);
        let record = R::deserialize(state.deserializer()).map_err(|e| Malformed(e.to_string()))?;
        let rest = state.into_reader().fill_buf().map_or(0, <[u8]>::len);
        match rest {
            0 => Ok(record),
            rest => Err(Malformed(format!(
                "{rest} bytes are left over after the record"
            ))),
        }
    }
}
