//! The rules that a recorded tick was decided by, read back from its parameters.
//!
//! Numbers are read as Rust reads them, to the nearest double: the records hold the shortest text that reads back exactly, and
//! a decision repeats bit for bit only under the very same numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use dispatch::{PolicySpec, Road, RoadConfig};
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};
use thiserror::Error;

use crate::config::{GeoRules, parameters};

/// The parameters of a tick describe no rules.
#[derive(Debug, Error)]
#[error("the parameters {section}.* cannot be used: {problem}")]
pub struct RecordedError {
    section: &'static str,
    problem: String,
}

/// The three parts of the rules as configuration has them, durations divided and speeds multiplied by the time scale.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedRules {
    pub dispatch: dispatch::Config,
    pub travel: RoadConfig,
    pub policy: PolicySpec,
}

impl RecordedRules {
    /// From the `parameters` of a DispatchTick; those that are no rules (`refused`) are passed over.
    pub fn read(parameters: &BTreeMap<String, String>) -> Result<Self, RecordedError> {
        let mut dispatch: dispatch::Config = section(parameters, "dispatch")?;
        // Ticks that say nothing of it were decided before anything was learned.
        let corrects = |name: &String| name.starts_with("dispatch.correction.");
        dispatch.correction.on &= parameters.keys().any(corrects);
        Ok(Self {
            dispatch,
            travel: section(parameters, "travel")?,
            policy: section(parameters, "policy")?,
        })
    }

    /// Ready to schedule by.
    pub fn rules(&self) -> Result<GeoRules, RecordedError> {
        let wrong = |section, problem: String| RecordedError { section, problem };
        let checked = self.dispatch.check();
        checked.map_err(|error| wrong("dispatch", error.to_string()))?;
        let checked = self.policy.check();
        checked.map_err(|error| wrong("policy", error.to_string()))?;
        let travel = Road::new(&self.travel).map_err(|error| wrong("travel", error.to_string()))?;
        Ok(GeoRules {
            parameters: parameters(&self.dispatch, &self.travel, &self.policy),
            dispatch: self.dispatch.clone(),
            travel: Arc::new(travel),
            policy: self.policy.build(),
        })
    }
}

fn section<T: DeserializeOwned>(
    parameters: &BTreeMap<String, String>,
    section: &'static str,
) -> Result<T, RecordedError> {
    let mut fields = Value::Object(Map::new());
    for (name, text) in parameters {
        let path = name
            .strip_prefix(section)
            .and_then(|it| it.strip_prefix('.'));
        let Some(path) = path else {
            continue;
        };
        // A name that is below a value which is no object cannot be placed: the rules will lack it, and say so.
        let place = path
            .split('.')
            .try_fold(&mut fields, |object, name| match object {
                Value::Null => {
                    *object = Value::Object(Map::new());
                    Some(&mut object[name])
                }
                Value::Object(_) => Some(&mut object[name]),
                _ => None,
            });
        if let Some(place) = place {
            *place = value(text);
        }
    }
    serde_json::from_value(fields).map_err(|error| RecordedError {
        section,
        problem: error.to_string(),
    })
}

/// A value as [`parameters`] wrote it: what is no number, list, truth value or null is text.
fn value(text: &str) -> Value {
    if let Some(items) = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
        let items = items.split(',').filter(|item| !item.trim().is_empty());
        return items.map(|item| value(item.trim())).collect();
    }
    match text {
        "null" => Value::Null,
        "true" | "false" => Value::Bool(text == "true"),
        _ => number(text).map_or_else(|| text.into(), Value::Number),
    }
}

fn number(text: &str) -> Option<Number> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    Number::from_f64(text.parse().ok()?)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use contracts::Catalogue;

    use super::*;
    use crate::config::Config;

    #[test]
    fn the_rules_of_a_tick_are_read_back_to_the_bit() {
        // A third is no short decimal, and an absent limit is not the default one.
        for text in [
            r#"{"time_scale": 3, "dispatch": {"offer_timeout_s": null}}"#,
            r#"{"policy": {"name": "slack-greedy"}, "dispatch": {"tolerance_s": 0.1}}"#,
            r#"{"time_scale": 7, "travel": {"speed_kmh": 18.7}}"#,
            r#"{"policy": {"name": "bundle", "spread_s": 0.7}}"#,
            r#"{"dispatch": {"correction": {"on": false, "least": 0.7}}}"#,
        ] {
            let config: Config = serde_json::from_str(text).unwrap();
            for geo in Catalogue::embedded().geos() {
                let live = config.rules(geo).unwrap();
                let read = RecordedRules::read(&live.parameters).unwrap();
                assert_eq!(read.dispatch, live.dispatch);
                let rules = read.rules().unwrap();
                assert_eq!(rules.parameters, live.parameters);
                assert_eq!(rules.policy.id(), live.policy.id());
                let at = dispatch::At(1_800_000_000_000_000);
                assert_eq!(
                    rules.travel.seconds(1234.5, at).0.to_bits(),
                    live.travel.seconds(1234.5, at).0.to_bits()
                );
            }
        }
    }

    #[test]
    fn what_describes_no_rules_is_named() {
        let parameters =
            |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        for (name, value, expected) in [
            ("dispatch.tolerance_s", "soon", "dispatch.*"),
            ("policy.name", "psychic", "psychic"),
        ] {
            let error = RecordedRules::read(&parameters(name, value)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
