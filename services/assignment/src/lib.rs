//! The assignment processor: it decides when to look for a driver for an order, and which one.
//!
//! One lane per geo. The thinking is in the pure crate `dispatch`; this crate feeds it what the topics say ([`book`]),
//! makes its decisions durable before they become known ([`store`]), and tells the world ([`facts`]). What it guarantees:
//! a driver is on at most one trip, of at most three orders, and an order has at most one active driver (compare-and-set on
//! rows, the tables' constraints as the last guard), a request is neither lost nor decided twice, and every decision can be repeated from the inputs and
//! positions that its tick recorded. Cost: memory for all open orders and drivers of the owned geos, a handful of
//! set-based statements per cycle.

pub mod book;
pub mod config;
pub mod decide;
pub mod event;
pub mod facts;
pub mod held_back;
pub mod metric;
pub mod order;
pub mod processor;
pub mod recorded;
pub mod replay;
pub mod rerun;
pub mod store;
pub mod units;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use contracts::streams::{
    DriverAssignmentEvent, DriverAssignmentRequest, DriverAssignmentTick, DriverEvent,
    DriverLocation, KitchenEvent,
};
use contracts::{CONTRACTS, Codec, Topic};
use runtime::{LaneId, Service, Settings, Topology};

use crate::config::Config;
use crate::processor::{Assignment, GeoLane, Pace};

/// The tables of the schema `assignment`.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/assignment");

/// The processor and its lanes, as configured.
pub async fn service(settings: &Settings) -> anyhow::Result<Service<Assignment>> {
    let config: Config = settings.section("assignment")?;
    let (catalogue, served) = binding::catalogue(settings)?;
    config.validate(&catalogue)?;
    let codec = Codec::connect(&settings.registry.url, CONTRACTS).await?;
    let location_window = Duration::from_secs_f64(config.dispatch.location_ttl_s);
    let (mut geos, mut lanes) = (HashMap::new(), Vec::new());
    for geo in &served {
        let partition = catalogue
            .ownership_partition(geo)
            .expect("the geo is one of the catalogue's");
        let sources = vec![
            binding::durable(&Topic::of::<DriverAssignmentRequest>(geo), &catalogue)?,
            binding::durable(&Topic::of::<KitchenEvent>(geo), &catalogue)?,
            binding::durable(&Topic::of::<DriverEvent>(geo), &catalogue)?,
            binding::soft(
                &Topic::of::<DriverLocation>(geo),
                &catalogue,
                location_window,
            )?,
        ];
        lanes.push((partition, LaneId::new(geo.as_str()), sources));
        let spec = catalogue.geo(geo.as_str())?;
        let lane = GeoLane {
            geo: geo.clone(),
            rules: config.rules(spec)?,
            pause: config.pause(spec)?,
            events: Topic::of::<DriverAssignmentEvent>(geo).to_string(),
            ticks: Topic::of::<DriverAssignmentTick>(geo).to_string(),
        };
        geos.insert(geo.to_string(), Arc::new(lane));
    }
    let pace = Pace {
        warm_up: TimeDelta::milliseconds(i64::from(config.warm_up_ms)),
        tombstones: TimeDelta::hours(i64::from(config.tombstone_h)),
    };
    let topology = Topology::group_lanes(&catalogue.ownership_topic(), lanes);
    Ok(Service::new(Assignment { codec, geos, pace }, topology))
}
