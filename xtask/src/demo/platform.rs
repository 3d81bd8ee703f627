//! The platform of the demo: topics, schemas, gateway and the four processors, each a process of its own.

use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::Options;
use super::city::Roads;
use crate::http;
use crate::process::{self, wait_until};
use crate::processors::{PROCESSORS, Processors, free_port, swiftctl};
use crate::services::Running;
use crate::settings::Settings;
use crate::stack::dir::StackDir;
use crate::stack::state::State;
use crate::workspace::{self, Profile};

const READY: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(20);
/// Seconds of ours that a driver's phone has to answer an offer.
const ANSWER_S: f64 = 10.0;

/// Everything the demo started beside the stack.
pub struct Platform {
    gateway: Gateway,
    processors: Processors,
}

struct Gateway {
    running: Running,
    port: u16,
    url: String,
}

impl Platform {
    /// Starts it and waits until every processor is ready.
    pub fn start(
        options: &Options,
        dir: &StackDir,
        state: &State,
        geos: &[String],
        roads: &Roads,
    ) -> Result<Self> {
        let ctl = |arguments: &[&str]| swiftctl(state, Profile::Development, arguments);
        ctl(&["schemas", "register"])?;
        ctl(&["topics", "apply", "--geos", &geos.join(",")])?;
        let gateway = Gateway::start(dir, options.seed)?;
        let settings = settings(options, state, geos, roads, &gateway.url)?;
        let config = dir.root().join("demo.toml");
        fs::write(&config, settings.to_text()?).context("write demo.toml")?;
        let mut platform = Self {
            gateway,
            processors: Processors::new(dir, Profile::Development, config),
        };
        platform.set_gateway(&options.world.gateway())?;
        for name in PROCESSORS {
            platform.processors.start(name)?;
        }
        for name in PROCESSORS {
            platform.processors.wait_ready(name)?;
        }
        eprintln!("demo: processors ready");
        Ok(platform)
    }

    pub fn gateway_url(&self) -> &str {
        &self.gateway.url
    }

    /// Has the gateway behave like this from now on; what is left out is as by default.
    pub fn set_gateway(&self, behaviour: &serde_json::Value) -> Result<()> {
        let body = behaviour.to_string();
        let status = http::request(self.gateway.port, "PUT", "/admin/behaviour", &body)?;
        ensure!(status == 200, "the gateway answers {status} to {body}");
        Ok(())
    }

    pub fn processors(&mut self) -> &mut Processors {
        &mut self.processors
    }

    /// Ends everything in order; an error when a processor had to be killed.
    pub fn stop(self) -> Result<()> {
        self.processors.stop()?;
        self.gateway.running.stop(GRACE).map(drop)
    }

    /// Lets everything run on.
    pub fn leave(self) {
        self.processors.leave();
        self.gateway.running.leave();
    }
}

impl Gateway {
    fn start(dir: &StackDir, seed: u64) -> Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(workspace::binary("gateway", Profile::Development));
        command.args(["--port", &port.to_string(), "--seed", &seed.to_string()]);
        let url = format!("http://127.0.0.1:{port}");
        let running = Running::start(dir, "gateway", &url, command)?;
        let answers = || http::status(port, "/v1/ledger").is_ok_and(|status| status == 200);
        if !wait_until(READY, || !running.is_alive() || answers()) {
            bail!("the gateway does not answer:\n{}", running.tail(20));
        }
        Ok(Self { running, port, url })
    }
}

/// The repository's own settings, with the demo's endpoints, geos, roads and speed.
fn settings(
    options: &Options,
    state: &State,
    geos: &[String],
    roads: &Roads,
    gateway: &str,
) -> Result<Settings> {
    let mut settings = Settings::of(state, geos)?;
    settings.set("payments.gateway_url", gateway);
    settings.set("assignment.time_scale", options.speed);
    for (geo, road) in roads {
        settings.set(&format!("assignment.geos.{geo}.travel"), road.clone());
    }
    // A phone answers within seconds of our time, however fast the city's runs; a processor that is killed needs some too.
    settings.set(
        "assignment.dispatch.offer_timeout_s",
        ANSWER_S * options.speed,
    );
    for (path, value) in options.world.settings() {
        settings.set(path, value);
    }
    Ok(settings)
}

/// Whether the demo has been told to stop.
pub fn interrupted() -> Result<()> {
    if process::interrupted() {
        bail!("interrupted");
    }
    Ok(())
}
