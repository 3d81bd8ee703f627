//! `lookahead` and `bundle`: plan several trips ahead for every driver, commit only what must begin now.
//!
//! Every tick at which somebody may have to leave plans all that is known: pending orders, drivers at the place and time where they will be
//! free, the end of their shifts; and, at a lower weight, that the orders of the last minutes come once
//! more, sooner or later, so that drivers stay near where they will be wanted. An order goes to the driver that the plan gives it
//! once its slack with him is within the tolerance; until then a better plan may still give it to another.
//!
//! A due order may wait beside a free driver only if the plan serves it no later than any free driver
//! would who is not himself promised to another known order; expected orders keep nobody. What the
//! plan would let wait longer goes to the nearest such driver at once.
//!
//! Under `bundle` orders of one restaurant may share a trip; whether they do is decided in the same plan.
//! Costs some milliseconds at a hundred orders and drivers (`examples/tick_cost.rs`).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use rivals::rivals;

use super::plan::{Errand, Problem, Route, Stop, Ways, Weights};
use super::plan_config::{BundleConfig, PlanConfig};
use super::roster::Roster;
use super::{Policy, PolicyId};
use crate::board::Board;
use crate::fleet::{Number, pickup_at};
use crate::ids::{DriverId, OrderId, RestaurantId};
use crate::point::Place;
use crate::queue::Due;
use crate::request::Request;
use crate::time::{At, Seconds};

/// What it costs to leave a known order out of the plan, in horizons: more than any wait.
const UNSERVED: f64 = 20.0;
/// The same for an expected one, before its weight.
const UNSERVED_EXPECTED: f64 = 0.7;
/// What it costs in the matching to leave an order to a driver's second trip, in horizons.
const SECOND_TRIP: f64 = 1.0;

/// `lookahead`, and with a size above 1 `bundle`.
#[derive(Debug, Clone)]
pub struct Lookahead {
    id: PolicyId,
    plan: PlanConfig,
    trip_size: usize,
    spread_s: f64,
    detour_weight: f64,
    max_detour_s: f64,
}

impl Lookahead {
    pub fn single(plan: PlanConfig) -> Lookahead {
        Lookahead {
            id: PolicyId {
                name: "lookahead",
                version: 5,
            },
            plan,
            trip_size: 1,
            spread_s: 0.0,
            detour_weight: 0.0,
            max_detour_s: 0.0,
        }
    }

    pub fn bundle(config: BundleConfig) -> Lookahead {
        Lookahead {
            id: PolicyId {
                name: "bundle",
                version: 6,
            },
            plan: config.plan,
            trip_size: config.max_orders.clamp(1, Stop::MOST),
            spread_s: config.spread_s,
            detour_weight: config.detour_weight,
            max_detour_s: config.max_detour_s,
        }
    }
}

impl Policy for Lookahead {
    fn id(&self) -> PolicyId {
        self.id
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
    /// By vehicle.
    drivers: Vec<Number>,
    idle: Vec<bool>,
    /// By vehicle: trips of known orders with the instant of their pickup, expected ones left out.
    trips: Vec<Vec<Planned>>,
}

#[derive(Debug, Clone, PartialEq)]
struct Planned {
    orders: Vec<OrderId>,
    pickup_at: At,
    cost: f64,
    /// Nothing stands before it on its driver's route.
    first: bool,
}

impl Lookahead {
    /// The plan for this board; `None` when it could send nobody.
    fn plan(&self, board: &Board<'_>) -> Option<Plan> {
        if board.fleet.candidates() == 0 {
            return None;
        }
        // While nobody could have to leave yet a plan would bind nobody, and the next tick makes another.
        if board.due.is_empty() && !board.may_send_any(self.foreseen(board)) {
            return None;
        }
        let known = self.known(board);
        let errands = self.errands(board, &known);
        let roster = Roster::around(board, &errands, self.plan.candidates);
        Some(self.plan_with(board, &known, errands, roster))
    }

