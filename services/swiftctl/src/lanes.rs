//! `swiftctl lanes`: who runs what, how far it is in both logs, what stands still and why; and the operator's decision about
//! a lane that must not run.
//!
//! Everything is read from PostgreSQL and Kafka; no service has to answer. A service keeps why it refuses a lane beside the
//! lane's row, and recovers the lane again within a second or two of [`reset`] clearing it.

mod decision;
pub mod group;
mod reset;
mod state;

use anyhow::{Result, ensure};
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde::Serialize;

use crate::Outcome;
use crate::database;
use crate::endpoints::Endpoints;
use crate::log::Log;
use crate::output::{self, Format, Row, short};
use crate::progress::Progress;

use state::LaneState;
pub use state::quoted;

#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Lanes {
    #[command(flatten)]
    scope: Scope,
    /// Only lanes that somebody refuses to run.
    #[arg(long)]
    refused: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Decide about a lane that is refused, by what its reason names. Refused itself for any other lane.
    Reset(reset::Reset),
}

#[derive(Args)]
struct Scope {
    /// Only of this service.
    #[arg(long)]
    service: Option<String>,
    /// Only of this geo.
    #[arg(long)]
    geo: Option<String>,
    /// The service's consumer group, where it is not called as the service.
    #[arg(long, requires = "service")]
    group: Option<String>,
}

pub async fn run(lanes: Lanes, endpoints: &Endpoints, format: Format) -> Result<Outcome> {
    let log = Log::connect(&endpoints.kafka()?)?;
    if let Some(Command::Reset(reset)) = lanes.command {
        return reset.run(&log, endpoints, format).await;
    }
    let scope = &lanes.scope;
    let progress = Progress::new("reading lanes");
    let mut db = database::connect(&endpoints.postgres()?).await?;
    let mut services = state::services(&mut db).await?;
    services.retain(|service| {
        scope
            .service
            .as_ref()
            .is_none_or(|wanted| wanted == service)
    });
    ensure!(
        !services.is_empty(),
        "PostgreSQL has no lanes of {}",
        scope.service.as_deref().unwrap_or("any service")
    );
    let mut rows = Vec::new();
    for service in &services {
        let group = scope.group.as_ref().unwrap_or(service);
        let mut states = state::read(&mut db, &log, service, group).await?;
        states.retain(|lane| scope.geo.as_ref().is_none_or(|geo| lane.is_of(geo)));
        states.retain(|lane| lane.refused.is_some() || !lanes.refused);
        let owners = group::owners(&log, service, group, endpoints.catalogue()?)?;
        let oldest = state::oldest(&log, &states, &progress)?;
        let line = |lane| Line::of(lane, &owners, &oldest);
        rows.extend(states.iter().map(line));
    }
    drop(progress);
    let count = |state| rows.iter().filter(|row| row.state == state).count();
    let summary = format!(
        "lanes: {} owned, {} without owner, {} refused",
        count("owned"),
        count("unowned"),
        count("refused")
    );
    output::print(format, &rows, &summary)?;
    Ok(Outcome::Done)
}

/// A lane as a line.
#[derive(Serialize)]
struct Line {
    service: String,
    lane: String,
    state: &'static str,
    /// Instance slot.
    owner: Option<String>,
    version: i64,
    epoch: i64,
    /// Number of the last outbox row in PostgreSQL, and of the last published one in Kafka.
    seq: i64,
    published: Option<i64>,
    outbox_rows: usize,
    /// Messages not applied yet, and seconds since the oldest of them was written.
    lag: i64,
    lag_s: Option<i64>,
    refused: Option<String>,
    refused_at: Option<DateTime<Utc>>,
}

impl Line {
    fn of(lane: &LaneState, owners: &group::Owners, oldest: &state::Oldest) -> Self {
        let owner = owners.of(&lane.lane);
        let written = lane
            .late_sources()
            .filter_map(|source| oldest.get(source))
            .min();
        let state = match (&lane.refused, &owner) {
            (Some(_), _) => "refused",
            (None, Some(_)) => "owned",
            (None, None) => "unowned",
        };
        Line {
            service: lane.service.clone(),
            lane: lane.lane.clone(),
            state,
            owner,
            version: lane.version,
            epoch: lane.epoch,
            seq: lane.seq,
            published: lane.published(),
            outbox_rows: lane.outbox.len(),
            lag: lane.lag(oldest),
            lag_s: written.map(|at| (Utc::now() - at).num_seconds().max(0)),
            refused: lane.refused.clone(),
            refused_at: lane.refused_at,
        }
    }
}

impl Row for Line {
    const COLUMNS: &'static [&'static str] = &[
        "service",
        "lane",
        "owner",
        "version",
        "epoch",
        "seq",
        "published",
        "outbox",
        "lag",
        "lag s",
        "refused",
    ];

    fn is_alarming(&self) -> bool {
        self.refused.is_some()
    }

    fn cells(&self) -> Vec<String> {
        let number =
            |number: Option<i64>| number.map_or("-".to_owned(), |number| number.to_string());
        vec![
            self.service.clone(),
            self.lane.clone(),
            self.owner.clone().unwrap_or_else(|| "-".to_owned()),
            self.version.to_string(),
            self.epoch.to_string(),
            self.seq.to_string(),
            number(self.published),
            self.outbox_rows.to_string(),
            self.lag.to_string(),
            number(self.lag_s),
            short(self.refused.as_deref().unwrap_or_default(), 400),
        ]
    }
}
