//! `lanes reset`: carries out a decision, with the lane's row locked, so that nobody can take the lane meanwhile.
//!
//! Kafka is written first and PostgreSQL, which clears the refusal, after it: interrupted in between, the lane is still
//! refused and the same command does the rest.

use std::io::{IsTerminal, Write};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use rdkafka::consumer::Consumer;
use rdkafka::producer::{DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use serde::Serialize;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row as _};

use super::decision::{Changes, Decision};
use super::state::{self, LaneState, quoted};
use crate::Outcome;
use crate::database;
use crate::endpoints::Endpoints;
use crate::log::{Log, TIMEOUT};
use crate::output::{self, Format, Row, short};

#[derive(Args)]
pub struct Reset {
    #[command(flatten)]
    decision: Decision,
    /// The service that the lanes are of.
    #[arg(long)]
    service: String,
    /// The lanes; one that is not refused is refused here.
    #[arg(value_name = "LANE", required_unless_present = "all")]
    lanes: Vec<String>,
    /// All lanes of the service that are refused for a reason which names this decision.
    #[arg(long, conflicts_with = "lanes")]
    all: bool,
    /// The service's consumer group, where it is not called as the service.
    #[arg(long)]
    group: Option<String>,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
    /// Print the plan and change nothing.
    #[arg(long)]
    dry_run: bool,
}

impl Reset {
    pub async fn run(self, log: &Log, endpoints: &Endpoints, format: Format) -> Result<Outcome> {
        let mut db = database::connect(&endpoints.postgres()?).await?;
        let lanes = self.chosen(&mut db, log).await?;
        let mut rows = Vec::new();
        let mut planned = Vec::new();
        for lane in lanes {
            let changes = self.decision.changes(&lane);
            rows.push(Step::of(&lane, &changes));
            planned.extend(changes.map(|changes| (lane, changes)));
        }
        let refused = rows.len() - planned.len();
        if refused > 0 || self.dry_run {
            let what = match refused {
                0 => "planned".to_owned(),
                refused => format!("{refused} refused, nothing was changed"),
            };
            output::print(
                format,
                &rows,
                &format!("lanes: {} to reset: {what}", planned.len()),
            )?;
            return Ok(if refused == 0 {
                Outcome::Done
            } else {
                Outcome::Refused
            });
        }
        if !planned.is_empty() && !self.yes && !self.is_confirmed(&rows)? {
            return Ok(Outcome::Refused);
        }
        for (lane, changes) in &planned {
            self.carry_out(&mut db, log, lane, changes)
                .await
                .with_context(|| lane.lane.clone())?;
        }
        output::print(format, &rows, &format!("lanes: {} reset", planned.len()))?;
        Ok(Outcome::Done)
    }

    fn group(&self) -> &str {
        self.group.as_deref().unwrap_or(&self.service)
    }

    async fn chosen(&self, db: &mut PgConnection, log: &Log) -> Result<Vec<LaneState>> {
        let mut lanes = state::read(db, log, &self.service, self.group()).await?;
        if self.all {
            lanes.retain(|lane| self.decision.changes(lane).is_ok());
            return Ok(lanes);
        }
        let known = |name: &&String| lanes.iter().any(|lane| lane.lane == **name);
        if let Some(unknown) = self.lanes.iter().find(|name| !known(name)) {
            bail!("{} has no lane {unknown}", self.service);
        }
        lanes.retain(|lane| self.lanes.contains(&lane.lane));
        Ok(lanes)
    }

    /// Asks for the lane's name, or for that of the service when there are several.
    fn is_confirmed(&self, rows: &[Step]) -> Result<bool> {
        if !std::io::stdin().is_terminal() {
            eprintln!(
                "swiftctl: this gives something up for good: --dry-run shows what, --yes does it"
            );
            return Ok(false);
        }
        output::print(Format::Table, rows, "")?;
        let expected = match &self.lanes[..] {
            [lane] => lane,
            _ => &self.service,
        };
        eprint!("This gives something up for good. Type {expected} to do it: ");
        std::io::stderr().flush()?;
        let mut typed = String::new();
        std::io::stdin().read_line(&mut typed)?;
        let confirmed = typed.trim() == expected;
        if !confirmed {
            eprintln!("swiftctl: not confirmed, nothing was changed");
        }
        Ok(confirmed)
    }

