//! Settling letters, each once: in one Kafka transaction the record goes back to its topic and the note that it did to the
//! letter's. Nothing else remembers anything, so there is nothing that could contradict it.
//!
//! One settler per topic of dead letters at a time, by the transactional id. Whoever starts fences the one before, which ends
//! that one's open transaction, and only then looks at what is still open: two operators, or one who starts again after a
//! crash, settle no letter twice. Price: a started settler stops the other, which has to be started again.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use contracts::headers;
use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use runtime::dead_letter;

use super::edit::Edited;
use super::letter::{
    Letter, Origin, SETTLED, SETTLED_BY, SETTLED_EDITED, SETTLED_NOTE, SETTLED_OFFSET,
};
use crate::log::TIMEOUT;

/// What happens to letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Redrive,
    Discard,
}

impl Action {
    pub fn done(self) -> &'static str {
        match self {
            Action::Redrive => "redriven",
            Action::Discard => "discarded",
        }
    }
}

/// A letter, where it goes back to (unless it is discarded), and with what.
pub struct Planned {
    pub letter: Letter,
    pub origin: Option<Origin>,
    pub edited: Option<Edited>,
}

/// Writes settlements of one topic of dead letters.
pub struct Settler {
    producer: ThreadedProducer<DefaultProducerContext>,
    action: Action,
    by: String,
    note: String,
}

/// Letters per transaction: few enough for readers of the topics not to wait for the rest of them.
const BATCH: usize = 50;

impl Settler {
    /// Takes the topic over. Blocks until the transaction of its predecessor, if there is one, is decided.
    pub fn start(kafka: &ClientConfig, topic: &str, action: Action, note: &str) -> Result<Self> {
        let mut config = kafka.clone();
        config
            .set("transactional.id", format!("swiftctl.{topic}"))
            .set("transaction.timeout.ms", "10000")
            .set("message.max.bytes", "2000000")
            .set("linger.ms", "0")
            .set("retry.backoff.ms", "5");
        let producer: ThreadedProducer<_> = config.create().context("a Kafka producer")?;
        let started = producer.init_transactions(TIMEOUT);
        started.with_context(|| format!("taking over {topic}"))?;
        let by = ["USER", "LOGNAME"]
            .map(std::env::var)
            .into_iter()
            .flatten()
            .next();
        Ok(Settler {
            producer,
            action,
            by: by.unwrap_or_else(|| "unknown".to_owned()),
            note: note.to_owned(),
        })
    }

    /// Settles all of them, no more than `rate` a second; calls `settled` with how many each transaction settled.
    pub fn settle(
        &self,
        letters: &[Planned],
        rate: u32,
        mut settled: impl FnMut(usize),
    ) -> Result<()> {
        let begin = Instant::now();
        let mut count = 0_usize;
        for batch in letters.chunks(BATCH.min(rate.max(1) as usize)) {
            let due = begin + Duration::from_secs_f64(count as f64 / f64::from(rate.max(1)));
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            self.transact(batch).map_err(explain)?;
            count += batch.len();
            settled(batch.len());
        }
        Ok(())
    }

    fn transact(&self, batch: &[Planned]) -> Result<(), KafkaError> {
        self.producer.begin_transaction()?;
        for planned in batch {
            if let Some(origin) = &planned.origin {
                self.put_back(planned, origin)?;
            }
            self.note(planned)?;
        }
        // Not a long flush: it can miss its wake-up, and the commit would only then begin.
        let deadline = Instant::now() + TIMEOUT;
        while self.producer.flush(Duration::from_millis(2)).is_err() && Instant::now() < deadline {}
        self.producer.commit_transaction(TIMEOUT)
    }

    /// The message as it was, and how often it has been put back.
    fn put_back(&self, planned: &Planned, origin: &Origin) -> Result<(), KafkaError> {
        let stored = &planned.letter.stored;
        let replays = (planned.letter.replays() + 1).to_string();
        let version = planned
            .edited
            .as_ref()
            .map(|e| e.contract.version.to_string());
        let own = |name: &str| {
            let of_letter = name.starts_with("dlq.") && name != dead_letter::FIRST_FAILED_AT;
            !of_letter && (name != headers::SCHEMA_VERSION || version.is_none())
        };
        let mut all = OwnedHeaders::new();
        for (key, value) in stored.headers.iter().filter(|(name, _)| own(name)) {
            all = all.insert(Header {
                key,
                value: value.as_ref(),
            });
        }
        all = text(all, dead_letter::REPLAY_COUNT, &replays);
        if let Some(version) = &version {
            all = text(all, headers::SCHEMA_VERSION, version);
        }
        let value = match &planned.edited {
            Some(edited) => Some(edited.payload.as_slice()),
            None => stored.value.as_deref(),
        };
        self.send(
            &origin.topic,
            origin.partition,
            stored.key.as_deref(),
            value,
            all,
        )
    }

    /// The audit: beside the letter, with the value that it went back with if that is another one.
    fn note(&self, planned: &Planned) -> Result<(), KafkaError> {
        let stored = &planned.letter.stored;
        let mut all = text(OwnedHeaders::new(), SETTLED, self.action.done());
        all = text(all, SETTLED_OFFSET, &stored.offset.to_string());
        all = text(all, SETTLED_BY, &self.by);
        all = text(all, SETTLED_NOTE, &self.note);
        let edited = planned.edited.as_ref();
        all = text(
            all,
            SETTLED_EDITED,
            if edited.is_some() { "true" } else { "false" },
        );
        let value = edited.map(|edited| edited.payload.as_slice());
        self.send(
            &stored.topic,
            stored.partition,
            stored.key.as_deref(),
            value,
            all,
        )
    }

    fn send(
        &self,
        topic: &str,
        partition: i32,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: OwnedHeaders,
    ) -> Result<(), KafkaError> {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic);
        record = record.partition(partition).headers(headers);
        (record.key, record.payload) = (key, value);
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err((error, _)) => return Err(error),
            }
        }
    }
}

fn text(headers: OwnedHeaders, key: &str, value: &str) -> OwnedHeaders {
    let value = Some(value);
    headers.insert(Header { key, value })
}

/// The transaction dies with this process, or has happened: the letters themselves tell which.
fn explain(error: KafkaError) -> anyhow::Error {
    let fenced = error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fenced)
        || matches!(&error, KafkaError::Transaction(error) if error.is_fatal());
    let what = if fenced {
        "another swiftctl has taken these dead letters over; what was settled so far is settled"
    } else {
        "interrupted; run the same command again, it goes on where this one ended"
    };
    anyhow!(error).context(what)
}
