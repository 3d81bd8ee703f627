//! The command: arguments in, results out, files written on the way.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use dispatch::{Config, ConfigError, PolicySpec, Seconds, Widening};
use serde_json::{Map, Value, json};
use thiserror::Error;

use crate::export;
use crate::instance::Instance;
use crate::report;
use crate::results::Results;
use crate::run::{Run, RunError, run};
use crate::simulate::Tolerance;
use crate::table::FileError;

/// What to run and where to put it.
#[derive(Debug, Clone, Args)]
pub struct Arguments {
    /// Policies by name, separated by commas; dispatch's default by default.
    #[arg(long = "policy", value_delimiter = ',', value_name = "NAME")]
    pub policies: Vec<String>,
    /// A parameter of the policies, for all of them that have it, at least one; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub parameters: Vec<(String, Value)>,
    /// Slack at which an order is due, in seconds, where the policy has none of its own.
    #[arg(long, default_value_t = Config::default().tolerance_s, allow_negative_numbers = true)]
    pub tolerance_s: f64,
    /// How that widens while orders queue for couriers: `none`, or `linear` by dispatch's default bounds.
    #[arg(long, default_value = "none", value_parser = widening)]
    pub widening: Widening,
    /// Write solution files of the public evaluator to DIR/<instance>, or DIR/<policy>/<instance> if there are several.
    #[arg(long, value_name = "DIR")]
    pub export: Option<PathBuf>,
    /// Write a report that a browser reads without network.
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Directories of instances, or directories that hold such.
    #[arg(required = true, value_name = "INSTANCE_DIR")]
    pub instances: Vec<PathBuf>,
}

