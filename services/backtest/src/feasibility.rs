//! The benchmark's public rules, checked on a solution from outside: nothing here knows how the solution came about.
//!
//! A rule broken means a defect of whoever made the solution; figures of such a solution mean nothing.

use std::collections::BTreeSet;

use dispatch::Point;
use thiserror::Error;

use crate::instance::{Courier, Instance, minute_of};
use crate::solution::{Solution, Trip};

/// A broken rule. Instants in minutes.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Violation {
    #[error("order {order} is in two trips")]
    TwoTrips { order: String },
    #[error("a trip of courier {courier} carries nothing")]
    EmptyTrip { courier: String },
    #[error("order {order} shares a trip with an order of another restaurant")]
    TwoRestaurants { order: String },
    #[error("order {order}: {what} at {at}, not before {bound} ({why})")]
    TooEarly {
        order: String,
        what: Event,
        at: f64,
        bound: f64,
        why: &'static str,
    },
    #[error("order {order}: picked up at {at} by courier {courier}, whose shift ended at {bound}")]
    AfterShift {
        order: String,
        courier: String,
        at: f64,
        bound: f64,
    },
}

/// What a courier does at an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    Decided,
    Departs,
    PickedUp,
    LeavesRestaurant,
    LeavesCustomer,
    DroppedOff,
}

impl std::fmt::Display for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Event::Decided => "decided",
            Event::Departs => "the courier sets out",
            Event::PickedUp => "picked up",
            Event::LeavesRestaurant => "the courier leaves the restaurant",
            Event::LeavesCustomer => "the courier leaves the customer before",
            Event::DroppedOff => "dropped off",
        })
    }
}

/// The rules that the solution breaks; none if it is feasible.
pub fn check(instance: &Instance, solution: &Solution) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut served = BTreeSet::new();
    for drop in solution.trips.iter().flat_map(|trip| &trip.drops) {
        if !served.insert(drop.order) {
            let order = instance.orders[drop.order].id.clone();
            violations.push(Violation::TwoTrips { order });
        }
    }
    for (courier, trips) in instance.couriers.iter().zip(solution.by_courier(instance)) {
        let mut stand = Stand {
            at: minute_of(courier.on_at),
            place: courier.start,
            why: "he comes on duty",
        };
        for trip in trips {
            stand = Rules {
                instance,
                courier,
                trip,
                violations: &mut violations,
            }
            .check(stand);
        }
    }
    violations
}

/// Where a courier is, from when on he may leave, and what keeps him until then.
struct Stand {
    at: f64,
    place: Point,
    why: &'static str,
}

struct Rules<'a> {
    instance: &'a Instance,
    courier: &'a Courier,
    trip: &'a Trip,
    violations: &'a mut Vec<Violation>,
}

impl Rules<'_> {
    /// Checks a trip of a courier who stands so, and returns how he stands after it.
    fn check(mut self, stand: Stand) -> Stand {
        let Some(restaurant) = self.trip.restaurant(self.instance) else {
            let courier = self.courier.id.clone();
            self.violations.push(Violation::EmptyTrip { courier });
            return stand;
        };
        let half_pickup = self.instance.parameters.pickup_service_min / 2.0;
        let decided = minute_of(self.trip.decided_at);
        let departs = minute_of(self.trip.departs_at);
        let first = self.trip.drops[0].order;
        self.not_before(first, Event::Departs, departs, decided, "the decision");
        self.not_before(first, Event::Departs, departs, stand.at, stand.why);
        let arrives = departs + self.instance.travel_min(stand.place, restaurant.location);
        let pickup = minute_of(self.trip.pickup_at);
        self.not_before(
            first,
            Event::PickedUp,
            pickup,
            arrives + half_pickup,
            "arrival and half the service",
        );
        if pickup > minute_of(self.courier.off_at) {
            self.violations.push(Violation::AfterShift {
                order: self.instance.orders[first].id.clone(),
                courier: self.courier.id.clone(),
                at: pickup,
                bound: minute_of(self.courier.off_at),
            });
        }
        self.check_orders(decided, pickup);
        self.check_drops(Stand {
            at: pickup + half_pickup,
            place: restaurant.location,
            why: "the pickup and half the service",
        })
    }

    /// All orders are of one restaurant, known when the trip is decided and ready when they are picked up.
    fn check_orders(&mut self, decided: f64, pickup: f64) {
        let mut restaurant = None;
        for drop in &self.trip.drops {
            let order = &self.instance.orders[drop.order];
            if *restaurant.get_or_insert(order.restaurant) != order.restaurant {
                let order = order.id.clone();
                self.violations.push(Violation::TwoRestaurants { order });
            }
            let (placed, ready) = (minute_of(order.placed_at), minute_of(order.ready_at));
            self.not_before(drop.order, Event::Decided, decided, placed, "its placement");
            self.not_before(drop.order, Event::PickedUp, pickup, ready, "it is ready");
        }
    }

    fn check_drops(&mut self, mut stand: Stand) -> Stand {
        let half_dropoff = self.instance.parameters.dropoff_service_min / 2.0;
        let mut leaves = Event::LeavesRestaurant;
        for drop in &self.trip.drops {
            let customer = self.instance.orders[drop.order].customer;
            let departs = minute_of(drop.departs_at);
            self.not_before(drop.order, leaves, departs, stand.at, stand.why);
            let arrives = departs + self.instance.travel_min(stand.place, customer);
            let dropoff = minute_of(drop.dropoff_at);
            self.not_before(
                drop.order,
                Event::DroppedOff,
                dropoff,
                arrives + half_dropoff,
                "arrival and half the service",
            );
            leaves = Event::LeavesCustomer;
            stand = Stand {
                at: dropoff + half_dropoff,
                place: customer,
                why: "the drop-off before and half the service",
            };
        }
        stand
    }

    fn not_before(&mut self, order: usize, what: Event, at: f64, bound: f64, why: &'static str) {
        if at < bound {
            self.violations.push(Violation::TooEarly {
                order: self.instance.orders[order].id.clone(),
                what,
                at,
                bound,
                why,
            });
        }
    }
}
