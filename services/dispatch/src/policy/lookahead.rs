//! `lookahead` and `bundle`: plan several trips ahead for every driver, commit only what must begin now.
//!
//! Every tick plans all that is known: pending orders, drivers at the place and time where they will be
//! free, the end of their shifts; and, at a lower weight, that the orders of the last minutes come once
//! more, so that drivers stay near where they will be wanted. An order goes to the driver that the plan gives it
//! once its slack with him is within the tolerance; until then a better plan may still give it to another.
//!
//! A due order may wait beside a free driver only if the plan serves it no later than any free driver
//! would who is not himself promised to another known order; expected orders keep nobody. What the
//! plan would let wait longer goes to the nearest such driver at once.
//!
//! Under `bundle` orders of one restaurant may share a trip; whether they do is decided in the same plan.
//! Costs some milliseconds at a hundred orders and drivers (`examples/tick_cost.rs`).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::plan::{Errand, Problem, Route, Stop, Vehicle, Ways, Weights};
use super::plan_config::{BundleConfig, PlanConfig};
use super::{Policy, PolicyId};
use crate::board::Board;
use crate::driver::Driver;
use crate::fleet::pickup_at;
use crate::ids::{DriverId, OrderId, RestaurantId};
use crate::point::Place;
use crate::queue::Due;
use crate::request::Request;
use crate::time::{At, Seconds};

/// What it costs to leave a known order out of the plan, in horizons: more than any wait.
const UNSERVED: f64 = 20.0;
/// The same for an expected one, before its weight.
const UNSERVED_EXPECTED: f64 = 0.7;
/// Among so many drivers who start nearest to a restaurant the candidates for its orders are chosen.
const NEAREST: usize = 160;
/// What it costs in the matching to leave an order to a driver's second trip, in horizons.
const SECOND_TRIP: f64 = 1.0;

/// `lookahead`, and with a size above 1 `bundle`.
#[derive(Debug, Clone)]
pub struct Lookahead {
    name: &'static str,
    plan: PlanConfig,
    trip_size: usize,
    spread_s: f64,
    detour_weight: f64,
}

impl Lookahead {
    pub fn single(plan: PlanConfig) -> Lookahead {
        Lookahead {
            name: "lookahead",
            plan,
            trip_size: 1,
            spread_s: 0.0,
            detour_weight: 0.0,
        }
    }

    pub fn bundle(config: BundleConfig) -> Lookahead {
        Lookahead {
            name: "bundle",
            plan: config.plan,
            trip_size: config.max_orders.clamp(1, Stop::MOST),
            spread_s: config.spread_s,
            detour_weight: config.detour_weight,
        }
    }
}

impl Policy for Lookahead {
    fn id(&self) -> PolicyId {
        PolicyId {
            name: self.name,
            version: 2,
        }
    }

    /// It goes by the cost of the plan.
    fn before(&self, _: &Due, _: &Due) -> Ordering {
        Ordering::Equal
    }

    fn choose(&self, board: &mut Board<'_>) {
        if let Some(mut plan) = self.plan(board) {
            plan.commit_first_trips(board);
            plan.serve_idle(board);
        }
    }
}

/// A solved plan in the board's terms.
struct Plan {
    drivers: Vec<DriverId>,
    idle: Vec<bool>,
    /// By vehicle: trips of known orders with the instant of their pickup, expected ones left out.
    trips: Vec<Vec<Planned>>,
}

#[derive(Debug, Clone)]
struct Planned {
    orders: Vec<OrderId>,
    pickup_at: At,
    cost: f64,
    /// Nothing stands before it on its driver's route.
    first: bool,
}

impl Lookahead {
    /// The plan for this board; `None` when nobody is free whom it could send.
    fn plan(&self, board: &Board<'_>) -> Option<Plan> {
        let (drivers, vehicles) = vehicles(board);
        if !vehicles.iter().any(|vehicle| vehicle.idle) {
            return None;
        }
        let (orders, errands) = self.errands(board, &drivers);
        if orders.is_empty() {
            return None;
        }
        let idle = vehicles.iter().map(|vehicle| vehicle.idle).collect();
        let config = &board.rules.config;
        let travel = board.rules.travel.as_ref();
        let nearest = NEAREST.max(self.plan.candidates);
        let ways = Ways::between(&vehicles, &errands, travel, board.now, nearest);
        let problem = Problem {
            errands,
            vehicles,
            weights: Weights {
                squared: self.plan.tail_weight / 60.0,
                detour: self.detour_weight,
                wait: self.plan.driver_wait_weight,
                way: self.plan.way_weight,
                unserved: UNSERVED * self.plan.horizon_s,
                unserved_expected: UNSERVED_EXPECTED * self.plan.horizon_s,
                second_trip: SECOND_TRIP * self.plan.horizon_s,
            },
            trip_size: self.trip_size,
            spread: self.spread_s,
            candidates: self.plan.candidates,
            effort: self.plan.effort,
            half_pickup: config.pickup_service_s / 2.0,
            dropoff: config.dropoff_service_s,
            ways,
        };
        let routes = problem.solve();
        let trips = trips(&problem, &routes, &orders, board.now);
        Some(Plan {
            drivers,
            idle,
            trips,
        })
    }

