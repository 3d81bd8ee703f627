//! Binds contracts to the runtime: which topics a processor reads, and how records are read from and written to messages.
//!
//! The runtime knows bytes and no records, the contracts know records and no Kafka; what the four processors have in
//! common between the two stands here, so that every record on every topic carries the same headers.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use contracts::headers::{EVENT_ID, EVENT_TYPE, SCHEMA_VERSION};
use contracts::{
    Catalogue, CatalogueError, Codec, CodecError, EncodeError, Geo, InvalidGeo, Record, Topic,
};
use runtime::{
    ConfigError, DecodeError, Effects, Message, Processor, Reject, Settings, SourceKind,
    SourceTopic, Trace,
};
use serde::Deserialize;
use thiserror::Error;

/// How long what only people wait for may wait for company; they read more slowly than that.
const PATIENCE: Duration = Duration::from_millis(50);

/// `[catalogue]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CatalogueSettings {
    /// Directory with a `topics.toml` and a `geos.toml` to use in place of those that this build was made with: a geo is added
    /// without a build. Processors and swiftctl must agree.
    #[serde(default)]
    directory: Option<PathBuf>,
    /// Geos that this process serves, by name. Default: all of the catalogue. All instances of a service must agree:
    /// a partition assigned to an instance that does not know its geo stands still.
    #[serde(default)]
    geos: Option<Vec<String>>,
}

impl CatalogueSettings {
    /// That of the directory, or the one that this build was made with.
    pub fn catalogue(&self) -> Result<Catalogue, CatalogueError> {
        self.directory
            .as_deref()
            .map_or_else(|| Ok(Catalogue::embedded()), Catalogue::load)
    }
}

/// The catalogue cannot be used.
#[derive(Debug, Error)]
pub enum BindingError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("catalogue.directory: {0}")]
    Directory(#[source] CatalogueError),
    #[error("catalogue.geos: {0}")]
    Geo(#[from] InvalidGeo),
    #[error("catalogue.geos: {0}")]
    Catalogue(#[from] CatalogueError),
}

/// The catalogue, and the geos of it that this process serves, in its order.
pub fn catalogue(settings: &Settings) -> Result<(Catalogue, Vec<Geo>), BindingError> {
    let chosen: CatalogueSettings = settings.section("catalogue")?;
    let catalogue = chosen.catalogue().map_err(BindingError::Directory)?;
    let known = catalogue.geos().iter().map(|spec| spec.name.clone());
    let Some(names) = chosen.geos else {
        let all = known.collect();
        return Ok((catalogue, all));
    };
    for name in &names {
        catalogue.geo(name)?;
    }
    let chosen = known
        .filter(|geo| names.iter().any(|name| name == geo.as_str()))
        .collect();
    Ok((catalogue, chosen))
}

/// A topic of which every message is applied once.
pub fn durable(topic: &Topic, catalogue: &Catalogue) -> Result<SourceTopic, CatalogueError> {
    source(topic, catalogue, SourceKind::Durable)
}

/// The same, where people alone wait for what follows: at low load a few larger transactions leave broker and database to
/// those who are waited for.
pub fn patient(topic: &Topic, catalogue: &Catalogue) -> Result<SourceTopic, CatalogueError> {
    Ok(SourceTopic {
        patience: PATIENCE,
        ..durable(topic, catalogue)?
    })
}

/// A topic of which only the newest messages count.
pub fn soft(
    topic: &Topic,
    catalogue: &Catalogue,
    window: Duration,
) -> Result<SourceTopic, CatalogueError> {
    source(topic, catalogue, SourceKind::Soft { window })
}

fn source(
    topic: &Topic,
    catalogue: &Catalogue,
    kind: SourceKind,
) -> Result<SourceTopic, CatalogueError> {
    Ok(SourceTopic {
        topic: topic.to_string().into(),
        partitions: catalogue.partitions(topic)? as i32,
        dead_letters: topic.dead_letters().into(),
        kind,
        patience: Duration::ZERO,
    })
}

/// Reads the record of a message of a stream, fetching its schema when it is the first of its kind.
pub async fn decode<M: contracts::Message>(
    codec: &Codec,
    message: &Message,
) -> Result<M, DecodeError> {
    let Some(payload) = message.value.as_deref() else {
        return Err(DecodeError::Reject(Reject::new(
            "no_value",
            "the message has no value",
        )));
    };
    match codec.decode(payload) {
        Err(CodecError::Unprepared { .. }) => {
            codec.prepare(payload).await.map_err(undecoded)?;
            codec.decode(payload).map_err(undecoded)
        }
        decoded => decoded.map_err(undecoded),
    }
}

fn undecoded(error: CodecError) -> DecodeError {
    match error {
        CodecError::Reject(rejection) => {
            DecodeError::Reject(Reject::new(rejection.kind.label(), rejection.message))
        }
        error => DecodeError::Retry(error.into()),
    }
}

thread_local! {
    /// Encoding buffer; the runtime copies records out of it.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Publishes a record on `partition` of a topic (`None`: by its key), with the headers every record carries.
pub fn publish<P: Processor, R: Record>(
    codec: &Codec,
    effects: &mut Effects<P>,
    topic: &str,
    partition: Option<i32>,
    key: &str,
    record: &R,
    trace: &Trace,
) -> Result<(), EncodeError> {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.clear();
        codec.encode_into(record, buffer)?;
        let mut id = [0; uuid::fmt::Hyphenated::LENGTH];
        let id = record
            .event_id()
            .hyphenated()
            .encode_lower(&mut id)
            .as_bytes();
        let version = R::VERSION.to_string();
        let headers: [(&str, Option<&[u8]>); 3] = [
            (EVENT_TYPE, Some(R::NAME.as_bytes())),
            (EVENT_ID, Some(id)),
            (SCHEMA_VERSION, Some(version.as_bytes())),
        ];
        let record = runtime::Record {
            topic,
            partition,
            key: Some(key.as_bytes()),
            value: Some(buffer),
            headers: &headers,
        };
        effects.publish(record, trace);
        Ok(())
    })
}
