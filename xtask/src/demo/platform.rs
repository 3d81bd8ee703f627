//! The platform of the demo: topics, schemas, gateway and the four processors, each a process of its own.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use toml::Table;

use super::Options;
use super::city::Roads;
use crate::gateway::Gateway;
use crate::http;
use crate::process;
use crate::processors::{PROCESSORS, Processors, swiftctl};
use crate::settings::Settings;
use crate::stack::dir::StackDir;
use crate::stack::state::State;
use crate::workspace::Profile;

/// Seconds of ours that a driver's phone has to answer an offer.
const ANSWER_S: f64 = 10.0;

/// Everything the demo started beside the stack.
pub struct Platform {
    gateway: Gateway,
    processors: Processors,
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
        let gateway = Gateway::start(dir, Profile::Development, options.seed, &[])?;
        let settings = settings(options, state, geos, roads, gateway.url())?;
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
        self.gateway.url()
    }

    /// Has the gateway behave like this from now on; what is left out is as by default.
    pub fn set_gateway(&self, behaviour: &serde_json::Value) -> Result<()> {
        let body = behaviour.to_string();
        let status = http::request(self.gateway.port(), "PUT", "/admin/behaviour", &body)?;
        ensure!(status == 200, "the gateway answers {status} to {body}");
        Ok(())
    }

    pub fn processors(&mut self) -> &mut Processors {
        &mut self.processors
    }

    /// Ends everything in order; an error when a processor had to be killed.
    pub fn stop(self) -> Result<()> {
        self.processors.stop()?;
        self.gateway.stop()
    }

    /// Lets everything run on.
    pub fn leave(self) {
        self.processors.leave();
        self.gateway.leave();
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
    if let Some(policy) = &options.policy {
        // A name that is none ends the start of assignment, which says so.
        settings.set(
            "assignment.policy",
            Table::from_iter([("name".to_owned(), policy.clone().into())]),
        );
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
