//! Decoding as a foreign client does it: the payload names a schema id, the registry has the schema, and that is all.

use std::collections::HashMap;

use anyhow::{Context, ensure};
use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use reqwest::StatusCode;
use serde::Deserialize;
use uuid::Uuid;

use super::entry::{Content, Record};

/// The registry's schemas by id, each fetched once.
pub(super) struct Schemas {
    registry: String,
    client: reqwest::Client,
    /// `None`: the registry does not know the id.
    known: HashMap<u32, Option<Writer>>,
}

struct Writer {
    schema: Schema,
    full_name: String,
    version: Option<i64>,
}

#[derive(Deserialize)]
struct Answer {
    schema: String,
}

impl Schemas {
    pub(super) fn new(registry: &str) -> Self {
        let registry = registry.trim_end_matches('/').to_owned();
        Self {
            registry,
            client: reqwest::Client::new(),
            known: HashMap::new(),
        }
    }

    /// Reads a payload in Confluent's wire format; `key` is the field that ought to be the record's key. An error is the
    /// registry's or ours, never the payload's.
    pub(super) async fn decode(
        &mut self,
        payload: Option<&[u8]>,
        key: &str,
    ) -> anyhow::Result<Content> {
        let Some((&[0, a, b, c, d], datum)) = payload.and_then(<[u8]>::split_first_chunk) else {
            return Ok(Content::Unreadable(
                "not in Confluent's wire format".to_owned(),
            ));
        };
        let id = u32::from_be_bytes([a, b, c, d]);
        if !self.known.contains_key(&id) {
            let writer = self
                .fetch(id)
                .await
                .with_context(|| format!("schema {id}"))?;
            self.known.insert(id, writer);
        }
        let Some(writer) = &self.known[&id] else {
            return Ok(Content::Unreadable(format!(
                "the registry does not know schema {id}"
            )));
        };
        let mut rest = datum;
        let reader = GenericDatumReader::builder(&writer.schema).build()?;
        Ok(match reader.read_value(&mut rest) {
            Ok(value) if rest.is_empty() => record(writer, &value, key),
            Ok(_) => Content::Unreadable(format!(
                "{} bytes left over after {}",
                rest.len(),
                writer.full_name
            )),
            Err(error) => Content::Unreadable(format!("no {}: {error}", writer.full_name)),
        })
    }

    async fn fetch(&self, id: u32) -> anyhow::Result<Option<Writer>> {
        let response = self
            .client
            .get(format!("{}/schemas/ids/{id}", self.registry))
            .send()
            .await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        ensure!(
            response.status().is_success(),
            "the registry answers {}",
            response.status()
        );
        let text = response.json::<Answer>().await?.schema;
        let json: serde_json::Value = serde_json::from_str(&text)?;
        let schema = Schema::parse_str(&text)?;
        let full_name = schema
            .name()
            .map_or_else(String::new, |name| name.fullname(None));
        Ok(Some(Writer {
            schema,
            full_name,
            version: json["version"].as_i64(),
        }))
    }
}

fn record(writer: &Writer, value: &Value, key: &str) -> Content {
    let (Some(event_id), Some(Value::TimestampMicros(occurred_at)), Some(geo)) = (
        uuid(value, "event_id"),
        field(value, "occurred_at"),
        text(value, "geo"),
    ) else {
        return Content::Unreadable(format!(
            "{} without event_id, occurred_at or geo",
            writer.full_name
        ));
    };
    let order_version = match field(value, "order_version") {
        Some(Value::Int(version)) => Some(*version),
        _ => None,
    };
    Content::Record(Record {
        full_name: writer.full_name.clone(),
        version: writer.version,
        event_id,
        occurred_at: *occurred_at,
        geo,
        key: text(value, key),
        order_id: uuid(value, "order_id"),
        order_version,
        driver_id: text(value, "driver_id"),
        trip_id: uuid(value, "trip_id"),
        amount: amount(value),
        notification: notification(value),
    })
}

/// Minor units and currency.
fn amount(value: &Value) -> Option<(i64, String)> {
    let amount = field(value, "amount")?;
    match field(amount, "amount_minor")? {
        Value::Long(minor) => Some((*minor, text(amount, "currency")?)),
        _ => None,
    }
}

fn notification(value: &Value) -> Option<String> {
    let recipient = field(value, "recipient")?;
    let parts = [
        text(value, "source_event_id")?,
        text(value, "channel")?,
        text(recipient, "kind")?,
        text(recipient, "id")?,
        text(value, "template")?,
    ];
    Some(parts.join("/"))
}

fn field<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let Value::Record(fields) = value else {
        return None;
    };
    match &fields.iter().find(|(known, _)| known == name)?.1 {
        Value::Union(_, value) => Some(value),
        value => Some(value),
    }
}

fn text(value: &Value, name: &str) -> Option<String> {
    match field(value, name)? {
        Value::String(text) | Value::Enum(_, text) => Some(text.clone()),
        Value::Uuid(id) => Some(id.to_string()),
        _ => None,
    }
}

fn uuid(value: &Value, name: &str) -> Option<Uuid> {
    match field(value, name)? {
        Value::Uuid(id) => Some(*id),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}
