//! What differs between this build's schema of a record and the newest that is registered, field by field.

use std::collections::BTreeMap;

use contracts::Contract;
use serde::Serialize;
use serde_json::Value as Json;

use crate::output::Row;

/// A record, and what differs.
#[derive(Debug, Serialize)]
pub struct Difference {
    record: &'static str,
    version: u32,
    /// The registry's number of its newest version.
    registered: Option<u64>,
    /// `+` only this build has it, `-` only the registry, `~` both, and not the same.
    differences: Vec<String>,
}

impl Difference {
    /// `registered`: all versions, oldest first.
    pub fn of(contract: &'static Contract, registered: &[(u64, Json)]) -> Self {
        let ours = serde_json::from_str(contract.schema).unwrap_or(Json::Null);
        let newest = registered.last();
        Difference {
            record: contract.full_name,
            version: contract.version,
            registered: newest.map(|(number, _)| *number),
            differences: match newest {
                Some((_, theirs)) => differences(&ours, theirs),
                None => vec!["not registered".to_owned()],
            },
        }
    }

    pub fn is_none(&self) -> bool {
        self.differences.is_empty()
    }
}

impl Row for Difference {
    const COLUMNS: &'static [&'static str] = &["record", "version", "registered", "differences"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.record.to_owned(),
            self.version.to_string(),
            self.registered
                .map_or("-".to_owned(), |number| number.to_string()),
            self.differences.join(", "),
        ]
    }
}

fn differences(ours: &Json, theirs: &Json) -> Vec<String> {
    let (ours, theirs) = (fields(ours), fields(theirs));
    let mut found = Vec::new();
    for (name, field) in &ours {
        match theirs.get(name) {
            None => found.push(format!("+{name}")),
            Some(other) if other != field => found.push(format!("~{name}")),
            Some(_) => {}
        }
    }
    let gone = theirs.keys().filter(|name| !ours.contains_key(*name));
    found.extend(gone.map(|name| format!("-{name}")));
    found
}

/// Fields by name, without what is only said to people, and with every name whole: a registry may leave out a namespace that
/// is the enclosing one.
fn fields(schema: &Json) -> BTreeMap<String, Json> {
    let fields = schema["fields"].as_array().into_iter().flatten();
    let namespace = schema["namespace"].as_str().unwrap_or_default();
    let named = fields.filter_map(|field| {
        let mut bare = field.clone();
        bare["type"] = whole(&field["type"], namespace);
        bare.as_object_mut()?.remove("doc");
        Some((field["name"].as_str()?.to_owned(), bare))
    });
    named.collect()
}

const PRIMITIVE: [&str; 8] = [
    "null", "boolean", "int", "long", "float", "double", "bytes", "string",
];

/// A type with whole names.
fn whole(schema: &Json, namespace: &str) -> Json {
    let full = |name: &str, namespace: &str| match name.contains('.') || PRIMITIVE.contains(&name) {
        true => name.to_owned(),
        false => format!("{namespace}.{name}"),
    };
    match schema {
        Json::String(name) => full(name, namespace).into(),
        Json::Array(branches) => branches.iter().map(|it| whole(it, namespace)).collect(),
        Json::Object(parts) => {
            let namespace = parts
                .get("namespace")
                .and_then(Json::as_str)
                .unwrap_or(namespace);
            let mut bare = parts.clone();
            bare.remove("doc");
            bare.remove("namespace");
            if let Some(name) = parts.get("name").and_then(Json::as_str) {
                bare.insert("name".to_owned(), full(name, namespace).into());
            }
            for inner in ["items", "values"] {
                if let Some(part) = parts.get(inner) {
                    bare.insert(inner.to_owned(), whole(part, namespace));
                }
            }
            if parts.contains_key("fields") {
                let mut record = schema.clone();
                record["namespace"] = namespace.into();
                bare.insert("fields".to_owned(), fields(&record).into_values().collect());
            }
            Json::Object(bare)
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::CONTRACTS;
    use serde_json::json;

    #[test]
    fn fields_that_were_added_removed_or_changed_are_named_and_words_do_not_count() {
        let contract = &CONTRACTS[0];
        let ours: Json = serde_json::from_str(contract.schema).expect("a schema");
        let mut other = ours.clone();
        other["fields"][1]["doc"] = json!("said otherwise");
        assert!(Difference::of(contract, &[(1, other.clone())]).is_none());
        let name = |at: usize| {
            ours["fields"][at]["name"]
                .as_str()
                .expect("a name")
                .to_owned()
        };
        other["fields"][0]["name"] = json!("else");
        other["fields"][2]["type"] = json!("bytes");
        let found = Difference::of(contract, &[(1, ours.clone()), (2, other)]);
        let expected = [
            format!("+{}", name(0)),
            format!("~{}", name(2)),
            "-else".to_owned(),
        ];
        let mut differences = found.differences.clone();
        differences.sort();
        let mut expected = expected.to_vec();
        expected.sort();
        assert_eq!((found.registered, differences), (Some(2), expected));
        assert_eq!(
            Difference::of(contract, &[]).differences,
            ["not registered"]
        );
    }
}
