//! `swiftctl schemas`: the compatibility gate over the files, and the registry brought to what this build writes.
//!
//! `register` sends the schemas that are compiled in, because these are the ones that the services of the same build look
//! up; `check` and `release` work on the files and need no network.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Subcommand;
use contracts::compatibility::Comparable;
use contracts::released::{self, Change, Finding};
use contracts::{CONTRACTS, Contract};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::Serialize;

use crate::Outcome;
use crate::endpoints::Endpoints;
use crate::output::{Format, Row, print};
use crate::registry::{COMPATIBILITY, Registry};

/// Requests to the registry at a time.
const CONCURRENCY: usize = 8;

#[derive(Subcommand)]
pub enum Command {
    /// Compare every schema with all its released versions (FULL_TRANSITIVE), without network.
    Check {
        /// Directory with avro/ and released/.
        #[arg(long, default_value = "schemas")]
        schemas: PathBuf,
    },
    /// Add new and changed schemas to the released versions, if all pass the check.
    Release {
        /// Directory with avro/ and released/.
        #[arg(long, default_value = "schemas")]
        schemas: PathBuf,
    },
    /// Register the schemas of this build, and set each subject to FULL_TRANSITIVE. Never deletes.
    Register {
        /// Print the plan and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

pub async fn run(command: Command, endpoints: &Endpoints, format: Format) -> Result<Outcome> {
    match command {
        Command::Check { schemas } => check(released::check(&schemas)?, format),
        Command::Release { schemas } => {
            let released = released::release(&schemas);
            if let Err(released::TreeError::Incompatible(_)) = &released {
                return check(released::check(&schemas)?, format);
            }
            let released = released?;
            print(
                format,
                &released,
                &format!("schemas: released {}", released.len()),
            )?;
            Ok(Outcome::Done)
        }
        Command::Register { dry_run } => {
            register(&Registry::new(&endpoints.registry()?)?, dry_run, format).await
        }
    }
}

fn check(findings: Vec<Finding>, format: Format) -> Result<Outcome> {
    let bad = findings.iter().filter(|f| !f.problems.is_empty()).count();
    let count = |change| findings.iter().filter(|f| f.change == change).count();
    let summary = format!(
        "schemas: {} unchanged, {} changed, {} new, {} removed, {bad} refused",
        count(Change::Unchanged),
        count(Change::Changed),
        count(Change::New),
        count(Change::Removed),
    );
    print(format, &findings, &summary)?;
    Ok(if bad == 0 {
        Outcome::Done
    } else {
        Outcome::Refused
    })
}

impl Row for Finding {
    const COLUMNS: &'static [&'static str] = &["record", "version", "change", "problems"];

    fn cells(&self) -> Vec<String> {
        let change = format!("{:?}", self.change).to_lowercase();
        vec![
            self.record.clone(),
            self.version.to_string(),
            change,
            self.problems.join("; "),
        ]
    }
}

/// What has to be done about one record.
#[derive(Debug, Serialize)]
struct Step {
    record: &'static str,
    version: u32,
    plan: Plan,
    /// The id in the registry, once there is one.
    id: Option<u64>,
    /// The subject's rule has to be set.
    set_compatibility: bool,
    problems: Vec<String>,
    #[serde(skip)]
    contract: &'static Contract,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Plan {
    /// Registered as it is.
    Unchanged,
    /// The record is not in the registry.
    New,
    /// The registry has other versions of it, and all of them go with this one.
    Changed,
    /// The registry has a version that does not go with this one.
    Incompatible,
}

impl Row for Step {
    const COLUMNS: &'static [&'static str] = &[
        "record",
        "version",
        "plan",
        "id",
        "compatibility",
        "problems",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.record.to_owned(),
            self.version.to_string(),
            format!("{:?}", self.plan).to_lowercase(),
            self.id.map_or("-".into(), |id| id.to_string()),
            if self.set_compatibility {
                format!("set {COMPATIBILITY}")
            } else {
                "ok".into()
            },
            self.problems.join("; "),
        ]
    }
}

