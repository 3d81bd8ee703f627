//! What a lane holds in memory: 62,500 drivers of one geo come on duty, and 50,000 orders whose food is ready are given to
//! them, 500 before each of 100 ticks. Nobody finishes a trip. No tables and no broker: the book alone, as a cycle uses it.
//!
//! `cargo run --release -p assignment --example book_cost`. Prints the memory in MB, empty, with the drivers, with all
//! orders under way and at its highest (Linux only), and the CPU seconds of the whole.

#![allow(clippy::unwrap_used, reason = "an example fails by panicking")]

use std::collections::BTreeSet;
use std::fs;

use assignment::book::{Book, Origin};
use assignment::config::Config;
use assignment::event::Event;
use assignment::order::{Drivers, Orders};
use chrono::{DateTime, TimeDelta, Utc};
use contracts::driver::DriverOnline;
use contracts::driver_assignment::{AssignmentRequested, ItemCount};
use contracts::streams::{DriverAssignmentRequest, DriverEvent};
use contracts::value::{Place, Point};
use contracts::{Catalogue, GeoSpec};
use dispatch::Snapshot;
use runtime::Trace;
use uuid::Uuid;

const GEO: &str = "berlin-mitte";
const DRIVERS: u32 = 62_500;
const TICKS: u32 = 100;
const BATCH: u32 = 500;
const RESTAURANTS: u32 = 200;

fn main() {
    let begun = memory_mb("VmRSS:");
    let catalogue = Catalogue::embedded();
    let geo = catalogue.geo(GEO).unwrap();
    let mut config = Config::default();
    config.dispatch.location_ttl_s = 1e6;
    config.dispatch.offer_timeout_s = None;
    config.dispatch.vanish_after_s = None;
    let scheduler = config.rules(geo).unwrap().scheduler(Snapshot::default());
    let (orders, drivers) = (Orders::default(), Drivers::default());
    let mut book = Book::new(geo.name.clone(), scheduler, orders, drivers);
    let start = DateTime::from_timestamp(1_760_000_000, 0).unwrap();
    for number in 0..DRIVERS {
        hear(&mut book, &online(geo, number, start), start);
        if number % BATCH == 0 {
            store(&mut book, start);
        }
    }
    store(&mut book, start);
    let with_drivers = memory_mb("VmRSS:");
    for tick in 0..TICKS {
        let now = start + TimeDelta::milliseconds(i64::from(tick) * 100);
        for number in tick * BATCH..(tick + 1) * BATCH {
            hear(&mut book, &requested(geo, number, now), now);
        }
        book.tick(now);
        store(&mut book, now);
    }
    println!("MB empty  drivers  orders too  at most  under way  CPU s");
    println!(
        "{begun:8.0} {with_drivers:8.0} {:11.0} {:8.0} {:10} {:6.2}",
        memory_mb("VmRSS:"),
        memory_mb("VmHWM:"),
        book.scheduler().gauges().assigned,
        cpu_s(),
    );
}

fn hear(book: &mut Book, event: &Event, now: DateTime<Utc>) {
    // Each message has a trace of its own.
    let trace = Trace::root();
    let origin = Origin {
        partition: 0,
        timestamp_ms: -1,
        trace: &trace,
    };
    book.apply(event, origin, now);
}

/// The rest of a cycle, all of it taken by the tables and told.
fn store(book: &mut Book, now: DateTime<Utc>) {
    book.take_ended();
    assert!(book.commitments().len() <= BATCH as usize * 2);
    book.conclude(BTreeSet::new(), now);
    book.take_changes();
    book.take_facts();
}

fn online(geo: &GeoSpec, number: u32, at: DateTime<Utc>) -> Event {
    Event::Driver(DriverEvent::DriverOnline(DriverOnline {
        event_id: Uuid::from_u64_pair(1, u64::from(number)),
        occurred_at: at,
        geo: GEO.to_owned(),
        driver_id: format!("driver-{number:06}"),
        location: spot(geo, number.wrapping_mul(13) + 5),
        shift_ends_at: None,
    }))
}

fn requested(geo: &GeoSpec, number: u32, at: DateTime<Utc>) -> Event {
    let restaurant = number % RESTAURANTS;
    let requested = AssignmentRequested {
        event_id: Uuid::from_u64_pair(2, u64::from(number)),
        occurred_at: at,
        geo: GEO.to_owned(),
        // Spread as random ids are.
        order_id: Uuid::from_u64_pair(
            u64::from(number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            1 << 63,
        ),
        order_version: 3,
        attempt: 1,
        restaurant: Place {
            id: format!("restaurant-{restaurant}"),
            location: spot(geo, restaurant),
        },
        customer_location: spot(geo, number.wrapping_mul(7) + 3),
        placed_at: at,
        ready_at: at,
        prep_total_s: 600,
        items: vec![ItemCount {
            id: "margherita".to_owned(),
            quantity: 1,
        }],
        search_radius_m: 8_000,
    };
    Event::Request(DriverAssignmentRequest::AssignmentRequested(requested))
}

/// Evenly spread over a square of some two kilometres around the centre (the R2 sequence: multiples of 1/g and 1/g^2, where
/// g^3 = g + 1).
fn spot(geo: &GeoSpec, number: u32) -> Point {
    const G: f64 = 1.324_717_957_244_746;
    let degrees = |step: f64| ((f64::from(number) * step).fract() - 0.5) * 0.02;
    Point {
        lat: geo.centre.lat + degrees(1.0 / G),
        lon: geo.centre.lon + degrees(1.0 / (G * G)),
    }
}

/// A line of what the kernel says of this process; not a number where there is none.
fn memory_mb(line: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|said| said.strip_prefix(line));
    let kilobytes = found.and_then(|said| said.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    kilobytes.map_or(f64::NAN, |kilobytes| kilobytes / 1024.0)
}

/// User time so far, by the kernel's hundredths of a second.
fn cpu_s() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().nth(11);
    ticks
        .and_then(|ticks| ticks.parse::<f64>().ok())
        .map_or(f64::NAN, |ticks| ticks / 100.0)
}
