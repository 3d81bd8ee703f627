//! Where the installation is: flags, or the environment that the services themselves read.

use anyhow::{Context, Result};
use clap::Args;

/// Addresses; each is needed only by the commands that go there.
#[derive(Args)]
pub struct Endpoints {
    /// Kafka bootstrap servers, `host:port,...`.
    #[arg(long, global = true, env = "SWIFT_EATS_KAFKA")]
    brokers: Option<String>,
    /// Base URL of the schema registry's Confluent API, e.g. `http://host:8080/apis/ccompat/v7`.
    #[arg(long, global = true, env = "SWIFT_EATS_REGISTRY")]
    registry: Option<String>,
}

impl Endpoints {
    pub fn brokers(&self) -> Result<&str> {
        let brokers = self.brokers.as_deref();
        brokers.context("no Kafka: give --brokers or SWIFT_EATS_KAFKA")
    }

    pub fn registry(&self) -> Result<&str> {
        let registry = self.registry.as_deref();
        registry.context("no schema registry: give --registry or SWIFT_EATS_REGISTRY")
    }
}
