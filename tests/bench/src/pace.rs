//! Orders at a steady rate, and how long after the placing of each its steps were visible to a read_committed reader.
//!
//! Latency is counted from the instant at which an order was meant to be placed, not from when the producer got round to
//! it: a stall of the producer counts as latency and hides none.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use anyhow::Result;
use contracts::{Catalogue, GeoSpec, headers};
use rdkafka::{Message, Offset};
use serde::Serialize;
use uuid::Uuid;

use crate::load::Load;
use crate::{reader, say};

/// Steps of an order, in the order in which they become visible.
const STEPS: [&str; 5] = [
    "OrderAccepted",
    "PaymentCaptured",
    "OrderConfirmed",
    "DriverAssigned",
    "OrderDriverAssigned",
];
/// How long after the last placing steps may still come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Milliseconds from the placing to a step.
#[derive(Serialize)]
pub struct Latency {
    count: usize,
    p50_ms: f64,
    p99_ms: f64,
    max_ms: f64,
}

#[derive(Serialize)]
pub struct Steady {
    rate: f64,
    orders: u32,
    /// Orders whose every step was seen.
    complete: usize,
    /// By step, from the placing.
    steps: BTreeMap<&'static str, Latency>,
    /// Between the request for a driver and the decision, both as seen: everything is due when it is asked for.
    due_to_assigned: Latency,
}

pub async fn steady(
    brokers: &str,
    registry: &str,
    catalogue: &Catalogue,
    geo: &GeoSpec,
    rate: f64,
    seconds: u32,
) -> Result<Steady> {
    let orders = (rate * f64::from(seconds)).round() as u32;
    let load = Load::open(brokers, registry, geo).await?;
    let numbers: HashMap<Uuid, u32> = (0..orders)
        .map(|number| (say::order_id(load.run(), number), number))
        .collect();
    let consumer = reader::consumer(brokers)?;
    let mut names = STEPS.to_vec();
    names.push("AssignmentRequested");
    let mut topics = Vec::new();
    for name in &names {
        let topic = reader::topic_of(catalogue, geo, name)?;
        if !topics.contains(&topic) {
            reader::assign(
                &consumer,
                &topic,
                catalogue.partitions(&topic)?,
                Offset::End,
            )?;
            topics.push(topic);
        }
    }
    // An assignment to the end takes effect with the first fetch: until then nothing may be placed.
    let settled = Instant::now() + Duration::from_secs(2);
    while Instant::now() < settled {
        drop(consumer.poll(Duration::from_millis(50)));
    }
    let mut seen: HashMap<&str, HashMap<u32, f64>> = HashMap::new();
    let start = Instant::now();
    let placed_at = |number: u32| Duration::from_secs_f64(f64::from(number) / rate);
    let mut next = 0;
    let deadline = placed_at(orders) + PATIENCE;
    let done = |seen: &HashMap<&str, HashMap<u32, f64>>| {
        names
            .iter()
            .all(|name| seen.get(name).is_some_and(|by| by.len() == orders as usize))
    };
    while !done(&seen) && start.elapsed() < deadline {
        while next < orders && placed_at(next) <= start.elapsed() {
            load.order(next)?;
            next += 1;
        }
        let until_next = if next < orders {
            placed_at(next).saturating_sub(start.elapsed())
        } else {
            Duration::from_millis(20)
        };
        let Some(message) = consumer.poll(until_next.min(Duration::from_millis(20))) else {
            continue;
        };
        let message = message?;
        let now = start.elapsed().as_secs_f64();
        let name = reader::header(&message, headers::EVENT_TYPE).unwrap_or_default();
        let order = message
            .key()
            .and_then(|key| Uuid::try_parse_ascii(key).ok())
            .and_then(|id| numbers.get(&id));
        if let (Some(name), Some(order)) = (names.iter().find(|known| **known == name), order) {
            seen.entry(name).or_default().entry(*order).or_insert(now);
        }
    }
    load.close()?;
    let of = |name: &str| seen.get(name).cloned().unwrap_or_default();
    let steps = STEPS.map(|name| {
        let waits = of(name);
        let since = waits
            .iter()
            .map(|(number, at)| at - placed_at(*number).as_secs_f64());
        (name, Latency::of(since.collect()))
    });
    let (asked, decided) = (of("AssignmentRequested"), of("DriverAssigned"));
    let waits = decided
        .iter()
        .filter_map(|(number, at)| Some(at - asked.get(number)?));
    let complete =
        (0..orders).filter(|number| STEPS.iter().all(|name| of_has(&seen, name, *number)));
    Ok(Steady {
        rate,
        orders,
        complete: complete.count(),
        steps: steps.into_iter().collect(),
        due_to_assigned: Latency::of(waits.collect()),
    })
}

fn of_has(seen: &HashMap<&str, HashMap<u32, f64>>, name: &str, number: u32) -> bool {
    seen.get(name).is_some_and(|by| by.contains_key(&number))
}

impl Latency {
    /// Of waits in seconds; nearest rank.
    fn of(mut waits: Vec<f64>) -> Latency {
        waits.sort_by(f64::total_cmp);
        let rank = |share: f64| {
            let last = waits.len().saturating_sub(1);
            let at = waits.get((share * last as f64).round() as usize);
            (at.copied().unwrap_or(f64::NAN) * 10_000.0).round() / 10.0
        };
        Latency {
            count: waits.len(),
            p50_ms: rank(0.5),
            p99_ms: rank(0.99),
            max_ms: rank(1.0),
        }
    }
}
