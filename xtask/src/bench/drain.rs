//! How fast a backlog of orders is worked off: everything is there, everything is due, nobody outside is waited for.
//!
//! Measured from the start of the processes to the instant at which a read_committed reader has seen the last message to a
//! customer. Where costs are compared with one another (the scale part) the processors run already when the orders come,
//! so that what it takes to start a process is in no figure.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use super::allotment::Allotment;
use super::history;
use super::rig::{GEO, Rig, Site, now, number};
use super::usage::{self, Usage};
use crate::gateway::Gateway;
use crate::processors::{Instance, PROCESSORS, Processors};
use crate::settings::Settings;
use crate::workspace::Profile;

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

/// What is drained, and by whom.
#[derive(Clone)]
pub struct Setup<'a> {
    pub orders: u64,
    pub geos: Vec<&'a str>,
    /// All geos have so many partitions, instead of what the catalogue says.
    pub partitions: Option<u32>,
    pub instances: Vec<Instance>,
    /// Of a core, for each instance; needs `warm`. None: as much as it gets.
    pub share: Option<f64>,
    /// Payments go to the gateway's process by HTTP, not to one within the processor.
    pub http_gateway: bool,
    /// The processors are ready before the orders come.
    pub warm: bool,
    /// Orders that ended before, in all tables; needs `warm`. Ids are then scattered, as real ones are.
    pub history: Option<u64>,
}

impl Setup<'_> {
    /// One instance of each processor, one geo.
    pub fn plain(orders: u64) -> Self {
        Self {
            orders,
            geos: vec![GEO],
            partitions: None,
            instances: PROCESSORS.map(Instance::only).to_vec(),
            share: None,
            http_gateway: false,
            warm: false,
            history: None,
        }
    }
}

#[derive(Serialize)]
pub struct Drain {
    pub orders: u64,
    pub seconds: f64,
    pub orders_per_s: f64,
    pub orders_per_cpu_second_processors: f64,
    pub orders_per_cpu_second_with_postgres: f64,
    /// Of all processors together.
    pub peak_rss_mb_processors: f64,
    pub processors_cpu_us_per_order: f64,
    pub postgres_cpu_us_per_order: f64,
    pub kafka_cpu_us_per_order: f64,
    /// What an order leaves behind: in Kafka's logs, uncompressed, and in the database with its indexes.
    pub kafka_bytes_per_order: f64,
    pub postgres_bytes_per_order: f64,
    pub processors: BTreeMap<String, Usage>,
    pub kafka: Usage,
    pub postgres: Usage,
    /// Every record of the path is there once per order, and nothing became a dead letter.
    pub checks_ok: bool,
    pub counts: Value,
}

pub fn run(site: &Site, setup: &Setup) -> Result<Drain> {
    let rig = match setup.partitions {
        Some(partitions) => Rig::of_partitions(site, &setup.geos, partitions)?,
        None => Rig::fresh(site, &setup.geos)?,
    };
    let orders = setup.orders;
    // Plenty: with the last few the default policy would rather wait for a busy driver who is near.
    let drivers = orders + orders / 4;
    eprintln!("bench: {drivers} drivers, {orders} orders");
    let mut settings = rig.settings_of_still_drivers()?;
    let gateway = with_gateway(&rig, setup, &mut settings)?;
    rig.drivers(drivers, &settings)?;
    let mut processors = rig.processors(&settings)?;
    if setup.warm {
        start(&mut processors, setup)?;
        for instance in &setup.instances {
            processors.wait_ready(&instance.name())?;
        }
    }
    if let Some(rows) = setup.history {
        history::fill(&rig, rows)?;
    }
    let disk = rig.disk()?;
    if setup.warm {
        // Instances share out their lanes after they are ready, too.
        usage::await_rest(&processors.pids())?;
    } else {
        place(&rig, setup)?;
    }
    let work = work_off(&rig, setup, &mut processors)?;
    processors.stop()?;
    gateway.map(Gateway::stop).transpose()?;
    let counts = rig.client(&["count"])?;
    let left = rig.disk()?;
    rig.down()?;
    let each = |amount: f64| amount / orders as f64;
    let cpu_s: f64 = work.processors.values().map(|usage| usage.cpu_s).sum();
    let peaks = work.processors.values().map(|usage| usage.peak_rss_mb);
    Ok(Drain {
        orders,
        seconds: work.seconds,
        orders_per_s: orders as f64 / work.seconds,
        orders_per_cpu_second_processors: orders as f64 / cpu_s,
        orders_per_cpu_second_with_postgres: orders as f64 / (cpu_s + work.postgres.cpu_s),
        peak_rss_mb_processors: peaks.sum(),
        processors_cpu_us_per_order: each(cpu_s * 1e6),
        postgres_cpu_us_per_order: each(work.postgres.cpu_s * 1e6),
        kafka_cpu_us_per_order: each(work.kafka.cpu_s * 1e6),
        kafka_bytes_per_order: each(left.0.saturating_sub(disk.0) as f64),
        postgres_bytes_per_order: each(left.1.saturating_sub(disk.1) as f64),
        processors: work.processors,
        kafka: work.kafka,
        postgres: work.postgres,
        checks_ok: complete(&counts, orders),
        counts,
    })
}

