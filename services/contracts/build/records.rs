//! Structs and enums of the named types, a module per family, and the `Record` implementations of what travels alone.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::{Value, json};

use crate::avro::{Event, Field, Named, Schemata, Type};

/// All modules, and the table of contracts.
pub fn emit(schemata: &Schemata) -> String {
    let mut modules: BTreeMap<&str, String> = BTreeMap::new();
    for (full_name, named) in &schemata.named {
        let (module, name) = path(full_name);
        let code = modules.entry(module).or_default();
        match named {
            Named::Record { doc, fields } => emit_struct(code, schemata, name, doc, fields),
            Named::Enum {
                doc,
                symbols,
                default,
            } => emit_enum(code, name, doc, symbols, default),
        }
    }
    for (index, event) in schemata.events.iter().enumerate() {
        emit_record(
            modules.entry(path(&event.full_name).0).or_default(),
            index,
            event,
        );
    }
    let mut code = String::new();
    for (module, body) in modules {
        let doc = match module {
            "value" => "Values that records of several families share.".into(),
            family => format!("Records of the family `{family}`, and the types inside them."),
        };
        let _ = write!(code, "/// {doc}\npub mod {module} {{\n{body}}}\n");
    }
    let contracts: String = schemata
        .events
        .iter()
        .map(|e| format!("    Contract::of::<{}>(),\n", rust_path(&e.full_name)))
        .collect();
    let _ = write!(
        code,
        "/// Every record that travels on a topic, by [`Record::INDEX`].\npub const CONTRACTS: &[Contract] = &[\n{contracts}];\n"
    );
    code
}

fn emit_struct(code: &mut String, schemata: &Schemata, name: &str, doc: &str, fields: &[Field]) {
    let _ = write!(
        code,
        "/// {doc}\n#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]\n\
         #[serde(rename = {name:?})]\npub struct {name} {{\n"
    );
    for field in fields {
        let _ = writeln!(code, "    /// {}", field.doc);
        let attributes = attributes(schemata, name, field);
        if !attributes.is_empty() {
            let _ = writeln!(code, "    #[serde({})]", attributes.join(", "));
        }
        let _ = writeln!(
            code,
            "    pub {}: {},",
            identifier(&field.name),
            rust_type(&field.ty)
        );
    }
    code.push_str("}\n");
}

fn attributes(schemata: &Schemata, name: &str, field: &Field) -> Vec<String> {
    let mut attributes: Vec<String> = field
        .aliases
        .iter()
        .map(|alias| format!("alias = {alias:?}"))
        .collect();
    match &field.ty {
        Type::Instant => attributes.push("with = \"chrono::serde::ts_microseconds\"".into()),
        Type::Nullable(inner) if **inner == Type::Instant => {
            attributes.push("with = \"chrono::serde::ts_microseconds_option\"".into());
        }
        _ => {}
    }
    if let Some(default) = &field.default {
        if *default != zero(schemata, &field.ty) {
            panic!(
                "{name}.{}: default {default} is not the type's zero value, the only one that is generated",
                field.name
            );
        }
        attributes.push("default".into());
    }
    attributes
}

/// The Avro default that `Default::default()` of the Rust type stands for.
fn zero(schemata: &Schemata, ty: &Type) -> Value {
    match ty {
        Type::Boolean => json!(false),
        Type::Int | Type::Long => json!(0),
        Type::Float | Type::Double => json!(0.0),
        Type::String => json!(""),
        Type::Array(_) => json!([]),
        Type::Map(_) => json!({}),
        Type::Nullable(_) => Value::Null,
        Type::Named(name) => match schemata.named.get(name) {
            Some(Named::Enum { default, .. }) => json!(default),
            _ => json!("a record has no zero"),
        },
        Type::Uuid | Type::Instant => json!("an identity or instant has no zero"),
    }
}

