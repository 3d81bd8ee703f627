//! The figures of a run by part, and the file of the repository that keeps the newest of each.
//!
//! The file says for each part of which sources it was measured, since parts can be measured apart from each other.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::{Map, Value};

use super::machine::Machine;
use crate::workspace;

const MACHINE: &str = "machine";
const COMMITS: &str = "commits";

/// One JSON object: a field per part, `machine`, and `commits` by part.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Results(Map<String, Value>);

impl Results {
    fn path() -> PathBuf {
        workspace::root().join("tests/bench/results.json")
    }

    /// Those that the repository keeps; none if there are none yet.
    pub fn stored() -> Result<Self> {
        match fs::read_to_string(Self::path()) {
            Ok(text) => Ok(Self(
                serde_json::from_str(&text).context("tests/bench/results.json")?,
            )),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error).context("tests/bench/results.json"),
        }
    }

    pub fn store(&self) -> Result<()> {
        fs::write(Self::path(), self.to_json()? + "\n").context("tests/bench/results.json")
    }

    pub fn to_json(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(&self.0)?)
    }

    pub fn add(&mut self, part: &str, figures: Value) {
        self.0.insert(part.to_owned(), figures);
    }

    /// Notes the machine, and that all parts are of its sources.
    pub fn taken_by(&mut self, machine: &Machine) -> Result<()> {
        let commit = |part: &String| (part.clone(), Value::from(machine.commit.as_str()));
        let commits: Map<String, Value> = self.0.keys().map(commit).collect();
        self.add(COMMITS, commits.into());
        self.add(MACHINE, serde_json::to_value(machine)?);
        Ok(())
    }

    /// The same with newer figures in their place.
    pub fn updated(mut self, newer: Results) -> Self {
        for (name, value) in newer.0 {
            match (self.0.get_mut(&name), value) {
                (Some(Value::Object(known)), Value::Object(commits)) if name == COMMITS => {
                    known.extend(commits);
                }
                // A run without a stack knows no versions, which is no reason to forget them.
                (Some(Value::Object(known)), Value::Object(machine)) if name == MACHINE => {
                    known.extend(machine.into_iter().filter(|(_, value)| !value.is_null()));
                }
                (_, value) => _ = self.0.insert(name, value),
            }
        }
        self
    }

    /// A figure by its JSON pointer, `/drain/orders_per_s`.
    pub fn number(&self, path: &str) -> Option<f64> {
        self.value(path)?.as_f64()
    }

    pub fn text(&self, path: &str) -> Option<&str> {
        self.value(path)?.as_str()
    }

    pub fn value(&self, path: &str) -> Option<&Value> {
        let mut names = path.split('/').skip(1);
        let first = self.0.get(names.next()?)?;
        names.try_fold(first, |value, name| match value {
            Value::Array(values) => values.get(name.parse::<usize>().ok()?),
            value => value.get(name),
        })
    }

    /// Entries of an array.
    pub fn list(&self, path: &str) -> &[Value] {
        let list = self.value(path).and_then(Value::as_array);
        list.map_or(&[], Vec::as_slice)
    }

    /// Parts whose counts did not add up.
    pub fn failed(&self) -> Vec<&str> {
        let bad = |value: &Value| value.get("checks_ok") == Some(&Value::Bool(false));
        let failed = self.0.iter().filter(|(_, part)| match part {
            Value::Array(runs) => runs.iter().any(bad),
            part => bad(part),
        });
        failed.map(|(name, _)| name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn results(value: Value) -> Results {
        serde_json::from_value::<Map<String, Value>>(value)
            .map(Results)
            .expect("an object")
    }

    #[test]
    fn newer_figures_take_their_part_and_leave_the_others() {
        let old = results(json!({
            "drain": {"orders": 1}, "pings": {"ratio": 1.5},
            "commits": {"drain": "a", "pings": "a"}, "machine": {"cores": 2, "versions": {"kafka": "4"}},
        }));
        let new = results(json!({
            "pings": {"ratio": 1.1}, "commits": {"pings": "b"}, "machine": {"cores": 4, "versions": null},
        }));
        let all = old.updated(new);
        assert_eq!(
            (all.number("/drain/orders"), all.number("/pings/ratio")),
            (Some(1.0), Some(1.1))
        );
        assert_eq!(
            (all.text("/commits/drain"), all.text("/commits/pings")),
            (Some("a"), Some("b"))
        );
        assert_eq!(
            (
                all.number("/machine/cores"),
                all.text("/machine/versions/kafka")
            ),
            (Some(4.0), Some("4"))
        );
    }

    #[test]
    fn a_part_fails_when_any_of_its_runs_does() {
        let all = results(json!({
            "drain": {"checks_ok": true}, "limits": {"checks_ok": false}, "machine": {},
            "steady": [{"checks_ok": true}, {"checks_ok": false}],
        }));
        assert_eq!(all.failed(), ["limits", "steady"]);
    }
}
