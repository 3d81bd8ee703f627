//! A made-up city 30 km wide near (0, 0), for what measures pings: the same in every run.

#![allow(dead_code, reason = "each binary uses its part")]

use std::collections::BTreeMap;
use std::sync::Arc;

use dispatch::{
    At, Config, DriverId, Input, OrderId, Phase, Point, PolicySpec, Request, RestaurantId, Road,
    RoadConfig, Scheduler,
};
use uuid::Uuid;

pub const DRIVERS: usize = 10_000;
pub const PINGS_PER_SECOND: usize = 2_000;
const CITY_M: f64 = 30_000.0;
/// Metres per degree near (0, 0), where this city lies.
const DEGREE_M: f64 = 111_195.0;
/// Metres a driver moves between two pings.
const STRIDE_M: f64 = 30.0;

/// SplitMix64: numbers that look random and are the same in every run.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn place(&mut self) -> (f64, f64) {
        (self.unit() * CITY_M, self.unit() * CITY_M)
    }

    /// Where somebody is a ping later.
    pub fn step(&mut self, (x, y): &mut (f64, f64)) {
        *x += (self.unit() - 0.5) * 2.0 * STRIDE_M;
        *y += (self.unit() - 0.5) * 2.0 * STRIDE_M;
    }
}

pub fn point((x, y): (f64, f64)) -> Point {
    Point::degrees(y / DEGREE_M, x / DEGREE_M).expect("the city lies near (0, 0)")
}

pub fn request(number: usize, ready_s: f64, numbers: &mut Numbers) -> Request {
    let placed_at = At::from_seconds(0.0);
    Request {
        order_id: OrderId(Uuid::from_u128(number as u128)),
        version: 1,
        attempt: 1,
        restaurant_id: RestaurantId::new("r"),
        restaurant: point(numbers.place()),
        customer: point(numbers.place()),
        placed_at,
        requested_at: placed_at,
        ready_at: At::from_seconds(ready_s),
        ready_said_at: placed_at,
        search_radius_m: 5_000.0,
        cooled: BTreeMap::new(),
    }
}

pub fn driver(number: usize) -> DriverId {
    DriverId::new(format!("driver-{number:05}"))
}

/// A scheduler whose drivers are known and `busy` of them on a trip each, and the deliveries that would free those.
pub fn with_busy(
    busy: usize,
    places: &[(f64, f64)],
    numbers: &mut Numbers,
) -> (Scheduler, Vec<Input>) {
    let travel = Arc::new(Road::new(&RoadConfig::default()).expect("the default is sound"));
    let config = Config {
        offer_timeout_s: None,
        max_wait_s: 1e6,
        ..Config::default()
    };
    let mut scheduler = Scheduler::new(config, travel, PolicySpec::SlackGreedy.build());
    let at = At::from_seconds(0.0);
    for (number, place) in places.iter().enumerate() {
        let (driver_id, position) = (driver(number), point(*place));
        let online = Input::DriverOnline {
            driver_id: driver_id.clone(),
            at,
            shift_end: None,
        };
        scheduler.apply(online);
        scheduler.apply(Input::DriverPing {
            driver_id,
            position,
            at,
        });
    }
    for number in 0..busy {
        let mut late = request(number, 0.0, numbers);
        late.search_radius_m = f64::INFINITY;
        scheduler.apply(Input::Requested(late));
    }
    let deliveries = scheduler.tick(at).decisions.into_iter().map(|decision| {
        let (order_id, driver_id) = (decision.order_id, decision.driver_id);
        Input::Progress {
            order_id,
            driver_id,
            phase: Phase::Delivered,
            at,
        }
    });
    (scheduler, deliveries.collect())
}

/// A town in which half of the drivers are free, and so many requests' food is ready over the next three hours.
pub fn town(pending: usize, numbers: &mut Numbers) -> (Scheduler, Vec<(f64, f64)>) {
    let places: Vec<(f64, f64)> = (0..DRIVERS).map(|_| numbers.place()).collect();
    let (mut scheduler, _) = with_busy(DRIVERS / 2, &places, numbers);
    for number in 0..pending {
        let ready_s = 150.0 + numbers.unit() * 10_800.0;
        scheduler.apply(Input::Requested(request(
            DRIVERS + number,
            ready_s,
            numbers,
        )));
    }
    scheduler.tick(At::from_seconds(0.0));
    (scheduler, places)
}
