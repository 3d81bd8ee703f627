//! A day of an instance in virtual time, decided by the scheduler that also runs live.
//!
//! The simulation knows the whole day, the scheduler only what it has been told: an order and its ready instant when it
//! is placed, a courier when he comes on duty, with the end of his shift. Couriers do as they are told and go at the
//! benchmark's times, so a trip is settled once it is decided; the scheduler still hears of each step no earlier than it
//! happens. Ticks are at whole minutes, because departures are.
//!
//! The same instance and policy give the same trips, bit for bit. A day costs what its ticks cost.

use std::collections::BTreeMap;
use std::sync::Arc;

use dispatch::{
    At, Audit, Config, Decision, DriverId, Input, OrderId, Phase, Point, PolicySpec, Request,
    RestaurantId, Scheduler, Seconds, Shift, TravelTime, TripId, WholeMinutes, Widening,
};
use uuid::Uuid;

use crate::agenda::Agenda;
use crate::instance::Instance;
use crate::solution::{Drop, Solution, Trip};

/// Between two ticks.
const TICK: Seconds = Seconds(60.0);
/// Longer than any instance, for bounds that the benchmark does not have.
const NEVER_S: f64 = 1e9;
/// Further than any place of an instance.
const ANYWHERE_M: f64 = 1e9;

/// How a day went.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub solution: Solution,
    /// The scheduler's counters of its own invariants.
    pub audit: Audit,
}

/// The slack at which orders are due, where the policy has none of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    pub slack: Seconds,
    /// How it widens under pressure, from where to where as dispatch has it by default.
    pub widening: Widening,
}

/// Plays the instance under the policy.
pub fn simulate(instance: &Instance, policy: &PolicySpec, tolerance: Tolerance) -> Outcome {
    let travel = Arc::new(travel(instance));
    let mut day = Day {
        instance,
        scheduler: Scheduler::new(config(instance, tolerance), travel.clone(), policy.build()),
        travel,
        couriers: by_id(instance),
        whereabouts: instance.couriers.iter().map(|c| c.start).collect(),
        agenda: Agenda::default(),
        solution: Solution::default(),
    };
    day.plan();
    day.play();
    Outcome {
        audit: day.scheduler.audit(),
        solution: day.solution,
    }
}

/// The scheduler's settings under the benchmark's rules: couriers are never silent and never refuse, and no order is too
/// old to be served.
fn config(instance: &Instance, tolerance: Tolerance) -> Config {
    Config {
        tolerance_s: tolerance.slack.0,
        widening: tolerance.widening,
        tick_s: TICK.0,
        location_ttl_s: NEVER_S,
        max_wait_s: NEVER_S,
        offer_timeout_s: None,
        vanish_after_s: None,
        abandon_after_s: None,
        pickup_service_s: instance.parameters.pickup_service_min * 60.0,
        dropoff_service_s: instance.parameters.dropoff_service_min * 60.0,
        ..Config::default()
    }
}

fn travel(instance: &Instance) -> WholeMinutes {
    WholeMinutes::new(instance.parameters.metres_per_minute)
        .expect("an instance is read with a speed above 0 only")
}

fn by_id(instance: &Instance) -> BTreeMap<DriverId, usize> {
    let couriers = instance.couriers.iter().enumerate();
    couriers
        .map(|(place, courier)| (DriverId::new(courier.id.as_str()), place))
        .collect()
}

/// Orders keep the order of their file, so that ties do not depend on how many others there are.
fn order_id(place: usize) -> OrderId {
    OrderId(Uuid::from_u128(place as u128))
}

fn place_of(order: OrderId) -> usize {
    order.0.as_u128() as usize
}

struct Day<'a> {
    instance: &'a Instance,
    scheduler: Scheduler,
    travel: Arc<WholeMinutes>,
    couriers: BTreeMap<DriverId, usize>,
    /// Where each courier is once he is free.
    whereabouts: Vec<Point>,
    agenda: Agenda<Input>,
    solution: Solution,
}

