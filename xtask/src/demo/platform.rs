//! The platform of the demo: topics, schemas, gateway and the four processors, each a process of its own.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use toml::{Table, Value};

use super::Options;
use super::city::Roads;
use crate::http;
use crate::process::{self, wait_until};
use crate::services::Running;
use crate::stack::dir::StackDir;
use crate::stack::state::State;
use crate::workspace;

/// The processors, in the order an order meets them.
pub const PROCESSORS: [&str; 4] = ["orders", "payments", "assignment", "notifier"];
const READY: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(20);
/// Seconds of ours that a driver's phone has to answer an offer.
const ANSWER_S: f64 = 10.0;

/// Everything the demo started beside the stack.
pub struct Platform {
    dir: StackDir,
    config: PathBuf,
    gateway: Running,
    gateway_port: u16,
    gateway_url: String,
    processors: BTreeMap<&'static str, (u16, Running)>,
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
        let ctl = |arguments: &[&str]| swiftctl(state, arguments);
        ctl(&["schemas", "register"])?;
        ctl(&["topics", "apply", "--geos", &geos.join(",")])?;
        let (gateway, gateway_port, gateway_url) = start_gateway(dir, options.seed)?;
        let config = dir.root().join("demo.toml");
        let settings = settings(options, state, geos, roads, &gateway_url)?;
        fs::write(&config, toml::to_string_pretty(&settings)?).context("write demo.toml")?;
        let mut platform = Self {
            dir: dir.clone(),
            config,
            gateway,
            gateway_port,
            gateway_url,
            processors: BTreeMap::new(),
        };
        platform.set_gateway(&options.world.gateway())?;
        for name in PROCESSORS {
            platform.start_processor(name, free_port()?)?;
        }
        for name in PROCESSORS {
            platform.wait_ready(name)?;
        }
        eprintln!("demo: processors ready");
        Ok(platform)
    }

    pub fn gateway_url(&self) -> &str {
        &self.gateway_url
    }

    /// Has the gateway behave like this from now on; what is left out is as by default.
    pub fn set_gateway(&self, behaviour: &serde_json::Value) -> Result<()> {
        let body = behaviour.to_string();
        let status = http::request(self.gateway_port, "PUT", "/admin/behaviour", &body)?;
        anyhow::ensure!(status == 200, "the gateway answers {status} to {body}");
        Ok(())
    }

    fn start_processor(&mut self, name: &'static str, port: u16) -> Result<()> {
        let mut command = Command::new(workspace::binary(name));
        command
            .current_dir(workspace::root())
            .env("SWIFT_EATS_CONFIG", &self.config)
            .env("SWIFT_EATS__HTTP__LISTEN", format!("127.0.0.1:{port}"));
        let running = Running::start(
            &self.dir,
            name,
            &format!("http://127.0.0.1:{port}"),
            command,
        )?;
        self.processors.insert(name, (port, running));
        Ok(())
    }

    fn wait_ready(&self, name: &str) -> Result<()> {
        let (port, running) = &self.processors[name];
        let ready = || http::status(*port, "/health/ready").is_ok_and(|status| status == 200);
        if wait_until(READY, || !running.is_alive() || ready()) && running.is_alive() {
            return Ok(());
        }
        bail!("{name} is not ready:\n{}", running.tail(20))
    }

    /// An error when a processor has ended by itself.
    pub fn check_alive(&self) -> Result<()> {
        match self
            .processors
            .iter()
            .find(|(_, (_, running))| !running.is_alive())
        {
            Some((name, (_, running))) => bail!("{name} has ended:\n{}", running.tail(20)),
            None => Ok(()),
        }
    }

    /// Kills a processor on the spot and starts it again.
    pub fn kill_and_restart(&mut self, name: &'static str) -> Result<()> {
        let (port, running) = self
            .processors
            .remove(name)
            .with_context(|| format!("{name} was never started"))?;
        running.kill();
        if !wait_until(Duration::from_secs(5), || !running.is_alive()) {
            bail!("{name} survived SIGKILL");
        }
        drop(running);
        self.start_processor(name, port)
    }

    /// Ends everything in order; an error when a processor had to be killed.
    pub fn stop(self) -> Result<()> {
        for (name, (_, running)) in self.processors {
            if !running.stop(GRACE)? {
                bail!("{name} did not end within {GRACE:?} of SIGTERM");
            }
        }
        self.gateway.stop(GRACE).map(drop)
    }

    /// Lets everything run on.
    pub fn leave(self) {
        self.processors
            .into_values()
            .for_each(|(_, running)| running.leave());
        self.gateway.leave();
    }
}

