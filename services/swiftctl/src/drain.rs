//! `swiftctl drain`: asks an instance to hand its lanes over and end, as SIGTERM does, from wherever the database is reached.
//!
//! The request is a column of the instance's row, which the instance reads every second and deletes when its lanes are handed
//! over. Whether it is started again is for whoever supervises it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Serialize;
use sqlx::AssertSqlSafe;

use crate::Outcome;
use crate::database;
use crate::endpoints::Endpoints;
use crate::lanes::{group, quoted};
use crate::log::Log;
use crate::output::{self, Format, Row};

#[derive(Args)]
pub struct Drain {
    /// `<service>/<instance slot>`, e.g. `orders/0`.
    instance: Instance,
    /// The service's consumer group, where it is not called as the service.
    #[arg(long)]
    group: Option<String>,
    /// Seconds to wait for it.
    #[arg(long, default_value_t = 60)]
    wait_s: u64,
    /// Show what it owns and ask nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Clone)]
struct Instance {
    service: String,
    slot: String,
}

impl std::str::FromStr for Instance {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (service, slot) = text
            .split_once('/')
            .ok_or("expected <service>/<instance>")?;
        let (service, slot) = (service.to_owned(), slot.to_owned());
        Ok(Instance { service, slot })
    }
}

/// What the instance owned, and who owns it now.
#[derive(Serialize)]
struct Owned {
    topic: String,
    partition: i32,
    owner: Option<String>,
}

impl Row for Owned {
    const COLUMNS: &'static [&'static str] = &["owned", "owner now"];

    fn cells(&self) -> Vec<String> {
        let owner = self.owner.clone().unwrap_or_else(|| "-".to_owned());
        vec![format!("{}/{}", self.topic, self.partition), owner]
    }
}

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

pub async fn run(drain: Drain, endpoints: &Endpoints, format: Format) -> Result<Outcome> {
    let log = Log::connect(&endpoints.kafka()?)?;
    let mut db = database::connect(&endpoints.postgres()?).await?;
    let Instance { service, slot } = &drain.instance;
    let group = drain.group.as_ref().unwrap_or(service);
    let table = format!("{}.instances", quoted(service));
    let sql = format!("SELECT instance FROM {table} ORDER BY 1");
    let known: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql))
        .fetch_all(&mut db)
        .await
        .with_context(|| format!("the instances of {service} cannot be read"))?;
    if !known.contains(slot) {
        bail!(
            "{service} has no instance {slot}; it has {}",
            known.join(", ")
        );
    }
    let catalogue = endpoints.catalogue()?;
    let look = || group::owners(&log, service, group, catalogue.clone());
    let owned = look()?.units_of(slot);
    if drain.dry_run {
        let rows = rows(&owned, &look()?);
        output::print(
            format,
            &rows,
            &format!("{service}/{slot}: owns {}; planned", owned.len()),
        )?;
        return Ok(Outcome::Done);
    }
    let sql = format!("UPDATE {table} SET drain_asked_at = now() WHERE instance = $1");
    sqlx::query(AssertSqlSafe(sql))
        .bind(slot)
        .execute(&mut db)
        .await?;
    let deadline = Instant::now() + Duration::from_secs(drain.wait_s);
    let sql = format!("SELECT count(*) FROM {table} WHERE instance = $1");
    loop {
        let left = sqlx::query_scalar(AssertSqlSafe(sql.as_str())).bind(slot);
        let left: i64 = left.fetch_one(&mut db).await?;
        if left == 0 {
            break;
        }
        if Instant::now() > deadline {
            bail!(
                "{service}/{slot} was asked and has not ended within {} s: is it running?",
                drain.wait_s
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
    let mut owners = look()?;
    // The others take over within a heartbeat or two, if there are others.
    while owners.members() > 0
        && rows(&owned, &owners).iter().any(|row| row.owner.is_none())
        && Instant::now() < deadline
    {
        tokio::time::sleep(PAUSE).await;
        owners = look()?;
    }
    let rows = rows(&owned, &owners);
    let taken = rows.iter().filter(|row| row.owner.is_some()).count();
    let summary = format!(
        "{service}/{slot}: drained; {taken} of {} taken over",
        rows.len()
    );
    output::print(format, &rows, &summary)?;
    Ok(Outcome::Done)
}

fn rows(owned: &[(String, i32)], owners: &group::Owners) -> Vec<Owned> {
    let row = |(topic, partition): &(String, i32)| Owned {
        topic: topic.clone(),
        partition: *partition,
        owner: owners.of_unit(topic, *partition),
    };
    owned.iter().map(row).collect()
}