/// What it took from the start to the last message.
struct Work {
    seconds: f64,
    processors: BTreeMap<String, Usage>,
    postgres: Usage,
    kafka: Usage,
}

/// Starts what is still missing, processors or orders, and waits for the last message.
fn work_off(rig: &Rig, setup: &Setup, processors: &mut Processors) -> Result<Work> {
    let messages = (setup.orders * 2).to_string();
    let until = [
        "await",
        "--record",
        "NotificationSent",
        "--count",
        &messages,
    ];
    let reader = rig.client_command(&until).spawn().context("start bench")?;
    let (postgres, kafka) = (rig.server("postgres")?, rig.server("kafka-1")?);
    let before = used(processors)?;
    let hold = |share| Allotment::hold(&processors.pids(), share);
    let allotment = setup.share.map(hold).transpose()?;
    let began = now();
    if setup.warm {
        place(rig, setup)?;
    } else {
        start(processors, setup)?;
    }
    let output = reader.wait_with_output()?;
    let seen: Value = serde_json::from_slice(&output.stdout)
        .with_context(|| format!("the reader ended after {:.0} s", now() - began))?;
    drop(allotment);
    let since = |(name, usage): (String, Usage)| {
        let before = before.get(&name).copied().unwrap_or_default();
        (name, usage.since(before))
    };
    Ok(Work {
        seconds: number(&seen, "/last_at")? - began,
        processors: used(processors)?.into_iter().map(since).collect(),
        postgres: rig.server("postgres")?.since(postgres),
        kafka: rig.server("kafka-1")?.since(kafka),
    })
}

fn place(rig: &Rig, setup: &Setup) -> Result<()> {
    let count = setup.orders.to_string();
    let mut arguments = vec!["orders", "--count", &count];
    arguments.extend(setup.history.map(|_| "--scattered"));
    rig.client(&arguments).map(drop)
}

/// Starts the gateway if it is asked for, and has payments use it.
fn with_gateway(rig: &Rig, setup: &Setup, settings: &mut Settings) -> Result<Option<Gateway>> {
    if !setup.http_gateway {
        return Ok(None);
    }
    let at_once = ["--latency-min-ms", "0", "--latency-max-ms", "0"];
    let gateway = Gateway::start(&rig.dir, Profile::Release, 1, &at_once)?;
    settings.set("payments.gateway", "http");
    settings.set("payments.concurrency", 32);
    settings.set("payments.gateway_url", gateway.url());
    Ok(Some(gateway))
}

fn start(processors: &mut Processors, setup: &Setup) -> Result<()> {
    let mut instances = setup.instances.iter();
    instances.try_for_each(|instance| processors.start_instance(*instance))
}

/// What each process that runs has used.
pub fn used(processors: &Processors) -> Result<BTreeMap<String, Usage>> {
    let usage = |(name, pid)| Ok((name, Usage::of(pid)?));
    processors.pids().into_iter().map(usage).collect()
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_drain_that_lost_doubled_or_rejected_a_record_does_not_pass() {
        let each = |count: u64| {
            PATH.iter()
                .map(move |name| ((*name).to_owned(), json!(count)))
        };
        let mut records: serde_json::Map<String, Value> = each(5).collect();
        records.insert("NotificationSent".to_owned(), json!(10));
        let keys: serde_json::Map<String, Value> = each(5).collect();
        let whole = json!({ "records": records, "keys": keys, "dead_letters": 0 });
        assert!(complete(&whole, 5) && !complete(&whole, 6));
        for (path, wrong) in [
            ("/records/DriverAssigned", 6),
            ("/keys/PaymentCaptured", 4),
            ("/dead_letters", 1),
        ] {
            let mut counts = whole.clone();
            *counts.pointer_mut(path).expect("it is there") = json!(wrong);
            assert!(!complete(&counts, 5), "{path}");
        }
    }
}
