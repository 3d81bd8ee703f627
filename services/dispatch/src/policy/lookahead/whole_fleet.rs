//! Leaving most of the fleet out of a plan changes nothing: in made-up cities each tick plans twice, once with those in
//! question and once with the nearest of everybody, found by measuring every driver's way to every restaurant.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use uuid::Uuid;

use super::*;
use crate::driver::Driver;
use crate::policy::plan::Way;
use crate::policy::roster::{NEAREST, doors, vehicle};
use crate::{
    Config, Input, Phase, Point, Road, RoadConfig, Scheduler, Shift, TravelTime, WholeMinutes,
};

/// More than are listed.
const DRIVERS: u64 = 600;

/// Plans twice and compares.
#[derive(Debug)]
struct Twice {
    policy: Lookahead,
    /// Trips planned, and drivers left out.
    seen: Arc<[AtomicUsize; 2]>,
}

impl Policy for Twice {
    fn id(&self) -> PolicyId {
        self.policy.id()
    }

    fn before(&self, a: &Due, b: &Due) -> Ordering {
        self.policy.before(a, b)
    }

    fn choose(&self, board: &mut Board<'_>) {
        let plan = self.policy.plan(board);
        let known = self.policy.known(board);
        let errands = self.policy.errands(board, &known);
        let everybody = everybody(board, &errands, self.policy.plan.candidates);
        let idle = everybody.vehicles.iter().any(|vehicle| vehicle.idle);
        assert_eq!(plan.is_some(), idle && !known.is_empty());
        let Some(mut plan) = plan else { return };
        let whole = self.policy.plan_with(board, &known, errands, everybody);
        let planned = sends(&plan, board);
        assert_eq!(planned, sends(&whole, board));
        self.seen[0].fetch_add(planned.len(), Relaxed);
        self.seen[1].fetch_add(whole.drivers.len() - plan.drivers.len(), Relaxed);
        plan.commit_first_trips(board);
        plan.serve_idle(board);
    }
}

/// Whom the plan sends where.
fn sends<'p>(plan: &'p Plan, board: &Board<'_>) -> Vec<(DriverId, bool, &'p [Planned])> {
    let who = (0..plan.drivers.len()).zip(&plan.idle).zip(&plan.trips);
    who.filter(|(_, trips)| !trips.is_empty())
        .map(|((vehicle, idle), trips)| (plan.driver(vehicle, board), *idle, trips.as_slice()))
        .collect()
}

/// All who start anywhere; for each restaurant the nearest of them.
fn everybody(board: &Board<'_>, errands: &[Errand], candidates: usize) -> Roster {
    let start = |(number, driver): (Number, &Driver)| Some((number, vehicle(driver, board)?));
    let drivers: Vec<_> = board.fleet.iter().filter_map(start).collect();
    let (travel, now) = (board.rules.travel.as_ref(), board.now);
    let near = doors(errands).into_iter().map(|door| {
        let chord2 = |of: &usize| drivers[*of].1.place.chord2(door.pickup);
        let mut nearest: Vec<usize> = (0..drivers.len()).collect();
        nearest.sort_by(|one, other| {
            let id = |of: &usize| &board.fleet.driver(drivers[*of].0).id;
            let by_id = id(one).cmp(id(other));
            chord2(one).total_cmp(&chord2(other)).then(by_id)
        });
        nearest.truncate(NEAREST.max(candidates));
        let way = |of: &usize| Way::between(drivers[*of].1.place, door.pickup, travel, now);
        nearest.iter().map(|of| (*of, way(of))).collect()
    });
    let near = near.collect();
    Roster::numbered(board.fleet, &drivers, near)
}

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    /// On a grid of 100 m, so that many stand equally far away.
    fn point(&mut self, plane: bool) -> Point {
        let (x, y) = (self.below(80) as f64, self.below(80) as f64);
        let point = if plane {
            Point::metres(x * 100.0, y * 100.0)
        } else {
            Point::degrees(48.0 + x * 0.001, 11.0 + y * 0.0015)
        };
        point.expect("near")
    }
}

/// A city in which some are free, some under way, some silent, and some still to come.
struct City {
    scheduler: Scheduler,
    dice: Dice,
    plane: bool,
    orders: u128,
    restaurants: Vec<Point>,
}

