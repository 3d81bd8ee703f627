//! `swiftctl drivers`: what assignment knows of a driver.

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use crate::Outcome;
use crate::database;
use crate::endpoints::Endpoints;
use crate::output::{self, Format, Row, second};

#[derive(Subcommand)]
pub enum Command {
    /// Show a driver: on duty or not, since when free or with which order, and his last assignments.
    Show {
        /// The driver.
        driver: String,
        /// Only in this geo.
        #[arg(long)]
        geo: Option<String>,
        /// So many assignments, newest first.
        #[arg(long, default_value_t = 10)]
        limit: u32,
    },
}

/// A driver in a geo.
#[derive(Serialize, FromRow)]
struct Driver {
    geo: String,
    driver_id: String,
    status: String,
    on_duty: bool,
    duty_at: DateTime<Utc>,
    shift_ends_at: Option<DateTime<Utc>>,
    free_since: DateTime<Utc>,
    active_order: Option<Uuid>,
    /// Where he came on duty or last delivered.
    lat: Option<f64>,
    lon: Option<f64>,
    seen_at: Option<DateTime<Utc>>,
}

/// An assignment of his.
#[derive(Serialize, FromRow)]
struct Assignment {
    geo: String,
    order_id: Uuid,
    attempt: i32,
    active: bool,
    phase: String,
    phase_at: DateTime<Utc>,
    decided_at: DateTime<Utc>,
    arrives_at: DateTime<Utc>,
    trip_id: Uuid,
    trip_position: i16,
}

impl Row for Assignment {
    const COLUMNS: &'static [&'static str] = &[
        "order",
        "geo",
        "attempt",
        "phase",
        "since",
        "decided at",
        "arrives at",
        "trip",
        "place",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.order_id.to_string(),
            self.geo.clone(),
            self.attempt.to_string(),
            self.phase.clone(),
            second(self.phase_at),
            second(self.decided_at),
            second(self.arrives_at),
            self.trip_id.to_string(),
            self.trip_position.to_string(),
        ]
    }
}

pub async fn run(command: Command, endpoints: &Endpoints, format: Format) -> Result<Outcome> {
    let Command::Show { driver, geo, limit } = command;
    let mut db = database::connect(&endpoints.postgres()?).await?;
    let drivers: Vec<Driver> = sqlx::query_as(
        "SELECT geo, driver_id, status, on_duty, duty_at, shift_ends_at, free_since, active_order, lat, lon, seen_at \
         FROM assignment.drivers WHERE driver_id = $1 AND ($2::text IS NULL OR geo = $2) ORDER BY geo",
    )
    .bind(&driver)
    .bind(&geo)
    .fetch_all(&mut db)
    .await
    .context("the drivers of assignment cannot be read")?;
    let assignments: Vec<Assignment> = sqlx::query_as(
        "SELECT geo, order_id, attempt, active, phase, phase_at, decided_at, arrives_at, trip_id, trip_position \
         FROM assignment.assignments WHERE driver_id = $1 AND ($2::text IS NULL OR geo = $2) \
         ORDER BY decided_at DESC LIMIT $3",
    )
    .bind(&driver)
    .bind(&geo)
    .bind(i64::from(limit))
    .fetch_all(&mut db)
    .await
    .context("the assignments cannot be read")?;
    anyhow::ensure!(
        !drivers.is_empty() || !assignments.is_empty(),
        "assignment knows no driver {driver}"
    );
    match format {
        Format::Json => {
            let both = serde_json::json!({"drivers": drivers, "assignments": assignments});
            output::line(&serde_json::to_string_pretty(&both)?)?;
        }
        Format::Table => {
            for driver in &drivers {
                output::line(&told(driver))?;
            }
            let summary = format!("assignments: {}", assignments.len());
            output::print(format, &assignments, &summary)?;
        }
    }
    Ok(Outcome::Done)
}

fn told(driver: &Driver) -> String {
    let at = |at: Option<DateTime<Utc>>| at.map_or("never".to_owned(), second);
    let doing = match (&driver.active_order, driver.status.as_str()) {
        (Some(order), _) => format!("has order {order}"),
        (None, "free") => format!("free since {}", second(driver.free_since)),
        (None, status) => status.to_owned(),
    };
    let duty = if driver.on_duty {
        "on duty"
    } else {
        "off duty"
    };
    let mut told = format!(
        "{} in {}: {doing}; {duty} since {}, seen {}",
        driver.driver_id,
        driver.geo,
        second(driver.duty_at),
        at(driver.seen_at)
    );
    if let (Some(lat), Some(lon)) = (driver.lat, driver.lon) {
        told += &format!(" at {lat:.5}, {lon:.5}");
    }
    if let Some(ends) = driver.shift_ends_at {
        told += &format!("; shift ends {}", second(ends));
    }
    told
}
