//! `swiftctl replay rebuild`: a service's state built anew from the topics, in a schema of its own, and compared with the live one.
//!
//! The service's own code runs over what its lanes had read, up to the positions that its tables hold; nothing is published and
//! nobody is called. Live rows and positions are read in one snapshot, so a service that goes on working does no harm. What
//! topics do not determine is left out of the comparison, by name ([`crate::replay::excluded`]).

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use contracts::Geo;
use sqlx::{AssertSqlSafe, Connection, PgConnection, Row as _};

use crate::Outcome;
use crate::database;
use crate::endpoints::Endpoints;
use crate::lanes::quoted;
use crate::log::Log;
use crate::output::Format;
use crate::replay::compare::{self, Comparison};
use crate::replay::excluded::{ALL, excluded};
use crate::replay::rebuilders;

/// A service whose state can be built from the topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Service {
    Orders,
    Payments,
    Assignment,
    Notifier,
}

impl Service {
    /// Of its schema.
    pub fn name(self) -> &'static str {
        match self {
            Service::Orders => "orders",
            Service::Payments => "payments",
            Service::Assignment => "assignment",
            Service::Notifier => "notifier",
        }
    }
}

#[derive(Args)]
pub struct Rebuild {
    /// The service.
    #[arg(long, value_enum)]
    service: Service,
    /// The geo.
    #[arg(long)]
    geo: Geo,
    /// So many differing rows are shown.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Leave the rebuilt tables, in the schema that is named at the end.
    #[arg(long)]
    keep: bool,
}

/// How far the live tables have read a partition.
#[derive(Debug, Clone)]
pub struct Position {
    pub topic: String,
    pub partition: i32,
    pub next: i64,
}

pub async fn run(rebuild: &Rebuild, endpoints: &Endpoints, format: Format) -> Result<Outcome> {
    endpoints.catalogue()?.geo(rebuild.geo.as_str())?;
    let url = endpoints.postgres()?;
    let (mut live, mut fresh) = (
        database::connect(&url).await?,
        database::connect(&url).await?,
    );
    let service = rebuild.service.name();
    // All that is read of the live tables is of one instant.
    let mut live = live
        .begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        .await?;
    let positions = positions(&mut live, service, &rebuild.geo).await?;
    ensure!(
        !positions.is_empty(),
        "{service} has no position in {}: it has read nothing there",
        rebuild.geo
    );
    let schema = format!("replay_{service}_{}", uuid::Uuid::new_v4().simple());
    execute(&mut fresh, &format!("CREATE SCHEMA {}", quoted(&schema))).await?;
    execute(
        &mut fresh,
        &format!("SET search_path = {}", quoted(&schema)),
    )
    .await?;
    let log = Log::connect(&endpoints.kafka()?)?;
    let built = rebuilders::build(
        rebuild.service,
        &rebuild.geo,
        &positions,
        (&log, endpoints),
        &mut fresh,
    )
    .await;
    let compared = match built {
        Ok(notes) => compared(rebuild, notes, &mut live, &mut fresh, &schema).await,
        Err(error) => Err(error),
    };
    if !rebuild.keep {
        execute(
            &mut fresh,
            &format!("DROP SCHEMA {} CASCADE", quoted(&schema)),
        )
        .await?;
    }
    let comparison = compared?;
    comparison.print(format, service, rebuild.keep.then_some(&*schema))?;
    Ok(Outcome::Done)
}

async fn compared(
    rebuild: &Rebuild,
    notes: Vec<String>,
    live: &mut PgConnection,
    fresh: &mut PgConnection,
    schema: &str,
) -> Result<Comparison> {
    let service = rebuild.service.name();
    let mut comparison = Comparison::new(rebuild.limit, notes);
    for table in compare::tables(fresh, schema).await? {
        let left_out = excluded(rebuild.service, &table);
        if let [(ALL, why)] = left_out {
            comparison
                .notes
                .push(format!("{service}.{table} is not compared: it is {why}"));
            continue;
        }
        let both = ((&mut *live, service), (&mut *fresh, schema));
        comparison
            .table(&table, left_out, rebuild.geo.as_str(), both)
            .await
            .with_context(|| format!("comparing {service}.{table}"))?;
    }
    Ok(comparison)
}

async fn execute(db: &mut PgConnection, sql: &str) -> Result<()> {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(db)
        .await?;
    Ok(())
}

/// Of the lanes of the geo.
async fn positions(db: &mut PgConnection, service: &str, geo: &Geo) -> Result<Vec<Position>> {
    let schema = quoted(service);
    let sql = format!(
        "SELECT topic, partition, next_offset FROM {schema}.positions WHERE split_part(topic, '.', 3) = $1 ORDER BY 1, 2"
    );
    let rows = sqlx::query(AssertSqlSafe(sql)).bind(geo.as_str());
    let rows = rows.fetch_all(db).await;
    let rows = rows.with_context(|| format!("the positions of {service} cannot be read"))?;
    let position = |row: &sqlx::postgres::PgRow| {
        Ok(Position {
            topic: row.try_get(0)?,
            partition: row.try_get(1)?,
            next: row.try_get(2)?,
        })
    };
    rows.iter().map(position).collect()
}
