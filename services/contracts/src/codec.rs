//! Records to bytes and back: Avro in Confluent's wire format (a zero byte, the schema's id in four, the datum).
//!
//! Writing needs the ids that the registry gave our schemas; they are looked up once, at start. Reading needs the schema
//! that the writer used; [`Codec::prepare`] sees to that and may wait, [`Codec::decode`] never waits. Resolved schemas
//! are shared by all threads, and neither direction does work on schemas or allocates beyond the record's own strings.

use futures::future::join_all;
use schema_registry_converter::async_impl::schema_registry::{SrSettings, perform_sr_call};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{
    BytesResult, SrCall, get_bytes_result, invalid_bytes_error,
};
use serde_avro_fast::Schema;
use serde_avro_fast::ser::{SerError, SerializerConfig};

use crate::writers::{self, Writer, Writers};
use crate::{Body, CONTRACTS, CodecError, Contract, Message, Record, RejectKind};

/// Encodes and decodes; one per process.
pub struct Codec {
    /// By [`Record::INDEX`]; `None` for records that this process does not write.
    outgoing: Vec<Option<Outgoing>>,
    writers: Writers,
}

struct Outgoing {
    prefix: [u8; 5],
    schema: Schema,
}

/// The codec cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// An operator has to register the schema; waiting does not help.
    #[error(
        "record {record} (version {version}) is not in the registry {registry}: run `swiftctl schemas register`"
    )]
    Unregistered {
        record: &'static str,
        version: u32,
        registry: String,
    },
    /// The registry could not be asked: try again.
    #[error("registry {registry} could not be asked about {record}")]
    Registry {
        record: &'static str,
        registry: String,
        #[source]
        source: SRCError,
    },
    /// The address is none.
    #[error("registry {registry} is not an address that can be called")]
    Address {
        registry: String,
        #[source]
        source: SRCError,
    },
}

/// A record could not be written. Always a mistake in the program, never in the data.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("record {0} was not among those that the codec was connected for")]
    NotConnected(&'static str),
    #[error("record {record} does not fit its own schema")]
    Unfit {
        record: &'static str,
        #[source]
        source: SerError,
    },
}

impl Codec {
    /// Looks up the ids of the given contracts ([`crate::CONTRACTS`] for all) in the registry; registers nothing.
    pub async fn connect(registry: &str, contracts: &[Contract]) -> Result<Self, ConnectError> {
        let settings = writers::settings(registry).map_err(|source| ConnectError::Address {
            registry: registry.to_owned(),
            source,
        })?;
        let lookups = contracts
            .iter()
            .map(|contract| lookup(&settings, registry, contract));
        let ids = join_all(lookups)
            .await
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        let known = contracts.iter().zip(ids);
        Ok(Self::assemble(known, Some(settings)))
    }

    /// With ids that are already known, and no registry behind it: for tests and tools that never meet another id.
    pub fn with_ids<'a>(ids: impl IntoIterator<Item = (&'a Contract, u32)>) -> Self {
        Self::assemble(ids, None)
    }

    fn assemble<'a>(
        ids: impl IntoIterator<Item = (&'a Contract, u32)>,
        settings: Option<SrSettings>,
    ) -> Self {
        let mut outgoing: Vec<Option<Outgoing>> = CONTRACTS.iter().map(|_| None).collect();
        let mut known = Vec::new();
        for (contract, id) in ids {
            let [a, b, c, d] = id.to_be_bytes();
            outgoing[contract.index] = Some(Outgoing {
                prefix: [0, a, b, c, d],
                schema: contract
                    .schema
                    .parse()
                    .expect("the build has read every schema"),
            });
            known.push((id, Writer::of(contract)));
        }
        let writers = Writers::new(known, settings);
        Codec { outgoing, writers }
    }

    /// Appends the record in wire format. On an error the buffer is as it was.
    pub fn encode_into<R: Record>(&self, record: &R, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let outgoing = self.outgoing[R::INDEX]
            .as_ref()
            .ok_or(EncodeError::NotConnected(R::FULL_NAME))?;
        let start = out.len();
        out.extend_from_slice(&outgoing.prefix);
        // Only its buffers are worth reusing, and they stay empty: generated structs have their fields in the schema's order.
        let mut config = SerializerConfig::new(&outgoing.schema);
        match serde_avro_fast::to_datum(record, &mut *out, &mut config) {
            Ok(_) => Ok(()),
            Err(source) => {
                out.truncate(start);
                let record = R::FULL_NAME;
                Err(EncodeError::Unfit { record, source })
            }
        }
    }

    /// Sees to it that [`Codec::decode`] can read this payload: fetches the schema it was written with, once per id.
    pub async fn prepare(&self, payload: &[u8]) -> Result<(), CodecError> {
        let (id, _) = envelope(payload)?;
        self.writers.fetch(id).await
    }

    /// Reads a payload whose schema has been fetched.
    pub fn decode<M: Message>(&self, payload: &[u8]) -> Result<M, CodecError> {
        let (id, bytes) = envelope(payload)?;
        self.writers.with(id, |writer| {
            let unexpected = || {
                let (name, family, kind) = (&writer.full_name, M::FAMILY, M::KIND);
                RejectKind::UnexpectedRecord
                    .because(format!("{name} has no place on {family}.{kind}"))
            };
            let index = writer.index.ok_or_else(unexpected)?;
            let body = Body {
                bytes,
                schema: &writer.schema,
            };
            let read = M::decode(index, body).ok_or_else(unexpected)?;
            read.map_err(|e| {
                let message = format!("{} written with schema {id}: {e}", writer.full_name);
                RejectKind::Malformed.because(message).into()
            })
        })
    }
}

/// Splits a payload into the id of its schema and its datum.
fn envelope(payload: &[u8]) -> Result<(u32, &[u8]), CodecError> {
    match get_bytes_result(Some(payload)) {
        BytesResult::Valid(id, datum) => Ok((id, datum)),
        BytesResult::Null | BytesResult::Invalid(_) => Err(RejectKind::NotAvroEnvelope
            .because(invalid_bytes_error(payload))
            .into()),
    }
}

async fn lookup(
    settings: &SrSettings,
    registry: &str,
    contract: &Contract,
) -> Result<u32, ConnectError> {
    let record = contract.full_name;
    let body = serde_json::json!({"schema": contract.schema, "schemaType": "AVRO"}).to_string();
    let found = perform_sr_call(settings, SrCall::PostForVersion(record, &body)).await;
    let registry = registry.to_owned();
    match found.map(|schema| schema.id) {
        Ok(Some(id)) => Ok(id),
        Ok(None) => Err(ConnectError::Registry {
            record,
            registry,
            source: SRCError::new("the answer holds no id", None, true),
        }),
        Err(source) if writers::is_verdict(&source) => Err(ConnectError::Unregistered {
            record,
            version: contract.version,
            registry,
        }),
        Err(source) => Err(ConnectError::Registry {
            record,
            registry,
            source,
        }),
    }
}
