//! `NAME[@SETTINGS]`: which policy a replay decides by, and with which settings.
//!
//! What is not set is as it was recorded, so that an answer is about what was set and nothing else. Durations are the world's:
//! where the recorded world ran faster than life, they are divided as the service divides its own.

use std::fs;

use anyhow::{Context, Result, bail};
use assignment::recorded::RecordedRules;
use dispatch::PolicySpec;
use serde_json::{Map, Value};

/// The name under which nothing is changed.
pub const RECORDED: &str = "recorded";
/// Settings of dispatch whose durations are the world's; the others are the machine's.
const OF_THE_WORLD: &[&str] = &[
    "tolerance_s",
    "widening_s",
    "max_wait_s",
    "cool_down_s",
    "offer_timeout_s",
    "abandon_after_s",
    "pickup_service_s",
    "dropoff_service_s",
];

/// What was asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    name: String,
    settings: Map<String, Value>,
}

impl Choice {
    /// `lookahead`, `slack-greedy@tolerance_s=240,max_wait_s=1800`, or `recorded@FILE.toml` with such settings in a file.
    pub fn parse(text: &str) -> Result<Choice> {
        let (name, settings) = match text.split_once('@') {
            None => (text, Map::new()),
            Some((name, file)) if file.ends_with(".toml") => (name, in_file(file)?),
            Some((name, listed)) => (name, in_list(listed)?),
        };
        Ok(Choice {
            name: name.to_owned(),
            settings,
        })
    }

    /// Whether nothing is changed at all.
    pub fn is_recorded(&self) -> bool {
        self.name == RECORDED && self.settings.is_empty()
    }

    /// The rules, made from those that were recorded. `time_scale`: how many times faster than life that world ran.
    pub fn rules(&self, recorded: &RecordedRules, time_scale: f64) -> Result<RecordedRules> {
        let was = recorded.policy.sped_up(1.0 / time_scale);
        let was = object(serde_json::to_value(&was)?);
        let same = self.name == RECORDED || was.get("name") == Some(&self.name.as_str().into());
        let mut policy = match same {
            true => was,
            false => self.by_default()?,
        };
        let mut dispatch = object(serde_json::to_value(&recorded.dispatch)?);
        for (field, value) in &self.settings {
            let known = if dispatch.contains_key(field) {
                &mut dispatch
            } else if policy.contains_key(field) && field != "name" {
                &mut policy
            } else {
                bail!(
                    "{field} = {value}: neither dispatch nor the policy {} has such a setting",
                    self.name
                );
            };
            known.insert(field.clone(), scaled(field, value, time_scale));
        }
        let named = || {
            self.settings
                .iter()
                .map(|(field, value)| format!("{field} = {value}"))
        };
        let named = || named().collect::<Vec<_>>().join(", ");
        let policy: PolicySpec = serde_json::from_value(policy.into()).with_context(named)?;
        let rules = RecordedRules {
            dispatch: serde_json::from_value(dispatch.into()).with_context(named)?,
            travel: recorded.travel.clone(),
            policy: match same && self.settings.is_empty() {
                true => recorded.policy.clone(),
                false => policy.sped_up(time_scale),
            },
        };
        rules.rules().with_context(named)?;
        Ok(rules)
    }

    fn by_default(&self) -> Result<Map<String, Value>> {
        let name = serde_json::json!({"name": self.name});
        let spec: PolicySpec =
            serde_json::from_value(name).with_context(|| format!("policy = {:?}", self.name))?;
        Ok(object(serde_json::to_value(&spec)?))
    }
}

fn scaled(field: &str, value: &Value, time_scale: f64) -> Value {
    match value.as_f64() {
        Some(seconds) if OF_THE_WORLD.contains(&field) => (seconds / time_scale).into(),
        _ => value.clone(),
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        // A policy without parameters of its own is its name.
        Value::String(name) => Map::from_iter([("name".to_owned(), name.into())]),
        _ => Map::new(),
    }
}

fn in_list(text: &str) -> Result<Map<String, Value>> {
    let setting = |text: &str| {
        let (field, value) = text
            .split_once('=')
            .with_context(|| format!("{text:?} is no setting: expected FIELD=VALUE"))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
        Ok((field.trim().to_owned(), value))
    };
    text.split(',').map(setting).collect()
}

fn in_file(path: &str) -> Result<Map<String, Value>> {
    let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
    let table: toml::Table = text.parse().with_context(|| path.to_owned())?;
    Ok(object(serde_json::to_value(table)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use dispatch::RoadConfig;

    use super::*;

    fn recorded() -> RecordedRules {
        RecordedRules {
            dispatch: dispatch::Config {
                tolerance_s: 2.0,
                ..dispatch::Config::default()
            },
            travel: RoadConfig::default(),
            policy: PolicySpec::SlackGreedy,
        }
    }

    fn rules(text: &str, time_scale: f64) -> Result<RecordedRules> {
        Choice::parse(text)?.rules(&recorded(), time_scale)
    }

    #[test]
    fn what_is_not_set_is_as_recorded() {
        assert!(Choice::parse("recorded").unwrap().is_recorded());
        assert_eq!(rules("recorded", 60.0).unwrap(), recorded());
        let wider = rules("slack-greedy@tolerance_s=240", 60.0).unwrap();
        assert_eq!(wider.dispatch.tolerance_s, 4.0);
        assert_eq!(wider.dispatch.max_wait_s, recorded().dispatch.max_wait_s);
        let other = rules("lookahead@horizon_s=600,tick_s=0.5", 2.0).unwrap();
        assert_eq!(
            other.dispatch.tick_s, 0.5,
            "the machine's own time is not scaled"
        );
        let PolicySpec::Lookahead(plan) = &other.policy else {
            panic!("{:?}", other.policy)
        };
        assert_eq!(plan.horizon_s, 300.0);
        assert_eq!(other.dispatch.tolerance_s, 2.0);
    }

    #[test]
    fn settings_may_stand_in_a_file() {
        let path = std::env::temp_dir().join(format!("{}.toml", uuid::Uuid::new_v4()));
        fs::write(&path, "tolerance_s = 240\n").unwrap();
        let read = rules(&format!("recorded@{}", path.display()), 1.0);
        fs::remove_file(&path).unwrap();
        assert_eq!(read.unwrap().dispatch.tolerance_s, 240.0);
    }

    #[test]
    fn what_cannot_be_is_refused_by_field_and_value() {
        for (text, expected) in [
            ("psychic", "policy = \"psychic\""),
            ("slack-greedy@tolerence_s=240", "tolerence_s = 240"),
            ("slack-greedy@horizon_s=240", "horizon_s = 240"),
            ("recorded@max_attempts=0", "max_attempts = 0"),
            ("recorded@tolerance_s=soon", "tolerance_s = \"soon\""),
            ("recorded@tolerance_s", "expected FIELD=VALUE"),
            ("recorded@/nowhere/x.toml", "/nowhere/x.toml"),
        ] {
            let error = format!("{:#}", rules(text, 1.0).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