    /// Known orders first, with their ids, then those that are expected. The drivers are in the order of their ids.
    fn errands(&self, board: &Board<'_>, drivers: &[DriverId]) -> (Vec<OrderId>, Vec<Errand>) {
        let now = board.now;
        // By place too: a trip begins at one door.
        let mut restaurants: BTreeMap<(RestaurantId, [u64; 3]), u32> = BTreeMap::new();
        let mut errand_of = |request: &Request| {
            let (pickup, dropoff) = (
                board.rules.travel.place(request.restaurant),
                board.rules.travel.place(request.customer),
            );
            let door = (request.restaurant_id.clone(), pickup.0.map(f64::to_bits));
            let next = restaurants.len() as u32;
            Errand {
                restaurant: *restaurants.entry(door).or_insert(next),
                pickup,
                dropoff,
                ready: request.ready_at.since(now).0,
                known: 0.0,
                given: request.ready_at.since(request.placed_at).0
                    + board.rules.eta(pickup, dropoff, now).0,
                drive: board.rules.eta(pickup, dropoff, now).0,
                weight: 1.0,
                expected: false,
                radius: request.search_radius_m,
                barred: Vec::new(),
            }
        };
        let (mut orders, mut errands) = (Vec::new(), Vec::new());
        for request in self.known(board) {
            let cooled = request.cooled.iter().filter(|(_, until)| **until > now);
            let barred = cooled.filter_map(|(driver, _)| drivers.binary_search(driver).ok());
            let barred = barred.map(|number| number as u32);
            orders.push(request.order_id);
            errands.push(Errand {
                barred: barred.collect(),
                ..errand_of(request)
            });
        }
        for (age, request) in self.recent(board) {
            let again = errand_of(request);
            errands.push(Errand {
                ready: again.ready + self.plan.expect_s,
                known: self.plan.expect_s - age,
                weight: self.plan.expect_weight,
                expected: true,
                ..again
            });
        }
        (orders, errands)
    }

    /// The pending requests within the horizon, at most so many, the first to be ready.
    fn known<'b>(&self, board: &'b Board<'_>) -> Vec<&'b Request> {
        let requests = board.queue.iter().map(|pending| &pending.request);
        let mut known: Vec<&Request> = requests
            .filter(|request| request.ready_at.since(board.now).0 <= self.plan.horizon_s)
            .collect();
        if known.len() > self.plan.orders {
            known.sort_by_key(|request| (request.ready_at, request.order_id));
            known.truncate(self.plan.orders);
            known.sort_by_key(|request| request.order_id);
        }
        known
    }

    /// The open requests placed lately, with their age in seconds; at most so many, the latest.
    fn recent<'b>(&self, board: &'b Board<'_>) -> Vec<(f64, &'b Request)> {
        let requests = board.open_requests();
        let aged = requests.map(|request| (board.now.since(request.placed_at).0, request));
        let mut recent: Vec<(f64, &Request)> = aged
            .filter(|(age, _)| *age >= 0.0 && *age < self.plan.expect_s)
            .collect();
        // By what the request says of itself: whether it waits or is under way must not matter.
        recent
            .sort_by(|(a, one), (b, other)| a.total_cmp(b).then(one.order_id.cmp(&other.order_id)));
        recent.truncate(self.plan.orders);
        recent
    }
}

/// All who have a place to start from: free ones where they stand, busy ones where their trip ends, and those who will come
/// on duty where and when their shift begins.
///
/// Who is not heard is not counted on. Who should have ended his trip by now is expected after as long again as he is late
/// already: the later he is, the less is known of when he will come, and nobody waits for one who never does.
fn vehicles(board: &Board<'_>) -> (Vec<DriverId>, Vec<Vehicle>) {
    let (mut drivers, mut vehicles) = (Vec::new(), Vec::new());
    for driver in board.fleet.iter() {
        let heard = board.rules.heard_until(driver.seen_at) >= board.now;
        let starts = match driver.trip {
            None if !driver.online => coming(driver, board.now),
            None => driver.indexed.filter(|_| heard).map(|place| (0.0, place)),
            Some(_) if !driver.online || !heard => None,
            Some(trip) => {
                let end = board.trips.ends(trip, board.rules);
                end.map(|(at, _, place)| (at.since(board.now).0.abs(), place))
            }
        };
        let Some((free, place)) = starts else {
            continue;
        };
        drivers.push(driver.id.clone());
        vehicles.push(Vehicle {
            place,
            free,
            idle: driver.online && driver.trip.is_none(),
            until: until(driver).map_or(f64::INFINITY, |end| end.since(board.now).0),
        });
    }
    (drivers, vehicles)
}

