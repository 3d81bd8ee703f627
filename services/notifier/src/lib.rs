//! The notifier: tells customers, restaurants and drivers what happens to an order.
//!
//! Guarantees: each (event, channel, recipient) is one notification with one derived id, and ends once, as sent or as
//! dropped with a reason, on the topic; what is not worth sending any more, for its age or because the order has moved on,
//! is not sent. Who is told what is a table ([`rule`]), the words are files ([`text`]), and webhooks are signed
//! ([`signature`]). Costs: one insertion per message; a receiver that does not answer costs its own messages time and
//! nobody else's ([`receivers`]).

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

pub mod config;
mod facts;
mod lane;
mod line;
pub mod notification;
pub mod occurrence;
mod processor;
pub mod receivers;
pub mod rule;
pub mod signature;
pub mod store;
pub mod text;
pub mod webhook;

use anyhow::{Context, bail};
use contracts::notifications::{Recipient, RecipientKind};
use contracts::streams::{DriverAssignmentEvent, NotificationsEvent, OrdersEvent};
use contracts::{Catalogue, CatalogueError, Codec, Geo, Message, Topic};
use runtime::{Companions, Service, Settings, Topology};
use sqlx::migrate::Migrator;

use crate::config::NotifierSettings;
use crate::rule::Rules;
use crate::webhook::Webhooks;

pub use lane::LaneState;
pub use processor::Notifier;

pub static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/notifier");

/// The service as configured: a lane for each partition of the streams that any rule waits for, in each geo.
pub async fn service(settings: &Settings) -> anyhow::Result<Service<Notifier>> {
    let section: NotifierSettings = settings.section("notifier")?;
    section.validate()?;
    let rules = section.rules()?;
    let texts = section.texts(&rules)?;
    let codec = Codec::connect(&settings.registry.url, NotificationsEvent::RECORDS).await?;
    let secrets = section.secrets()?;
    if secrets.is_empty() {
        tracing::warn!("notifier.webhook_secrets is empty: webhooks are not signed");
    }
    let webhooks = Webhooks::new(section.webhook_timeout(), secrets, section.limits())?;
    let (catalogue, geos) = binding::catalogue(settings)?;
    let lanes_of = |geo| companions(&rules, &catalogue, geo);
    let groups = geos.iter().map(lanes_of);
    let topology = Topology::companion_lanes(groups.collect::<Result<Vec<_>, _>>()?)?;
    let processor = Notifier::new(codec, rules, texts, webhooks, &section);
    Ok(Service::new(processor, topology))
}

/// What the rules want of a geo's events. The units are the orders' partitions even when nobody wants to hear of orders:
/// they must not change with the rules.
fn companions(
    rules: &Rules,
    catalogue: &Catalogue,
    geo: &Geo,
) -> Result<Companions, CatalogueError> {
    let patient = |topic| binding::patient(&topic, catalogue);
    let orders = patient(Topic::of::<OrdersEvent>(geo))?;
    let (units, partitions) = (orders.topic.clone(), orders.partitions);
    let mut sources = Vec::new();
    if rules.want::<OrdersEvent>() {
        sources.push(orders);
    }
    if rules.want::<DriverAssignmentEvent>() {
        sources.push(patient(Topic::of::<DriverAssignmentEvent>(geo))?);
    }
    Ok(Companions {
        units,
        partitions,
        sources,
    })
}

/// The secret with which a receiver checks its webhooks, to be handed to it: that of the first of our secrets.
pub fn webhook_secret(settings: &Settings, kind: &str, id: &str) -> anyhow::Result<String> {
    let section: NotifierSettings = settings.section("notifier")?;
    let kind = match kind {
        "CUSTOMER" => RecipientKind::Customer,
        "RESTAURANT" => RecipientKind::Restaurant,
        "OPERATIONS" => RecipientKind::Operations,
        _ => bail!("{kind}: must be CUSTOMER, RESTAURANT or OPERATIONS"),
    };
    let secrets = section.secrets()?;
    let first = secrets
        .first()
        .context("notifier.webhook_secrets is empty")?;
    let id = id.to_owned();
    Ok(first.of(&Recipient { kind, id }).reveal())
}
