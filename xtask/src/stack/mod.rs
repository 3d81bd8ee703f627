//! The local stack: Kafka, a schema registry and PostgreSQL, without containers.
//!
//! Promises: everything it writes lies under one directory ([`StackDir`]); a second `up` changes nothing; `up` after a crash starts what is dead and leaves
//! what lives; only processes it started itself are ever stopped; ready means that the real protocol answered. Cold it takes a download,
//! warm some ten seconds, most of which two JVMs need.

pub mod dir;
mod docker;
mod jars;
mod kafka;
pub mod ports;
mod postgres;
mod registry;
pub mod state;
mod tools;

use std::{
    fs,
    path::Path,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};

use self::{
    dir::StackDir,
    ports::{Ports, Wanted},
    state::{Engine, State, Versions, write_whole},
    tools::{Java, Postgres, Tools},
};
use crate::{
    process::{self, Process, Signal},
    services,
};

/// How long a part may take to answer before `up` gives up on it: several times what a busy two-core machine needs.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How long a part may take to end in order.
const STOP_WITHIN: Duration = Duration::from_secs(20);

#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// As many as the data on disk are for, one when there are none.
    pub brokers: Option<u8>,
    pub ports: Wanted,
}

/// What the data on disk were made for; they fit no other number of brokers.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Cluster {
    id: String,
    brokers: u8,
}

/// Brings the stack up and waits until every part of it answers. Does nothing when it is up.
pub fn up(dir: &StackDir, options: Options) -> Result<State> {
    let _lock = dir.lock()?;
    let began = Instant::now();
    let cluster = cluster(dir, options.brokers)?;
    let before = State::load(dir)?;
    if let Some(state) = &before
        && state.engine == Engine::Local
        && is_whole(state)
    {
        return Ok(state.clone());
    }
    let state = match tools::find_or_install(jars::any_missing(dir), postgres::data_version(dir))? {
        Tools::Docker => up_in_docker(dir, options)?,
        Tools::Local { java, postgres } => {
            jars::ensure(dir, &java)?;
            let state = resume_or_begin(dir, before, &cluster, options, &java)?;
            Starter {
                dir,
                cluster: &cluster,
                java: &java,
                postgres: &postgres,
                state: Mutex::new(state),
                began,
            }
            .run()?
        }
    };
    eprintln!("stack: up after {:.1} s", began.elapsed().as_secs_f64());
    Ok(state)
}

/// The stack as it is recorded, with the processors that run now; `None` when it was not started.
pub fn status(dir: &StackDir) -> Result<Option<State>> {
    State::load(dir)
}

/// Stops the processors and every part of the stack; the data stay.
pub fn down(dir: &StackDir) -> Result<()> {
    let _lock = dir.lock()?;
    stop(dir, false)
}

/// Stops the stack and deletes its data and logs; the downloaded jars stay.
pub fn reset(dir: &StackDir) -> Result<()> {
    let _lock = dir.lock()?;
    stop(dir, true)?;
    postgres::remove(dir)?;
    for entry in fs::read_dir(dir.root())?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("kafka-") || name == "logs" || name == "services" {
            fs::remove_dir_all(entry.path())
                .with_context(|| format!("remove {}", entry.path().display()))?;
        }
    }
    remove_file(&dir.cluster())
}

/// Every part recorded, alive and answering.
fn is_whole(state: &State) -> bool {
    let parts = state.ports.brokers.len() + 2;
    state.processes.len() == parts
        && state.dead().is_empty()
        && state.ports.brokers.iter().all(|b| kafka::serves(b.client))
        && registry::serves(state.ports.registry)
}