/// Why there are no results.
#[derive(Debug, Error)]
pub enum BacktestError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error("policy {name:?}: {source}")]
    Policy {
        name: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("policy {name:?}: {source}")]
    Parameter {
        name: String,
        #[source]
        source: ConfigError,
    },
    #[error("no policy that is to run has a parameter {key:?}; there are: {known}")]
    NoSuchParameter { key: String, known: String },
    #[error("{what} {name:?} is named twice: its results could not be told apart")]
    Twice { what: &'static str, name: String },
    #[error("tolerance-s must be a number, not {0}")]
    Tolerance(f64),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("{}: {source}", path.display())]
    Unwritable {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl Arguments {
    /// Reads the instances, runs the policies over them and writes what is asked for.
    pub fn run(&self) -> Result<Results, BacktestError> {
        if self.tolerance_s.is_nan() {
            return Err(BacktestError::Tolerance(self.tolerance_s));
        }
        let policies = self.policies()?;
        let mut instances = Vec::new();
        for path in &self.instances {
            for dir in Instance::directories(path)? {
                instances.push(Instance::read(&dir)?);
            }
        }
        unique("policy", self.policies.iter().map(String::as_str))?;
        unique("instance", instances.iter().map(|i| i.name.as_str()))?;
        let tolerance = Tolerance {
            slack: Seconds(self.tolerance_s),
            widening: self.widening,
        };
        let runs = run(&policies, &instances, tolerance)?;
        let results = Results::of(&policies, &instances, tolerance, &runs);
        if let Some(dir) = &self.export {
            export_all(dir, &instances, &results, &runs)?;
        }
        if let Some(file) = &self.report {
            fs::write(file, report::page(&instances, &results, &runs)).map_err(unwritable(file))?;
        }
        Ok(results)
    }

    fn policies(&self) -> Result<Vec<PolicySpec>, BacktestError> {
        let named = self.policies.iter().map(|name| by_name(name));
        let mut plain = named.collect::<Result<Vec<_>, _>>()?;
        if plain.is_empty() {
            plain.push(PolicySpec::default());
        }
        let trees: Vec<Map<String, Value>> = plain.iter().map(tree).collect();
        let known: BTreeSet<&str> = trees.iter().flat_map(parameters).collect();
        let unknown = |(key, _): &&(String, Value)| !known.contains(key.as_str());
        if let Some((key, _)) = self.parameters.iter().find(unknown) {
            let known: Vec<&str> = known.into_iter().collect();
            return Err(BacktestError::NoSuchParameter {
                key: key.clone(),
                known: known.join(", "),
            });
        }
        trees
            .into_iter()
            .map(|tree| with(tree, &self.parameters))
            .collect()
    }
}

/// Where a policy that plans keeps the parameters of its plan, if not among its own.
const PLAN: &str = "plan";
const NAME: &str = "name";

/// The policy of that name, with its defaults.
fn by_name(name: &str) -> Result<PolicySpec, BacktestError> {
    serde_json::from_value(json!({ NAME: name })).map_err(|source| BacktestError::Policy {
        name: name.to_owned(),
        source,
    })
}

/// A policy as configuration has it.
fn tree(policy: &PolicySpec) -> Map<String, Value> {
    let tree = serde_json::to_value(policy).expect("a tree of names and numbers is JSON");
    tree.as_object().cloned().unwrap_or_default()
}

/// What can be set of it: its own parameters, and those of its plan.
fn parameters(tree: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let plan = tree.get(PLAN).and_then(Value::as_object);
    let keys = tree.keys().chain(plan.into_iter().flat_map(Map::keys));
    keys.map(String::as_str)
        .filter(|key| ![NAME, PLAN].contains(key))
}

/// The policy with those of the parameters that it has, each where it has it.
fn with(
    mut tree: Map<String, Value>,
    parameters: &[(String, Value)],
) -> Result<PolicySpec, BacktestError> {
    for (key, value) in parameters {
        if let Some(own) = tree.get_mut(key) {
            *own = value.clone();
        } else if let Some(Value::Object(plan)) = tree.get_mut(PLAN)
            && let Some(planned) = plan.get_mut(key)
        {
            *planned = value.clone();
        }
    }
    let name = tree[NAME].as_str().unwrap_or_default().to_owned();
    let policy: PolicySpec =
        serde_json::from_value(tree.into()).map_err(|source| BacktestError::Policy {
            name: name.clone(),
            source,
        })?;
    match policy.check() {
        Ok(()) => Ok(policy),
        Err(source) => Err(BacktestError::Parameter { name, source }),
    }
}

fn unique<'a>(
    what: &'static str,
    names: impl Iterator<Item = &'a str>,
) -> Result<(), BacktestError> {
    let mut known = BTreeSet::new();
    for name in names {
        if !known.insert(name) {
            let name = name.to_owned();
            return Err(BacktestError::Twice { what, name });
        }
    }
    Ok(())
}

/// A directory per instance; with several policies, below one per policy.
fn export_all(
    dir: &Path,
    instances: &[Instance],
    results: &Results,
    runs: &[Vec<Run>],
) -> Result<(), BacktestError> {
    for (policy, runs) in results.policies.iter().zip(runs) {
        let several = results.policies.len() > 1;
        let dir = if several {
            dir.join(&policy.policy)
        } else {
            dir.to_owned()
        };
        for (instance, run) in instances.iter().zip(runs) {
            let dir = dir.join(&instance.name);
            export::write(&dir, instance, &run.solution).map_err(unwritable(&dir))?;
        }
    }
    Ok(())
}

fn unwritable(path: &Path) -> impl FnOnce(std::io::Error) -> BacktestError {
    let path = path.to_owned();
    move |source| BacktestError::Unwritable { path, source }
}

/// By the name that the configuration has.
fn widening(text: &str) -> Result<Widening, String> {
    serde_json::from_value(text.into()).map_err(|error| error.to_string())
}

/// `KEY=VALUE`, where the value is JSON if it reads as such, and text if not.
fn key_value(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("not KEY=VALUE")?;
    let value = serde_json::from_str(value).unwrap_or_else(|_| value.into());
    Ok((key.to_owned(), value))
}
