//! The mock payment gateway as a process of its own, shared by everything that pays.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::http;
use crate::process::wait_until;
use crate::processors::free_port;
use crate::services::Running;
use crate::stack::dir::StackDir;
use crate::workspace::{self, Profile};

const READY: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(20);

/// A gateway that was started here; it ends when this is dropped.
pub struct Gateway {
    running: Running,
    port: u16,
    url: String,
}

impl Gateway {
    /// Starts it, with more of its own arguments, and waits until it answers.
    pub fn start(dir: &StackDir, profile: Profile, seed: u64, arguments: &[&str]) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(workspace::binary("gateway", profile));
        command.args(["--port", &port.to_string(), "--seed", &seed.to_string()]);
        command.args(arguments);
        let url = format!("http://127.0.0.1:{port}");
        let running = Running::start(dir, "gateway", &url, command)?;
        let answers = || http::status(port, "/v1/ledger").is_ok_and(|status| status == 200);
        if !wait_until(READY, || !running.is_alive() || answers()) {
            bail!("the gateway does not answer:\n{}", running.tail(20));
        }
        Ok(Self { running, port, url })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn stop(self) -> Result<()> {
        self.running.stop(GRACE).map(drop)
    }

    /// Lets it run on.
    pub fn leave(self) {
        self.running.leave();
    }
}
