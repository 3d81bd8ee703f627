//! Avro schemas as the generator sees them: the subset that has one obvious Rust type, and nothing else.
//!
//! A nested type may stand in several files; it must then be the same in all of them, because it becomes one Rust type.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The type of a field.
#[derive(Debug, Clone, PartialEq)]
pub enum Type {
    Boolean,
    Int,
    Long,
    Float,
    Double,
    String,
    Uuid,
    Instant,
    Array(Box<Type>),
    Map(Box<Type>),
    Nullable(Box<Type>),
    Named(String),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Field {
    pub name: String,
    pub doc: String,
    pub aliases: Vec<String>,
    pub ty: Type,
    pub default: Option<Value>,
}

/// A named type: what becomes a struct or an enum.
#[derive(Debug, Clone, PartialEq)]
pub enum Named {
    Record {
        doc: String,
        fields: Vec<Field>,
    },
    Enum {
        doc: String,
        symbols: Vec<String>,
        default: String,
    },
}

/// A record that travels on its own: one file.
pub struct Event {
    pub full_name: String,
    pub version: u64,
    pub schema: Value,
}

/// All schemas of the tree.
pub struct Schemata {
    pub named: BTreeMap<String, Named>,
    pub events: Vec<Event>,
}

impl Schemata {
    /// Reads `<root>/<family>/<Record>.avsc`, in the order of their paths.
    pub fn load(root: &Path) -> Result<Self, String> {
        let mut schemata = Schemata {
            named: BTreeMap::new(),
            events: Vec::new(),
        };
        for family in entries(root)? {
            for file in entries(&family)? {
                schemata
                    .add(&file)
                    .map_err(|e| format!("{}: {e}", file.display()))?;
            }
        }
        Ok(schemata)
    }

    fn add(&mut self, file: &Path) -> Result<(), String> {
        let text = fs::read_to_string(file).map_err(|e| e.to_string())?;
        let schema: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        let Type::Named(full_name) = self.parse(&schema, "")? else {
            return Err("a schema file holds one record".into());
        };
        let family = file
            .parent()
            .and_then(Path::file_name)
            .unwrap_or_default()
            .to_string_lossy();
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        let expected = format!("swifteats.{family}.{stem}");
        if full_name != expected {
            return Err(format!(
                "the record is {full_name}, its path says {expected}"
            ));
        }
        let version = schema["version"]
            .as_u64()
            .filter(|v| *v > 0)
            .ok_or("attribute version: a positive integer is missing")?;
        self.events.push(Event {
            full_name,
            version,
            schema,
        });
        Ok(())
    }

    fn parse(&mut self, schema: &Value, namespace: &str) -> Result<Type, String> {
        match schema {
            Value::String(name) => self.parse_name(name, namespace),
            Value::Array(variants) => match variants.as_slice() {
                [null, other] if null == "null" => {
                    Ok(Type::Nullable(Box::new(self.parse(other, namespace)?)))
                }
                _ => Err(format!(
                    "union {schema}: only [\"null\", T] has one Rust type"
                )),
            },
            Value::Object(_) => self.parse_object(schema, namespace),
            _ => Err(format!("{schema} is no schema")),
        }
    }

    fn parse_name(&self, name: &str, namespace: &str) -> Result<Type, String> {
        Ok(match name {
            "boolean" => Type::Boolean,
            "int" => Type::Int,
            "long" => Type::Long,
            "float" => Type::Float,
            "double" => Type::Double,
            "string" => Type::String,
            _ => {
                let full = qualify(name, namespace);
                if !self.named.contains_key(&full) {
                    return Err(format!("type {full} is not defined before its use"));
                }
                Type::Named(full)
            }
        })
    }

    fn parse_object(&mut self, schema: &Value, namespace: &str) -> Result<Type, String> {
        let ty = text(schema, "type")?;
        match (ty, schema["logicalType"].as_str()) {
            ("string", Some("uuid")) => Ok(Type::Uuid),
            ("long", Some("timestamp-micros")) => Ok(Type::Instant),
            (_, Some(logical)) => Err(format!("logical type {logical} on {ty} has no Rust type")),
            ("array", None) => Ok(Type::Array(Box::new(
                self.parse(&schema["items"], namespace)?,
            ))),
            ("map", None) => Ok(Type::Map(Box::new(
                self.parse(&schema["values"], namespace)?,
            ))),
            ("record" | "enum", None) => self.parse_named(schema, namespace),
            (primitive, None) => self.parse_name(primitive, namespace),
        }
    }

    fn parse_named(&mut self, schema: &Value, outer: &str) -> Result<Type, String> {
        let namespace = schema["namespace"].as_str().unwrap_or(outer).to_owned();
        let full = qualify(text(schema, "name")?, &namespace);
        let doc = text(schema, "doc")
            .map_err(|e| format!("{full}: {e}"))?
            .to_owned();
        let named = if schema["type"] == "enum" {
            let symbols = strings(&schema["symbols"]);
            let default = text(schema, "default")
                .map_err(|e| format!("enum {full}: {e}; without it no symbol can ever be added"))?
                .to_owned();
            if !symbols.contains(&default) {
                return Err(format!("enum {full}: default {default} is no symbol"));
            }
            Named::Enum {
                doc,
                symbols,
                default,
            }
        } else {
            let fields = schema["fields"]
                .as_array()
                .ok_or(format!("{full}: no fields"))?;
            let fields = fields
                .iter()
                .map(|f| self.parse_field(f, &namespace))
                .collect::<Result<_, _>>()
                .map_err(|e| format!("{full}: {e}"))?;
            Named::Record { doc, fields }
        };
        match self.named.get(&full) {
            Some(known) if *known != named => {
                return Err(format!("{full} is defined differently in another schema"));
            }
            _ => self.named.insert(full.clone(), named),
        };
        Ok(Type::Named(full))
    }

    fn parse_field(&mut self, field: &Value, namespace: &str) -> Result<Field, String> {
        let name = text(field, "name")?.to_owned();
        let ty = self
            .parse(&field["type"], namespace)
            .map_err(|e| format!("field {name}: {e}"))?;
        let default = field.get("default").cloned();
        if matches!(ty, Type::Nullable(_)) && default != Some(Value::Null) {
            return Err(format!("field {name}: a nullable field has default null"));
        }
        Ok(Field {
            doc: text(field, "doc")
                .map_err(|e| format!("field {name}: {e}"))?
                .to_owned(),
            aliases: strings(&field["aliases"]),
            name,
            ty,
            default,
        })
    }
}

fn qualify(name: &str, namespace: &str) -> String {
    if name.contains('.') || namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{namespace}.{name}")
    }
}

fn text<'a>(schema: &'a Value, key: &str) -> Result<&'a str, String> {
    schema[key]
        .as_str()
        .ok_or(format!("attribute {key}: a string is missing"))
}

fn strings(value: &Value) -> Vec<String> {
    let values = value.as_array().map(Vec::as_slice).unwrap_or_default();
    values
        .iter()
        .filter_map(|v| v.as_str().map(str::to_owned))
        .collect()
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let mut paths = fs::read_dir(dir)
        .and_then(|entries| {
            entries
                .map(|e| e.map(|e| e.path()))
                .collect::<Result<Vec<_>, _>>()
        })
        .map_err(|e| format!("{}: {e}", dir.display()))?;
    paths.sort();
    Ok(paths)
}
