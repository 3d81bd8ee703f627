//! How long a geo stands still when the process that owns its dispatch is killed, and how much of it is rebuilding.
//!
//! Two instances of assignment stand by each other; one owns a geo with many pending requests. It is killed by SIGKILL, and
//! at once a request is published whose food is ready. Measured to the instant at which a read_committed reader sees the
//! driver's assignment. The standby's log tells when the group gave it the geo, and when the geo ran again. What comes
//! before is Kafka's patience with a silent member (`runtime.session_timeout_ms`); what comes after is ours.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Serialize;
use serde_json::Value;

use super::exposition;
use super::rig::{GEO, Rig, Site, now, number};
use crate::process::wait_until;
use crate::processors::{Instance, Processors};

const DRIVERS: u64 = 1_000;
const PENDING: u64 = 100_000;
/// How long a rebalance among live members may take.
const SETTLED: Duration = Duration::from_secs(60);
/// Seconds; the time of day of a log line starts again at midnight.
const DAY: f64 = 86_400.0;

#[derive(Serialize)]
pub struct Recovery {
    pub pending: u64,
    pub kill_to_decision_s: f64,
    /// Until the group gave the geo to the standby.
    pub kill_to_ownership_s: f64,
    /// From then until the geo was loaded and ran.
    pub rebuild_s: f64,
    /// From then until the decision was visible; wanted: below 5.
    pub ownership_to_decision_s: f64,
    /// All requests were found again, and the one that was due has its driver.
    pub checks_ok: bool,
}

pub fn run(site: &Site) -> Result<Recovery> {
    let rig = Rig::fresh(site, &[GEO])?;
    let mut settings = rig.settings_of_still_drivers()?;
    rig.drivers(DRIVERS, &settings)?;
    settings.set("telemetry.format", "json");
    let log = "warn,runtime::engine=info,runtime::restore=debug";
    settings.set("telemetry.log", log);
    let mut processors = rig.processors(&settings)?;
    let pair = [0, 1].map(|slot| Instance {
        processor: "assignment",
        slot,
    });
    processors.start_instance(pair[0])?;
    processors.wait_ready(&pair[0].name())?;
    let pending = PENDING.to_string();
    let later = ["--ready-in-s", "3600", "--over-s", "10800"];
    rig.client(&[&["requests", "--count", &pending], &later[..]].concat())?;
    let open = "SELECT count(*) FROM assignment.pending_assignments WHERE state = 'open'";
    rig.await_sql(open, PENDING)?;
    processors.start_instance(pair[1])?;
    let (owner, standby) = ownership(&rig, &processors, pair)?;
    eprintln!("bench: killing {owner}, which owns {GEO} with {PENDING} pending requests");
    let reader = rig
        .client_command(&["await", "--record", "DriverAssigned", "--count", "1"])
        .spawn()
        .context("start bench")?;
    let killed = now();
    processors.kill(&owner)?;
    rig.client(&["requests", "--count", "1"])?;
    let output = reader.wait_with_output()?;
    let seen: Value = serde_json::from_slice(&output.stdout).context("the reader")?;
    let decided = number(&seen, "/first_at")?;
    let after = |message| logged(&rig, &standby, message, killed);
    let (assigned, runs) = (after("assigned")?, after("lane runs")?);
    let metrics = processors.metrics(&standby)?;
    let known = exposition::sum(&metrics, "assignment_pending_requests", GEO);
    processors.stop()?;
    rig.down()?;
    Ok(Recovery {
        pending: PENDING,
        kill_to_decision_s: decided - killed,
        kill_to_ownership_s: assigned,
        rebuild_s: runs - assigned,
        ownership_to_decision_s: decided - killed - assigned,
        checks_ok: known == Some(PENDING as f64),
    })
}

/// Who owns the geo, and who stands by, once the second has been given his share of the geos.
fn ownership(rig: &Rig, processors: &Processors, pair: [Instance; 2]) -> Result<(String, String)> {
    let [first, second] = pair.map(|instance| instance.name());
    let shared = wait_until(SETTLED, || logged(rig, &second, "assigned", 0.0).is_ok());
    ensure!(shared, "{second} was given nothing");
    let lanes = |name: &str, phase| {
        let metrics = processors.metrics(name).unwrap_or_default();
        let label = format!("phase=\"{phase}\"");
        exposition::sum(&metrics, "runtime_lanes", &label).unwrap_or(0.0)
    };
    let settled = || {
        let waiting = lanes(&first, "waiting") + lanes(&second, "waiting");
        waiting == 0.0 && lanes(&first, "running") + lanes(&second, "running") == 1.0
    };
    if !wait_until(SETTLED, settled) {
        bail!("{GEO} is not owned by one of {first} and {second}");
    }
    Ok(match lanes(&first, "running") > 0.0 {
        true => (first, second),
        false => (second, first),
    })
}

/// Seconds from `since` to the first line with this message that the instance logged after it; assignments of nothing do
/// not count.
fn logged(rig: &Rig, instance: &str, message: &str, since: f64) -> Result<f64> {
    let text = fs::read_to_string(rig.dir.log(instance))?;
    let lines = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let told =
        lines.filter(|line| line["fields"]["message"] == message && line["fields"]["units"] != 0);
    // No two instants of a run are half a day apart: whatever seems to be is a day off.
    let age = |line: Value| {
        let at = time_of_day(line["timestamp"].as_str()?)?;
        Some((at - since + DAY / 2.0).rem_euclid(DAY) - DAY / 2.0)
    };
    let mut ages = told
        .filter_map(age)
        .filter(|age| since == 0.0 || *age >= 0.0);
    ages.next()
        .with_context(|| format!("{instance} has not logged {message:?}"))
}

/// Seconds since midnight of an instant in the form of RFC 3339, in UTC.
fn time_of_day(timestamp: &str) -> Option<f64> {
    let (_, time) = timestamp.split_once('T')?;
    let mut parts = time.strip_suffix('Z')?.split(':');
    let mut part = || parts.next()?.parse::<f64>().ok();
    Some(part()? * 3_600.0 + part()? * 60.0 + part()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_tells_its_time_of_day_to_the_microsecond() {
        assert_eq!(
            time_of_day("2026-11-21T13:29:11.500001Z"),
            Some(48_551.500001)
        );
        assert_eq!(time_of_day("2026-11-21"), None);
        assert_eq!(time_of_day("2026-11-21T13:29:11+01:00"), None);
    }
}
