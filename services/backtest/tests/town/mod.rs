//! Instances for tests: one small enough to compute by hand, and generated ones in the public format.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use backtest::instance::at_minute;
use backtest::{Drop, Instance, Solution, Tolerance, Trip};
use dispatch::{PolicySpec, Seconds, Widening};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Every policy there is.
pub const POLICIES: &[&str] = &["fifo", "slack-greedy", "lookahead", "bundle"];

pub const TOLERANCE: Tolerance = Tolerance {
    slack: Seconds(120.0),
    widening: Widening::None,
};

pub fn policy(name: &str) -> PolicySpec {
    serde_json::from_value(serde_json::json!({ "name": name })).unwrap()
}

/// A directory that goes away with the test.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("backtest-{}-{count}", std::process::id());
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        Scratch(dir)
    }
}

impl std::ops::Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The rows of an instance's files, without headers.
#[derive(Clone)]
pub struct Files {
    pub parameters: String,
    pub restaurants: Vec<String>,
    pub couriers: Vec<String>,
    pub orders: Vec<String>,
}

impl Files {
    pub fn write(&self, dir: &Path) {
        fs::create_dir_all(dir).unwrap();
        let file = |name: &str, header: &str, rows: &[String]| {
            let text = format!("{header}\n{}\n", rows.join("\n"));
            fs::write(dir.join(name), text.replace(' ', "\t")).unwrap();
        };
        let header = "meters_per_minute pickup dropoff target maximum pay guaranteed";
        file(
            "instance_parameters.txt",
            header,
            std::slice::from_ref(&self.parameters),
        );
        file("restaurants.txt", "restaurant x y", &self.restaurants);
        file(
            "couriers.txt",
            "courier x y on_time off_time",
            &self.couriers,
        );
        let header = "order x y placement_time restaurant ready_time";
        file("orders.txt", header, &self.orders);
    }

    pub fn read(&self) -> Instance {
        let scratch = Scratch::new();
        self.write(&scratch.0);
        Instance::read(&scratch.0).unwrap()
    }
}

fn rows(rows: &[&str]) -> Vec<String> {
    rows.iter().map(|row| (*row).to_owned()).collect()
}

/// One courier, three minutes from the restaurant; two orders, whose customers are five and two minutes from it, and as
/// much as five from each other.
pub fn tiny() -> Files {
    Files {
        parameters: "100 4 2 40 90 10 15".to_owned(),
        restaurants: rows(&["r1 0 0"]),
        couriers: rows(&["c1 -250 0 0 60"]),
        orders: rows(&["o1 450 0 5 r1 15", "o2 0 200 6 r1 20"]),
    }
}

/// The tiny instance served in one trip that breaks no rule.
pub fn tiny_bundle() -> Solution {
    let drop = |order, departs, dropoff| Drop {
        order,
        departs_at: at_minute(departs),
        dropoff_at: at_minute(dropoff),
    };
    Solution {
        trips: vec![Trip {
            courier: 0,
            decided_at: at_minute(6.0),
            departs_at: at_minute(6.0),
            pickup_at: at_minute(20.0),
            drops: vec![drop(0, 22.0, 28.0), drop(1, 29.0, 35.0)],
        }],
    }
}

/// A made-up day of some hours with a rush in its middle: more orders than couriers like.
pub fn generated(seed: u64) -> Files {
    let mut dice = ChaCha8Rng::seed_from_u64(seed);
    let place = |dice: &mut ChaCha8Rng| {
        format!(
            "{} {}",
            dice.random_range(0..5_000),
            dice.random_range(0..5_000)
        )
    };
    let restaurants = (1..=12)
        .map(|n| format!("r{n} {}", place(&mut dice)))
        .collect();
    let couriers = (1..=36)
        .map(|n| {
            let on = 30 * dice.random_range(0..8);
            let off = on + 30 * dice.random_range(2..7);
            format!("c{n} {} {on} {off}", place(&mut dice))
        })
        .collect();
    let orders = (1..=120)
        .map(|n| {
            let placed = (dice.random_range(0..360) + dice.random_range(0..360)) / 2;
            let ready = placed + dice.random_range(3..30);
            let restaurant = dice.random_range(1..=12);
            format!("o{n} {} {placed} r{restaurant} {ready}", place(&mut dice))
        })
        .collect();
    Files {
        parameters: "320 4 4 40 90 10 15".to_owned(),
        restaurants,
        couriers,
        orders,
    }
}
