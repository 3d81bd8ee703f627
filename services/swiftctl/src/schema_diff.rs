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

/// Fields by name, without what is only said to people.
fn fields(schema: &Json) -> BTreeMap<String, Json> {
    let fields = schema["fields"].as_array().into_iter().flatten();
    let named = fields.filter_map(|field| Some((field["name"].as_str()?.to_owned(), bare(field))));
    named.collect()
}

fn bare(schema: &Json) -> Json {
    match schema {
        Json::Object(parts) => {
            let kept = parts.iter().filter(|(name, _)| *name != "doc");
            kept.map(|(name, part)| (name.clone(), bare(part)))
                .collect()
        }
        Json::Array(parts) => parts.iter().map(bare).collect(),
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
