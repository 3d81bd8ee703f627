//! How fast a backlog of orders is worked off: everything is there, everything is due, nothing outside is waited for.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use super::rig::Rig;
use super::usage::Usage;
use crate::stack::dir::StackDir;

/// Records of each order on its way to its second message.
const PATH: [&str; 9] = [
    "OrderPlaced",
    "OrderAccepted",
    "PaymentRequested",
    "PaymentCaptured",
    "OrderConfirmed",
    "AssignmentRequested",
    "DriverAssigned",
    "OrderDriverAssigned",
    "NotificationSent",
];

#[derive(Serialize)]
pub struct Drain {
    pub orders: u64,
    pub seconds: f64,
    pub orders_per_s: f64,
    pub orders_per_cpu_second_processors: f64,
    pub orders_per_cpu_second_with_postgres: f64,
    /// Of the four processors together.
    pub peak_rss_mb_processors: f64,
    pub postgres_cpu_us_per_order: f64,
    pub kafka_cpu_us_per_order: f64,
    pub processors: BTreeMap<&'static str, Usage>,
    /// Every record of the path is there once per order, and nothing became a dead letter.
    pub checks_ok: bool,
    pub counts: Value,
}

pub fn run(dir: &StackDir, orders: u64) -> Result<Drain> {
    let rig = Rig::fresh(dir)?;
    // Plenty: with the last few the default policy would rather wait for a busy driver who is near.
    let drivers = orders + orders / 4;
    eprintln!("bench: {drivers} drivers, {orders} orders");
    rig.drivers(drivers)?;
    rig.client(&["orders", "--count", &orders.to_string()])?;
    let servers = |name: &str| -> Result<Usage> {
        let process = rig.state.processes.get(name);
        Usage::of_tree(process.with_context(|| format!("no process {name}"))?.pid)
    };
    let (postgres, kafka) = (servers("postgres")?, servers("kafka-1")?);
    let reader = rig
        .client_command(&[
            "await",
            "--record",
            "NotificationSent",
            "--count",
            &(orders * 2).to_string(),
        ])
        .stdout(Stdio::piped())
        .spawn()
        .context("start bench")?;
    let (began, wall) = (now(), Instant::now());
    let processors = rig.start_all()?;
    let output = reader.wait_with_output()?;
    let seen: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("the reader ended after {:?}", wall.elapsed()))?;
    let mut used = BTreeMap::new();
    for (name, pid) in processors.pids() {
        used.insert(name, Usage::of(pid)?);
    }
    let (postgres, kafka) = (
        servers("postgres")?.since(postgres),
        servers("kafka-1")?.since(kafka),
    );
    processors.stop()?;
    let counts = rig.client(&["count"])?;
    rig.down()?;
    let seconds = seen["last_at"].as_f64().context("last_at")? - began;
    let cpu_s: f64 = used.values().map(|usage| usage.cpu_s).sum();
    let per_order = |cpu_s: f64| cpu_s * 1e6 / orders as f64;
    Ok(Drain {
        orders,
        seconds,
        orders_per_s: orders as f64 / seconds,
        orders_per_cpu_second_processors: orders as f64 / cpu_s,
        orders_per_cpu_second_with_postgres: orders as f64 / (cpu_s + postgres.cpu_s),
        peak_rss_mb_processors: used.values().map(|usage| usage.peak_rss_mb).sum(),
        postgres_cpu_us_per_order: per_order(postgres.cpu_s),
        kafka_cpu_us_per_order: per_order(kafka.cpu_s),
        processors: used,
        checks_ok: complete(&counts, orders),
        counts,
    })
}

/// Whether every record of the path stands there exactly as often as it must, under as many keys.
fn complete(counts: &Value, orders: u64) -> bool {
    let all = PATH.iter().all(|name| {
        let messages = if *name == "NotificationSent" { 2 } else { 1 };
        counts["records"][name].as_u64() == Some(orders * messages)
            && counts["keys"][name].as_u64() == Some(orders)
    });
    all && counts["dead_letters"] == 0
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}