impl City {
    fn new(policy: Lookahead, plane: bool, seed: u64, seen: &Arc<[AtomicUsize; 2]>) -> City {
        let travel: Arc<dyn TravelTime> = if plane {
            Arc::new(WholeMinutes::new(320.0).expect("above 0"))
        } else {
            Arc::new(Road::new(&RoadConfig::default()).expect("the default is sound"))
        };
        let config = Config {
            location_ttl_s: 400.0,
            offer_timeout_s: None,
            vanish_after_s: None,
            ..Config::default()
        };
        let seen = seen.clone();
        let mut dice = Dice(seed);
        City {
            scheduler: Scheduler::new(config, travel, Arc::new(Twice { policy, seen })),
            restaurants: (0..30).map(|_| dice.point(plane)).collect(),
            dice,
            plane,
            orders: 0,
        }
    }

    fn driver(number: u64) -> DriverId {
        DriverId::new(format!("driver-{number}"))
    }

    fn muster(&mut self) {
        for number in 0..DRIVERS {
            let (driver_id, at) = (City::driver(number), At(0));
            let hours = |hours: f64| At::from_seconds(hours * 3_600.0);
            if self.dice.below(6) == 0 {
                let begins = At::from_seconds(self.dice.below(2_400) as f64);
                let shift = Shift {
                    begins,
                    ends: hours(1.0),
                    start: self.dice.point(self.plane),
                };
                self.scheduler.apply(Input::ShiftAnnounced {
                    driver_id,
                    shift: Some(shift),
                });
                continue;
            }
            let brief = At::from_seconds(300.0 + self.dice.below(1_200) as f64);
            let shift_end = (self.dice.below(3) == 0).then_some(brief);
            self.scheduler.apply(Input::DriverOnline {
                driver_id,
                at,
                shift_end,
            });
            self.ping(number, at);
        }
    }

    fn ping(&mut self, number: u64, at: At) {
        let position = self.dice.point(self.plane);
        self.scheduler.apply(Input::DriverPing {
            driver_id: City::driver(number),
            position,
            at,
        });
    }

    fn order(&mut self, at: At) {
        self.orders += 1;
        let restaurant = self.dice.below(self.restaurants.len() as u64) as usize;
        let cooled = (0..3).map(|_| City::driver(self.dice.below(DRIVERS)));
        let cooled = cooled
            .map(|driver| (driver, at.plus(Seconds(300.0))))
            .collect();
        let customer = self.dice.point(self.plane);
        self.scheduler.apply(Input::Requested(Request {
            order_id: OrderId(Uuid::from_u128(self.orders)),
            version: 1,
            attempt: 1,
            restaurant_id: RestaurantId::new(format!("restaurant-{restaurant}")),
            restaurant: self.restaurants[restaurant],
            customer,
            placed_at: at,
            requested_at: at,
            ready_at: at.plus(Seconds(self.dice.below(1_500) as f64)),
            ready_said_at: at,
            search_radius_m: 3_000.0 + self.dice.below(9_000) as f64,
            cooled,
        }));
    }

    /// Two minutes: news of all kinds, then a tick.
    fn pass(&mut self, round: u64, orders: u64) {
        let now = At::from_seconds(round as f64 * 120.0);
        (0..orders).for_each(|_| self.order(now));
        for number in 0..DRIVERS {
            let on_duty = |known: &&Driver| known.online;
            let known = self.scheduler.fleet.get(&City::driver(number));
            if known.filter(on_duty).is_some() && self.dice.below(4) > 0 {
                self.ping(number, now);
            }
        }
        let carried: Vec<_> = self.scheduler.trips.iter().cloned().collect();
        for leg in carried {
            if self.dice.below(5) == 0 {
                self.scheduler.apply(Input::Progress {
                    order_id: leg.request.order_id,
                    driver_id: leg.driver_id,
                    phase: Phase::Delivered,
                    at: now,
                });
            }
        }
        self.scheduler.tick(now);
    }
}

#[test]
fn a_plan_over_those_in_question_is_the_plan_over_the_whole_fleet() {
    let small = PlanConfig {
        candidates: 6,
        ..PlanConfig::default()
    };
    let bundle = BundleConfig::default();
    let policies = [
        Lookahead::single(PlanConfig::default()),
        Lookahead::single(small),
        Lookahead::bundle(bundle),
    ];
    let seen = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
    for (policy, seed) in policies.into_iter().zip(1..) {
        for (plane, orders) in [(true, 20), (true, 70), (false, 20), (false, 70)] {
            let mut city = City::new(policy.clone(), plane, seed, &seen);
            city.muster();
            (0..8).for_each(|round| city.pass(round, orders));
            assert_eq!(city.scheduler.audit().violations(), 0);
        }
    }
    let [trips, left_out] = [&seen[0], &seen[1]].map(|seen| seen.load(Relaxed));
    assert!(
        trips > 1_000 && left_out > 1_000,
        "{trips} trips, {left_out} left out"
    );
}
