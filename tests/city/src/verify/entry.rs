//! A record as an outsider sees it: place, key, headers, and those fields of the payload that the checks are about.

use contracts::{Topic, headers};
use harness::Received;
use uuid::Uuid;

use crate::emission::Trace;

/// One record of a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub topic: Topic,
    pub partition: i32,
    pub offset: i64,
    pub key: Option<String>,
    pub event_type: Option<String>,
    pub event_id: Option<String>,
    pub schema_version: Option<String>,
    /// The trace id of a well-formed `traceparent`.
    pub trace: Option<u128>,
    pub content: Content,
}

/// What the payload turned out to be.
#[derive(Clone, Debug, PartialEq)]
#[allow(clippy::large_enum_variant)] // Nearly all are records.
pub enum Content {
    Record(Record),
    /// And why.
    Unreadable(String),
}

/// A payload that was decoded by the schema it names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Namespace and name.
    pub full_name: String,
    /// The schema's own `version`.
    pub version: Option<i64>,
    pub event_id: Uuid,
    /// Microseconds since the epoch.
    pub occurred_at: i64,
    pub geo: String,
    /// The field that the catalogue names as the key.
    pub key: Option<String>,
    pub order_id: Option<Uuid>,
    pub order_version: Option<i32>,
    pub driver_id: Option<String>,
    pub trip_id: Option<Uuid>,
    /// Minor units and currency of a payment or refund.
    pub amount: Option<(i64, String)>,
    /// Of a notification: which event, over what, to whom.
    pub notification: Option<String>,
}

/// A dead letter, by where its original stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DeadLetter {
    pub partition: Option<i32>,
    pub offset: Option<i64>,
}

impl Entry {
    pub fn new(topic: &Topic, received: &Received, content: Content) -> Self {
        let header = |name: &str| received.header(name).map(str::to_owned);
        Self {
            topic: topic.clone(),
            partition: received.partition,
            offset: received.offset,
            key: received.key_text().map(str::to_owned),
            event_type: header(headers::EVENT_TYPE),
            event_id: header(headers::EVENT_ID),
            schema_version: header(headers::SCHEMA_VERSION),
            trace: received.header(headers::TRACEPARENT).and_then(Trace::id_of),
            content,
        }
    }

    /// `topic/partition@offset`.
    pub fn place(&self) -> String {
        format!("{}/{}@{}", self.topic, self.partition, self.offset)
    }
}

impl Record {
    /// The name without its namespace.
    pub fn name(&self) -> &str {
        self.full_name
            .rsplit_once('.')
            .map_or(&self.full_name, |(_, name)| name)
    }
}

impl DeadLetter {
    /// `None` of a note beside the letters that says what was done about one.
    pub fn of(received: &Received) -> Option<Self> {
        if received.header("dlq.settled").is_some() {
            return None;
        }
        let number = |name: &str| {
            received
                .header(name)
                .and_then(|text| text.parse::<i64>().ok())
        };
        let partition =
            number("dlq.original.partition").and_then(|partition| i32::try_from(partition).ok());
        Some(Self {
            partition,
            offset: number("dlq.original.offset"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(header: (&str, &str)) -> Received {
        let headers = [
            ("dlq.original.partition", "3"),
            ("dlq.original.offset", "7"),
            header,
        ];
        let headers = headers.map(|(name, text)| (name.to_owned(), Some(text.as_bytes().to_vec())));
        Received {
            topic: "orders.requests.dlq.berlin-mitte".to_owned(),
            partition: 0,
            offset: 9,
            timestamp_ms: 0,
            key: None,
            value: None,
            headers: headers.to_vec(),
        }
    }

    #[test]
    fn a_note_about_a_letter_is_no_letter() {
        let letter = DeadLetter {
            partition: Some(3),
            offset: Some(7),
        };
        assert_eq!(
            DeadLetter::of(&received(("dlq.reason", "malformed"))),
            Some(letter)
        );
        assert_eq!(DeadLetter::of(&received(("dlq.settled", "redriven"))), None);
    }
}
