//! How long an order takes to its driver while orders come at a steady rate.

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use super::rig::Rig;
use crate::processors::PROCESSORS;
use crate::stack::dir::StackDir;

#[derive(Serialize)]
pub struct Steady {
    pub rate: f64,
    pub orders: u64,
    pub complete: u64,
    pub placed_to_assigned_p50_ms: f64,
    pub placed_to_assigned_p99_ms: f64,
    pub due_to_assigned_p99_ms: f64,
    /// Every step, from the placing.
    pub steps: Value,
}

pub fn run(dir: &StackDir, rate: f64, seconds: u32) -> Result<Steady> {
    let rig = Rig::fresh(dir)?;
    let orders = (rate * f64::from(seconds)).round() as u64;
    rig.drivers(orders)?;
    let processors = rig.start_all()?;
    for name in PROCESSORS {
        processors.wait_ready(name)?;
    }
    eprintln!("bench: {rate} orders per second for {seconds} s");
    let (rate_text, seconds) = (rate.to_string(), seconds.to_string());
    let seen = rig.client(&["steady", "--rate", &rate_text, "--seconds", &seconds])?;
    processors.stop()?;
    rig.down()?;
    let number = |value: &Value| value.as_f64().context("a figure of the client");
    let assigned = &seen["steps"]["DriverAssigned"];
    Ok(Steady {
        rate,
        orders,
        complete: seen["complete"].as_u64().context("complete")?,
        placed_to_assigned_p50_ms: number(&assigned["p50_ms"])?,
        placed_to_assigned_p99_ms: number(&assigned["p99_ms"])?,
        due_to_assigned_p99_ms: number(&seen["due_to_assigned"]["p99_ms"])?,
        steps: seen["steps"].clone(),
    })
}
