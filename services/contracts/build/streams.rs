//! One enum per stream of topics.toml: the records that may stand on its topics, and how to tell them apart.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use crate::avro::{Named, Schemata, Type};
use crate::records::{camel, rust_path};

pub struct Stream {
    family: String,
    kind: String,
    key: (String, Type),
    records: Vec<String>,
}

/// The streams, checked against the schemas: each record stands on exactly one, and has the field that keys it.
pub fn load(file: &Path, schemata: &Schemata) -> Result<Vec<Stream>, String> {
    let read = || -> Result<Vec<Stream>, String> {
        let text = fs::read_to_string(file).map_err(|e| e.to_string())?;
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| e.to_string())?;
        let streams = table
            .get("stream")
            .and_then(toml::Value::as_array)
            .ok_or("no [[stream]]")?;
        streams.iter().map(|s| parse(s, schemata)).collect()
    };
    let streams = read().map_err(|e| format!("{}: {e}", file.display()))?;
    for event in &schemata.events {
        let holders = streams
            .iter()
            .filter(|s| s.records.contains(&event.full_name))
            .count();
        if holders != 1 {
            return Err(format!(
                "{}: stands on {holders} streams instead of one",
                event.full_name
            ));
        }
    }
    Ok(streams)
}

fn parse(stream: &toml::Value, schemata: &Schemata) -> Result<Stream, String> {
    let text = |key: &str| {
        let value = stream.get(key).and_then(toml::Value::as_str);
        value
            .map(str::to_owned)
            .ok_or(format!("stream without {key}: {stream}"))
    };
    let (family, kind, key) = (text("family")?, text("kind")?, text("key")?);
    let names = stream.get("records").and_then(toml::Value::as_array);
    let names = names.ok_or(format!("{family}.{kind}: no records"))?;
    let mut records = Vec::new();
    let mut key_type = None;
    for name in names.iter().filter_map(toml::Value::as_str) {
        let full_name = format!("swifteats.{family}.{name}");
        let Some(Named::Record { fields, .. }) = schemata.named.get(&full_name) else {
            return Err(format!("{family}.{kind}: record {full_name} has no schema"));
        };
        let field = fields.iter().find(|f| f.name == key);
        let field = field.ok_or(format!(
            "{full_name} has no field {key}, the key of {family}.{kind}"
        ))?;
        key_type = Some(field.ty.clone());
        records.push(full_name);
    }
    let ty = key_type.ok_or(format!("{family}.{kind}: no records"))?;
    Ok(Stream {
        family,
        kind,
        key: (key, ty),
        records,
    })
}

/// A module with the enums; their names are family and kind, in the singular: `OrdersRequest`.
pub fn emit(streams: &[Stream]) -> String {
    let mut code = String::from(
        "/// One enum per kind of topic: the records that may stand on it.\npub mod streams {\nuse crate::*;\n",
    );
    for stream in streams {
        emit_stream(&mut code, stream);
    }
    code.push_str("}\n");
    code
}

fn emit_stream(code: &mut String, stream: &Stream) {
    let (family, kind) = (&stream.family, &stream.kind);
    let name = camel(family) + camel(kind).trim_end_matches('s');
    let variants: Vec<(&str, String)> = stream
        .records
        .iter()
        .map(|r| (r.rsplit('.').next().unwrap_or(r), rust_path(r)))
        .collect();
    let _ = write!(
        code,
        "/// A record of `{family}.{kind}.<geo>`.\n\
         // Boxing the large variants would cost an allocation per message.\n#[allow(clippy::large_enum_variant)]\n\
         #[derive(Debug, Clone, PartialEq)]\npub enum {name} {{\n"
    );
    for (variant, path) in &variants {
        let _ = writeln!(code, "    /// See [`{path}`].\n    {variant}({path}),");
    }
    code.push_str("}\n");
    for (variant, path) in &variants {
        let _ = writeln!(
            code,
            "impl From<{path}> for {name} {{\n    fn from(record: {path}) -> Self {{ Self::{variant}(record) }}\n}}"
        );
    }
    emit_message(code, stream, &name, &variants);
}

fn emit_message(code: &mut String, stream: &Stream, name: &str, variants: &[(&str, String)]) {
    let each = |body: &str| -> String {
        variants
            .iter()
            .map(|(v, _)| format!("            Self::{v}(record) => {body},\n"))
            .collect()
    };
    let key = match stream.key.1 {
        Type::String => format!("record.{}.clone()", stream.key.0),
        _ => format!("record.{}.to_string()", stream.key.0),
    };
    let contracts: String = variants
        .iter()
        .map(|(_, p)| format!("Contract::of::<{p}>(), "))
        .collect();
    let decode: String = variants
        .iter()
        .map(|(v, p)| format!("            {p}::INDEX => Some(body.read().map(Self::{v})),\n"))
        .collect();
    let _ = write!(
        code,
        "impl Message for {name} {{\n    const FAMILY: &'static str = {:?};\n    const KIND: &'static str = {:?};\n    \
         const RECORDS: &'static [Contract] = &[{contracts}];\n    \
         fn contract(&self) -> &'static Contract {{\n        match self {{\n{}        }}\n    }}\n    \
         fn event_id(&self) -> uuid::Uuid {{\n        match self {{\n{}        }}\n    }}\n    \
         fn occurred_at(&self) -> chrono::DateTime<chrono::Utc> {{\n        match self {{\n{}        }}\n    }}\n    \
         fn geo(&self) -> &str {{\n        match self {{\n{}        }}\n    }}\n    \
         fn key(&self) -> String {{\n        match self {{\n{}        }}\n    }}\n    \
         fn decode(index: usize, body: Body<'_>) -> Option<Result<Self, Malformed>> {{\n        match index {{\n{decode}            _ => None,\n        }}\n    }}\n    \
         fn encode_into(&self, codec: &Codec, out: &mut Vec<u8>) -> Result<(), EncodeError> {{\n        match self {{\n{}        }}\n    }}\n}}\n",
        stream.family,
        stream.kind,
        each("contract_of(record)"),
        each("record.event_id"),
        each("record.occurred_at"),
        each("&record.geo"),
        each(&key),
        each("codec.encode_into(record, out)"),
    );
}
