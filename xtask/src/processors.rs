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
    running: BTreeMap<&'static str, (u16, Running)>,
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
        self.start_at(name, free_port()?)
    }

    fn start_at(&mut self, name: &'static str, port: u16) -> Result<()> {
        let mut command = Command::new(workspace::binary(name, self.profile));
        command
            .current_dir(workspace::root())
            .env("SWIFT_EATS_CONFIG", &self.config)
            .env("SWIFT_EATS__HTTP__LISTEN", format!("127.0.0.1:{port}"));
        let url = format!("http://127.0.0.1:{port}");
        let running = Running::start(&self.dir, name, &url, command)?;
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

    /// Process ids by name.
    pub fn pids(&self) -> BTreeMap<&'static str, u32> {
        let pid = |(name, (_, running)): (&&'static str, &(u16, Running))| (*name, running.pid());
        self.running.iter().map(pid).collect()
    }

    /// Kills one on the spot and starts it again.
    pub fn kill_and_restart(&mut self, name: &'static str) -> Result<()> {
        let (port, running) = self
            .running
            .remove(name)
            .with_context(|| format!("{name} was never started"))?;
        running.kill();
        if !wait_until(Duration::from_secs(5), || !running.is_alive()) {
            bail!("{name} survived SIGKILL");
        }
        drop(running);
        self.start_at(name, port)
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
