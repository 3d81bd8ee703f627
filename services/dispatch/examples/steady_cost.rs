//! What ticks of a planning policy cost while orders come at a steady rate: 33 a second of 250 restaurants in a city 30 km
//! wide, trips of some twenty minutes and drivers enough, all of them pinging every five seconds.
//!
//! `at once`: food is ready when it is ordered, so a tick has one to three due orders beside 500 expected ones. `cooked`:
//! food takes ten minutes, so it plans 500 known ones too. `still`: as `at once`, with 3,700 drivers in two kilometres who
//! neither move nor come free, as in `cargo xtask bench`.
//!
//! `cargo run --release -p dispatch --example steady_cost [SECONDS [CASE]]`. Prints milliseconds per tick, the share of a core that
//! ticks and messages take, how many orders have a driver in the end, and a digest of who got which: equal digests, equal
//! decisions.

#![allow(clippy::unwrap_used, reason = "an example fails by panicking")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::env;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dispatch::{
    At, Config, Decision, DriverStatus, Input, OrderId, Phase, Point, PolicySpec, RestaurantId,
    Road, RoadConfig, Scheduler, Seconds,
};

mod town;

use town::{Numbers, driver, point, request};

const RATE: f64 = 33.0;
const RESTAURANTS: usize = 250;
/// Between two ticks at least: about what a cycle of the processor takes.
const CYCLE_S: f64 = 0.06;
const PING_EVERY_S: f64 = 5.0;
/// A customer lives at most so far to each side of the restaurant.
const REACH_M: f64 = 5_000.0;

struct Case {
    name: &'static str,
    drivers: usize,
    /// The city's width beside the usual 30 km.
    scale: f64,
    cooking_s: f64,
    /// For so long orders have been served by a cheap policy before it is measured.
    before_s: f64,
    still: bool,
}

fn main() {
    let seconds = env::args().nth(1).and_then(|said| said.parse().ok());
    let seconds = seconds.unwrap_or(20.0);
    println!("case      mean ms  P50 ms  P99 ms  ticks %core  messages %core  matched  digest");
    let city = Case {
        name: "at once",
        drivers: 45_000,
        scale: 1.0,
        cooking_s: 0.0,
        before_s: 1_500.0,
        still: false,
    };
    let still = Case {
        name: "still",
        drivers: 3_700,
        scale: 2.0 / 30.0,
        before_s: 30.0,
        still: true,
        ..city
    };
    let cooked = Case {
        name: "cooked",
        cooking_s: 600.0,
        ..city
    };
    let only = env::args().nth(2);
    for case in [city, cooked, still] {
        if only.as_deref().is_none_or(|name| name == case.name) {
            measure(&case, seconds);
        }
    }
}

/// A city at work.
struct City<'a> {
    case: &'a Case,
    scheduler: Scheduler,
    numbers: Numbers,
    restaurants: Vec<(f64, f64)>,
    homes: Vec<Point>,
    orders: usize,
    /// When which order is delivered.
    ends: BinaryHeap<Reverse<(At, OrderId)>>,
    next_ping: usize,
    /// Ordered and pinged so far, in fractions.
    owed: (f64, f64),
}

fn measure(case: &Case, seconds: f64) {
    let mut city = City::new(case);
    city.run(-case.before_s, 0.0, 1.0, |_, _, _| {});
    city.scheduler = Scheduler::restore(
        config(),
        road(),
        PolicySpec::default().build(),
        city.scheduler.snapshot(),
    );
    let (mut ticks, mut messages, mut matched) = (Vec::new(), Duration::ZERO, 0);
    let mut digest = DefaultHasher::new();
    city.run(0.0, seconds, CYCLE_S, |tick, heard, decisions| {
        messages += heard;
        ticks.extend(tick);
        matched += decisions.len();
        for decision in decisions {
            (decision.order_id, &decision.driver_id).hash(&mut digest);
            decision.score.to_bits().hash(&mut digest);
        }
    });
    ticks.sort_unstable();
    let spent: Duration = ticks.iter().sum();
    let ms = |of: Duration| of.as_secs_f64() * 1e3;
    let of_core = |spent: Duration| 100.0 * spent.as_secs_f64() / seconds;
    println!(
        "{:8} {:8.2} {:7.2} {:7.2} {:12.1} {:15.1} {matched:8}  {:016x}",
        case.name,
        ms(spent) / ticks.len() as f64,
        ms(ticks[ticks.len() / 2]),
        ms(ticks[ticks.len() * 99 / 100]),
        of_core(spent),
        of_core(messages),
        digest.finish(),
    );
    assert_eq!(city.scheduler.audit().violations(), 0);
}

