//! A driver's route, and what it costs: the objective that a plan minimises.
//!
//! Per order `food + squared x ((given + food)^2 - given^2) + detour x (its customer's extra way)`, where `food` is how
//! long the food waits for its driver and `given` the rest of click-to-door, cooking and the way to the door, which no
//! dispatch can change; per stop `wait x (driver's wait) + way x (way to the restaurant)`. With single trips `food` is
//! the measure itself; the square of the whole keeps its tail short: who waits long anyway waits least for a driver.
//! An order that is only expected may be ready sooner or later than the one it repeats, by up to `unsure`: its `food` is the
//! mean over that time, so a driver who has time to spare is worth more than one who would be just in time.
//! Nobody's order may come later by a shared trip than on one of its own, by the same driver who sets out at the same time, by
//! more than `max_detour`.
//! The way counts next to nothing: sending a driver from afar is no loss while the nearer one stays for what comes next.

use super::ways::Origin;
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
    pub(super) fn waits(&self, errand: &Errand, late: f64) -> f64 {
        if errand.expected && late.abs() < self.unsure {
            // The mean of max(0, late - u), u uniform between -unsure and unsure.
            (late + self.unsure).powi(2) / (4.0 * self.unsure)
        } else {
            late.max(0.0)
        }
    }

    /// By how much `food(waits(late))` grows per second of lateness; it never shrinks as that grows, and where it jumps this is the lower.
    pub(super) fn slope(&self, errand: &Errand, late: f64) -> f64 {
        let food = self.waits(errand, late);
        let share = if errand.expected && late.abs() < self.unsure {
            (late + self.unsure) / (2.0 * self.unsure)
        } else {
            f64::from(late > 0.0)
        };
        errand.weight * share * (1.0 + 2.0 * self.squared * (food + errand.given))
    }

    pub fn left_out(&self, errand: &Errand) -> f64 {
        if errand.expected {
            errand.weight * self.unserved_expected
        } else {
            self.unserved
        }
    }
}

/// How far a vehicle has come on its route: what the rest of it depends on, and what the way so far cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Progress {
    pub at: f64,
    pub origin: Origin,
    /// He waits where he is and not at a counter.
    pub idle: bool,
    pub cost: f64,
}

impl Progress {
    /// Whether the same way further costs the same from here as from there.
    pub fn meets(&self, other: &Progress) -> bool {
        self.at == other.at && self.origin == other.origin && self.idle == other.idle
    }
}

/// A stop made.
pub(super) struct Made {
    /// When he was at the restaurant, at its counter, and had the food; and when all of it was ready.
    pub arrival: f64,
    pub counter: f64,
    pub ready: f64,
    pub pickup: f64,
    pub then: Progress,
    /// What it cost; of that what food that waited, the driver's wait and the way there did.
    pub cost: f64,
    pub food: f64,
    pub wait: f64,
    pub way: f64,
}

impl super::Problem<'_> {
    /// What it costs that the vehicle makes these stops; `None` when it cannot.
    pub(super) fn cost(&self, vehicle: usize, stops: &[Stop]) -> Option<f64> {
        let mut cost = 0.0;
        self.walk(vehicle, stops, |_, made| cost = made.then.cost)
            .then_some(cost)
    }

    /// What the stop costs if the vehicle makes it first.
    pub(in crate::policy) fn stop_cost(&self, vehicle: usize, stop: Stop) -> f64 {
        self.cost(vehicle, &[stop]).unwrap_or(0.0)
    }

    /// When the vehicle has the food of each of these stops.
    pub(in crate::policy) fn pickups(&self, vehicle: usize, stops: &[Stop]) -> Vec<f64> {
        let mut pickups = Vec::new();
        self.walk(vehicle, stops, |_, made| pickups.push(made.pickup));
        pickups
    }

    /// Makes stop after stop, telling each with how far the vehicle had come; false when it cannot go on.
    pub(super) fn walk(
        &self,
        vehicle: usize,
        stops: &[Stop],
        mut tell: impl FnMut(Progress, &Made),
    ) -> bool {
        let mut progress = self.start(vehicle);
        for stop in stops {
            let Some(made) = self.make(vehicle, progress, stop) else {
                return false;
            };
            tell(progress, &made);
            progress = made.then;
        }
        true
    }

    pub(super) fn start(&self, vehicle: usize) -> Progress {
        let driver = &self.vehicles[vehicle];
        Progress {
            at: driver.free,
            origin: self.ways.start(vehicle),
            idle: driver.idle,
            cost: 0.0,
        }
    }

    /// Makes the stop; `None` when the vehicle cannot.
    #[inline(always)]
    pub(super) fn make(&self, vehicle: usize, progress: Progress, stop: &Stop) -> Option<Made> {
        let lead = &self.errands[stop.first()];
        let way = self.ways.to_restaurant(progress.origin, lead.restaurant);
        let weights = &self.weights;
        let driver = &self.vehicles[vehicle];
        let metres = self.ways.metres(progress.origin, lead.restaurant);
        if !self.may_fetch(vehicle, metres, stop) {
            return None;
        }
        let arrival = progress.at.max(lead.known) + way;
        let counter = arrival + self.half_pickup;
        let ready = stop.errands().fold(f64::MIN, |ready, errand| {
            ready.max(self.errands[errand].ready)
        });
        let pickup = counter.max(ready);
        if pickup > driver.until {
            return None;
        }
        let waited = if progress.idle { 0.0 } else { pickup - counter };
        let wait = lead.weight * weights.wait * waited;
        let way = weights.way * way;
        let mut cost = wait + way;
        let (mut at, mut origin, mut all_food) = (pickup + self.half_pickup, progress.origin, 0.0);
        let mut before: Option<&Errand> = None;
        for number in stop.errands() {
            let errand = &self.errands[number];
            let there = if errand.expected { counter } else { pickup };
            let food = weights.food(errand, weights.waits(errand, there - errand.ready));
            all_food += food;
            cost += food;
            at += match before {
                None => errand.drive,
                Some(before) => self.ways.drive(before.dropoff, errand.dropoff),
            };
            let alone = counter.max(errand.ready) + self.half_pickup + errand.drive;
            if stop.len() > 1 && at - alone > self.max_detour {
                return None;
            }
            cost += weights.detour * (at - pickup - self.half_pickup - errand.drive);
            at += self.dropoff;
            before = Some(errand);
            origin = self.ways.customer(number);
        }
        Some(Made {
            arrival,
            counter,
            ready,
            pickup,
            then: Progress {
                at,
                origin,
                idle: false,
                cost: progress.cost + cost,
            },
            cost,
            food: all_food,
            wait,
            way,
        })
    }

    #[inline(always)]
    fn may_fetch(&self, vehicle: usize, metres: f64, stop: &Stop) -> bool {
        stop.errands().all(|errand| {
            let errand = &self.errands[errand];
            metres <= errand.radius
                && (errand.barred.is_empty() || !errand.barred.contains(&(vehicle as u32)))
        })
    }
}

#[cfg(test)]
mod waits;
