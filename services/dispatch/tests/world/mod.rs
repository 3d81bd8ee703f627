//! A small world to dispatch in: builders for requests, drivers, and what happens to them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::sync::Arc;

use dispatch::{
    At, Config, DriverId, Input, OrderId, Phase, Point, PolicySpec, Request, RestaurantId, Road,
    RoadConfig, Scheduler, TravelTime, WholeMinutes,
};
use uuid::Uuid;

/// 320 metres a minute, whole minutes.
pub fn grid() -> Arc<dyn TravelTime> {
    Arc::new(WholeMinutes::new(320.0).unwrap())
}

/// A city by the equator whose speed changes much from hour to hour.
pub fn road() -> Arc<dyn TravelTime> {
    let mut speed_kmh = [30.0; 24];
    speed_kmh[1] = 9.0;
    let time_zone = "UTC".into();
    Arc::new(
        Road::new(&RoadConfig {
            detour: 1.3,
            speed_kmh,
            time_zone,
        })
        .unwrap(),
    )
}

pub fn scheduler(config: Config, travel: Arc<dyn TravelTime>, policy: &PolicySpec) -> Scheduler {
    config.check().unwrap();
    Scheduler::new(config, travel, policy.build())
}

pub fn at(seconds: f64) -> At {
    At::from_seconds(seconds)
}

pub fn order(number: u128) -> OrderId {
    OrderId(Uuid::from_u128(number))
}

pub fn driver(name: &str) -> DriverId {
    DriverId::new(name)
}

pub fn metres(x: f64, y: f64) -> Point {
    Point::metres(x, y).unwrap()
}

/// A request placed at 0 whose restaurant is the origin and whose customer is 3.2 km away.
pub fn request(number: u128, ready_s: f64) -> Request {
    Request {
        order_id: order(number),
        version: 1,
        attempt: 1,
        restaurant_id: RestaurantId::new("r"),
        restaurant: metres(0.0, 0.0),
        customer: metres(0.0, 3_200.0),
        placed_at: at(0.0),
        requested_at: at(0.0),
        ready_at: at(ready_s),
        ready_said_at: at(0.0),
        search_radius_m: 10_000.0,
        cooled: BTreeMap::new(),
    }
}

pub fn online(name: &str, seconds: f64) -> Input {
    Input::DriverOnline {
        driver_id: driver(name),
        at: at(seconds),
        shift_end: None,
    }
}

pub fn ping(name: &str, position: Point, seconds: f64) -> Input {
    Input::DriverPing {
        driver_id: driver(name),
        position,
        at: at(seconds),
    }
}

pub fn progress(number: u128, name: &str, phase: Phase, seconds: f64) -> Input {
    Input::Progress {
        order_id: order(number),
        driver_id: driver(name),
        phase,
        at: at(seconds),
    }
}

pub fn apply(scheduler: &mut Scheduler, inputs: impl IntoIterator<Item = Input>) {
    for input in inputs {
        assert_eq!(
            scheduler.apply(input.clone()),
            dispatch::Applied::Changed,
            "{input:?}"
        );
    }
}

/// Grid, two minutes of tolerance, no answers needed, no service time at the counter.
pub fn quiet() -> Config {
    Config {
        offer_timeout_s: None,
        vanish_after_s: None,
        location_ttl_s: 1e6,
        pickup_service_s: 0.0,
        ..Config::default()
    }
}

pub fn greedy(config: Config) -> Scheduler {
    scheduler(config, grid(), &PolicySpec::SlackGreedy)
}

/// Drivers with their distance east of the restaurant, on duty and seen at 0.
pub fn with_drivers(config: Config, drivers: &[(&str, f64)]) -> Scheduler {
    let mut scheduler = greedy(config);
    for (name, x) in drivers {
        apply(
            &mut scheduler,
            [online(name, 0.0), ping(name, metres(*x, 0.0), 0.0)],
        );
    }
    scheduler
}

pub fn decided(scheduler: &mut Scheduler, seconds: f64) -> Vec<(u128, String)> {
    let decisions = scheduler.tick(at(seconds)).decisions;
    decisions
        .iter()
        .map(|d| (d.order_id.0.as_u128(), d.driver_id.to_string()))
        .collect()
}

pub fn pair(number: u128, name: &str) -> (u128, String) {
    (number, name.to_owned())
}
