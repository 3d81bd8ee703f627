//! The four processors as processes of their own, started from one settings file; shared by everything that runs them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::http;
use crate::process::wait_until;
use crate::services::Running;
use crate::stack::dir::StackDir;
use crate::stack::state::State;
use crate::workspace::{self, Profile};

/// Their names, in the order in which an order meets them.
pub const PROCESSORS: [&str; 4] = ["orders", "payments", "assignment", "notifier"];
const READY: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(20);

/// Processors that were started here; those that still run end when this is dropped.
pub struct Processors {
    dir: StackDir,
    profile: Profile,
    config: PathBuf,
    /// By name of the instance, with the port of its health and metrics.
    running: BTreeMap<String, (u16, Running)>,
}

/// One process of a processor.
#[derive(Clone, Copy, Debug)]
pub struct Instance {
    pub processor: &'static str,
    /// Tells the instances of a processor apart.
    pub slot: u8,
}

impl Instance {
    /// The only one of its processor.
    pub fn only(processor: &'static str) -> Self {
        Self { processor, slot: 0 }
    }

    /// The processor's name for slot 0, else with the slot behind it.
    pub fn name(&self) -> String {
        match self.slot {
            0 => self.processor.to_owned(),
            slot => format!("{}-{slot}", self.processor),
        }
    }
}

impl Processors {
    /// None yet; they will read their settings from `config`.
    pub fn new(dir: &StackDir, profile: Profile, config: PathBuf) -> Self {
        Self {
            dir: dir.clone(),
            profile,
            config,
            running: BTreeMap::new(),
        }
    }

    pub fn start(&mut self, name: &'static str) -> Result<()> {
        self.start_at(Instance::only(name), free_port()?)
    }

    pub fn start_instance(&mut self, instance: Instance) -> Result<()> {
        self.start_at(instance, free_port()?)
    }

    fn start_at(&mut self, instance: Instance, port: u16) -> Result<()> {
        let mut command = Command::new(workspace::binary(instance.processor, self.profile));
        command
            .current_dir(workspace::root())
            .env("SWIFT_EATS_CONFIG", &self.config)
            .env("SWIFT_EATS__RUNTIME__INSTANCE", instance.slot.to_string())
            .env("SWIFT_EATS__HTTP__LISTEN", format!("127.0.0.1:{port}"))
            // One heap for all threads instead of several: a twentieth less memory in the drain, and no dearer.
            .env("MALLOC_ARENA_MAX", "1");
        let (name, url) = (instance.name(), format!("http://127.0.0.1:{port}"));
        let running = Running::start(&self.dir, &name, &url, command)?;
        self.running.insert(name, (port, running));
        Ok(())
    }

    pub fn wait_ready(&self, name: &str) -> Result<()> {
        let (port, running) = &self.running[name];
        let ready = || http::status(*port, "/health/ready").is_ok_and(|status| status == 200);
        if wait_until(READY, || !running.is_alive() || ready()) && running.is_alive() {
            return Ok(());
        }
        bail!("{name} is not ready:\n{}", running.tail(20))
    }

    /// An error when one has ended by itself.
    pub fn check_alive(&self) -> Result<()> {
        let mut all = self.running.iter();
        match all.find(|(_, (_, running))| !running.is_alive()) {
            Some((name, (_, running))) => bail!("{name} has ended:\n{}", running.tail(20)),
            None => Ok(()),
        }
    }

    /// Process ids by name of the instance.
    pub fn pids(&self) -> BTreeMap<String, u32> {
        let pid = |(name, (_, running)): (&String, &(u16, Running))| (name.clone(), running.pid());
        self.running.iter().map(pid).collect()
    }

    /// What an instance shows on /metrics.
    pub fn metrics(&self, name: &str) -> Result<String> {
        let (port, _) = self
            .running
            .get(name)
            .with_context(|| format!("{name} was never started"))?;
        http::text(*port, "/metrics")
    }

    /// Kills one on the spot and forgets it.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        let (_, running) = self
            .running
            .remove(name)
            .with_context(|| format!("{name} was never started"))?;
        running.kill();
        if !wait_until(Duration::from_secs(5), || !running.is_alive()) {
            bail!("{name} survived SIGKILL");
        }
        Ok(())
    }

    /// Kills one on the spot and starts it again.
    pub fn kill_and_restart(&mut self, name: &'static str) -> Result<()> {
        let port = self.running.get(name).map(|(port, _)| *port);
        self.kill(name)?;
        let port = port.map_or_else(free_port, Ok)?;
        self.start_at(Instance::only(name), port)
    }

    /// Ends all in order; an error when one had to be killed.
    pub fn stop(self) -> Result<()> {
        for (name, (_, running)) in self.running {
            if !running.stop(GRACE)? {
                bail!("{name} did not end within {GRACE:?} of SIGTERM");
            }
        }
        Ok(())
    }

    /// Lets all run on.
    pub fn leave(self) {
        self.running
            .into_values()
            .for_each(|(_, running)| running.leave());
    }
}

/// Runs swiftctl against the stack.
pub fn swiftctl(state: &State, profile: Profile, arguments: &[&str]) -> Result<()> {
    let log = Command::new(workspace::binary("swiftctl", profile))
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
    eprintln!("swiftctl {}", arguments.join(" "));
    Ok(())
}

/// A port that was free a moment ago; whoever loses the race says so in its log.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}
