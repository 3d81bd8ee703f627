//! How long an order takes to its driver while orders come at a steady rate, and what that costs.

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use super::drain;
use super::rig::{GEO, Rig, Site, number};
use crate::processors::PROCESSORS;

/// For how long orders come before it is measured: a broker just started compiles its code on the cores that all share.
const WARM_UP_S: u32 = 30;

#[derive(Serialize)]
pub struct Steady {
    pub rate: f64,
    pub orders: u64,
    pub complete: u64,
    pub placed_to_confirmed_p99_ms: f64,
    pub placed_to_assigned_p50_ms: f64,
    pub placed_to_assigned_p99_ms: f64,
    pub due_to_assigned_p99_ms: f64,
    /// Every step, from the placing, and from the step before.
    pub steps: Value,
    pub hops: Value,
    /// The lag of the whole way, in orders: those under way when the last was placed. (Offsets would count the marks of
    /// transactions as well.)
    pub lag_orders_at_end: f64,
    pub processors_cpu_us_per_order: f64,
    pub postgres_cpu_us_per_order: f64,
    pub kafka_cpu_us_per_order: f64,
    pub checks_ok: bool,
}

pub fn run(site: &Site, rate: f64, seconds: u32) -> Result<Steady> {
    let rig = Rig::fresh(site, &[GEO])?;
    let orders_in = |seconds: u32| (rate * f64::from(seconds)).round() as u64;
    let orders = orders_in(seconds);
    let placed = orders + orders_in(WARM_UP_S);
    let settings = rig.settings_of_still_drivers()?;
    // More than orders: nobody comes free again, and the last few would be weighed against each other for ever.
    rig.drivers(placed + placed / 4 + 1, &settings)?;
    let processors = rig.start_all(&settings)?;
    for name in PROCESSORS {
        processors.wait_ready(name)?;
    }
    let orders_come = |seconds: u32| {
        let (rate, seconds) = (rate.to_string(), seconds.to_string());
        rig.client(&["steady", "--rate", &rate, "--seconds", &seconds])
    };
    eprintln!("bench: {rate} orders per second for {WARM_UP_S} s, and then for {seconds} s");
    let warm = orders_come(WARM_UP_S)?;
    let before = drain::used(&processors)?;
    let (postgres, kafka) = (rig.server("postgres")?, rig.server("kafka-1")?);
    let seen = orders_come(seconds)?;
    let cpu_s: f64 = drain::used(&processors)?
        .iter()
        .map(|(name, usage)| usage.cpu_s - before[name].cpu_s)
        .sum();
    let postgres = rig.server("postgres")?.since(postgres);
    let kafka = rig.server("kafka-1")?.since(kafka);
    processors.stop()?;
    rig.down()?;
    let each = |cpu_s: f64| cpu_s * 1e6 / orders as f64;
    let complete_in = |seen: &Value| seen["complete"].as_u64().context("complete");
    let complete = complete_in(&seen)?;
    Ok(Steady {
        rate,
        orders,
        complete,
        placed_to_confirmed_p99_ms: number(&seen, "/steps/OrderConfirmed/p99_ms")?,
        placed_to_assigned_p50_ms: number(&seen, "/steps/DriverAssigned/p50_ms")?,
        placed_to_assigned_p99_ms: number(&seen, "/steps/DriverAssigned/p99_ms")?,
        due_to_assigned_p99_ms: number(&seen, "/due_to_assigned/p99_ms")?,
        steps: seen["steps"].clone(),
        hops: seen["hops"].clone(),
        lag_orders_at_end: number(&seen, "/under_way_at_end")?,
        processors_cpu_us_per_order: each(cpu_s),
        postgres_cpu_us_per_order: each(postgres.cpu_s),
        kafka_cpu_us_per_order: each(kafka.cpu_s),
        checks_ok: complete_in(&warm)? + complete == placed,
    })
}