fn emit_enum(code: &mut String, name: &str, doc: &str, symbols: &[String], default: &str) {
    let _ = write!(
        code,
        "/// {doc}\n#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]\n\
         #[serde(rename = {name:?})]\npub enum {name} {{\n"
    );
    // serde wants the variant that takes every unknown symbol to be the last one.
    let (fallback, known): (Vec<_>, Vec<_>) = symbols.iter().partition(|s| *s == default);
    for symbol in known.into_iter().chain(fallback) {
        let variant = camel(symbol);
        if symbol == default {
            let _ = write!(
                code,
                "    /// `{symbol}`, and every symbol that was added after this was built.\n    #[default]\n\
                 #[serde(rename = {symbol:?}, other)]\n    {variant},\n"
            );
        } else {
            let _ = write!(
                code,
                "    /// `{symbol}`.\n    #[serde(rename = {symbol:?})]\n    {variant},\n"
            );
        }
    }
    code.push_str("}\n");
    let arms: String = symbols
        .iter()
        .map(|s| format!("            Self::{} => {s:?},\n", camel(s)))
        .collect();
    let _ = write!(
        code,
        "impl {name} {{\n    /// The symbol on the wire; also a label for logs and metrics.\n    \
         pub fn symbol(self) -> &'static str {{\n        match self {{\n{arms}        }}\n    }}\n}}\n"
    );
}

fn emit_record(code: &mut String, index: usize, event: &Event) {
    let (_, name) = path(&event.full_name);
    let _ = write!(
        code,
        "impl crate::Record for {name} {{\n    const INDEX: usize = {index};\n    const FULL_NAME: &'static str = {:?};\n    \
         const NAME: &'static str = {name:?};\n    const SCHEMA: &'static str = {:?};\n    const VERSION: u32 = {};\n    \
         fn event_id(&self) -> uuid::Uuid {{ self.event_id }}\n    \
         fn occurred_at(&self) -> chrono::DateTime<chrono::Utc> {{ self.occurred_at }}\n    \
         fn geo(&self) -> &str {{ &self.geo }}\n}}\n",
        event.full_name,
        compact(&event.schema),
        event.version,
    );
}

/// The schema on one line with its attributes sorted: the same text whatever features of serde_json are on.
fn compact(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            let entries: Vec<String> = sorted
                .into_iter()
                .map(|(key, value)| format!("{}:{}", json!(key), compact(value)))
                .collect();
            format!("{{{}}}", entries.join(","))
        }
        Value::Array(values) => {
            format!(
                "[{}]",
                values.iter().map(compact).collect::<Vec<_>>().join(",")
            )
        }
        other => other.to_string(),
    }
}

fn rust_type(ty: &Type) -> String {
    match ty {
        Type::Boolean => "bool".into(),
        Type::Int => "i32".into(),
        Type::Long => "i64".into(),
        Type::Float => "f32".into(),
        Type::Double => "f64".into(),
        Type::String => "String".into(),
        Type::Uuid => "uuid::Uuid".into(),
        Type::Instant => "chrono::DateTime<chrono::Utc>".into(),
        Type::Array(items) => format!("Vec<{}>", rust_type(items)),
        Type::Map(values) => format!("std::collections::BTreeMap<String, {}>", rust_type(values)),
        Type::Nullable(inner) => format!("Option<{}>", rust_type(inner)),
        Type::Named(full_name) => format!("crate::{}", rust_path(full_name)),
    }
}

/// `swifteats.orders.OrderPlaced` -> (`orders`, `OrderPlaced`).
fn path(full_name: &str) -> (&str, &str) {
    let (namespace, name) = full_name.rsplit_once('.').unwrap_or(("value", full_name));
    (
        namespace
            .rsplit_once('.')
            .map_or(namespace, |(_, family)| family),
        name,
    )
}

/// `swifteats.orders.OrderPlaced` -> `orders::OrderPlaced`.
pub fn rust_path(full_name: &str) -> String {
    let (module, name) = path(full_name);
    format!("{module}::{name}")
}

/// `NO_DRIVER` or `driver_assignment` -> `NoDriver`, `DriverAssignment`.
pub fn camel(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let (head, tail) = word.split_at(word.len().min(1));
            head.to_uppercase() + &tail.to_lowercase()
        })
        .collect()
}

fn identifier(name: &str) -> String {
    match name {
        "final" | "type" | "move" | "ref" | "match" | "in" | "for" => format!("r#{name}"),
        _ => name.to_owned(),
    }
}
