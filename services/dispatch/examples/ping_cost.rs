//! What a ping and a tick cost as pending requests grow: 10,000 drivers who ping every five seconds in a
//! city 30 km wide, against 1,000 to 100,000 pending requests.
//!
//! `plenty`: half of the drivers are free, food is ready over the next three hours. `shortage`: nobody is
//! free, all food is late, and 30 drivers a second finish their trips.
//!
//! `cargo run --release -p dispatch --example ping_cost`

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dispatch::{
    At, Config, DriverId, Input, OrderId, Phase, Point, PolicySpec, Request, RestaurantId, Road,
    RoadConfig, Scheduler,
};
use uuid::Uuid;

const DRIVERS: usize = 10_000;
const PINGS_PER_SECOND: usize = 2_000;
const SECONDS: usize = 60;
const CITY_M: f64 = 30_000.0;
/// Metres per degree near (0, 0), where this city lies.
const DEGREE_M: f64 = 111_195.0;
/// Metres a driver moves between two pings.
const STRIDE_M: f64 = 30.0;

/// SplitMix64: numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn place(&mut self) -> (f64, f64) {
        (self.unit() * CITY_M, self.unit() * CITY_M)
    }
}

fn point((x, y): (f64, f64)) -> Point {
    Point::degrees(y / DEGREE_M, x / DEGREE_M).expect("the city lies near (0, 0)")
}

fn request(number: usize, ready_s: f64, numbers: &mut Numbers) -> Request {
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

fn driver(number: usize) -> DriverId {
    DriverId::new(format!("driver-{number:05}"))
}

#[derive(Default)]
struct Cost {
    pings: Duration,
    ticks: Duration,
    longest_tick: Duration,
    count: u32,
    decisions: usize,
}

/// A scheduler whose drivers are known and `busy` of them on a trip each.
fn city(busy: usize, places: &[(f64, f64)], numbers: &mut Numbers) -> (Scheduler, Vec<Input>) {
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

/// A minute of pings, with so many deliveries every tenth of a second.
fn drive(
    scheduler: &mut Scheduler,
    places: &mut [(f64, f64)],
    mut deliveries: impl Iterator<Item = Input>,
    each_tenth: usize,
    numbers: &mut Numbers,
) -> Cost {
    let mut cost = Cost::default();
    let mut next = 0;
    for tenth in 0..SECONDS * 10 {
        let now = At::from_seconds(tenth as f64 / 10.0);
        let pings: Vec<Input> = (0..PINGS_PER_SECOND / 10)
            .map(|_| {
                next = (next + 1) % DRIVERS;
                let (x, y) = &mut places[next];
                *x += (numbers.unit() - 0.5) * 2.0 * STRIDE_M;
                *y += (numbers.unit() - 0.5) * 2.0 * STRIDE_M;
                Input::DriverPing {
                    driver_id: driver(next),
                    position: point(places[next]),
                    at: now,
                }
            })
            .collect();
        let start = Instant::now();
        for ping in pings {
            scheduler.apply(ping);
        }
        cost.pings += start.elapsed();
        for delivery in deliveries.by_ref().take(each_tenth) {
            scheduler.apply(delivery);
        }
        if scheduler.next_due().is_some_and(|at| at <= now) {
            let start = Instant::now();
            let tick = scheduler.tick(now);
            let spent = start.elapsed();
            cost.ticks += spent;
            cost.longest_tick = cost.longest_tick.max(spent);
            cost.count += 1;
            cost.decisions += tick.decisions.len();
        }
    }
    cost
}

fn main() {
    println!(
        "          pending  ping us  pings %core  ticks  ms/tick  longest ms  ticks %core  decided"
    );
    for (name, busy, each_tenth) in [("plenty", DRIVERS / 2, 0), ("shortage", DRIVERS, 3)] {
        for pending in [1_000, 10_000, 100_000] {
            let mut numbers = Numbers(1);
            let mut places: Vec<(f64, f64)> = (0..DRIVERS).map(|_| numbers.place()).collect();
            let (mut scheduler, deliveries) = city(busy, &places, &mut numbers);
            for number in 0..pending {
                let ready_s = if each_tenth == 0 {
                    150.0 + numbers.unit() * 10_800.0
                } else {
                    0.0
                };
                let request = request(DRIVERS + number, ready_s, &mut numbers);
                scheduler.apply(Input::Requested(request));
            }
            scheduler.tick(At::from_seconds(0.0));
            let deliveries = deliveries.into_iter();
            let cost = drive(
                &mut scheduler,
                &mut places,
                deliveries,
                each_tenth,
                &mut numbers,
            );
            report(name, pending, &cost);
            assert_eq!(scheduler.audit().violations(), 0, "{:?}", scheduler.audit());
        }
    }
}

fn report(name: &str, pending: usize, cost: &Cost) {
    let of_core = |spent: Duration| 100.0 * spent.as_secs_f64() / SECONDS as f64;
    println!(
        "{name:<9} {pending:>7}  {:>7.2}  {:>11.2}  {:>5}  {:>7.2}  {:>10.2}  {:>11.2}  {:>7}",
        cost.pings.as_secs_f64() * 1e6 / (SECONDS * PINGS_PER_SECOND) as f64,
        of_core(cost.pings),
        cost.count,
        cost.ticks.as_secs_f64() * 1e3 / f64::from(cost.count.max(1)),
        cost.longest_tick.as_secs_f64() * 1e3,
        of_core(cost.ticks),
        cost.decisions,
    );
}
