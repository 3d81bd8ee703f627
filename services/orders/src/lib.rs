//! The orders processor: from a placed order to a delivered meal, or to another end that costs nobody anything.
//!
//! It reads what checkouts, payments, assignment and kitchens say, asks [`lifecycle`] what that does to the order, and
//! tells everybody. Guarantees: an order that is not valid is rejected with all reasons; every message of an order goes to
//! one partition, dealt round-robin once; every transition raises the version, leaves a row in the audit and is published
//! with it; what a kitchen or customer says before the order is known waits for it.
//! Costs: four or five statements per cycle, whatever the number of messages.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

pub mod config;
pub mod decide;
pub mod early_store;
pub mod emission;
pub mod fact;
mod fit;
mod limit;
pub mod order;
mod processor;
pub mod round_robin;
pub mod store;
pub mod stuck;
mod topics;
mod validate;
pub mod working_set;

use contracts::streams::{DriverAssignmentEvent, KitchenEvent, OrdersRequest, PaymentsEvent};
use contracts::{CONTRACTS, Codec, Topic};
use runtime::{Companions, Service, Settings, Topology};

use crate::config::Config;
pub use crate::processor::Orders;

/// Creates and changes the tables of the schema `orders`.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/orders");

/// The processor and its lanes, as configured.
pub async fn service(settings: &Settings) -> anyhow::Result<Service<Orders>> {
    let policy = settings.section::<Config>("orders")?.policy()?;
    let (catalogue, served) = binding::catalogue(settings)?;
    let codec = Codec::connect(&settings.registry.url, CONTRACTS).await?;
    let (mut geos, mut groups) = (Vec::new(), Vec::new());
    for geo in served {
        let requests = binding::durable(&Topic::of::<OrdersRequest>(&geo), &catalogue)?;
        let (units, partitions) = (requests.topic.clone(), requests.partitions);
        let durable = |topic: Topic| binding::durable(&topic, &catalogue);
        let sources = vec![
            requests,
            durable(Topic::of::<PaymentsEvent>(&geo))?,
            binding::patient(&Topic::of::<DriverAssignmentEvent>(&geo), &catalogue)?,
            durable(Topic::of::<KitchenEvent>(&geo))?,
        ];
        groups.push(Companions {
            units,
            partitions,
            sources,
        });
        geos.push((geo, partitions));
    }
    Ok(Service::new(
        Orders::new(codec, policy, &geos),
        Topology::companion_lanes(groups)?,
    ))
}
