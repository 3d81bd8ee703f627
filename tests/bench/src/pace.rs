//! Orders at a steady rate, and how long after the placing of each its steps were visible to a read_committed reader.
//!
//! Latency is counted from the instant at which an order was meant to be placed, not from when the producer got round to
//! it: a stall of the producer counts as latency and hides none. A hop is the time between two steps as the reader saw
//! them; steps of one transaction on two topics can be seen in either order, so a hop can be zero or below.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use anyhow::Result;
use contracts::{Catalogue, GeoSpec, headers};
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::BorrowedMessage;
use rdkafka::{Message, Offset};
use serde::Serialize;
use uuid::Uuid;

use crate::load::Load;
use crate::reader;

/// Steps of an order, in the order in which they become visible.
const STEPS: [&str; 6] = [
    "OrderAccepted",
    "PaymentCaptured",
    "OrderConfirmed",
    "AssignmentRequested",
    "DriverAssigned",
    "OrderDriverAssigned",
];
/// How long after the last placing steps may still come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Milliseconds.
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
    /// Orders that were under way when the last was placed: a backlog that grew would be seen here first.
    under_way_at_end: usize,
    /// By step, from the placing.
    steps: BTreeMap<&'static str, Latency>,
    /// By step, from the step before it, of the first from the placing.
    hops: BTreeMap<&'static str, Latency>,
    /// Between the request for a driver and the decision, both as seen: everything is due when it is asked for.
    due_to_assigned: Latency,
}

/// When each step of each order was seen, in seconds from the start.
struct Sightings {
    numbers: HashMap<Uuid, u32>,
    seen: [HashMap<u32, f64>; STEPS.len()],
}

pub async fn steady(
    brokers: &str,
    registry: &str,
    catalogue: &Catalogue,
    geos: &[GeoSpec],
    rate: f64,
    seconds: u32,
) -> Result<Steady> {
    let orders = (rate * f64::from(seconds)).round() as u32;
    let load = Load::open(brokers, registry, geos, false).await?;
    let ids = load.ids();
    let mut sightings = Sightings {
        numbers: (0..orders).map(|number| (ids.of(number), number)).collect(),
        seen: Default::default(),
    };
    let consumer = listening(brokers, catalogue, geos)?;
    let start = Instant::now();
    let placed_at = |number: u32| Duration::from_secs_f64(f64::from(number) / rate);
    let mut next = 0;
    let deadline = placed_at(orders) + PATIENCE;
    while !sightings.complete(orders) && start.elapsed() < deadline {
        while next < orders && placed_at(next) <= start.elapsed() {
            load.order(next)?;
            next += 1;
        }
        let wait = Duration::from_millis(20);
        let until_next = placed_at(next).saturating_sub(start.elapsed());
        let wait = if next < orders {
            wait.min(until_next)
        } else {
            wait
        };
        if let Some(message) = consumer.poll(wait) {
            sightings.note(&message?, start.elapsed().as_secs_f64());
        }
    }
    load.close()?;
    Ok(sightings.report(rate, orders, |number| placed_at(number).as_secs_f64()))
}

/// A reader at the end of every topic that has steps.
fn listening(brokers: &str, catalogue: &Catalogue, geos: &[GeoSpec]) -> Result<BaseConsumer> {
    let consumer = reader::consumer(brokers)?;
    let mut topics = Vec::new();
    for (geo, name) in geos.iter().flat_map(|geo| STEPS.map(|name| (geo, name))) {
        let topic = reader::topic_of(catalogue, geo, name)?;
        if !topics.contains(&topic) {
            let partitions = catalogue.partitions(&topic)?;
            reader::assign(&consumer, &topic, partitions, Offset::End)?;
            topics.push(topic);
        }
    }
    // An assignment to the end takes effect with the first fetch: until then nothing may be placed.
    let settled = Instant::now() + Duration::from_secs(2);
    while Instant::now() < settled {
        drop(consumer.poll(Duration::from_millis(50)));
    }
    Ok(consumer)
}

impl Sightings {
    fn complete(&self, orders: u32) -> bool {
        self.seen.iter().all(|step| step.len() == orders as usize)
    }

    fn note(&mut self, message: &BorrowedMessage<'_>, now: f64) {
        let name = reader::header(message, headers::EVENT_TYPE).unwrap_or_default();
        let id = message
            .key()
            .and_then(|key| Uuid::try_parse_ascii(key).ok());
        let order = id.and_then(|id| self.numbers.get(&id));
        if let (Some(step), Some(order)) = (STEPS.iter().position(|step| *step == name), order) {
            self.seen[step].entry(*order).or_insert(now);
        }
    }

    fn report(&self, rate: f64, orders: u32, placed_at: impl Fn(u32) -> f64) -> Steady {
        let whole = |number: &u32| self.seen.iter().all(|step| step.contains_key(number));
        let end = orders.checked_sub(1).map_or(0.0, &placed_at);
        let ended = |number: &u32| self.seen[STEPS.len() - 1].get(number).copied();
        let under_way = |number: &u32| ended(number).is_none_or(|at| at > end);
        let since_placing = |step: usize| {
            let waits = self.seen[step].iter();
            Latency::of(waits.map(|(number, at)| at - placed_at(*number)).collect())
        };
        let hop = |step: usize| match step {
            0 => since_placing(0),
            _ => self.between(step - 1, step),
        };
        let by_step = |of: &dyn Fn(usize) -> Latency| {
            STEPS
                .iter()
                .enumerate()
                .map(|(step, name)| (*name, of(step)))
                .collect()
        };
        Steady {
            rate,
            orders,
            complete: (0..orders).filter(whole).count(),
            under_way_at_end: (0..orders).filter(under_way).count(),
            steps: by_step(&since_placing),
            hops: by_step(&hop),
            due_to_assigned: self.between(3, 4),
        }
    }

    /// From one step of an order to another, of those that were seen in both.
    fn between(&self, earlier: usize, later: usize) -> Latency {
        let waits = self.seen[later]
            .iter()
            .filter_map(|(number, at)| Some(at - self.seen[earlier].get(number)?));
        Latency::of(waits.collect())
    }
}

impl Latency {
    /// Of waits in seconds; nearest rank. Without any, nothing was slow and nothing was fast: not a number.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_ranks_of_what_was_seen() {
        let waits = (1..=101).rev().map(|ms| f64::from(ms) / 1_000.0).collect();
        let latency = Latency::of(waits);
        assert_eq!(
            (
                latency.count,
                latency.p50_ms,
                latency.p99_ms,
                latency.max_ms
            ),
            (101, 51.0, 100.0, 101.0)
        );
    }

    #[test]
    fn a_hop_counts_only_orders_seen_at_both_its_ends_and_an_order_with_a_gap_is_not_complete() {
        let mut sightings = Sightings {
            numbers: HashMap::new(),
            seen: Default::default(),
        };
        for (step, seen) in sightings.seen.iter_mut().enumerate() {
            seen.insert(0, step as f64 * 0.010);
            if step != 3 {
                seen.insert(1, 1.0 + step as f64 * 0.020);
            }
        }
        let report = sightings.report(1.0, 2, f64::from);
        assert_eq!((report.complete, report.due_to_assigned.count), (1, 1));
        // The second is placed a second after the first, which had ended by then.
        assert_eq!(report.under_way_at_end, 1);
        assert_eq!(report.hops["DriverAssigned"].p50_ms, 10.0);
        assert_eq!(report.steps["OrderDriverAssigned"].max_ms, 100.0);
    }
}