    async fn carry_out(
        &self,
        db: &mut PgConnection,
        log: &Log,
        lane: &LaneState,
        changes: &Changes,
    ) -> Result<()> {
        let schema = quoted(&self.service);
        let mut tx = db.begin().await?;
        let sql = format!(
            "SELECT epoch, version, refused FROM {schema}.lanes WHERE lane = $1 FOR UPDATE"
        );
        let row = sqlx::query(AssertSqlSafe(sql))
            .bind(&lane.lane)
            .fetch_one(&mut *tx)
            .await?;
        let now: (i64, i64, Option<String>) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        ensure!(
            now == (lane.epoch, lane.version, lane.refused.clone()),
            "somebody has taken the lane since it was looked at: nothing was changed"
        );
        commit(log, self.group(), changes)?;
        let sql = format!(
            "UPDATE {schema}.lanes SET version = version + 1, seq = $2, refused = NULL, refused_at = NULL WHERE lane = $1"
        );
        let seq = changes.seq.unwrap_or(lane.seq);
        sqlx::query(AssertSqlSafe(sql))
            .bind(&lane.lane)
            .bind(seq)
            .execute(&mut *tx)
            .await?;
        for ((topic, partition), next) in &changes.positions {
            let sql = format!(
                "UPDATE {schema}.positions SET next_offset = $4 WHERE lane = $1 AND topic = $2 AND partition = $3"
            );
            let update = sqlx::query(AssertSqlSafe(sql)).bind(&lane.lane).bind(topic);
            update.bind(partition).bind(next).execute(&mut *tx).await?;
        }
        let sql = format!("DELETE FROM {schema}.outbox WHERE lane = $1 AND seq = ANY($2)");
        let delete = sqlx::query(AssertSqlSafe(sql))
            .bind(&lane.lane)
            .bind(&changes.dropped);
        delete.execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }
}

/// Commits offsets in a transaction, which brokers take from outside of the group as well while it has members.
fn commit(log: &Log, group: &str, changes: &Changes) -> Result<()> {
    if changes.commits.is_empty() {
        return Ok(());
    }
    let mut config = log.config().clone();
    config.set("group.id", group);
    let consumer: rdkafka::consumer::BaseConsumer = config.create().context("a Kafka consumer")?;
    let metadata = consumer
        .group_metadata()
        .context("no metadata of the group")?;
    let mut config = log.config().clone();
    config.set("transactional.id", format!("swiftctl.lanes.{group}"));
    let producer: ThreadedProducer<DefaultProducerContext> = config.create()?;
    let mut offsets = TopicPartitionList::new();
    for ((topic, partition), offset, seq) in &changes.commits {
        let mut element = offsets.add_partition(topic, *partition);
        element.set_offset(Offset::Offset(*offset))?;
        element.set_metadata(format!("seq={seq}"));
    }
    producer.init_transactions(TIMEOUT)?;
    producer.begin_transaction()?;
    producer.send_offsets_to_transaction(&offsets, &metadata, TIMEOUT)?;
    producer
        .commit_transaction(TIMEOUT)
        .context("telling Kafka")
}

/// What will be done with a lane.
#[derive(Serialize)]
struct Step {
    lane: String,
    plan: &'static str,
    changes: Vec<String>,
    problem: Option<String>,
}

impl Step {
    fn of(lane: &LaneState, changes: &Result<Changes, String>) -> Self {
        let name = lane.lane.clone();
        match changes {
            Ok(changes) => Step {
                lane: name,
                plan: "reset",
                changes: told(lane, changes),
                problem: None,
            },
            Err(problem) => Step {
                lane: name,
                plan: "refused",
                changes: Vec::new(),
                problem: Some(problem.clone()),
            },
        }
    }
}

fn told(lane: &LaneState, changes: &Changes) -> Vec<String> {
    let place = |(topic, partition): &(String, i32)| format!("{topic}/{partition}");
    let mut told = Vec::new();
    told.extend(
        changes
            .seq
            .map(|seq| format!("row number {} -> {seq}", lane.seq)),
    );
    for (source, next) in &changes.positions {
        let before = lane.sources[source].next;
        told.push(format!("position of {} {before} -> {next}", place(source)));
    }
    if !changes.dropped.is_empty() {
        told.push(format!("{} outbox rows dropped", changes.dropped.len()));
    }
    for (source, offset, seq) in &changes.commits {
        told.push(format!(
            "Kafka told: {} at {offset}, row {seq} published",
            place(source)
        ));
    }
    told
}

impl Row for Step {
    const COLUMNS: &'static [&'static str] = &["lane", "plan", "changes"];

    fn cells(&self) -> Vec<String> {
        let told = self
            .problem
            .clone()
            .unwrap_or_else(|| self.changes.join("; "));
        vec![self.lane.clone(), self.plan.to_owned(), short(&told, 300)]
    }
}
