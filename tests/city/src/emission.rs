//! What leaves a city: messages for Kafka, each with the trace it belongs to.

use contracts::streams::{DriverEvent, DriverLocation, KitchenEvent, OrdersRequest};
use contracts::{Codec, EncodeError, Geo, Message, Topic, headers};

/// A W3C trace: the id that all messages about one order share, and the span of this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    pub id: u128,
    pub span: u64,
}

impl Trace {
    /// The `traceparent` header.
    pub fn header(self) -> String {
        format!("00-{:032x}-{:016x}-01", self.id, self.span)
    }

    /// The trace id of a `traceparent` header; `None` when it is none.
    pub fn id_of(header: &str) -> Option<u128> {
        let mut parts = header.split('-');
        let (version, id, span, flags) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let shape = version.len() == 2 && id.len() == 32 && span.len() == 16 && flags.len() == 2;
        u64::from_str_radix(span, 16)
            .ok()
            .filter(|span| shape && *span != 0)?;
        u128::from_str_radix(id, 16).ok().filter(|id| *id != 0)
    }
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Emission {
    pub trace: Trace,
    pub content: Content,
}

/// A message by the stream it belongs to.
#[allow(clippy::large_enum_variant)] // It lives for a moment; a box would be one allocation more per message.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    Checkout(OrdersRequest),
    Kitchen(KitchenEvent),
    Driver(DriverEvent),
    Location(DriverLocation),
    /// Bytes that nobody can read.
    Poison(Poisoned, Vec<u8>),
}

/// Which topic is poisoned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poisoned {
    Checkout,
    Driver,
}

/// A message as a producer takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Encoded {
    pub topic: String,
    pub key: String,
    pub value: Vec<u8>,
    pub headers: Vec<(&'static str, String)>,
}

impl Emission {
    /// Bytes, key and headers for the topic of `geo`.
    pub fn encode(&self, codec: &Codec, geo: &Geo) -> Result<Encoded, EncodeError> {
        match &self.content {
            Content::Checkout(message) => self.message(codec, geo, message),
            Content::Kitchen(message) => self.message(codec, geo, message),
            Content::Driver(message) => self.message(codec, geo, message),
            Content::Location(message) => self.message(codec, geo, message),
            Content::Poison(on, bytes) => Ok(Encoded {
                topic: match on {
                    Poisoned::Checkout => Topic::of::<OrdersRequest>(geo).to_string(),
                    Poisoned::Driver => Topic::of::<DriverEvent>(geo).to_string(),
                },
                key: format!("poison-{:x}", self.trace.span),
                value: bytes.clone(),
                headers: vec![(headers::TRACEPARENT, self.trace.header())],
            }),
        }
    }

    fn message<M: Message>(
        &self,
        codec: &Codec,
        geo: &Geo,
        message: &M,
    ) -> Result<Encoded, EncodeError> {
        let contract = message.contract();
        let mut value = Vec::with_capacity(256);
        message.encode_into(codec, &mut value)?;
        let headers = vec![
            (headers::EVENT_TYPE, contract.name.to_owned()),
            (headers::EVENT_ID, message.event_id().to_string()),
            (headers::SCHEMA_VERSION, contract.version.to_string()),
            (headers::TRACEPARENT, self.trace.header()),
        ];
        Ok(Encoded {
            topic: Topic::of::<M>(geo).to_string(),
            key: message.key(),
            value,
            headers,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_read_back_from_its_header() {
        let trace = Trace { id: 0xabc, span: 7 };
        assert_eq!(Trace::id_of(&trace.header()), Some(0xabc));
        for wrong in [
            "",
            "00-1-2-3",
            "00-00000000000000000000000000000000-0000000000000001-01",
            "x",
        ] {
            assert_eq!(Trace::id_of(wrong), None, "{wrong}");
        }
    }
}
