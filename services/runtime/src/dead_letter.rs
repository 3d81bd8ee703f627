//! Dead letters: the message byte for byte, and in UTF-8 headers where it came from and why it died.

use chrono::{DateTime, SecondsFormat, Utc};

use crate::message::Message;
use crate::processor::Reject;
use crate::record::{Outgoing, Record};

/// How often a message has been put back to its topic after dying; written by whoever redrives it.
pub const REPLAY_COUNT: &str = "dlq.replay_count";
pub const ORIGINAL_TOPIC: &str = "dlq.original.topic";
pub const ORIGINAL_PARTITION: &str = "dlq.original.partition";
pub const ORIGINAL_OFFSET: &str = "dlq.original.offset";
pub const ORIGINAL_TIMESTAMP: &str = "dlq.original.timestamp";
pub const CONSUMER_GROUP: &str = "dlq.consumer.group";
pub const ERROR_KIND: &str = "dlq.error.kind";
pub const ERROR_MESSAGE: &str = "dlq.error.message";
pub const ERROR_STAGE: &str = "dlq.error.stage";
pub const FIRST_FAILED_AT: &str = "dlq.first_failed_at";
pub const SERVICE: &str = "dlq.service";
pub const SERVICE_VERSION: &str = "dlq.service_version";

/// Longest error message kept, in bytes.
const MESSAGE_BYTES: usize = 1_024;

/// Where a message died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Decode,
    Apply,
}

/// Who writes dead letters.
#[derive(Clone, Debug)]
pub struct Undertaker {
    pub service: String,
    pub version: String,
    pub group: String,
}

impl Undertaker {
    /// Adds the dead letter of a message. Headers of an earlier death are overwritten, except when it first failed and how
    /// often it has been replayed.
    pub(crate) fn bury(
        &self,
        message: &Message,
        reject: &Reject,
        stage: Stage,
        now: DateTime<Utc>,
        outgoing: &mut Outgoing,
    ) {
        let (partition, offset) = (message.partition.to_string(), message.offset.to_string());
        let timestamp = message.timestamp_ms.to_string();
        let died = now.to_rfc3339_opts(SecondsFormat::Micros, true);
        let first = message.headers.text(FIRST_FAILED_AT).unwrap_or(&died);
        let replays = message.headers.text(REPLAY_COUNT).unwrap_or("0");
        let stage = match stage {
            Stage::Decode => "decode",
            Stage::Apply => "apply",
        };
        let added: [(&str, &str); 12] = [
            (ORIGINAL_TOPIC, &message.source.topic),
            (ORIGINAL_PARTITION, &partition),
            (ORIGINAL_OFFSET, &offset),
            (ORIGINAL_TIMESTAMP, &timestamp),
            (CONSUMER_GROUP, &self.group),
            (ERROR_KIND, reject.kind),
            (ERROR_MESSAGE, shortened(&reject.message)),
            (ERROR_STAGE, stage),
            (FIRST_FAILED_AT, first),
            (SERVICE, &self.service),
            (SERVICE_VERSION, &self.version),
            (REPLAY_COUNT, replays),
        ];
        let is_added = |name: &str| added.iter().any(|(own, _)| *own == name);
        let mut headers: Vec<(&str, Option<&[u8]>)> = message
            .headers
            .iter()
            .filter(|(name, _)| !is_added(name))
            .collect();
        headers.extend(
            added
                .iter()
                .map(|(name, value)| (*name, Some(value.as_bytes()))),
        );
        outgoing.push(Record {
            topic: &message.source.dead_letters,
            partition: None,
            key: message.key.as_deref(),
            value: message.value.as_deref(),
            headers: &headers,
        });
    }
}

fn shortened(message: &str) -> &str {
    &message[..message.floor_char_boundary(MESSAGE_BYTES)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::{Bytes, BytesMut};

    use super::*;
    use crate::lane::{SourceKind, SourceTopic};
    use crate::message::Headers;
    use crate::record::{MalformedRow, unpack};

    fn message(headers: &[(&str, &[u8])]) -> Message {
        let mut packed = BytesMut::new();
        headers
            .iter()
            .for_each(|(name, value)| Headers::pack(&mut packed, name, Some(value)));
        let source = SourceTopic {
            topic: "t".into(),
            partitions: 9,
            dead_letters: "t.dlq".into(),
            kind: SourceKind::Durable,
            patience: Default::default(),
        };
        Message {
            source: source.into(),
            partition: 7,
            offset: 4_711,
            timestamp_ms: 99,
            key: Some(Bytes::from_static(b"\xffkey")),
            value: None,
            headers: Headers::packed(packed.freeze()),
        }
    }

    type Letter = (
        String,
        Option<Vec<u8>>,
        Option<Vec<u8>>,
        BTreeMap<String, Vec<Vec<u8>>>,
    );

    fn bury(message: &Message) -> Letter {
        let undertaker = Undertaker {
            service: "s".into(),
            version: "1.2".into(),
            group: "g".into(),
        };
        let mut outgoing = Outgoing::default();
        let now = DateTime::from_timestamp(1, 0).unwrap();
        undertaker.bury(
            message,
            &Reject::new("bad", "field = 3"),
            Stage::Apply,
            now,
            &mut outgoing,
        );
        let mut letter = None;
        unpack::<MalformedRow>(&outgoing.pack(), |record| {
            let mut headers: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
            for (name, value) in record.headers {
                headers
                    .entry((*name).to_owned())
                    .or_default()
                    .push(value.unwrap().to_vec());
            }
            letter = Some((
                record.topic.to_owned(),
                record.key.map(Into::into),
                record.value.map(Into::into),
                headers,
            ));
            Ok(())
        })
        .unwrap();
        letter.unwrap()
    }

    #[test]
    fn every_header_says_what_its_name_says() {
        let (topic, key, value, headers) = bury(&message(&[("own", b"\x00\xff")]));
        assert_eq!(
            (topic.as_str(), key.unwrap().as_slice(), value),
            ("t.dlq", b"\xffkey".as_slice(), None)
        );
        let text = |name: &str| String::from_utf8(headers[name][0].clone()).unwrap();
        assert_eq!(headers["own"], [b"\x00\xff"]);
        assert_eq!(
            [
                ORIGINAL_TOPIC,
                ORIGINAL_PARTITION,
                ORIGINAL_OFFSET,
                ORIGINAL_TIMESTAMP,
                CONSUMER_GROUP
            ]
            .map(text),
            ["t", "7", "4711", "99", "g"]
        );
        assert_eq!(
            [ERROR_KIND, ERROR_MESSAGE, ERROR_STAGE].map(text),
            ["bad", "field = 3", "apply"]
        );
        assert_eq!(
            [FIRST_FAILED_AT, SERVICE, SERVICE_VERSION, REPLAY_COUNT].map(text),
            ["1970-01-01T00:00:01.000000Z", "s", "1.2", "0"]
        );
    }

    #[test]
    fn a_second_death_overwrites_instead_of_appending() {
        let dead = message(&[
            (ERROR_KIND, b"old"),
            (FIRST_FAILED_AT, b"earlier"),
            (REPLAY_COUNT, b"2"),
        ]);
        let (.., headers) = bury(&dead);
        assert!(headers.values().all(|values| values.len() == 1));
        assert_eq!(headers[ERROR_KIND], [b"bad"]);
        assert_eq!(
            (
                &headers[FIRST_FAILED_AT][0][..],
                &headers[REPLAY_COUNT][0][..]
            ),
            (&b"earlier"[..], &b"2"[..])
        );
    }
}