fn cluster(dir: &StackDir, brokers: Option<u8>) -> Result<Cluster> {
    match fs::read_to_string(dir.cluster()) {
        Ok(text) => {
            let cluster: Cluster = serde_json::from_str(&text)
                .with_context(|| format!("{} is damaged", dir.cluster().display()))?;
            if let Some(wanted) = brokers.filter(|wanted| *wanted != cluster.brokers) {
                bail!(
                    "the data in {} are those of {} broker(s), not of {wanted}: `cargo xtask stack reset` deletes them",
                    dir.root().display(),
                    cluster.brokers
                );
            }
            Ok(cluster)
        }
        Err(_) => {
            let cluster = Cluster {
                id: kafka::new_cluster_id()?,
                brokers: brokers.unwrap_or(1),
            };
            write_whole(&dir.cluster(), &serde_json::to_string_pretty(&cluster)?)?;
            Ok(cluster)
        }
    }
}

/// The state to start from. What still lives keeps its ports and so, if possible, does what crashed: clients need not be told anew.
fn resume_or_begin(
    dir: &StackDir,
    before: Option<State>,
    cluster: &Cluster,
    options: Options,
    java: &Java,
) -> Result<State> {
    let mut old_ports = None;
    if let Some(state) = before.filter(|state| state.engine == Engine::Local) {
        let dead = state.dead();
        if dead.len() < state.processes.len() {
            eprintln!("stack: starting again what died: {}", dead.join(", "));
            return Ok(state);
        }
        eprintln!("stack: a previous run ended without `down`, cleaning up");
        let fit = || state.ports.fit(cluster.brokers, options.ports);
        // The children of a killed server hold its port until they notice.
        if process::wait_until(Duration::from_secs(3), fit) {
            old_ports = Some(state.ports.clone());
        }
    }
    let versions = Versions {
        kafka: kafka::VERSION.to_owned(),
        registry: registry::version_for(java.release).to_owned(),
        postgres: String::new(),
        java: Some(java.release),
    };
    let ports = match old_ports {
        Some(ports) => ports,
        None => Ports::find(dir.root(), cluster.brokers, options.ports)?,
    };
    let state = State::new(Engine::Local, ports, versions);
    state.save(dir)?;
    Ok(state)
}

fn up_in_docker(dir: &StackDir, options: Options) -> Result<State> {
    if options.brokers.is_some_and(|brokers| brokers != 1) {
        bail!(
            "compose.yaml has one broker; more than one needs Java, Maven and PostgreSQL on this machine"
        );
    }
    let ports = docker::ports(options.ports);
    let versions = Versions {
        kafka: kafka::VERSION.to_owned(),
        registry: registry::NEWEST.to_owned(),
        postgres: docker::POSTGRES_VERSION.to_owned(),
        java: None,
    };
    let state = State::new(Engine::Docker, ports, versions);
    docker::up(&state.ports)?;
    registry::demand_full_transitive(state.ports.registry)?;
    state.save(dir)?;
    Ok(state)
}

/// One run of `up`: the parts start side by side, each recorded the moment it has a pid.
struct Starter<'a> {
    dir: &'a StackDir,
    cluster: &'a Cluster,
    java: &'a Java,
    postgres: &'a Postgres,
    state: Mutex<State>,
    began: Instant,
}

