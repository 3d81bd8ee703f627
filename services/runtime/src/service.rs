//! A processor as a process: settings, database, clients, engine, and a clean end.
//!
//! Order matters at both ends. The producer is initialised before the group is joined, because a member may own lanes from
//! its first callback on. On SIGTERM, or when an operator asks for a drain, the process turns unready, finishes its cycle, leaves the group (which hands its lanes
//! over at once) and closes; a second signal exits on the spot and loses nothing, as any crash.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::error::KafkaError;
use sqlx::migrate::Migrator;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc, watch};

use crate::clients::{self, Identity};
use crate::config::{ConfigError, Settings};
use crate::dead_letter::Undertaker;
use crate::engine::{Engine, EngineError, Parts};
use crate::health::Health;
use crate::instance::Instance;
use crate::lane::Topology;
use crate::membership::Membership;
use crate::probe::Probe;
use crate::processor::Processor;
use crate::publisher::Publisher;
use crate::reader::Reader;
use crate::store::{self, StoreError};
use crate::trace::Spans;
use crate::{http, telemetry};

/// The process could not start: configuration, or a part it cannot start without.
pub const EXIT_START: u8 = 2;
/// Stopping took too long, or a second signal came.
pub const EXIT_FORCED: u8 = 3;
/// How long the last words to PostgreSQL may take once the lanes are handed over.
const PARTING: Duration = Duration::from_secs(1);
/// The watchdog ended the process.
pub const EXIT_STALLED: i32 = 4;
/// The engine could not go on.
pub const EXIT_FAILED: u8 = 5;

/// What a processor brings.
pub struct Service<P: Processor> {
    pub processor: P,
    pub topology: Topology,
    /// Told of every step of the cycle; `()` outside of fault tests.
    pub probe: Arc<dyn Probe>,
}

impl<P: Processor> Service<P> {
    pub fn new(processor: P, topology: Topology) -> Self {
        Self {
            processor,
            topology,
            probe: Arc::new(()),
        }
    }
}

/// Why a service ended.
#[derive(Debug, Error)]
enum ServiceError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("starting the processor: {0}")]
    Build(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("Kafka client: {0}")]
    Kafka(#[from] KafkaError),
    #[error("starting: {0}")]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Runs a service until it is told to stop. `name` is also its PostgreSQL schema and, unless configured, its group.
pub fn run<P, B, E>(name: &'static str, migrations: &'static Migrator, build: B) -> ExitCode
where
    P: Processor,
    B: AsyncFnOnce(&Settings) -> Result<Service<P>, E>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    abort_on_panic();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = runtime.map_err(ServiceError::from).and_then(|runtime| {
        let ended = runtime.block_on(start(name, migrations, build));
        // Calls still in flight are not waited for: they are asked for again by whoever owns their lane next.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Before telemetry is up there is nowhere else to say it.
            eprintln!("{name}: {error}");
            match error {
                ServiceError::Engine(_) => ExitCode::from(EXIT_FAILED),
                _ => ExitCode::from(EXIT_START),
            }
        }
    }
}

/// A panic anywhere ends the process: its state is in the logs, and half a process would hold its lanes.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

async fn start<P, B, E>(
    name: &'static str,
    migrations: &'static Migrator,
    build: B,
) -> Result<(), ServiceError>
where
    P: Processor,
    B: AsyncFnOnce(&Settings) -> Result<Service<P>, E>,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let settings = Settings::load()?;
    let telemetry = telemetry::start(name, &settings.telemetry)?;
    let drain = Arc::new(Notify::new());
    let budget = Duration::from_secs(settings.runtime.shutdown_timeout_s);
    let stop = stop_on_signal(budget, drain.clone())?;
    let health = Health::new(Duration::from_secs(settings.runtime.stall_timeout_s));
    let address = http::serve(
        name,
        &settings.http,
        health.clone(),
        telemetry.metrics.clone(),
    )
    .await?;
    tracing::info!(%address, instance = settings.runtime.instance, "serving health and metrics");
    let service = build(&settings)
        .await
        .map_err(|error| ServiceError::Build(error.into()))?;
    let db = store::open(&settings.postgres, name, migrations).await?;
    let instance = Instance::enter(db.clone(), &settings.runtime.instance).await;
    let instance = instance.map_err(StoreError::Connect)?;
    instance.watch(drain);
    let identity = Identity::new(name, &settings.runtime);
    let (kafka, runtime) = (&settings.kafka, &settings.runtime);
    let producer = clients::producer(kafka, runtime, &identity);
    let (timeout, probe) = (runtime.transaction_timeout(), service.probe.clone());
    let publisher =
        tokio::task::spawn_blocking(move || Publisher::start(producer, timeout, probe)).await;
    let publisher = publisher.map_err(|error| ServiceError::Build(error.into()))??;
    let soft = clients::soft_reader(kafka, runtime, &identity);
    let soft = service.topology.has_soft_sources().then_some(&soft);
    let (reader, reads) = Reader::start(&clients::reader(kafka, runtime, &identity), soft)?;
    let asker = Arc::new(clients::asker(kafka, runtime, &identity).create()?);
    let (events, ownership) = mpsc::unbounded_channel();
    let subscription = service.topology.subscription();
    let membership = Membership::join(
        &clients::membership(kafka, runtime, &identity),
        &subscription,
        events,
    )?;
    health.watch();
    let undertaker = Undertaker {
        service: name.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        group: identity.group.clone(),
    };
    let engine = Engine::new(Parts {
        processor: Arc::new(service.processor),
        topology: service.topology,
        settings: settings.runtime.clone(),
        undertaker,
        db: db.clone(),
        publisher,
        reader,
        reads,
        asker,
        ownership,
        spans: Spans::new(telemetry.exports_traces(), &identity.group),
        health: health.clone(),
        probe: service.probe,
    });
    let mut stopping = stop.clone();
    tokio::spawn(async move {
        if stopping.wait_for(|stop| *stop).await.is_ok() {
            health.stop();
        }
    });
    let ended = engine.run(membership, stop).await;
    // Nothing depends on either: a database that is away must not keep the process.
    let parting = async {
        if ended.is_ok() {
            instance.leave().await;
        }
        db.close().await;
    };
    if tokio::time::timeout(PARTING, parting).await.is_err() {
        tracing::warn!("PostgreSQL did not take leave in time");
    }
    tracing::info!("stopped");
    telemetry.finish();
    Ok(ended?)
}

/// Turns true at the first SIGTERM or SIGINT, or when it is to drain; a (second) signal, or an end that takes too long, exits by
/// force.
fn stop_on_signal(
    budget: Duration,
    drain: Arc<Notify>,
) -> Result<watch::Receiver<bool>, std::io::Error> {
    let (mut terminate, mut interrupt) = (
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
    );
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} () = drain.notified() => {} }
        tracing::info!("stopping");
        stop.send_replace(true);
        tokio::select! {
            _ = terminate.recv() => tracing::warn!("second signal: exiting by force"),
            _ = interrupt.recv() => tracing::warn!("second signal: exiting by force"),
            () = tokio::time::sleep(budget) => tracing::error!(?budget, "stopping takes too long: exiting by force"),
        }
        std::process::exit(EXIT_FORCED.into());
    });
    Ok(stopped)
}
