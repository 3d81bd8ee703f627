//! What runs, where, in which version: the file every client of the stack reads.
//!
//! The file is replaced as a whole (write, then rename), so that a reader never sees half of it, and after every process that starts,
//! so that a crash of this command leaves no process unrecorded.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{dir::StackDir, ports::Ports};
use crate::{process::Process, services};

/// The running stack. `cargo xtask stack status --json` prints it, `state.json` holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct State {
    pub engine: Engine,
    /// Bootstrap servers, comma-separated, one per broker.
    pub kafka: String,
    pub kafka_fault: FaultListener,
    /// Base URL of the Confluent-compatible registry API.
    pub registry: String,
    pub postgres: String,
    /// Live processors by name; filled in when asked, never stored.
    #[serde(default)]
    pub services: BTreeMap<String, Service>,
    pub versions: Versions,
    pub ports: Ports,
    /// Ours, by name; empty under Docker, which keeps its own.
    #[serde(default)]
    pub processes: BTreeMap<String, Process>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    Local,
    Docker,
}

/// A second way to the brokers that a test can cut. They answer on `forward` but tell clients to come to `listen`, where nobody listens until
/// a test's proxy does. One address per broker, comma-separated, in the order of `kafka`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultListener {
    pub listen: String,
    pub forward: String,
}

/// A processor that runs against this stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Base URL of its health and metrics.
    pub http: String,
    pub pid: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    pub kafka: String,
    pub registry: String,
    pub postgres: String,
    /// Feature release of the Java that runs them; `None` under Docker.
    pub java: Option<u32>,
}

impl State {
    pub fn new(engine: Engine, ports: Ports, versions: Versions) -> Self {
        let addresses = |port: fn(&super::ports::BrokerPorts) -> u16| {
            let all: Vec<String> = ports
                .brokers
                .iter()
                .map(|b| format!("127.0.0.1:{}", port(b)))
                .collect();
            all.join(",")
        };
        Self {
            engine,
            kafka: addresses(|b| b.client),
            kafka_fault: FaultListener {
                listen: addresses(|b| b.fault_listen),
                forward: addresses(|b| b.fault_forward),
            },
            registry: format!("http://127.0.0.1:{}/apis/ccompat/v7", ports.registry),
            postgres: format!(
                "postgres://swift:swift@127.0.0.1:{}/swift_eats",
                ports.postgres
            ),
            services: BTreeMap::new(),
            versions,
            ports,
            processes: BTreeMap::new(),
        }
    }

    /// The last recorded state; `None` when nothing was started or it was stopped in order.
    pub fn load(dir: &StackDir) -> Result<Option<Self>> {
        let path = dir.state();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let mut state: Self = serde_json::from_str(&text)
            .with_context(|| format!("{} is not a state of this version", path.display()))?;
        state.services = services::live(&dir.services());
        Ok(Some(state))
    }

    pub fn save(&self, dir: &StackDir) -> Result<()> {
        let stored = Self {
            services: BTreeMap::new(),
            ..self.clone()
        };
        write_whole(&dir.state(), &serde_json::to_string_pretty(&stored)?)
    }

    /// Names of recorded processes that no longer run.
    pub fn dead(&self) -> Vec<&str> {
        self.processes
            .iter()
            .filter(|(_, p)| !p.is_alive())
            .map(|(name, _)| name.as_str())
            .collect()
    }

    pub fn runs(&self, name: &str) -> bool {
        self.processes.get(name).is_some_and(Process::is_alive)
    }
}

/// Replaces a file as a whole.
pub fn write_whole(path: &Path, text: &str) -> Result<()> {
    let partial = path.with_extension("partial");
    fs::write(&partial, text).with_context(|| format!("write {}", partial.display()))?;
    fs::rename(&partial, path).with_context(|| format!("write {}", path.display()))
}
