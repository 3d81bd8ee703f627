//! A driver's route, and what it costs: the objective that a plan minimises.
//!
//! Per order `food + squared x ((given + food)^2 - given^2) + detour x (its customer's extra way)`, where `food` is how
//! long the food waits for its driver and `given` the rest of click-to-door, cooking and the way to the door, which no
//! dispatch can change; per stop `wait x (driver's wait) + way x (way to the restaurant)`. With single trips `food` is
//! the measure itself; the square of the whole keeps its tail short: who waits long anyway waits least for a driver.
//! An order that is only expected may be ready sooner or later than the one it repeats, by up to `unsure`: its `food` is the
//! mean over that time, so a driver who has time to spare is worth more than one who would be just in time.
//! The way counts next to nothing: sending a driver from afar is no loss while the nearer one stays for what comes next.

use crate::point::Place;

/// An order to be fetched and brought, or one that is expected.
#[derive(Debug, Clone)]
pub(in crate::policy) struct Errand {
    /// Orders of equal number are of one restaurant and may share a trip.
    pub restaurant: u32,
    pub pickup: Place,
    pub dropoff: Place,
    /// When the food is ready, and from when a driver can be sent at all.
    pub ready: f64,
    pub known: f64,
    /// Seconds from restaurant to customer.
    pub drive: f64,
    /// Seconds from placement to ready and from the restaurant to the door: what no dispatch can change.
    pub given: f64,
    /// What its waiting counts: 1 for an order, less for one that is only expected.
    pub weight: f64,
    pub expected: bool,
    /// Metres; a driver further from the restaurant is not sent.
    pub radius: f64,
    /// Vehicles that must not be sent, ascending.
    pub barred: Vec<u32>,
}

/// A driver as the plan sees him: where and when he can start, and until when he may pick up.
#[derive(Debug, Clone)]
pub(in crate::policy) struct Vehicle {
    pub place: Place,
    pub free: f64,
    /// He has no trip now.
    pub idle: bool,
    pub until: f64,
}

/// The orders of one visit to a restaurant, in the order of delivery.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::policy) struct Stop {
    errands: [u32; Stop::MOST],
    count: u8,
}

impl Stop {
    /// How many orders a trip can carry at most.
    pub const MOST: usize = 3;

    pub fn of(errand: usize) -> Stop {
        let mut errands = [0; Stop::MOST];
        errands[0] = errand as u32;
        Stop { errands, count: 1 }
    }

    pub fn errands(&self) -> impl Iterator<Item = usize> + Clone + '_ {
        self.errands[..usize::from(self.count)]
            .iter()
            .map(|errand| *errand as usize)
    }

    pub fn first(&self) -> usize {
        self.errands[0] as usize
    }

    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// With the errand delivered as the `place`th; only while there is room.
    pub fn with(&self, place: usize, errand: usize) -> Stop {
        let mut stop = *self;
        stop.errands.copy_within(place..self.len(), place + 1);
        stop.errands[place] = errand as u32;
        stop.count += 1;
        stop
    }

    /// Without the errand; `None` when nothing is left.
    pub fn without(&self, errand: usize) -> Option<Stop> {
        let mut stop = Stop {
            errands: [0; Stop::MOST],
            count: 0,
        };
        for other in self.errands().filter(|other| *other != errand) {
            stop.errands[stop.len()] = other as u32;
            stop.count += 1;
        }
        (stop.count > 0).then_some(stop)
    }
}

#[derive(Debug, Clone, Default)]
pub(in crate::policy) struct Route {
    pub stops: Vec<Stop>,
    pub cost: f64,
}

/// See the module's objective; seconds and shares.
#[derive(Debug, Clone, Copy)]
pub(in crate::policy) struct Weights {
    /// By how much an expected errand's food may be ready sooner or later than it says; seconds.
    pub unsure: f64,
    /// Of the square of click-to-door, beside food wait itself; per second.
    pub squared: f64,
    pub detour: f64,
    pub wait: f64,
    pub way: f64,
    /// What it costs to leave an order, and one that is expected, out of the plan; seconds.
    pub unserved: f64,
    pub unserved_expected: f64,
    /// What it costs in the matching to give an order no driver of its own.
    pub second_trip: f64,
}

impl Weights {
    /// What it costs that an errand's food waits so long.
    pub fn food(&self, errand: &Errand, food: f64) -> f64 {
        errand.weight * food * (1.0 + self.squared * (food + 2.0 * errand.given))
    }

    /// How long an errand's food waits for a driver who is at the counter so long after it should be ready; negative
    /// when he is early.
    fn waits(&self, errand: &Errand, late: f64) -> f64 {
        if errand.expected && late.abs() < self.unsure {
            // The mean of max(0, late - u), u uniform between -unsure and unsure.
            (late + self.unsure).powi(2) / (4.0 * self.unsure)
        } else {
            late.max(0.0)
        }
    }

    pub fn left_out(&self, errand: &Errand) -> f64 {
        if errand.expected {
            errand.weight * self.unserved_expected
        } else {
            self.unserved
        }
    }
}