impl Day<'_> {
    /// Puts shifts and orders on the agenda.
    fn plan(&mut self) {
        let couriers = || self.instance.couriers.iter();
        let first = couriers().map(|courier| courier.on_at).min();
        for courier in couriers() {
            let driver_id = DriverId::new(courier.id.as_str());
            let shift = Shift {
                begins: courier.on_at,
                ends: courier.off_at,
                start: courier.start,
            };
            let announced = Input::ShiftAnnounced {
                driver_id: driver_id.clone(),
                shift: Some(shift),
            };
            self.agenda.note(first.unwrap_or(courier.on_at), announced);
            let at = courier.on_at;
            let online = Input::DriverOnline {
                driver_id: driver_id.clone(),
                at,
                shift_end: Some(courier.off_at),
            };
            self.agenda.note(at, online);
            let ping = Input::DriverPing {
                driver_id: driver_id.clone(),
                position: courier.start,
                at,
            };
            self.agenda.note(at, ping);
            // The last minute of the shift is part of it.
            let at = At(courier.off_at.0.saturating_add(1));
            self.agenda.note(at, Input::DriverOffline { driver_id, at });
        }
        for (place, order) in self.instance.orders.iter().enumerate() {
            let restaurant = &self.instance.restaurants[order.restaurant];
            let request = Request {
                order_id: order_id(place),
                version: 1,
                attempt: 1,
                restaurant_id: RestaurantId::new(restaurant.id.as_str()),
                restaurant: restaurant.location,
                customer: order.customer,
                placed_at: order.placed_at,
                requested_at: order.placed_at,
                ready_at: order.ready_at,
                ready_said_at: order.placed_at,
                search_radius_m: ANYWHERE_M,
                cooled: BTreeMap::new(),
            };
            self.agenda.note(order.placed_at, Input::Requested(request));
        }
    }

    /// Lets everything happen that is on the agenda, and the scheduler tick in between when it wants to. Once nothing is
    /// left to happen, all couriers have gone home.
    fn play(&mut self) {
        let mut next_tick = At::MIN;
        while let Some(next_input) = self.agenda.next_at() {
            let wanted = self.scheduler.next_due();
            match wanted.map(|due| whole_minute(due.max(next_tick))) {
                Some(now) if now < next_input => {
                    self.tick(now);
                    next_tick = now.plus(TICK);
                }
                _ => {
                    if let Some((at, input)) = self.agenda.pop() {
                        self.scheduler.apply(input);
                        next_tick = next_tick.max(at);
                    }
                }
            }
        }
    }

    fn tick(&mut self, now: At) {
        let mut trips: Vec<(TripId, Vec<Decision>)> = Vec::new();
        for decision in self.scheduler.tick(now).decisions {
            match trips.iter_mut().find(|(id, _)| *id == decision.trip.id) {
                Some((_, decisions)) => decisions.push(decision),
                None => trips.push((decision.trip.id, vec![decision])),
            }
        }
        for (_, mut decisions) in trips {
            decisions.sort_by_key(|decision| decision.trip.position);
            self.depart(now, &decisions);
        }
    }

    /// Sends a courier on the trip of these decisions, one or more, in the order of delivery.
    fn depart(&mut self, now: At, decisions: &[Decision]) {
        let driver_id = &decisions[0].driver_id;
        let courier = self.couriers[driver_id];
        let orders: Vec<usize> = decisions.iter().map(|d| place_of(d.order_id)).collect();
        let restaurant = self.instance.orders[orders[0]].restaurant;
        let restaurant = self.instance.restaurants[restaurant].location;
        let half_pickup = Seconds(self.instance.parameters.pickup_service_min * 30.0);
        let half_dropoff = Seconds(self.instance.parameters.dropoff_service_min * 30.0);

        let arrives_at = now.plus(self.eta(self.whereabouts[courier], restaurant, now));
        let ready_at = orders
            .iter()
            .map(|order| self.instance.orders[*order].ready_at);
        let pickup_at = ready_at.fold(arrives_at.plus(half_pickup), At::max);
        let mut drops = Vec::new();
        let (mut at, mut from) = (pickup_at.plus(half_pickup), restaurant);
        for &order in &orders {
            let to = self.instance.orders[order].customer;
            let dropoff_at = at.plus(self.eta(from, to, at)).plus(half_dropoff);
            drops.push(Drop {
                order,
                departs_at: at,
                dropoff_at,
            });
            (at, from) = (dropoff_at.plus(half_dropoff), to);
        }
        for (index, drop) in drops.iter().enumerate() {
            let last = index + 1 == drops.len();
            // The scheduler takes a driver for free once he has delivered: that is when he turns from the last door.
            let delivered_at = if last { at } else { drop.dropoff_at };
            for (phase, at) in [
                (Phase::Accepted, now),
                (Phase::AtRestaurant, arrives_at),
                (Phase::PickedUp, pickup_at),
                (Phase::Delivered, delivered_at),
            ] {
                if last && phase == Phase::Delivered {
                    self.sight(driver_id, from, at);
                }
                let progress = Input::Progress {
                    order_id: order_id(drop.order),
                    driver_id: driver_id.clone(),
                    phase,
                    at,
                };
                self.agenda.note(at, progress);
            }
        }
        self.whereabouts[courier] = from;
        self.solution.trips.push(Trip {
            courier,
            decided_at: now,
            departs_at: now,
            pickup_at,
            drops,
        });
    }

    fn sight(&mut self, driver_id: &DriverId, position: Point, at: At) {
        let driver_id = driver_id.clone();
        let ping = Input::DriverPing {
            driver_id,
            position,
            at,
        };
        self.agenda.note(at, ping);
    }

    fn eta(&self, from: Point, to: Point, at: At) -> Seconds {
        let place = |point| self.travel.place(point);
        self.travel.eta(place(from), place(to), at)
    }
}

/// The first whole minute that is not before `at`.
fn whole_minute(at: At) -> At {
    let minute = (TICK.0 * 1e6) as i64;
    let beyond = at.0.rem_euclid(minute);
    if beyond == 0 {
        at
    } else {
        At(at.0.saturating_add(minute - beyond))
    }
}