    fn plan_with(
        &self,
        board: &Board<'_>,
        known: &[&Request],
        mut errands: Vec<Errand>,
        roster: Roster,
    ) -> Plan {
        let Roster {
            drivers,
            vehicles,
            near,
        } = roster;
        for (request, errand) in known.iter().zip(&mut errands) {
            errand.barred = barred(request, &drivers, board);
        }
        let orders: Vec<OrderId> = known.iter().map(|request| request.order_id).collect();
        let idle = vehicles.iter().map(|vehicle| vehicle.idle).collect();
        let config = &board.rules.config;
        let travel = board.rules.travel.as_ref();
        let ways = Ways::new(&vehicles, &errands, travel, board.now);
        let problem = Problem {
            errands,
            vehicles,
            weights: Weights {
                unsure: self.plan.expect_unsure_s,
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
            max_detour: self.max_detour_s,
            candidates: self.plan.candidates,
            effort: self.plan.effort,
            half_pickup: config.pickup_service_s / 2.0,
            dropoff: config.dropoff_service_s,
            near,
            ways,
        };
        let routes = problem.solve();
        let trips = trips(&problem, &routes, &orders, board.now);
        Plan {
            drivers,
            idle,
            trips,
        }
    }

    /// The known orders first, then those that are expected.
    fn errands(&self, board: &Board<'_>, known: &[&Request]) -> Vec<Errand> {
        let (now, rules) = (board.now, board.rules);
        let recent = self.rivals(board, known, self.recent(board));
        // By place too: a trip begins at one door. Looked up only.
        let mut restaurants: HashMap<(&RestaurantId, [u64; 3]), u32> = HashMap::new();
        let errand_of = |request: &Request| {
            let pickup = rules.travel.place(request.restaurant);
            let dropoff = rules.travel.place(request.customer);
            let drive = rules.eta(pickup, dropoff, now).0;
            Errand {
                restaurant: 0,
                pickup,
                dropoff,
                ready: request.ready_at.since(now).0,
                known: 0.0,
                given: request.ready_at.since(request.placed_at).0 + drive,
                drive,
                weight: 1.0,
                expected: false,
                radius: request.search_radius_m,
                barred: Vec::new(),
            }
        };
        let mut errands: Vec<Errand> = known.iter().map(|request| errand_of(request)).collect();
        errands.extend(recent.iter().map(|(age, request)| {
            let again = errand_of(request);
            Errand {
                ready: again.ready + self.plan.expect_s,
                known: self.plan.expect_s - age,
                weight: self.plan.expect_weight,
                expected: true,
                ..again
            }
        }));
        let requests = known.iter().copied();
        let requests = requests.chain(recent.iter().map(|(_, request)| *request));
        for (errand, request) in errands.iter_mut().zip(requests) {
            let door = (&request.restaurant_id, errand.pickup.0.map(f64::to_bits));
            let next = restaurants.len() as u32;
            errand.restaurant = *restaurants.entry(door).or_insert(next);
        }
        errands
    }

    /// The expected orders that can want the same drivers as known ones.
    fn rivals<'b>(
        &self,
        board: &Board<'_>,
        known: &[&Request],
        mut recent: Vec<(f64, &'b Request)>,
    ) -> Vec<(f64, &'b Request)> {
        let place = |request: &Request| board.rules.travel.place(request.restaurant);
        let known: Vec<Place> = known.iter().map(|request| place(request)).collect();
        let expected: Vec<Place> = recent.iter().map(|(_, request)| place(request)).collect();
        let mut rivals = rivals(&known, &expected, self.plan.expect_per_order).into_iter();
        recent.retain(|_| rivals.next() == Some(true));
        recent
    }

    /// The pending requests that a plan knows, in the order of their ids.
    fn known<'b>(&self, board: &'b Board<'_>) -> Vec<&'b Request> {
        let mut known: Vec<&Request> = self.foreseen(board).collect();
        known.sort_unstable_by_key(|request| request.order_id);
        known
    }

    /// The pending requests within the horizon, at most so many, the first to be ready first.
    fn foreseen<'b>(&self, board: &'b Board<'_>) -> impl Iterator<Item = &'b Request> {
        let (now, horizon_s) = (board.now, self.plan.horizon_s);
        let first_ready = board.queue.first_ready().map(|pending| &pending.request);
        first_ready
            .take_while(move |request| request.ready_at.since(now).0 <= horizon_s)
            .take(self.plan.orders)
    }

    /// The open requests placed lately, with their age in seconds; at most so many, the latest.
    fn recent<'b>(&self, board: &'b Board<'_>) -> Vec<(f64, &'b Request)> {
        let aged = |request: &'b Request| (board.now.since(request.placed_at).0, request);
        let fresh = |(age, _): &(f64, &Request)| *age < self.plan.expect_s;
        let waiting = board
            .queue
            .last_placed(board.now)
            .map(aged)
            .take_while(fresh);
        let underway = board
            .trips
            .last_placed(board.now)
            .map(aged)
            .take_while(fresh);
        let mut recent: Vec<(f64, &Request)> = waiting
            .take(self.plan.orders)
            .chain(underway.take(self.plan.orders))
            .collect();
        // By what the request says of itself: whether it waits or is under way must not matter.
        recent.sort_unstable_by(|(a, one), (b, other)| {
            a.total_cmp(b).then(one.order_id.cmp(&other.order_id))
        });
        recent.truncate(self.plan.orders);
        recent
    }
}

/// Which vehicles must not be sent for the request, ascending. Their drivers are in the order of their ids.
fn barred(request: &Request, drivers: &[Number], board: &Board<'_>) -> Vec<u32> {
    let id = |number: &Number| &board.fleet.driver(*number).id;
    let cooled = request
        .cooled
        .iter()
        .filter(|(_, until)| **until > board.now);
    let vehicle = |driver| drivers.binary_search_by(|it| id(it).cmp(driver)).ok();
    let barred = cooled.filter_map(|(driver, _)| vehicle(driver));
    barred.map(|vehicle| vehicle as u32).collect()
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
    fn driver(&self, vehicle: usize, board: &Board<'_>) -> DriverId {
        board.fleet.driver(self.drivers[vehicle]).id.clone()
    }

    /// Sends those who are free and must leave now to be in time for their first trip.
    fn commit_first_trips(&mut self, board: &mut Board<'_>) {
        for vehicle in 0..self.drivers.len() {
            let Some(trip) = self.trips[vehicle].first() else {
                continue;
            };
            if !(self.idle[vehicle] && trip.first) {
                continue;
            }
            let driver = self.driver(vehicle, board);
            if board.fits(&trip.orders, &driver)
                && board.claim_trip(&trip.orders, &driver, trip.cost)
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
        let mut promises = self.promises(board);
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
                board.hold(order, self.driver(vehicle, board), at);
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
                promises.drivers.remove(&self.driver(vehicle, board));
            }
        }
        promises.drivers.remove(&nearest.driver_id);
        board.claim(order, &nearest.driver_id, nearest.eta.0)
    }

    /// What is left of the plan: idle drivers whose route has a known order, and where and when each such
    /// order is picked up.
    fn promises(&self, board: &Board<'_>) -> Promises {
        let mut promises = Promises::default();
        for (vehicle, trips) in self.trips.iter().enumerate() {
            if self.idle[vehicle] && !trips.is_empty() {
                promises.drivers.insert(self.driver(vehicle, board));
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

mod rivals;
#[cfg(test)]
mod whole_fleet;
