//! What a tick of a planning policy costs: orders that are due beside as many free drivers, over streets.
//!
//! `cargo run --release -p dispatch --example tick_cost [ORDERS DRIVERS]`. Prints milliseconds per tick (the least and the mean of several), of the
//! whole and with nothing but the matching (a search that may evaluate no route).

#![allow(clippy::unwrap_used, reason = "an example fails by panicking")]

use std::collections::BTreeMap;
use std::env;
use std::sync::Arc;
use std::time::Instant;

use dispatch::{
    At, BundleConfig, Config, DriverId, Input, OrderId, PlanConfig, Point, PolicySpec, Request,
    RestaurantId, Road, RoadConfig, Scheduler, Seconds,
};
use uuid::Uuid;

const RUNS: usize = 5;

fn main() {
    println!("orders drivers policy     effort  least ms  mean ms  matched");
    let numbers: Vec<usize> = env::args()
        .skip(1)
        .filter_map(|said| said.parse().ok())
        .collect();
    let sizes = match numbers[..] {
        [orders, drivers] => vec![(orders, drivers)],
        _ => vec![(200, 200), (500, 2_000), (2_000, 2_000)],
    };
    for (orders, drivers) in sizes {
        for effort in [0, PlanConfig::default().effort] {
            let plan = PlanConfig {
                orders,
                effort,
                ..PlanConfig::default()
            };
            let bundle = BundleConfig {
                plan: plan.clone(),
                ..BundleConfig::default()
            };
            for policy in [PolicySpec::Lookahead(plan), PolicySpec::Bundle(bundle)] {
                measure(orders, drivers, effort, &policy);
            }
        }
    }
}

fn measure(orders: usize, drivers: usize, effort: usize, policy: &PolicySpec) {
    let mut costs = Vec::new();
    let mut matched = 0;
    for run in 0..RUNS {
        let mut scheduler = city(orders, drivers, policy, run as u64 + 1);
        let begun = Instant::now();
        matched = scheduler.tick(At::from_seconds(60.0)).matched;
        costs.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
    let mean = costs.iter().sum::<f64>() / costs.len() as f64;
    let name = policy.build().id().name;
    println!("{orders:6} {drivers:7} {name:10} {effort:6} {least:9.1} {mean:8.1} {matched:8}");
}

/// A city 20 km across with 500 restaurants, all of whose orders fall due about now.
fn city(orders: usize, drivers: usize, policy: &PolicySpec, seed: u64) -> Scheduler {
    let road = Road::new(&RoadConfig::default()).unwrap();
    let config = Config {
        location_ttl_s: 1e6,
        ..Config::default()
    };
    let mut scheduler = Scheduler::new(config, Arc::new(road), policy.build());
    let mut dice = Dice(seed);
    let restaurants: Vec<Point> = (0..500).map(|_| dice.place()).collect();
    for number in 0..drivers {
        let driver_id = DriverId::new(format!("driver-{number}"));
        let at = At::from_seconds(0.0);
        let online = Input::DriverOnline {
            driver_id: driver_id.clone(),
            at,
            shift_end: None,
        };
        scheduler.apply(online);
        let position = dice.place();
        scheduler.apply(Input::DriverPing {
            driver_id,
            position,
            at,
        });
    }
    for number in 0..orders {
        let restaurant = dice.below(restaurants.len() as u64) as usize;
        let at = At::from_seconds(dice.below(60) as f64);
        scheduler.apply(Input::Requested(Request {
            order_id: OrderId(Uuid::from_u128(number as u128 + 1)),
            version: 1,
            attempt: 1,
            restaurant_id: RestaurantId::new(format!("restaurant-{restaurant}")),
            restaurant: restaurants[restaurant],
            customer: dice.place(),
            placed_at: at,
            requested_at: at,
            ready_at: at.plus(Seconds(dice.below(600) as f64)),
            ready_said_at: at,
            search_radius_m: 5_000.0,
            cooled: BTreeMap::new(),
        }));
    }
    scheduler
}

/// Steele and others' SplitMix64: the same city for the same seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn place(&mut self) -> Point {
        let share = |dice: &mut Dice| dice.below(1_000_000) as f64 / 1e6 - 0.5;
        Point::degrees(48.0 + 0.18 * share(self), 11.0 + 0.27 * share(self)).unwrap()
    }
}
