//! `swiftctl orders`: orders that need a person.

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use uuid::Uuid;

use crate::Outcome;
use crate::database;
use crate::endpoints::Endpoints;
use crate::output::{Format, Row, print};

#[derive(Subcommand)]
pub enum Command {
    /// List orders that nothing has moved for too long, longest first: not ended, or ended and their money not yet at rest.
    Stuck {
        /// Only this geo.
        #[arg(long)]
        geo: Option<String>,
        /// For how long nothing has moved them, in seconds, counted from when the food should be ready if that is later
        /// [default: orders.stuck_after_s of the services' settings].
        #[arg(long)]
        after_s: Option<u32>,
        /// List no more than so many.
        #[arg(long, default_value_t = 100)]
        limit: u32,
    },
}

pub async fn run(command: Command, endpoints: &Endpoints, format: Format) -> Result<Outcome> {
    let Command::Stuck {
        geo,
        after_s,
        limit,
    } = command;
    let after_s = match after_s {
        Some(after_s) => after_s,
        None => endpoints.section::<Patience>("orders")?.stuck_after_s,
    };
    let stuck = stuck(endpoints, geo.as_deref(), after_s, limit).await?;
    let summary = format!(
        "orders: {} stuck for more than {after_s} s{}",
        stuck.len(),
        if stuck.len() == limit as usize {
            ", perhaps more: raise --limit"
        } else {
            ""
        }
    );
    print(format, &stuck, &summary)?;
    Ok(Outcome::Done)
}

/// The part of the orders service's settings that is wanted here.
#[derive(Deserialize)]
#[serde(default)]
struct Patience {
    stuck_after_s: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            stuck_after_s: 1_800,
        }
    }
}

/// An order that stands still.
#[derive(Serialize, FromRow)]
struct Stuck {
    order_id: Uuid,
    geo: String,
    partition: i32,
    status: String,
    payment: String,
    kitchen: String,
    driver_id: Option<String>,
    /// What moved it last, and when.
    last_event: Option<String>,
    moved_at: DateTime<Utc>,
    ready_at: DateTime<Utc>,
    /// Seconds since it should have moved.
    still_s: i64,
}

impl Row for Stuck {
    const COLUMNS: &'static [&'static str] = &[
        "order",
        "geo",
        "partition",
        "status",
        "payment",
        "kitchen",
        "driver",
        "last event",
        "moved at",
        "still s",
    ];

    fn cells(&self) -> Vec<String> {
        let or_dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
        vec![
            self.order_id.to_string(),
            self.geo.clone(),
            self.partition.to_string(),
            self.status.clone(),
            self.payment.clone(),
            self.kitchen.clone(),
            or_dash(&self.driver_id),
            or_dash(&self.last_event),
            self.moved_at.format("%Y-%m-%d %H:%M:%S").to_string(),
            self.still_s.to_string(),
        ]
    }
}

async fn stuck(
    endpoints: &Endpoints,
    geo: Option<&str>,
    after_s: u32,
    limit: u32,
) -> Result<Vec<Stuck>> {
    let mut database = database::connect(&endpoints.postgres()?).await?;
    let rows = sqlx::query_as(
        "WITH still AS (SELECT order_id, geo, partition, version, status, payment, kitchen, driver_id, updated_at, ready_at, \
                 GREATEST(updated_at, ready_at) AS since \
             FROM orders.orders WHERE settled_at IS NULL AND ($1::text IS NULL OR geo = $1) \
                 AND GREATEST(updated_at, ready_at) < now() - make_interval(secs => $2) ORDER BY since LIMIT $3) \
         SELECT o.order_id, o.geo, o.partition, o.status, o.payment, o.kitchen, o.driver_id, t.event AS last_event, \
             o.updated_at AS moved_at, o.ready_at, EXTRACT(EPOCH FROM now() - o.since)::bigint AS still_s \
         FROM still o LEFT JOIN orders.order_transitions t \
             ON t.recorded_at = o.updated_at AND t.order_id = o.order_id AND t.version = o.version \
         ORDER BY o.since",
    )
    .bind(geo)
    .bind(f64::from(after_s))
    .bind(i64::from(limit))
    .fetch_all(&mut database)
    .await;
    rows.context("the tables of orders cannot be read")
}
