//! The stack in containers, for machines with a Docker engine and without Java, Maven or PostgreSQL.
//!
//! `compose.yaml` fixes what runs; this module only starts and stops it with the same ports as it would use itself. No engine was at hand when
//! this was written: compose.yaml is checked by parsing it, this module's two commands are not checked at all.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::ports::{BrokerPorts, Ports, Wanted};
use crate::workspace;

/// What compose.yaml publishes unless the environment says otherwise.
pub const KAFKA_PORT: u16 = 9092;
pub const FAULT_FORWARD_PORT: u16 = 9093;
pub const FAULT_LISTEN_PORT: u16 = 9094;
pub const REGISTRY_PORT: u16 = 8081;
pub const POSTGRES_PORT: u16 = 5432;
pub const POSTGRES_VERSION: &str = "17";

pub fn ports(wanted: Wanted) -> Ports {
    Ports {
        brokers: vec![BrokerPorts {
            client: wanted.kafka.unwrap_or(KAFKA_PORT),
            controller: 0,
            fault_forward: FAULT_FORWARD_PORT,
            fault_listen: FAULT_LISTEN_PORT,
        }],
        registry: wanted.registry.unwrap_or(REGISTRY_PORT),
        registry_management: 0,
        postgres: wanted.postgres.unwrap_or(POSTGRES_PORT),
    }
}

pub fn up(ports: &Ports) -> Result<()> {
    compose(ports, &["up", "--detach", "--wait"])
}

/// `data` deletes the volumes too.
pub fn down(ports: &Ports, data: bool) -> Result<()> {
    compose(
        ports,
        if data {
            &["down", "--volumes"]
        } else {
            &["down"]
        },
    )
}

fn compose(ports: &Ports, arguments: &[&str]) -> Result<()> {
    let client = ports.brokers.first().map_or(KAFKA_PORT, |b| b.client);
    let status = Command::new("docker")
        .arg("compose")
        .arg("--file")
        .arg(workspace::root().join("compose.yaml"))
        .args(arguments)
        .env("SWIFT_EATS_KAFKA_PORT", client.to_string())
        .env("SWIFT_EATS_REGISTRY_PORT", ports.registry.to_string())
        .env("SWIFT_EATS_POSTGRES_PORT", ports.postgres.to_string())
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .context("start docker compose")?;
    if !status.success() {
        bail!("docker compose {}: {status}", arguments.join(" "));
    }
    Ok(())
}
