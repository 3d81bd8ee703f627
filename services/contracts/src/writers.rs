//! The schemas that payloads were written with, by id.
//!
//! An id means the same schema for ever, so what is fetched stays. What the registry does not know is remembered for
//! [`NEGATIVE_TTL`] only, since it may be registered a moment later; a registry that does not answer is never remembered.
//! However many payloads ask for a new id at once, one request is made.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use schema_registry_converter::async_impl::schema_registry::{SrSettings, get_schema_by_id};
use schema_registry_converter::error::SRCError;
use schema_registry_converter::schema_registry_common::{RawError, RegisteredSchema, SchemaType};
use serde_avro_fast::Schema;

use crate::{CONTRACTS, CodecError, Contract, RejectKind, Rejection};

/// How long an id that the registry refused is refused without asking again.
const NEGATIVE_TTL: Duration = Duration::from_secs(5);
/// How long a request to the registry may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// So many open or refused ids are remembered before expired ones are thrown out.
const FLIGHTS_KEPT: usize = 1_024;

/// A schema that somebody writes with.
pub(crate) struct Writer {
    pub(crate) schema: Schema,
    pub(crate) full_name: String,
    /// Which of our records it is, if any.
    pub(crate) index: Option<usize>,
}

/// One fetch at a time per id; holds the refusal while it is fresh.
type Flight = Arc<tokio::sync::Mutex<Option<(Instant, Rejection)>>>;

pub(crate) struct Writers {
    known: RwLock<HashMap<u32, Writer>>,
    flights: Mutex<HashMap<u32, Flight>>,
    settings: Option<SrSettings>,
}

impl Writer {
    pub(crate) fn of(contract: &Contract) -> Self {
        Writer {
            schema: contract
                .schema
                .parse()
                .expect("the build has read every schema"),
            full_name: contract.full_name.to_owned(),
            index: Some(contract.index),
        }
    }

    fn parse(id: u32, registered: &RegisteredSchema) -> Result<Self, Rejection> {
        let unreadable =
            |why: String| RejectKind::UnreadableSchema.because(format!("schema {id}: {why}"));
        if registered.schema_type != SchemaType::Avro {
            return Err(unreadable(format!(
                "{:?} instead of Avro",
                registered.schema_type
            )));
        }
        if !registered.references.is_empty() {
            return Err(unreadable("it refers to other subjects".into()));
        }
        let schema: Schema = registered
            .schema
            .parse()
            .map_err(|e| unreadable(format!("{e}")))?;
        let full_name =
            full_name(&registered.schema).ok_or_else(|| unreadable("not a record".into()))?;
        let index = CONTRACTS.iter().position(|c| c.full_name == full_name);
        Ok(Writer {
            schema,
            full_name,
            index,
        })
    }
}

impl Writers {
    pub(crate) fn new(
        known: impl IntoIterator<Item = (u32, Writer)>,
        settings: Option<SrSettings>,
    ) -> Self {
        Writers {
            known: RwLock::new(known.into_iter().collect()),
            flights: Mutex::default(),
            settings,
        }
    }

    /// Calls with the schema of that id; it must have been fetched.
    pub(crate) fn with<T>(
        &self,
        id: u32,
        call: impl FnOnce(&Writer) -> Result<T, CodecError>,
    ) -> Result<T, CodecError> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        call(known.get(&id).ok_or(CodecError::Unprepared { id })?)
    }

    /// Returns once the schema of that id is known.
    pub(crate) async fn fetch(&self, id: u32) -> Result<(), CodecError> {
        if self.is_known(id) {
            return Ok(());
        }
        let flight = self.flight(id);
        let mut refused = flight.lock().await;
        if self.is_known(id) {
            return Ok(());
        }
        if let Some((at, rejection)) = refused.as_ref()
            && at.elapsed() < NEGATIVE_TTL
        {
            return Err(rejection.clone().into());
        }
        match self.ask(id).await {
            Ok(writer) => {
                let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
                known.insert(id, writer);
                self.flights
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .remove(&id);
                Ok(())
            }
            Err(CodecError::Reject(rejection)) => {
                *refused = Some((Instant::now(), rejection.clone()));
                Err(rejection.into())
            }
            Err(error) => Err(error),
        }
    }

    fn is_known(&self, id: u32) -> bool {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.contains_key(&id)
    }

    fn flight(&self, id: u32) -> Flight {
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if flights.len() >= FLIGHTS_KEPT {
            // A flight that nobody else holds and whose refusal is old tells nothing any more.
            flights.retain(|_, flight| {
                Arc::strong_count(flight) > 1
                    || flight.try_lock().is_ok_and(|refused| {
                        refused
                            .as_ref()
                            .is_some_and(|(at, _)| at.elapsed() < NEGATIVE_TTL)
                    })
            });
        }
        flights.entry(id).or_default().clone()
    }

    async fn ask(&self, id: u32) -> Result<Writer, CodecError> {
        let unknown = |why: &str| RejectKind::UnknownSchema.because(format!("schema {id}: {why}"));
        let Some(settings) = &self.settings else {
            return Err(unknown("not among the known ids, and there is no registry to ask").into());
        };
        match get_schema_by_id(id, settings).await {
            Ok(registered) => Ok(Writer::parse(id, &registered)?),
            Err(source) if is_verdict(&source) => Err(unknown(&source.to_string()).into()),
            Err(source) => Err(CodecError::Retry { id, source }),
        }
    }
}

/// How the registry is called. Fails when the client cannot be built.
pub(crate) fn settings(registry: &str) -> Result<SrSettings, SRCError> {
    let url = registry.trim_end_matches('/').to_owned();
    SrSettings::new_builder(url)
        .set_timeout(TIMEOUT)
        .no_proxy()
        .build()
}

/// Whether the registry itself said that it does not have it. A status alone does not count: a wrong path or a proxy
/// also answers 404, and must not turn every payload into a dead letter.
pub(crate) fn is_verdict(error: &SRCError) -> bool {
    let source = std::error::Error::source(error).and_then(|s| s.downcast_ref::<RawError>());
    source.is_some_and(|raw| (40_401..=40_499).contains(&raw.error_code))
}

/// Namespace and name of a record's schema.
fn full_name(schema: &str) -> Option<String> {
    let schema: serde_json::Value = serde_json::from_str(schema).ok()?;
    if schema["type"] != "record" {
        return None;
    }
    let name = schema["name"].as_str()?;
    match schema["namespace"].as_str() {
        Some(namespace) if !name.contains('.') => Some(format!("{namespace}.{name}")),
        _ => Some(name.to_owned()),
    }
}
