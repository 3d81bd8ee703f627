//! The notifier: tells customers, restaurants and drivers what happens to an order.
//!
//! Guarantees: each (event, channel, recipient) is one notification with one derived id, and ends once, as sent or as
//! dropped with a reason, on the topic; what is not worth sending any more is not sent. Who is told what is a table
//! ([`rule`]), the words are files ([`text`]). Costs: one insertion per message; a webhook that does not answer costs its
//! own retries and nobody else's.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

pub mod config;
mod facts;
pub mod notification;
pub mod occurrence;
mod processor;
pub mod rule;
pub mod store;
pub mod text;
pub mod webhook;

use contracts::streams::{DriverAssignmentEvent, NotificationsEvent, OrdersEvent};
use contracts::{Codec, Message, Topic};
use runtime::{Service, Settings, Topology};
use sqlx::migrate::Migrator;

use crate::config::NotifierSettings;
use crate::webhook::Webhooks;

pub use processor::{LaneState, Notifier};

pub static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/notifier");

/// The service as configured: a lane for each partition of the streams that any rule waits for, in each geo.
pub async fn service(settings: &Settings) -> anyhow::Result<Service<Notifier>> {
    let section: NotifierSettings = settings.section("notifier")?;
    section.validate()?;
    let rules = section.rules()?;
    let texts = section.texts(&rules)?;
    let codec = Codec::connect(&settings.registry.url, NotificationsEvent::RECORDS).await?;
    let webhooks = Webhooks::new(section.webhook_timeout())?;
    let (catalogue, geos) = binding::catalogue(settings)?;
    let orders = geos
        .iter()
        .map(Topic::of::<OrdersEvent>)
        .filter(|_| rules.want::<OrdersEvent>());
    let assignment = geos
        .iter()
        .map(Topic::of::<DriverAssignmentEvent>)
        .filter(|_| rules.want::<DriverAssignmentEvent>());
    let topics = orders
        .chain(assignment)
        .map(|topic| binding::durable(&topic, &catalogue));
    let topology = Topology::partition_lanes(topics.collect::<Result<Vec<_>, _>>()?);
    let processor = Notifier::new(codec, rules, texts, webhooks, section.retries());
    Ok(Service::new(processor, topology))
}