impl Starter<'_> {
    fn run(self) -> Result<State> {
        let ports = self.state().ports.clone();
        thread::scope(|scope| {
            let brokers: Vec<_> = (1..=self.cluster.brokers)
                .map(|id| {
                    (
                        kafka::name(id),
                        scope.spawn({
                            let (this, ports) = (&self, &ports);
                            move || this.broker(ports, id)
                        }),
                    )
                })
                .collect();
            let database = scope.spawn(|| self.postgres_then_registry(&ports));
            let mut results = vec![joined("postgres and registry", database.join())];
            results.extend(
                brokers
                    .into_iter()
                    .map(|(name, thread)| joined(&name, thread.join())),
            );
            results.into_iter().collect::<Result<()>>()
        })?;
        let state = self.state().clone();
        Ok(state)
    }

    fn broker(&self, ports: &Ports, id: u8) -> Result<()> {
        let port = ports.brokers[usize::from(id) - 1].client;
        self.part(
            &kafka::name(id),
            port,
            || kafka::start(self.dir, self.java, ports, id, &self.cluster.id),
            || kafka::serves(port),
        )
    }

    /// In this order, because the registry keeps its schemas in the database.
    fn postgres_then_registry(&self, ports: &Ports) -> Result<()> {
        let port = ports.postgres;
        self.part(
            postgres::NAME,
            port,
            || postgres::start(self.dir, self.postgres, port),
            || postgres::serves(self.postgres, port),
        )?;
        postgres::create_databases(self.postgres, port)?;
        let version = postgres::version(self.postgres, port)?;
        self.record(|state| state.versions.postgres = version)?;
        let port = ports.registry;
        self.part(
            registry::LOG,
            port,
            || registry::start(self.dir, self.java, ports),
            || registry::serves(port),
        )?;
        registry::demand_full_transitive(port)
    }

    fn part(
        &self,
        name: &str,
        port: u16,
        start: impl FnOnce() -> Result<Process>,
        serves: impl Fn() -> bool,
    ) -> Result<()> {
        if self.state().runs(name) && serves() {
            return Ok(());
        }
        let process = match self
            .state()
            .processes
            .get(name)
            .filter(|p| p.is_alive())
            .cloned()
        {
            Some(process) => process,
            None => start().with_context(|| format!("start {name}"))?,
        };
        self.record(|state| {
            state.processes.insert(name.to_owned(), process.clone());
        })?;
        eprintln!("stack: {name} starting (pid {})", process.pid);
        let answered = process::wait_until(READY_WITHIN, || {
            process::interrupted() || !process.is_alive() || serves()
        });
        if process::interrupted() {
            bail!("interrupted");
        }
        if !process.is_alive() {
            bail!(
                "{name} ended while starting:\n{}",
                process::tail(&self.dir.log(name), 20)
            );
        }
        if !answered {
            bail!(
                "{name} did not answer on port {port} within {READY_WITHIN:?}:\n{}",
                process::tail(&self.dir.log(name), 20)
            );
        }
        eprintln!(
            "stack: {name} ready on 127.0.0.1:{port} after {:.1} s",
            self.began.elapsed().as_secs_f64()
        );
        Ok(())
    }

    fn record(&self, change: impl FnOnce(&mut State)) -> Result<()> {
        let mut state = self.state();
        change(&mut state);
        state.save(self.dir)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn joined(name: &str, outcome: thread::Result<Result<()>>) -> Result<()> {
    outcome.unwrap_or_else(|_| Err(anyhow!("starting {name} panicked")))
}

fn stop(dir: &StackDir, data: bool) -> Result<()> {
    services::stop_all(&dir.services())?;
    let Some(state) = State::load(dir)? else {
        return Ok(());
    };
    if state.engine == Engine::Docker {
        docker::down(&state.ports, data)?;
    }
    thread::scope(|scope| {
        let threads: Vec<_> = state
            .processes
            .iter()
            .filter(|(_, process)| process.is_alive())
            .map(|(name, process)| scope.spawn(move || (name, stop_part(name, process, data))))
            .collect();
        threads
            .into_iter()
            .try_for_each(|thread| match thread.join() {
                Ok((_, Ok(()))) => Ok(()),
                Ok((name, Err(error))) => Err(error.context(format!("stop {name}"))),
                Err(_) => Err(anyhow!("stopping a part of the stack panicked")),
            })
    })?;
    fs::remove_dir_all(dir.temporary()).context("remove temporary files")?;
    remove_file(&dir.state())
}

fn stop_part(name: &str, process: &Process, data_go_too: bool) -> Result<()> {
    let signal = match name {
        _ if data_go_too => Signal::Kill,
        postgres::NAME => Signal::Interrupt,
        _ => Signal::Terminate,
    };
    let polite = process.stop(signal, STOP_WITHIN)?;
    let how = if polite {
        "stopped"
    } else {
        "killed, it did not stop when asked"
    };
    eprintln!("stack: {name} {how} (pid {})", process.pid);
    Ok(())
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
