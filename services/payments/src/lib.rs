//! The payments processor: charges orders through a payment gateway and gives money back.
//!
//! Guarantees: money moves at most once per order and direction, whatever crashes, repeats or overtakes; an outage of the
//! gateway delays payments and never fails one; a decline is final. Why it can: the request is a row before the gateway
//! hears of it, every call of an operation carries the same idempotency key, and what is decided is one pure function
//! ([`decide`]) over everything that can happen. Costs: an answer that was lost is paid for with a second call.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

pub mod config;
pub mod decide;
pub mod facts;
pub mod gateway;
pub mod payment;
mod processor;
mod queue;
pub mod store;

use contracts::streams::{PaymentsEvent, PaymentsRequest};
use contracts::{Codec, Message, Topic};
use runtime::{Service, Settings, Topology};
use sqlx::migrate::Migrator;

use crate::config::{GatewayKind, PaymentsSettings};
use crate::gateway::stripe::ApiKey;
use crate::gateway::{Gate, Gateway, HttpGateway, InstantGateway, StripeGateway};

pub use processor::{LaneState, Payments};

pub static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/payments");

/// The service as configured: a lane for each partition of each geo's requests.
pub async fn service(settings: &Settings) -> anyhow::Result<Service<Payments>> {
    let section: PaymentsSettings = settings.section("payments")?;
    section.validate()?;
    let codec = Codec::connect(&settings.registry.url, PaymentsEvent::RECORDS).await?;
    let gate = gate(&section)?;
    let (catalogue, geos) = binding::catalogue(settings)?;
    let requests = geos.iter().map(Topic::of::<PaymentsRequest>);
    let sources = requests
        .map(|topic| binding::durable(&topic, &catalogue))
        .collect::<Result<Vec<_>, _>>()?;
    let processor = Payments::new(codec, gate, section.retries());
    Ok(Service::new(processor, Topology::partition_lanes(sources)))
}

/// The gateway as configured, behind its gate.
fn gate(section: &PaymentsSettings) -> anyhow::Result<Gate> {
    let (timeout, connect_timeout) = (section.timeout(), section.connect_timeout());
    let gateway: Box<dyn Gateway> = match section.gateway {
        GatewayKind::Http => {
            let url = &section.gateway_url;
            Box::new(HttpGateway::new(url, timeout, connect_timeout)?)
        }
        GatewayKind::Stripe => {
            let (url, key) = (&section.stripe_url, ApiKey::from_env()?);
            Box::new(StripeGateway::new(url, key, timeout, connect_timeout)?)
        }
        GatewayKind::Instant => {
            tracing::warn!("payments.gateway = instant: no money moves");
            return Ok(Gate::wide_open(Box::new(InstantGateway), section.breaker()));
        }
    };
    Ok(Gate::new(gateway, section.breaker(), section.concurrency))
}
