//! Payloads as an outsider reads them: the schema that a payload names, fetched from the registry, and no type of ours.
//!
//! A record becomes a JSON view for people (instants as RFC 3339, bytes as hex, optional values without their branch) and a
//! view becomes a record again by the schema: every field of the view must be one of the record's, so that a misspelt
//! correction is an error that names its place instead of a field that keeps its default. Speed is no matter here.

use std::collections::HashMap;

use anyhow::{Context, Result, bail, ensure};
use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::schema::{RecordSchema, ResolvedSchema};
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value as Json;

use crate::registry::Registry;

/// A payload that its schema could read.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    pub schema_id: u32,
    /// Namespace and name.
    pub record: String,
    pub view: Json,
}

impl Decoded {
    /// The name without namespace.
    pub fn name(&self) -> &str {
        self.record
            .rsplit_once('.')
            .map_or(&self.record, |(_, name)| name)
    }
}

/// The registry's schemas, each asked for once.
pub struct Schemas {
    registry: Registry,
    known: HashMap<u32, Result<Schema, String>>,
}

impl Schemas {
    pub fn new(registry: Registry) -> Self {
        Schemas {
            registry,
            known: HashMap::new(),
        }
    }

    /// Reads a payload in Confluent's wire format. The error says why that cannot be done, a registry that does not answer
    /// included: who looks at a failure wants to see the rest of it all the same.
    pub async fn decode(&mut self, payload: Option<&[u8]>) -> Result<Decoded, String> {
        let Some(payload) = payload else {
            return Err("no value".to_owned());
        };
        let Some((&[0, a, b, c, d], datum)) = payload.split_first_chunk() else {
            return Err("not in Confluent's wire format".to_owned());
        };
        let id = u32::from_be_bytes([a, b, c, d]);
        if !self.known.contains_key(&id) {
            let schema = self.fetch(id).await.map_err(|error| format!("{error:#}"));
            self.known.insert(id, schema);
        }
        let schema = self.known[&id].as_ref().map_err(Clone::clone)?;
        let view = read(schema, datum).map_err(|error| format!("schema {id}: {error:#}"))?;
        let name = schema.name().map(|name| name.fullname(None));
        Ok(Decoded {
            schema_id: id,
            record: name.unwrap_or_default(),
            view,
        })
    }

    async fn fetch(&self, id: u32) -> Result<Schema> {
        let schema = self.registry.schema(id).await?;
        let schema = schema.with_context(|| format!("the registry does not know schema {id}"))?;
        Schema::parse_str(&schema).with_context(|| format!("schema {id} cannot be read"))
    }
}

/// The view of a datum; all of it must be used.
fn read(schema: &Schema, mut datum: &[u8]) -> Result<Json> {
    let reader = GenericDatumReader::builder(schema).build()?;
    let value = reader.read_value(&mut datum)?;
    ensure!(datum.is_empty(), "{} bytes are left over", datum.len());
    Ok(view(&value))
}

/// The payload, in wire format, of a view: by this schema, which has this id.
pub fn encode(schema: &str, id: u32, view: &Json) -> Result<Vec<u8>> {
    let schema = Schema::parse_str(schema).context("the schema cannot be read")?;
    let value = Shaper::new(&schema)?.value(&schema, view, "the record")?;
    let writer = GenericDatumWriter::builder(&schema).build()?;
    let mut payload = vec![0];
    payload.extend_from_slice(&id.to_be_bytes());
    payload.extend(writer.write_value_to_vec(value)?);
    Ok(payload)
}

fn view(value: &Value) -> Json {
    let instant = |at: Option<DateTime<Utc>>, raw: i64| match at {
        Some(at) => at.to_rfc3339_opts(SecondsFormat::Micros, true).into(),
        None => Json::from(raw),
    };
    match value {
        Value::Null => Json::Null,
        Value::Boolean(flag) => (*flag).into(),
        Value::Int(number) | Value::Date(number) | Value::TimeMillis(number) => (*number).into(),
        Value::Long(number) | Value::TimeMicros(number) | Value::TimestampNanos(number) => {
            (*number).into()
        }
        Value::Float(number) => f64::from(*number).into(),
        Value::Double(number) => (*number).into(),
        Value::Bytes(bytes) | Value::Fixed(_, bytes) => hex(bytes).into(),
        Value::String(text) | Value::Enum(_, text) => text.as_str().into(),
        Value::Uuid(id) => id.to_string().into(),
        Value::Union(_, value) => view(value),
        Value::Array(values) => values.iter().map(view).collect(),
        Value::Map(values) => values.iter().map(|(k, v)| (k.clone(), view(v))).collect(),
        Value::Record(fields) => fields.iter().map(|(k, v)| (k.clone(), view(v))).collect(),
        Value::TimestampMicros(at) => instant(DateTime::from_timestamp_micros(*at), *at),
        Value::TimestampMillis(at) => instant(DateTime::from_timestamp_millis(*at), *at),
        // None of our contracts has these; shown, and refused when written.
        other => format!("{other:?}").into(),
    }
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of a hex text; `None` when it is none.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits
        .len()
        .is_multiple_of(2)
        .then(|| digits.chunks(2).map(byte).collect())?
}