async fn register(registry: &Registry, dry_run: bool, format: Format) -> Result<Outcome> {
    let mut steps: Vec<Step> = stream::iter(CONTRACTS)
        .map(|contract| plan(registry, contract))
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    let refused = steps.iter().any(|s| s.plan == Plan::Incompatible);
    if !refused && !dry_run {
        for step in &mut steps {
            apply(registry, step).await?;
        }
    }
    let count = |plan| steps.iter().filter(|s| s.plan == plan).count();
    let verb = match (refused, dry_run) {
        (true, _) => "refused, nothing was changed",
        (false, true) => "planned",
        (false, false) => "registered",
    };
    let summary = format!(
        "schemas: {} new, {} changed, {} unchanged, {} incompatible, {} rules to set: {verb}",
        count(Plan::New),
        count(Plan::Changed),
        count(Plan::Unchanged),
        count(Plan::Incompatible),
        steps.iter().filter(|s| s.set_compatibility).count(),
    );
    print(format, &steps, &summary)?;
    Ok(if refused {
        Outcome::Refused
    } else {
        Outcome::Done
    })
}

async fn plan(registry: &Registry, contract: &'static Contract) -> Result<Step> {
    let id = registry.id(contract).await?;
    let rule = registry.compatibility(contract).await?;
    let (plan, problems) = match id {
        Some(_) => (Plan::Unchanged, Vec::new()),
        None => compare(contract, &registry.versions(contract).await?)?,
    };
    Ok(Step {
        record: contract.full_name,
        version: contract.version,
        plan,
        id,
        set_compatibility: rule.as_deref() != Some(COMPATIBILITY),
        problems,
        contract,
    })
}

/// Our own gate against what is registered: it holds whatever rule the registry was set to.
fn compare(
    contract: &Contract,
    versions: &[(u64, serde_json::Value)],
) -> Result<(Plan, Vec<String>)> {
    let parse = |schema: &serde_json::Value| match Comparable::parse(schema) {
        Ok(comparable) => Ok(comparable),
        Err(why) => bail!("{}: {why}", contract.full_name),
    };
    let ours = parse(&serde_json::from_str(contract.schema)?)?;
    let mut problems = Vec::new();
    for (number, schema) in versions {
        let found = ours.problems(&parse(schema)?);
        problems.extend(
            found
                .into_iter()
                .map(|p| format!("against the registry's version {number}: {p}")),
        );
    }
    let plan = match (versions.is_empty(), problems.is_empty()) {
        (true, _) => Plan::New,
        (false, true) => Plan::Changed,
        (false, false) => Plan::Incompatible,
    };
    Ok((plan, problems))
}

/// The rule goes first where the subject exists, so that the registry itself guards the step.
async fn apply(registry: &Registry, step: &mut Step) -> Result<()> {
    let fresh = step.plan == Plan::New;
    if step.set_compatibility && !fresh {
        set_rule(registry, step.contract).await?;
    }
    if step.plan != Plan::Unchanged {
        step.id = Some(add(registry, step.contract).await?);
    }
    if step.set_compatibility && fresh {
        set_rule(registry, step.contract).await?;
    }
    Ok(())
}

/// Registers; when somebody else did it at the same moment, that is as good.
async fn add(registry: &Registry, contract: &Contract) -> Result<u64> {
    match registry.register(contract).await {
        Ok(id) => Ok(id),
        Err(error) => registry.id(contract).await?.ok_or(error),
    }
}

/// Sets the rule; when somebody else did it at the same moment, that is as good.
async fn set_rule(registry: &Registry, contract: &Contract) -> Result<()> {
    match registry.set_compatibility(contract).await {
        Err(_) if registry.compatibility(contract).await?.as_deref() == Some(COMPATIBILITY) => {
            Ok(())
        }
        outcome => outcome,
    }
}

#[cfg(test)]
#[path = "schemas_tests.rs"]
mod tests;
