//! Why a payload could not be read, by what the caller must do about it.

use schema_registry_converter::error::SRCError;

/// Reading failed.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The registry could not be asked: the payload may be good, try again later. Never remembered.
    #[error("schema {id} could not be fetched from the registry")]
    Retry {
        id: u32,
        #[source]
        source: SRCError,
    },
    /// The schema has not been fetched: call [`crate::Codec::prepare`] with this payload first.
    #[error("schema {id} has not been fetched yet")]
    Unprepared { id: u32 },
    /// Trying again gives the same: a dead letter.
    #[error(transparent)]
    Reject(#[from] Rejection),
}

/// A payload that no retry makes readable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", kind.label())]
pub struct Rejection {
    pub kind: RejectKind,
    pub message: String,
}

/// What is wrong with the payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectKind {
    /// Not in Confluent's wire format.
    NotAvroEnvelope,
    /// The registry knows no schema with this id.
    UnknownSchema,
    /// The registry's schema is not one that can be read with.
    UnreadableSchema,
    /// A good record, but not one that may stand on this topic.
    UnexpectedRecord,
    /// The bytes do not hold a value of the record.
    Malformed,
}

impl RejectKind {
    /// For the dead letter's `dlq.error.kind` and for metrics.
    pub fn label(self) -> &'static str {
        match self {
            Self::NotAvroEnvelope => "not_avro_envelope",
            Self::UnknownSchema => "unknown_schema",
            Self::UnreadableSchema => "unreadable_schema",
            Self::UnexpectedRecord => "unexpected_record",
            Self::Malformed => "malformed",
        }
    }

    pub(crate) fn because(self, message: impl Into<String>) -> Rejection {
        Rejection {
            kind: self,
            message: message.into(),
        }
    }
}