impl super::Problem<'_> {
    /// What it costs that the vehicle makes these stops; `None` when it cannot, or not below the limit.
    pub(super) fn cost(&self, vehicle: usize, stops: &[Stop], limit: f64) -> Option<f64> {
        let mut cost = 0.0;
        self.follow(vehicle, stops, |_, _, more| {
            cost += more;
            cost < limit
        })
        .then_some(cost)
    }

    /// What the stop costs if the vehicle makes it first.
    pub(in crate::policy) fn stop_cost(&self, vehicle: usize, stop: Stop) -> f64 {
        self.cost(vehicle, &[stop], f64::INFINITY).unwrap_or(0.0)
    }

    /// When the vehicle has the food of each of these stops.
    pub(in crate::policy) fn pickups(&self, vehicle: usize, stops: &[Stop]) -> Vec<f64> {
        let mut pickups = Vec::new();
        self.follow(vehicle, stops, |_, pickup, _| {
            pickups.push(pickup);
            true
        });
        pickups
    }

    /// Follows a route stop by stop, telling each stop, its pickup and its cost, while the listener wants
    /// more; false when it wanted no more, or the vehicle cannot go on.
    fn follow(
        &self,
        vehicle: usize,
        stops: &[Stop],
        mut hear: impl FnMut(&Stop, f64, f64) -> bool,
    ) -> bool {
        let weights = &self.weights;
        let driver = &self.vehicles[vehicle];
        let (mut at, mut origin, mut idle) = (driver.free, self.ways.start(vehicle), driver.idle);
        for stop in stops {
            let lead = &self.errands[stop.first()];
            let way = self.ways.to_restaurant(origin, lead.restaurant);
            if !self.may_fetch(vehicle, way.metres, stop) {
                return false;
            }
            let way = way.seconds;
            let counter = at.max(lead.known) + way + self.half_pickup;
            let ready = stop.errands().fold(f64::MIN, |ready, errand| {
                ready.max(self.errands[errand].ready)
            });
            let pickup = counter.max(ready);
            if pickup > driver.until {
                return false;
            }
            let waited = if idle { 0.0 } else { pickup - counter };
            let mut cost = lead.weight * weights.wait * waited + weights.way * way;
            idle = false;
            at = pickup + self.half_pickup;
            let mut before: Option<&Errand> = None;
            for number in stop.errands() {
                let errand = &self.errands[number];
                let there = if errand.expected { counter } else { pickup };
                cost += weights.food(errand, weights.waits(errand, there - errand.ready));
                at += match before {
                    None => errand.drive,
                    Some(before) => self.ways.drive(before.dropoff, errand.dropoff),
                };
                cost += weights.detour * (at - pickup - self.half_pickup - errand.drive);
                at += self.dropoff;
                before = Some(errand);
                origin = self.ways.customer(number);
            }
            if !hear(stop, pickup, cost) {
                return false;
            }
        }
        true
    }

    fn may_fetch(&self, vehicle: usize, metres: f64, stop: &Stop) -> bool {
        stop.errands().all(|errand| {
            let errand = &self.errands[errand];
            metres <= errand.radius
                && (errand.barred.is_empty() || !errand.barred.contains(&(vehicle as u32)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(unsure: f64) -> Weights {
        Weights {
            unsure,
            squared: 0.0,
            detour: 0.0,
            wait: 0.0,
            way: 0.0,
            unserved: 0.0,
            unserved_expected: 0.0,
            second_trip: 0.0,
        }
    }

    fn errand(expected: bool) -> Errand {
        let place = Place([0.0; 3]);
        Errand {
            restaurant: 0,
            pickup: place,
            dropoff: place,
            ready: 0.0,
            known: 0.0,
            drive: 0.0,
            given: 0.0,
            weight: 1.0,
            expected,
            radius: 0.0,
            barred: Vec::new(),
        }
    }

    #[test]
    fn an_expected_order_waits_as_long_as_on_average_over_when_it_may_be_ready() {
        let unsure = 900.0;
        let steps = 100_000;
        let readies = (0..steps)
            .map(|step| unsure * (2.0 * (f64::from(step) + 0.5) / f64::from(steps) - 1.0));
        for late in [-1_200.0, -900.0, -300.0, 0.0, 450.0, 900.0, 1_500.0] {
            let mean = readies
                .clone()
                .map(|ready| (late - ready).max(0.0))
                .sum::<f64>()
                / f64::from(steps);
            let waits = weights(unsure).waits(&errand(true), late);
            assert!((waits - mean).abs() < 0.01, "{late}: {waits}, not {mean}");
        }
    }

    #[test]
    fn a_known_order_and_a_sure_one_wait_exactly_as_long_as_the_driver_is_late() {
        for late in [-300.0, 0.0, 300.0] {
            for (unsure, expected) in [(900.0, false), (0.0, true)] {
                let waits = weights(unsure).waits(&errand(expected), late);
                assert_eq!(waits, late.max(0.0), "{late}, {unsure}, {expected}");
            }
        }
    }
}
