//! What ticks of a planning policy cost while a backlog drains: 62,500 free drivers scattered over a city, and orders of 200
//! restaurants that are due when they come, 500 before each of 100 ticks. Nobody finishes a trip.
//!
//! `cargo run --release -p dispatch --example drain_cost`. Prints milliseconds per tick over the first ten and over all, how
//! many orders have a driver in the end, and the memory in MB: held before the first tick, and at its highest (Linux only).

#![allow(clippy::unwrap_used, reason = "an example fails by panicking")]

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dispatch::{
    At, BundleConfig, Config, Input, PolicySpec, RestaurantId, Road, RoadConfig, Scheduler,
};

mod town;

use town::{Numbers, driver, point, request};

const DRIVERS: usize = 62_500;
const TICKS: usize = 100;
const BATCH: usize = 500;
const RESTAURANTS: usize = 200;

fn main() {
    println!("policy     first ten  all ticks  longest  matched  MB before  MB at most");
    for policy in [
        PolicySpec::default(),
        PolicySpec::Bundle(BundleConfig::default()),
    ] {
        drain(&policy);
    }
}

fn drain(policy: &PolicySpec) {
    let mut numbers = Numbers(1);
    let mut scheduler = fleet(policy, &mut numbers);
    let restaurants: Vec<_> = (0..RESTAURANTS).map(|_| numbers.place()).collect();
    let before = memory_mb("VmRSS:");
    let (mut ticks, mut matched) = (Vec::new(), 0);
    for tick in 0..TICKS {
        let now = At::from_seconds(tick as f64);
        for number in tick * BATCH..(tick + 1) * BATCH {
            let restaurant = number % RESTAURANTS;
            let mut request = request(number, now.since(At(0)).0, &mut numbers);
            request.restaurant_id = RestaurantId::new(format!("restaurant-{restaurant}"));
            request.restaurant = point(restaurants[restaurant]);
            (request.placed_at, request.requested_at) = (now, now);
            request.search_radius_m = f64::INFINITY;
            scheduler.apply(Input::Requested(request));
        }
        let begun = Instant::now();
        matched += scheduler.tick(now).matched;
        ticks.push(begun.elapsed());
    }
    println!(
        "{:10} {:9.1} {:10.1} {:8.1} {matched:8} {before:10.0} {:11.0}",
        policy.build().id().name,
        mean_ms(&ticks[..10]),
        mean_ms(&ticks),
        mean_ms(&[ticks.into_iter().max().unwrap()]),
        memory_mb("VmHWM:"),
    );
}

/// Everybody free, scattered over the city.
fn fleet(policy: &PolicySpec, numbers: &mut Numbers) -> Scheduler {
    let road = Road::new(&RoadConfig::default()).unwrap();
    let config = Config {
        location_ttl_s: 1e6,
        offer_timeout_s: None,
        vanish_after_s: None,
        ..Config::default()
    };
    let mut scheduler = Scheduler::new(config, Arc::new(road), policy.build());
    let at = At(0);
    for number in 0..DRIVERS {
        scheduler.apply(Input::DriverOnline {
            driver_id: driver(number),
            at,
            shift_end: None,
        });
        scheduler.apply(Input::DriverPing {
            driver_id: driver(number),
            position: point(numbers.place()),
            at,
        });
    }
    scheduler
}

fn mean_ms(times: &[Duration]) -> f64 {
    times.iter().sum::<Duration>().as_secs_f64() * 1e3 / times.len() as f64
}

/// A line of what the kernel says of this process; not a number where there is none.
fn memory_mb(line: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|said| said.strip_prefix(line));
    let kilobytes = found.and_then(|said| said.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kilobytes.map_or(f64::NAN, |kilobytes| kilobytes / 1024.0)
}