/// In how many seconds and where his next shift begins, if it is still to come.
fn coming(driver: &Driver, now: At) -> Option<(f64, Place)> {
    let (shift, place) = driver.next_shift?;
    (shift.begins > now).then(|| (shift.begins.since(now).0, place))
}

/// When his pickups end, if it is known.
fn until(driver: &Driver) -> Option<At> {
    let next = driver.next_shift.map(|(shift, _)| shift.ends);
    if driver.online {
        driver.shift_end
    } else {
        next
    }
}

/// The routes' trips of known orders.
fn trips(
    problem: &Problem<'_>,
    routes: &[Route],
    orders: &[OrderId],
    now: At,
) -> Vec<Vec<Planned>> {
    let mut trips = Vec::new();
    for (vehicle, route) in routes.iter().enumerate() {
        let pickups = problem.pickups(vehicle, &route.stops);
        let mut planned = Vec::new();
        for (place, (stop, pickup)) in route.stops.iter().zip(pickups).enumerate() {
            if problem.errands[stop.first()].expected {
                continue;
            }
            planned.push(Planned {
                orders: stop.errands().map(|errand| orders[errand]).collect(),
                pickup_at: now.plus(Seconds(pickup)),
                cost: problem.stop_cost(vehicle, *stop),
                first: place == 0,
            });
        }
        trips.push(planned);
    }
    trips
}

impl Plan {
    /// Sends those who are free and must leave now to be in time for their first trip.
    fn commit_first_trips(&mut self, board: &mut Board<'_>) {
        for vehicle in 0..self.drivers.len() {
            let Some(trip) = self.trips[vehicle].first() else {
                continue;
            };
            if self.idle[vehicle]
                && trip.first
                && board.fits(&trip.orders, &self.drivers[vehicle])
                && board.claim_trip(&trip.orders, &self.drivers[vehicle], trip.cost)
            {
                self.idle[vehicle] = false;
                self.trips[vehicle].remove(0);
            }
        }
    }

    /// Gives due orders that the plan would let wait beside an idle driver to the nearest of them, and
    /// holds the others.
    fn serve_idle(&mut self, board: &mut Board<'_>) {
        let mut due: Vec<Due> = board.due.clone();
        due.sort_by(|a, b| {
            a.slack
                .total_cmp(&b.slack)
                .then(a.order_id.cmp(&b.order_id))
        });
        let mut promises = self.promises();
        // Who is sent may leave another unpromised, so that an order held before need not wait any more.
        loop {
            let mut sent = false;
            for request in &due {
                sent |= self.serve(board, request.order_id, &mut promises);
            }
            if !sent {
                break;
            }
        }
        board.promised = promises.drivers;
    }

    /// Sends somebody for a due order if it may not be held; true if somebody was sent.
    fn serve(&mut self, board: &mut Board<'_>, order: OrderId, promises: &mut Promises) -> bool {
        if board.claimed.contains(&order) {
            return false;
        }
        let planned = promises.orders.get(&order).copied();
        let idle = board.nearest_but(order, &promises.drivers);
        let now = board.now;
        let at_idle = idle.as_ref().zip(board.queue.get(order));
        let at_idle = at_idle.map(|(idle, pending)| pickup_at(pending, now, idle.eta, board.rules));
        let nearest = match (planned, at_idle) {
            (Some((_, at)), Some(at_idle)) if at > at_idle => idle,
            (Some((vehicle, at)), _) => {
                board.hold(order, self.drivers[vehicle].clone(), at);
                return false;
            }
            (None, Some(_)) => idle,
            // Out of the plan: promises to others do not bind.
            (None, None) => board.nearest(order),
        };
        let Some(nearest) = nearest else {
            return false;
        };
        if let Some((vehicle, _)) = promises.orders.remove(&order) {
            self.trips[vehicle].retain_mut(|trip| {
                trip.orders.retain(|other| *other != order);
                !trip.orders.is_empty()
            });
            if self.trips[vehicle].is_empty() {
                promises.drivers.remove(&self.drivers[vehicle]);
            }
        }
        promises.drivers.remove(&nearest.driver_id);
        board.claim(order, &nearest.driver_id, nearest.eta.0)
    }

    /// What is left of the plan: idle drivers whose route has a known order, and where and when each such
    /// order is picked up.
    fn promises(&self) -> Promises {
        let mut promises = Promises::default();
        for (vehicle, trips) in self.trips.iter().enumerate() {
            if self.idle[vehicle] && !trips.is_empty() {
                promises.drivers.insert(self.drivers[vehicle].clone());
            }
            for trip in trips {
                let slot = (vehicle, trip.pickup_at);
                promises
                    .orders
                    .extend(trip.orders.iter().map(|order| (*order, slot)));
            }
        }
        promises
    }
}

#[derive(Debug, Default)]
struct Promises {
    drivers: BTreeSet<DriverId>,
    orders: BTreeMap<OrderId, (usize, At)>,
}