/// Gives a view the shape that a schema asks for.
struct Shaper<'s> {
    names: ResolvedSchema<'s>,
}

impl<'s> Shaper<'s> {
    fn new(schema: &'s Schema) -> Result<Self> {
        let names = ResolvedSchema::new(schema)?;
        Ok(Shaper { names })
    }

    /// `place` names the value in errors.
    fn value(&self, schema: &Schema, view: &Json, place: &str) -> Result<Value> {
        let value = match (schema, view) {
            (Schema::Ref { name }, _) => {
                let names = self.names.get_names();
                let named = names.get(name).copied();
                let by_name = || names.iter().find(|(known, _)| known.name() == name.name());
                let schema = named.or_else(|| by_name().map(|(_, schema)| *schema));
                return self.value(schema.context("an unknown name")?, view, place);
            }
            (Schema::Union(union), _) => return self.branch(union.variants(), view, place),
            (Schema::Record(record), Json::Object(_)) => return self.record(record, view, place),
            (Schema::Array(array), Json::Array(items)) => {
                let item = |(at, item)| self.value(&array.items, item, &format!("{place}[{at}]"));
                Value::Array(items.iter().enumerate().map(item).collect::<Result<_>>()?)
            }
            (Schema::Map(map), Json::Object(items)) => {
                let item = |(key, item): (&String, &Json)| {
                    let value = self.value(&map.types, item, &format!("{place}.{key}"))?;
                    anyhow::Ok((key.clone(), value))
                };
                Value::Map(items.iter().map(item).collect::<Result<_>>()?)
            }
            _ => return scalar(schema, view).with_context(|| expected(schema, view, place)),
        };
        Ok(value)
    }

    fn branch(&self, branches: &[Schema], view: &Json, place: &str) -> Result<Value> {
        let mut why = None;
        for (index, branch) in branches.iter().enumerate() {
            match self.value(branch, view, place) {
                Ok(value) => return Ok(Value::Union(u32::try_from(index)?, Box::new(value))),
                // What the last branch says is what somebody who gave a value wants to hear.
                Err(error) => why = Some(error),
            }
        }
        Err(why.with_context(|| format!("{place}: a union of nothing"))?)
    }

    fn record(&self, record: &RecordSchema, view: &Json, place: &str) -> Result<Value> {
        let given = view.as_object().context("not an object")?;
        let known = |name: &String| record.fields.iter().any(|field| field.name == *name);
        if let Some(unknown) = given.keys().find(|name| !known(name)) {
            bail!("{place} has no field {unknown}");
        }
        let mut fields = Vec::with_capacity(record.fields.len());
        for field in &record.fields {
            let place = format!("{place}.{}", field.name);
            let given = given.get(&field.name).or(field.default.as_ref());
            let given = given.with_context(|| format!("{place} is missing"))?;
            fields.push((
                field.name.clone(),
                self.value(&field.schema, given, &place)?,
            ));
        }
        Ok(Value::Record(fields))
    }
}

fn expected(schema: &Schema, view: &Json, place: &str) -> String {
    let schema = match schema {
        Schema::Enum(symbols) => format!("one of {}", symbols.symbols.join(", ")),
        other => format!("{other:?}"),
    };
    format!("{place} = {view}: expected {schema}")
}

fn scalar(schema: &Schema, view: &Json) -> Option<Value> {
    let int = || view.as_i64().and_then(|number| i32::try_from(number).ok());
    let instant = || {
        let text = view.as_str()?;
        Some(DateTime::parse_from_rfc3339(text).ok()?.to_utc())
    };
    Some(match schema {
        Schema::Null => view.is_null().then_some(Value::Null)?,
        Schema::Boolean => Value::Boolean(view.as_bool()?),
        Schema::Int => Value::Int(int()?),
        Schema::Date => Value::Date(int()?),
        Schema::TimeMillis => Value::TimeMillis(int()?),
        Schema::Long => Value::Long(view.as_i64()?),
        Schema::TimeMicros => Value::TimeMicros(view.as_i64()?),
        Schema::TimestampNanos => Value::TimestampNanos(view.as_i64()?),
        Schema::TimestampMicros => Value::TimestampMicros(instant()?.timestamp_micros()),
        Schema::TimestampMillis => Value::TimestampMillis(instant()?.timestamp_millis()),
        // The view held a float as the double of the same value.
        Schema::Float => Value::Float(view.as_f64()? as f32),
        Schema::Double => Value::Double(view.as_f64()?),
        Schema::String => Value::String(view.as_str()?.to_owned()),
        Schema::Uuid(_) => Value::Uuid(view.as_str()?.parse().ok()?),
        Schema::Bytes => Value::Bytes(unhex(view.as_str()?)?),
        Schema::Fixed(fixed) => {
            let bytes = unhex(view.as_str()?)?;
            (bytes.len() == fixed.size).then_some(Value::Fixed(fixed.size, bytes))?
        }
        Schema::Enum(symbols) => {
            let text = view.as_str()?;
            let index = symbols.symbols.iter().position(|symbol| symbol == text)?;
            Value::Enum(u32::try_from(index).ok()?, text.to_owned())
        }
        _ => return None,
    })
}

#[cfg(test)]
#[path = "avro_tests.rs"]
mod tests;
