//! `events show`: one order's story.
//!
//! The order's geo and age are in the database of orders, which spares reading much; without that database every geo is read
//! from its beginning. A tick belongs to the story when a driver was assigned at just its instant: it tells what the scheduler
//! could choose from.

use std::collections::HashSet;

use anyhow::{Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use sqlx::FromRow;
use uuid::Uuid;

use super::{Event, is_about, parts};
use crate::Outcome;
use crate::avro::Schemas;
use crate::database;
use crate::endpoints::Endpoints;
use crate::instant::instant;
use crate::log::Log;
use crate::output::{self, Format};
use crate::progress::Progress;

/// Hold no order's id.
pub(super) const LOCATIONS: &str = "driver.locations";
const TICKS: &str = "driver_assignment.ticks";
/// What may have been said of an order before it was placed: an order's own clock may be wrong.
const BEFORE: TimeDelta = TimeDelta::hours(1);

#[derive(Args)]
pub struct Show {
    /// The order.
    order: Uuid,
    /// Its geo, where the database of orders does not know it.
    #[arg(long)]
    geo: Option<String>,
    /// Read from then on: an instant (RFC 3339), or so long ago [default: an hour before it was placed].
    #[arg(long, value_parser = instant)]
    since: Option<DateTime<Utc>>,
}

/// What the orders service knows.
#[derive(FromRow)]
struct Known {
    geo: String,
    partition: i32,
    status: String,
    payment: String,
    driver_id: Option<String>,
    ready_at: DateTime<Utc>,
    created_at: DateTime<Utc>,
}

impl Show {
    pub(super) async fn run(
        self,
        log: &Log,
        schemas: &mut Schemas,
        endpoints: &Endpoints,
        format: Format,
    ) -> Result<Outcome> {
        let known = match known(endpoints, self.order).await {
            Ok(known) => known,
            Err(error) => {
                eprintln!("swiftctl: searching all topics: {error:#}");
                None
            }
        };
        let since = self
            .since
            .or_else(|| known.as_ref().map(|known| known.created_at - BEFORE));
        let geo = self
            .geo
            .clone()
            .or_else(|| known.as_ref().map(|known| known.geo.clone()));
        let progress = Progress::new("reading topics");
        let topics = log.topics()?;
        let geos: Vec<String> = match geo {
            Some(geo) => vec![geo],
            None => topics
                .keys()
                .filter_map(|topic| geo_of_orders(topic))
                .collect(),
        };
        let mut story = Vec::new();
        for geo in &geos {
            let topics = topics.iter().filter(|(topic, _)| is_of(topic, geo));
            story = self.story(log, schemas, topics, since, &progress).await?;
            if !story.is_empty() {
                break;
            }
        }
        drop(progress);
        let Some(first) = story.first().map(|event| event.at) else {
            bail!("no topic says anything of order {}", self.order);
        };
        for event in &mut story {
            let after = (event.at - first).num_milliseconds();
            event.after_s = Some(after as f64 / 1_000.0);
        }
        output::print(format, &story, &self.summary(&story, known.as_ref()))?;
        Ok(Outcome::Done)
    }

    async fn story(
        &self,
        log: &Log,
        schemas: &mut Schemas,
        topics: impl Iterator<Item = (&String, &i32)>,
        since: Option<DateTime<Utc>>,
        progress: &Progress,
    ) -> Result<Vec<Event>> {
        let order = self.order.to_string();
        let (mut found, mut ticks) = (Vec::new(), Vec::new());
        for (topic, partitions) in topics {
            let is_ticks = topic.starts_with(TICKS);
            log.read(topic, *partitions, since, progress, |stored| {
                if is_ticks {
                    ticks.push(stored);
                } else if is_about(&stored, Some(&order)) {
                    found.push(stored);
                }
            })?;
        }
        let mut story = Vec::new();
        for stored in &found {
            story.push(Event::of(stored, schemas).await);
        }
        let assigned = story
            .iter()
            .filter(|event| event.record == "DriverAssigned");
        let instants: HashSet<String> = assigned
            .filter_map(|event| event.value["released_at"].as_str().map(str::to_owned))
            .collect();
        if !instants.is_empty() {
            for stored in &ticks {
                let tick = Event::of(stored, schemas).await;
                if tick.value["ticked_at"]
                    .as_str()
                    .is_some_and(|at| instants.contains(at))
                {
                    story.push(tick);
                }
            }
        }
        story.sort_by(|a, b| (a.at, &a.topic, a.offset).cmp(&(b.at, &b.topic, b.offset)));
        Ok(story)
    }

    fn summary(&self, story: &[Event], known: Option<&Known>) -> String {
        let count = format!("order {}: {} events", self.order, story.len());
        let Some(known) = known else {
            return format!("{count}; the database of orders does not know it");
        };
        let late = (Utc::now() - known.ready_at).num_seconds();
        let ready = match late {
            0.. => format!("food ready since {late} s"),
            _ => format!("food ready in {} s", -late),
        };
        format!(
            "{count}; {}, payment {}, partition {} of {}, driver {}, {ready}",
            known.status,
            known.payment,
            known.partition,
            known.geo,
            known.driver_id.as_deref().unwrap_or("none"),
        )
    }
}

async fn known(endpoints: &Endpoints, order: Uuid) -> Result<Option<Known>> {
    let mut db = database::connect(&endpoints.postgres()?).await?;
    let known = sqlx::query_as(
        "SELECT geo, partition, status, payment, driver_id, ready_at, created_at \
         FROM orders.orders WHERE order_id = $1",
    );
    Ok(known.bind(order).fetch_optional(&mut db).await?)
}

fn is_of(topic: &str, wanted: &str) -> bool {
    parts(topic).is_some_and(|(family, kind, geo, _)| {
        geo == wanted && format!("{family}.{kind}") != LOCATIONS
    })
}

fn geo_of_orders(topic: &str) -> Option<String> {
    topic
        .strip_prefix("orders.requests.")
        .filter(|geo| !geo.contains('.'))
        .map(str::to_owned)
}
