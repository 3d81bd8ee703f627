//! The compatibility gate for one record: FULL_TRANSITIVE, without a registry.
//!
//! Every version reads what every other version wrote, so producers and consumers may be deployed in any order. Avro's own
//! resolution rules decide (apache-avro); on top of them stands what those rules let pass and consumers do not survive:
//! another namespace, another logical type under the same bytes. A change of documentation is no change.
//! Costs well below a millisecond per pair of versions.

use std::collections::HashMap;

use apache_avro::Schema;
use apache_avro::error::CompatibilityError;
use apache_avro::schema::{Name, UnionSchema};
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};
use serde_json::Value;

/// A schema that is ready to be compared: references are replaced by what they refer to, so that a type may move to
/// another field within its file.
pub struct Comparable(Schema);

impl Comparable {
    /// Errors say what Avro dislikes about the schema.
    pub fn parse(schema: &Value) -> Result<Self, String> {
        let mut parsed = Schema::parse(schema).map_err(|e| e.to_string())?;
        inline(&mut parsed, &mut HashMap::new())?;
        Ok(Comparable(parsed))
    }

    /// What keeps the two from reading each other; empty when nothing does.
    pub fn problems(&self, other: &Comparable) -> Vec<String> {
        let mut problems = Vec::new();
        for (writer, reader, direction) in [
            (
                &other.0,
                &self.0,
                "the released version cannot be read with this one",
            ),
            (
                &self.0,
                &other.0,
                "this version cannot be read with the released one",
            ),
        ] {
            match SchemaCompatibility::can_read(writer, reader) {
                Ok(Compatibility::Full) => {}
                Ok(Compatibility::Partial) => {
                    problems.push(format!(
                        "{direction}: only some of its values (unions, enum symbols)"
                    ));
                }
                Err(error) => problems.push(format!("{direction}: {}", explain(&error))),
            }
        }
        if problems.is_empty() {
            compare_meaning(&self.0, &other.0, "", &mut problems);
        }
        problems
    }
}

/// Whether two schemas say the same, documentation and the `version` attribute aside.
pub fn same_meaning(one: &Value, other: &Value) -> bool {
    bare(one, true) == bare(other, true)
}

fn bare(schema: &Value, top: bool) -> Value {
    match schema {
        Value::Object(map) => {
            let meaningful = map
                .iter()
                .filter(|(key, _)| *key != "doc" && !(top && *key == "version"));
            Value::Object(
                meaningful
                    .map(|(k, v)| (k.clone(), bare(v, false)))
                    .collect(),
            )
        }
        Value::Array(values) => Value::Array(values.iter().map(|v| bare(v, false)).collect()),
        other => other.clone(),
    }
}

/// Replaces each reference by its definition; a record inside itself has no finite form and is refused.
fn inline(schema: &mut Schema, known: &mut HashMap<Name, Option<Schema>>) -> Result<(), String> {
    match schema {
        Schema::Ref { name } => match known.get(name) {
            Some(Some(definition)) => *schema = definition.clone(),
            Some(None) => return Err(format!("{name} contains itself")),
            None => return Err(format!("{name} is not defined before its use")),
        },
        Schema::Array(array) => inline(&mut array.items, known)?,
        Schema::Map(map) => inline(&mut map.types, known)?,
        Schema::Union(union) => {
            let mut variants = union.variants().to_vec();
            for variant in &mut variants {
                inline(variant, known)?;
            }
            *union = UnionSchema::new(variants).map_err(|e| e.to_string())?;
        }
        Schema::Record(record) => {
            let name = record.name.clone();
            known.insert(name.clone(), None);
            for field in &mut record.fields {
                inline(&mut field.schema, known)?;
            }
            known.insert(name, Some(schema.clone()));
        }
        Schema::Enum(named) => {
            known.insert(named.name.clone(), Some(schema.clone()));
        }
        Schema::Fixed(named) => {
            known.insert(named.name.clone(), Some(schema.clone()));
        }
        _ => {}
    }
    Ok(())
}

/// Full names and logical types, which Avro's rules leave out. Both schemas have been found to read each other, so
/// fields of the same name have types of the same shape.
fn compare_meaning(one: &Schema, other: &Schema, path: &str, problems: &mut Vec<String>) {
    if let (Some(name), Some(released)) = (one.name(), other.name())
        && name != released
    {
        problems.push(format!(
            "{path}: is called {name}, was released as {released}"
        ));
    }
    match (one, other) {
        (Schema::Record(one), Schema::Record(other)) => {
            for field in &one.fields {
                if let Some(released) = other.fields.iter().find(|f| f.name == field.name) {
                    let path = format!("{path}.{}", field.name);
                    compare_meaning(&field.schema, &released.schema, &path, problems);
                }
            }
        }
        (Schema::Array(one), Schema::Array(other)) => {
            compare_meaning(&one.items, &other.items, &format!("{path}[]"), problems);
        }
        (Schema::Map(one), Schema::Map(other)) => {
            compare_meaning(&one.types, &other.types, &format!("{path}{{}}"), problems);
        }
        (Schema::Union(one), Schema::Union(other)) => {
            for (one, other) in one.variants().iter().zip(other.variants()) {
                compare_meaning(one, other, path, problems);
            }
        }
        _ if std::mem::discriminant(one) != std::mem::discriminant(other) => {
            problems.push(format!(
                "{path}: is {}, was released as {}",
                kind(one),
                kind(other)
            ));
        }
        _ => {}
    }
}

fn kind(schema: &Schema) -> String {
    format!("{:?}", apache_avro::schema::SchemaKind::from(schema))
}

/// Avro's complaint with the path to the field, without the dump of both schemas.
fn explain(error: &CompatibilityError) -> String {
    match error {
        CompatibilityError::FieldTypeMismatch(field, inner) => {
            format!("field {field}: {}", explain(inner))
        }
        CompatibilityError::WrongType { .. } => "the types do not go together".into(),
        CompatibilityError::MissingDefaultValue(field) => {
            format!("field {field} has no default, and the other version lacks it")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
#[path = "compatibility_tests.rs"]
mod tests;