fn start_gateway(dir: &StackDir, seed: u64) -> Result<(Running, u16, String)> {
    let port = free_port()?;
    let mut command = Command::new(workspace::binary("gateway"));
    command.args(["--port", &port.to_string(), "--seed", &seed.to_string()]);
    let url = format!("http://127.0.0.1:{port}");
    let running = Running::start(dir, "gateway", &url, command)?;
    if !wait_until(READY, || {
        !running.is_alive() || http::status(port, "/v1/ledger").is_ok_and(|status| status == 200)
    }) {
        bail!("the gateway does not answer:\n{}", running.tail(20));
    }
    Ok((running, port, url))
}

/// The repository's own settings, with the demo's endpoints, geos, roads and speed.
fn settings(
    options: &Options,
    state: &State,
    geos: &[String],
    roads: &Roads,
    gateway: &str,
) -> Result<Table> {
    let text = fs::read_to_string(workspace::root().join("deploy/swift-eats.toml"))?;
    let mut settings: Table = text.parse().context("deploy/swift-eats.toml")?;
    let mut set = |section: &str, field: &str, value: Value| {
        let section = settings
            .entry(section)
            .or_insert_with(|| Table::new().into());
        section
            .as_table_mut()
            .map(|section| section.insert(field.to_owned(), value))
    };
    set("kafka", "brokers", state.kafka.clone().into());
    set("registry", "url", state.registry.clone().into());
    set("postgres", "url", state.postgres.clone().into());
    set(
        "catalogue",
        "geos",
        Value::Array(geos.iter().map(|geo| geo.clone().into()).collect()),
    );
    set("payments", "gateway_url", gateway.into());
    set("assignment", "time_scale", options.speed.into());
    let road = |(geo, road): (&String, &Table)| {
        (
            geo.clone(),
            Value::Table(
                [("travel".to_owned(), road.clone().into())]
                    .into_iter()
                    .collect(),
            ),
        )
    };
    set(
        "assignment",
        "geos",
        Value::Table(roads.iter().map(road).collect()),
    );
    // A phone answers within seconds of our time, however fast the city's runs; a processor that is killed needs some too.
    let dispatch = settings
        .get_mut("assignment")
        .and_then(|section| section.get_mut("dispatch"));
    let dispatch = dispatch
        .and_then(Value::as_table_mut)
        .context("deploy/swift-eats.toml: no [assignment.dispatch]")?;
    dispatch.insert(
        "offer_timeout_s".to_owned(),
        Value::Float(ANSWER_S * options.speed),
    );
    for (section, field, value) in options.world.settings() {
        let mut table = &mut settings;
        for name in section.split('.') {
            let inner = table.get_mut(name).and_then(Value::as_table_mut);
            table = inner.with_context(|| format!("deploy/swift-eats.toml: no [{section}]"))?;
        }
        table.insert(field.to_owned(), value);
    }
    Ok(settings)
}

fn swiftctl(state: &State, arguments: &[&str]) -> Result<()> {
    let log = Command::new(workspace::binary("swiftctl"))
        .args(arguments)
        .env("SWIFT_EATS_KAFKA", &state.kafka)
        .env("SWIFT_EATS_REGISTRY", &state.registry)
        .output()
        .context("start swiftctl")?;
    if !log.status.success() {
        let said = String::from_utf8_lossy(&log.stdout).into_owned()
            + &String::from_utf8_lossy(&log.stderr);
        bail!("swiftctl {}: {}\n{said}", arguments.join(" "), log.status);
    }
    eprintln!("demo: swiftctl {}", arguments.join(" "));
    Ok(())
}

/// A port that was free a moment ago; whoever loses the race says so in its log.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// Whether the demo has been told to stop.
pub fn interrupted() -> Result<()> {
    if process::interrupted() {
        bail!("interrupted");
    }
    Ok(())
}
