//! The tree of schemas against its released versions: `avro/<family>/<Record>.avsc` against
//! `released/<family>/<Record>.v<version>.avsc`.
//!
//! A released file is history: it is added by [`release`], and nothing here changes or removes one. A record may change
//! as long as [`crate::compatibility`] agrees with **all** released versions, and each change of meaning counts `version` up.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::compatibility::{Comparable, same_meaning};

/// The tree could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    #[error("{path}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{path} is no schema: {why}")]
    Schema { path: PathBuf, why: String },
    #[error("{0} does not pass the compatibility gate; nothing was released")]
    Incompatible(String),
}

/// How a record stands to its last released version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Never released.
    New,
    /// Says the same as the last released version.
    Unchanged,
    /// Says something else.
    Changed,
    /// Was released and is gone.
    Removed,
}

/// What the gate found about one record.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// Family and name, as in the path.
    pub record: String,
    pub version: u64,
    pub change: Change,
    /// Empty when it may be released as it is.
    pub problems: Vec<String>,
}

struct Version {
    number: u64,
    schema: Value,
}

/// Released versions by record, oldest first.
type History = BTreeMap<String, Vec<Version>>;

/// Compares every record below `<schemas>/avro` with its history, and the history with what is left.
pub fn check(schemas: &Path) -> Result<Vec<Finding>, TreeError> {
    let mut history = history(schemas)?;
    let mut findings = Vec::new();
    for (record, path) in files(&schemas.join("avro"))? {
        let versions = history.remove(&record).unwrap_or_default();
        findings.push(judge(record, &path, &versions)?);
    }
    for (record, versions) in history {
        let problem = "was released and has no schema any more; a record is never removed, only no longer written";
        findings.push(Finding {
            record,
            version: versions.last().map_or(0, |v| v.number),
            change: Change::Removed,
            problems: vec![problem.into()],
        });
    }
    Ok(findings)
}

/// Copies what is new or changed to `<schemas>/released`; all or nothing. Returns what was released.
pub fn release(schemas: &Path) -> Result<Vec<Finding>, TreeError> {
    let findings = check(schemas)?;
    let wrong: Vec<_> = findings.iter().filter(|f| !f.problems.is_empty()).collect();
    if !wrong.is_empty() {
        let names: Vec<_> = wrong.iter().map(|f| f.record.as_str()).collect();
        return Err(TreeError::Incompatible(names.join(", ")));
    }
    let mut released = findings;
    released.retain(|f| matches!(f.change, Change::New | Change::Changed));
    for finding in &released {
        let from = schemas
            .join("avro")
            .join(format!("{}.avsc", finding.record));
        let to = schemas
            .join("released")
            .join(format!("{}.v{}.avsc", finding.record, finding.version));
        if let Some(family) = to.parent() {
            fs::create_dir_all(family).map_err(at(family))?;
        }
        fs::copy(&from, &to).map_err(at(&to))?;
    }
    Ok(released)
}

fn judge(record: String, path: &Path, versions: &[Version]) -> Result<Finding, TreeError> {
    let (schema, number) = read(path)?;
    let current = comparable(path, &schema)?;
    let mut problems = Vec::new();
    for version in versions {
        let released = comparable(path, &version.schema)?;
        let found = current.problems(&released);
        problems.extend(
            found
                .into_iter()
                .map(|p| format!("against v{}: {p}", version.number)),
        );
    }
    let change = match versions.last() {
        None => Change::New,
        Some(last) if same_meaning(&schema, &last.schema) => {
            if number != last.number {
                problems.push(format!(
                    "version is {number}, but nothing changed since v{}",
                    last.number
                ));
            }
            Change::Unchanged
        }
        Some(last) => {
            if number <= last.number {
                problems.push(format!(
                    "it changed since v{}: version must be higher, is {number}",
                    last.number
                ));
            }
            Change::Changed
        }
    };
    Ok(Finding {
        record,
        version: number,
        change,
        problems,
    })
}

fn history(schemas: &Path) -> Result<History, TreeError> {
    let root = schemas.join("released");
    let mut history = History::new();
    if !root.exists() {
        return Ok(history);
    }
    for (name, path) in files(&root)? {
        let (schema, number) = read(&path)?;
        let record = name.strip_suffix(&format!(".v{number}"));
        let record = record.ok_or_else(|| TreeError::Schema {
            path: path.clone(),
            why: format!("its attribute version is {number}, its name says otherwise"),
        })?;
        history
            .entry(record.to_owned())
            .or_default()
            .push(Version { number, schema });
    }
    for versions in history.values_mut() {
        versions.sort_by_key(|v| v.number);
    }
    Ok(history)
}

/// `<family>/<stem>` and path of every .avsc file, in order.
fn files(root: &Path) -> Result<BTreeMap<String, PathBuf>, TreeError> {
    let mut files = BTreeMap::new();
    for family in entries(root)? {
        for path in entries(&family)? {
            let name = |p: &Path| {
                p.file_stem()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned()
            };
            files.insert(format!("{}/{}", name(&family), name(&path)), path);
        }
    }
    Ok(files)
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, TreeError> {
    let entries = fs::read_dir(dir).map_err(at(dir))?;
    entries
        .map(|e| e.map(|e| e.path()).map_err(at(dir)))
        .collect()
}

fn read(path: &Path) -> Result<(Value, u64), TreeError> {
    let wrong = |why: String| TreeError::Schema {
        path: path.to_owned(),
        why,
    };
    let text = fs::read_to_string(path).map_err(at(path))?;
    let schema: Value = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    let version = schema["version"]
        .as_u64()
        .ok_or_else(|| wrong("no attribute version".into()))?;
    Ok((schema, version))
}

fn comparable(path: &Path, schema: &Value) -> Result<Comparable, TreeError> {
    Comparable::parse(schema).map_err(|why| TreeError::Schema {
        path: path.to_owned(),
        why,
    })
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> TreeError + '_ {
    |source| TreeError::Io {
        path: path.to_owned(),
        source,
    }
}