impl City<'_> {
    fn new(case: &Case) -> City<'_> {
        let mut numbers = Numbers(1);
        let mut scheduler = Scheduler::new(config(), road(), PolicySpec::SlackGreedy.build());
        let mut place = || {
            let (x, y) = numbers.place();
            (x * case.scale, y * case.scale)
        };
        let restaurants = (0..RESTAURANTS).map(|_| place()).collect();
        let homes: Vec<Point> = (0..case.drivers).map(|_| point(place())).collect();
        let at = At::from_seconds(-case.before_s);
        for (number, home) in homes.iter().enumerate() {
            scheduler.apply(Input::DriverOnline {
                driver_id: driver(number),
                at,
                shift_end: None,
            });
            scheduler.apply(Input::DriverPing {
                driver_id: driver(number),
                position: *home,
                at,
            });
        }
        City {
            case,
            scheduler,
            numbers,
            restaurants,
            homes,
            orders: 0,
            ends: BinaryHeap::new(),
            next_ping: 0,
            owed: (0.0, 0.0),
        }
    }

    /// Lets time pass in such steps; tells how long a tick took, if there was one, how long the messages before it, and what
    /// it decided.
    fn run(
        &mut self,
        from_s: f64,
        to_s: f64,
        step_s: f64,
        mut tell: impl FnMut(Option<Duration>, Duration, &[Decision]),
    ) {
        let mut at_s = from_s;
        while at_s < to_s {
            at_s += step_s;
            let now = At::from_seconds(at_s);
            let heard = self.messages(now, step_s);
            let begun = Instant::now();
            heard.into_iter().for_each(|input| {
                self.scheduler.apply(input);
            });
            let messages = begun.elapsed();
            let begun = Instant::now();
            let due = self.scheduler.next_due().is_some_and(|at| at <= now);
            let tick = due.then(|| self.scheduler.tick(now));
            let spent = begun.elapsed();
            let decisions = tick.map_or_else(Vec::new, |tick| tick.decisions);
            tell(due.then_some(spent), messages, &decisions);
            for decision in decisions.iter().filter(|_| !self.case.still) {
                if let Some(DriverStatus::Busy { free_at, .. }) =
                    self.scheduler.driver_status(&decision.driver_id)
                {
                    self.ends.push(Reverse((free_at, decision.order_id)));
                }
            }
        }
    }

    fn messages(&mut self, now: At, step_s: f64) -> Vec<Input> {
        let mut heard = Vec::new();
        while let Some(Reverse((at, order_id))) = self.ends.peek().copied()
            && at <= now
        {
            self.ends.pop();
            if let Some(leg) = self.scheduler.assignment_of(order_id) {
                let (driver_id, position) = (leg.driver_id.clone(), leg.request.customer);
                heard.push(Input::DriverPing {
                    driver_id: driver_id.clone(),
                    position,
                    at: now,
                });
                heard.push(Input::Progress {
                    order_id,
                    driver_id,
                    phase: Phase::Delivered,
                    at: now,
                });
            }
        }
        if !self.case.still && step_s < 1.0 {
            self.owed.1 += self.case.drivers as f64 / PING_EVERY_S * step_s;
            while self.owed.1 >= 1.0 {
                self.owed.1 -= 1.0;
                self.next_ping = (self.next_ping + 1) % self.case.drivers;
                heard.push(self.ping(self.next_ping, now));
            }
        }
        self.owed.0 += RATE * step_s * 2.0 * self.numbers.unit();
        while self.owed.0 >= 1.0 {
            self.owed.0 -= 1.0;
            heard.push(self.order(now));
        }
        heard
    }

    /// He has moved some metres since he was heard last; where he really is does not matter much.
    fn ping(&mut self, number: usize, at: At) -> Input {
        let home = self.homes[number];
        let mut metres = || (self.numbers.unit() - 0.5) * 30.0 / 111_195.0;
        let (lat, lon) = (home.lat() + metres(), home.lon() + metres());
        let position = Point::degrees(lat, lon).unwrap();
        self.homes[number] = position;
        Input::DriverPing {
            driver_id: driver(number),
            position,
            at,
        }
    }

    fn order(&mut self, at: At) -> Input {
        let number = self.orders;
        self.orders += 1;
        let restaurant = (self.numbers.unit() * RESTAURANTS as f64) as usize;
        let (x, y) = self.restaurants[restaurant];
        let mut away = || (self.numbers.unit() - 0.5) * 2.0 * REACH_M * self.case.scale.sqrt();
        let customer = point((x + away(), y + away()));
        let mut request = request(number, 0.0, &mut Numbers(1));
        request.restaurant_id = RestaurantId::new(format!("restaurant-{restaurant}"));
        (request.restaurant, request.customer) = (point((x, y)), customer);
        (
            request.placed_at,
            request.requested_at,
            request.ready_said_at,
        ) = (at, at, at);
        request.ready_at = at.plus(Seconds(self.case.cooking_s));
        request.search_radius_m = 8_000.0;
        Input::Requested(request)
    }
}

fn road() -> Arc<Road> {
    Arc::new(Road::new(&RoadConfig::default()).unwrap())
}

/// Nobody falls silent, and nobody has to answer.
fn config() -> Config {
    Config {
        location_ttl_s: 1e6,
        offer_timeout_s: None,
        vanish_after_s: None,
        ..Config::default()
    }
}
