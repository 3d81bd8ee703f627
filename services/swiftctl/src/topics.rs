//! `swiftctl topics`: the cluster brought to what the catalogue says.

use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use contracts::{Catalogue, Geo, TopicSpec};
use serde::Serialize;

use crate::Outcome;
use crate::cluster::Cluster;
use crate::endpoints::Endpoints;
use crate::output::{Format, Row, print};
use crate::topic_plan::{CLEANUP, Existing, Plan, RETENTION, Step, plan};

#[derive(Subcommand)]
pub enum Command {
    /// Show what `apply` would do.
    Plan(Scope),
    /// Create missing topics, add partitions, raise retention. Never deletes; refuses what would lose data.
    Apply {
        #[command(flatten)]
        scope: Scope,
        /// Print the plan and change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Show the topics of the catalogue as the cluster has them.
    Describe(Scope),
}

#[derive(Args)]
pub struct Scope {
    /// Only these geos, separated by commas; all of the catalogue by default.
    #[arg(long, value_delimiter = ',')]
    geos: Vec<String>,
    /// Directory with topics.toml and geos.toml; by default the catalogue of the services' settings.
    #[arg(long)]
    catalogue: Option<PathBuf>,
    /// Let retention be lowered, which deletes data.
    #[arg(long)]
    allow_lower_retention: bool,
}

impl Scope {
    fn topics(&self, endpoints: &Endpoints) -> Result<Vec<TopicSpec>> {
        let catalogue = match &self.catalogue {
            Some(dir) => Catalogue::load(dir)?,
            None => endpoints.catalogue()?,
        };
        let geos: Vec<Geo> = if self.geos.is_empty() {
            catalogue.geos().iter().map(|g| g.name.clone()).collect()
        } else {
            let named = self
                .geos
                .iter()
                .map(|name| catalogue.geo(name).map(|g| g.name.clone()));
            named.collect::<Result<_, _>>()?
        };
        Ok(catalogue.topics(&geos)?)
    }
}

pub async fn run(command: Command, endpoints: &Endpoints, format: Format) -> Result<Outcome> {
    let cluster = Cluster::connect(&endpoints.kafka()?)?;
    match command {
        Command::Plan(scope) => apply(&cluster, endpoints, &scope, true, format).await,
        Command::Apply { scope, dry_run } => {
            apply(&cluster, endpoints, &scope, dry_run, format).await
        }
        Command::Describe(scope) => describe(&cluster, &scope.topics(endpoints)?, format).await,
    }
}

async fn apply(
    cluster: &Cluster,
    endpoints: &Endpoints,
    scope: &Scope,
    dry_run: bool,
    format: Format,
) -> Result<Outcome> {
    let wanted = scope.topics(endpoints)?;
    let names: Vec<&str> = wanted.iter().map(|t| t.name.as_str()).collect();
    let (brokers, existing) = cluster.topics(&names).await?;
    let steps = plan(&wanted, &existing, brokers, scope.allow_lower_retention);
    let of = |plan| steps.iter().filter(move |s| s.plan == plan);
    let refused = of(Plan::Refused).count();
    let verb = match (refused, dry_run) {
        (1.., _) => "refused, nothing was changed",
        (0, true) => "planned",
        (0, false) => "applied",
    };
    let summary = format!(
        "topics: {} to create, {} to alter, {} unchanged, {refused} refused: {verb}",
        of(Plan::Create).count(),
        of(Plan::Alter).count(),
        of(Plan::Unchanged).count(),
    );
    if refused == 0 && !dry_run {
        let grown: Vec<&Step> = of(Plan::Alter).filter(|s| s.adds_partitions()).collect();
        let set: Vec<&Step> = of(Plan::Alter)
            .filter(|s| s.configs().next().is_some())
            .collect();
        cluster
            .create(&of(Plan::Create).collect::<Vec<_>>())
            .await?;
        cluster.add_partitions(&grown).await?;
        cluster.set_configs(&set).await?;
    }
    print(format, &steps, &summary)?;
    Ok(if refused == 0 {
        Outcome::Done
    } else {
        Outcome::Refused
    })
}

impl Row for Step {
    const COLUMNS: &'static [&'static str] =
        &["topic", "plan", "partitions", "replicas", "changes"];

    fn cells(&self) -> Vec<String> {
        let changes = self.changes.iter().map(|change| {
            let from = if change.from.is_empty() {
                String::new()
            } else {
                format!("{} -> ", change.from)
            };
            let refused = change
                .refused
                .map_or(String::new(), |why| format!(" ({why})"));
            format!("{}: {from}{}{refused}", change.property, change.to)
        });
        vec![
            self.topic.clone(),
            format!("{:?}", self.plan).to_lowercase(),
            self.partitions.to_string(),
            self.replicas.to_string(),
            changes.collect::<Vec<_>>().join(", "),
        ]
    }
}

/// A topic of the catalogue as it is.
#[derive(Serialize)]
struct Described {
    topic: String,
    exists: bool,
    partitions: u32,
    replicas: u32,
    retention_ms: String,
    cleanup_policy: String,
}

impl Row for Described {
    const COLUMNS: &'static [&'static str] = &[
        "topic",
        "exists",
        "partitions",
        "replicas",
        "retention_ms",
        "cleanup_policy",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.topic.clone(),
            if self.exists { "yes" } else { "no" }.to_owned(),
            self.partitions.to_string(),
            self.replicas.to_string(),
            self.retention_ms.clone(),
            self.cleanup_policy.clone(),
        ]
    }
}

async fn describe(cluster: &Cluster, wanted: &[TopicSpec], format: Format) -> Result<Outcome> {
    let names: Vec<&str> = wanted.iter().map(|t| t.name.as_str()).collect();
    let (brokers, existing) = cluster.topics(&names).await?;
    let describe = |name: &&str| {
        let topic = existing.get(*name);
        let config = |key: &str| {
            topic
                .and_then(|t: &Existing| t.configs.get(key))
                .cloned()
                .unwrap_or_default()
        };
        Described {
            topic: (*name).to_owned(),
            exists: topic.is_some(),
            partitions: topic.map_or(0, |t| t.partitions),
            replicas: topic.map_or(0, |t| t.replicas),
            retention_ms: config(RETENTION),
            cleanup_policy: config(CLEANUP),
        }
    };
    let rows: Vec<Described> = names.iter().map(describe).collect();
    let summary = format!(
        "topics: {} of {} exist, on {brokers} brokers",
        existing.len(),
        rows.len()
    );
    print(format, &rows, &summary)?;
    Ok(Outcome::Done)
}
