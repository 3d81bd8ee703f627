//! `swiftctl drivers`: what assignment knows of a driver, and where his phone last said he was.

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Subcommand;
use serde::Serialize;
use sqlx::FromRow;
use uuid::Uuid;

use crate::Outcome;
use crate::avro::Schemas;
use crate::database;
use crate::endpoints::Endpoints;
use crate::log::Log;
use crate::output::{self, Format, Row, second};
use crate::progress::Progress;
use crate::registry::Registry;

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
    active_trip: Option<Uuid>,
    /// Where he came on duty or last delivered.
    lat: Option<f64>,
    lon: Option<f64>,
    seen_at: Option<DateTime<Utc>>,
    /// His next shift, if it was announced.
    next_shift_starts_at: Option<DateTime<Utc>>,
    next_shift_ends_at: Option<DateTime<Utc>>,
    next_shift_lat: Option<f64>,
    next_shift_lon: Option<f64>,
    /// Where his phone last said he was.
    #[sqlx(skip)]
    heard: Option<Heard>,
}

/// A position out of the topic of locations.
#[derive(Serialize)]
struct Heard {
    at: DateTime<Utc>,
    lat: Option<f64>,
    lon: Option<f64>,
}

/// How far back his phone is listened for: assignment itself forgets a position after half of it.
const SILENCE: TimeDelta = TimeDelta::seconds(60);

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
    let mut drivers: Vec<Driver> = sqlx::query_as(
        "SELECT geo, driver_id, status, on_duty, duty_at, shift_ends_at, free_since, active_trip, lat, lon, seen_at, \
         next_shift_starts_at, next_shift_ends_at, next_shift_lat, next_shift_lon \
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
    for driver in &mut drivers {
        driver.heard = heard(driver, endpoints).await?;
    }
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

/// The last position of the last minute.
async fn heard(driver: &Driver, endpoints: &Endpoints) -> Result<Option<Heard>> {
    let log = Log::connect(&endpoints.kafka()?)?;
    let topic = format!("driver.locations.{}", driver.geo);
    let Some(partitions) = log.topics()?.get(&topic).copied() else {
        return Ok(None);
    };
    let (progress, mut last) = (Progress::new("reading positions"), None);
    let since = Some(Utc::now() - SILENCE);
    log.read(&topic, partitions, since, &progress, |stored| {
        if stored.key_text() == Some(&driver.driver_id) {
            last = Some(stored);
        }
    })?;
    let Some(last) = last else {
        return Ok(None);
    };
    let mut schemas = Schemas::new(Registry::new(&endpoints.registry()?)?);
    let said = schemas.decode(last.value.as_deref()).await;
    let coordinate = |name: &str| said.as_ref().ok()?.view["location"][name].as_f64();
    Ok(Some(Heard {
        at: last.at,
        lat: coordinate("lat"),
        lon: coordinate("lon"),
    }))
}

fn told(driver: &Driver) -> String {
    let doing = match (&driver.active_trip, driver.status.as_str()) {
        (Some(trip), _) => format!("on trip {trip}"),
        (None, "free") => format!("free since {}", second(driver.free_since)),
        (None, status) => status.to_owned(),
    };
    let duty = match driver.on_duty {
        true => "on duty",
        false => "off duty",
    };
    let since = second(driver.duty_at);
    let mut told = format!(
        "{} in {}: {doing}; {duty} since {since}",
        driver.driver_id, driver.geo
    );
    if let Some(ends) = driver.shift_ends_at {
        told += &format!(", shift ends {}", second(ends));
    }
    if let (Some(starts), Some(ends)) = (driver.next_shift_starts_at, driver.next_shift_ends_at) {
        told += &format!(
            ", next shift from {} to {} at {}",
            second(starts),
            second(ends),
            place(driver.next_shift_lat, driver.next_shift_lon)
        );
    }
    told += &match &driver.heard {
        Some(heard) => format!(
            "; heard {} from {}",
            second(heard.at),
            place(heard.lat, heard.lon)
        ),
        None => format!(
            "; not heard for a minute, last known at {}",
            place(driver.lat, driver.lon)
        ),
    };
    told
}

fn place(lat: Option<f64>, lon: Option<f64>) -> String {
    match (lat, lon) {
        (Some(lat), Some(lon)) => format!("{lat:.5}, {lon:.5}"),
        _ => "an unknown place".to_owned(),
    }
}
