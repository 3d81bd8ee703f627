//! What a driver's ping costs the assignment process, live through Kafka, while requests wait that are not yet due.
//!
//! All of the process's processor time counts while pings come at the steady rate: reading, decoding, the scheduler, and
//! whatever else it does meanwhile. The requests' food is ready between one and four hours later, so none is decided. What a
//! core takes is measured by a backlog: pings that come faster than they are taken.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::exposition;
use super::rig::{GEO, Rig, Site};
use super::usage::{self, Usage};
use crate::process::wait_until;
use crate::processors::Processors;

const DRIVERS: u32 = 10_000;
/// Pings per second.
const RATE: u32 = 2_000;
const PENDING: [u64; 3] = [1_000, 10_000, 100_000];
/// Pings of the backlog.
const BACKLOG: u64 = 200_000;
/// When the first food is ready, and over how long the others follow.
const READY_IN_S: &str = "3600";
const OVER_S: &str = "10800";
/// How long pings that were sent may take to be read.
const READ: Duration = Duration::from_secs(120);

#[derive(Serialize)]
pub struct Pings {
    pub drivers: u32,
    pub rate: u32,
    pub at: Vec<Cost>,
    /// With the most requests pending to with the fewest; wanted: at most 1.3.
    pub ratio: f64,
    /// Pings worked off per second of processor time, with the most requests pending.
    pub pings_per_core_s: f64,
    /// In Kafka's logs, as clients that do not compress write them.
    pub kafka_bytes_per_ping: f64,
    pub checks_ok: bool,
}

#[derive(Serialize)]
pub struct Cost {
    pub pending: u64,
    pub pings: u64,
    pub cpu_us_per_ping: f64,
}

pub fn run(site: &Site, seconds: u32) -> Result<Pings> {
    let rig = Rig::fresh(site, &[GEO])?;
    let settings = rig.settings()?;
    rig.client(&["drivers", "--count", &DRIVERS.to_string()])?;
    let mut processors = rig.processors(&settings)?;
    processors.start("assignment")?;
    processors.wait_ready("assignment")?;
    rig.await_sql("SELECT count(*) FROM assignment.drivers", DRIVERS.into())?;
    let (mut at, mut pending) = (Vec::new(), 0);
    for wanted in PENDING {
        let more = (wanted - pending).to_string();
        rig.client(&[
            "requests",
            "--count",
            &more,
            "--ready-in-s",
            READY_IN_S,
            "--over-s",
            OVER_S,
        ])?;
        let open = "SELECT count(*) FROM assignment.pending_assignments WHERE state = 'open'";
        rig.await_sql(open, wanted)?;
        pending = wanted;
        eprintln!("bench: {RATE} pings per second for {seconds} s, {pending} requests pending");
        // What assignment does after it was given requests is none of what pings cost.
        usage::await_rest(&processors.pids())?;
        // One round that is not measured: drivers who were silent while requests were loaded are heard again.
        send(&rig, &processors, DRIVERS.into(), Some(RATE))?;
        let pings = u64::from(RATE * seconds);
        let cpu_s = send(&rig, &processors, pings, Some(RATE))?;
        let cpu_us_per_ping = cpu_s * 1e6 / pings as f64;
        at.push(Cost {
            pending,
            pings,
            cpu_us_per_ping,
        });
    }
    let (disk, _) = rig.disk()?;
    let cpu_s = send(&rig, &processors, BACKLOG, None)?;
    let kafka_bytes = rig.disk()?.0.saturating_sub(disk);
    let decided = rig.sql("SELECT count(*) FROM assignment.assignments")?;
    processors.stop()?;
    rig.down()?;
    Ok(Pings {
        drivers: DRIVERS,
        rate: RATE,
        ratio: at[at.len() - 1].cpu_us_per_ping / at[0].cpu_us_per_ping,
        at,
        pings_per_core_s: BACKLOG as f64 / cpu_s,
        kafka_bytes_per_ping: kafka_bytes as f64 / BACKLOG as f64,
        // A decision in between would be in the figures.
        checks_ok: decided == "0",
    })
}

/// Sends pings and waits until all are taken in; the processor time of it.
fn send(rig: &Rig, processors: &Processors, pings: u64, rate: Option<u32>) -> Result<f64> {
    let observed = || {
        let metrics = processors.metrics("assignment")?;
        let seen = exposition::sum(&metrics, "runtime_messages_total", "verdict=\"observed\"");
        anyhow::Ok(seen.unwrap_or(0.0))
    };
    let usage = || Usage::of(processors.pids()["assignment"]);
    let (seen, before) = (observed()?, usage()?);
    let (drivers, count) = (DRIVERS.to_string(), pings.to_string());
    let mut arguments = vec!["pings", "--drivers", &drivers, "--count", &count];
    let rate = rate.map(|rate| rate.to_string());
    arguments.extend(rate.iter().flat_map(|rate| ["--rate", rate.as_str()]));
    rig.client(&arguments)?;
    let wanted = seen + pings as f64;
    let all = wait_until(READ, || observed().is_ok_and(|seen| seen >= wanted));
    ensure!(all, "{} of {pings} pings were taken in", observed()? - seen);
    Ok(usage()?.since(before).cpu_s)
}
