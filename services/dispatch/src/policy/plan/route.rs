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

/// How far a vehicle has come on its route: what the rest of it depends on, and what the way so far cost.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Progress {
    at: f64,
    origin: Origin,
    /// He waits where he is and not at a counter.
    idle: bool,
    cost: f64,
}

impl Progress {
    /// Whether the same way further costs the same from here as from there.
    fn meets(&self, other: &Progress) -> bool {
        self.at == other.at && self.origin == other.origin && self.idle == other.idle
    }
}

/// A stop made.
struct Made {
    /// When he was there.
    arrival: f64,
    then: Progress,
    pickup: f64,
    /// What it cost, and how much of that is for food that waited.
    cost: f64,
    food: f64,
}

/// A route followed: how far its vehicle has come before each stop, and after the last.
#[derive(Debug, Clone, Default)]
pub(super) struct Followed {
    legs: Vec<Leg>,
}

#[derive(Debug, Clone, Copy)]
struct Leg {
    before: Progress,
    /// When he is at the stop's restaurant; never after the last.
    arrival: f64,
    /// The most that it had cost after any stop before.
    peak: f64,
    /// What the stop costs; 0 after the last.
    cost: f64,
    /// What food waits cost from this stop on: nobody who comes later pays less.
    food: f64,
}

impl Leg {
    /// What food waits cost at least from this stop on, for one who has come so far and makes it next: as much as on
    /// this route, if he cannot be at the restaurant any earlier.
    #[inline(always)]
    fn least_after(&self, progress: Progress) -> f64 {
        let earliest = if progress.origin == self.before.origin {
            self.before.at
        } else {
            self.arrival
        };
        if progress.at >= earliest {
            self.food
        } else {
            0.0
        }
    }
}

/// A route made of parts: the beginning of the vehicle's own, perhaps another stop, and the end of some route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Splice {
    pub keep: usize,
    pub stop: Option<Stop>,
    /// Of which vehicle's route the end is, and the stop that it begins with.
    pub end: (usize, usize),
}

/// By how much sums of the same costs may differ, in seconds and as a share: far more than rounding can make of them.
const ROUNDING: f64 = 1e-9;

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

    /// Follows the route to its end. Infinitely dear if the vehicle cannot.
    pub(super) fn follow(&self, vehicle: usize, route: &mut Route, followed: &mut Followed) {
        let legs = &mut followed.legs;
        legs.clear();
        let (mut peak, mut last) = (f64::NEG_INFINITY, self.start(vehicle));
        let able = self.walk(vehicle, &route.stops, |before, made| {
            legs.push(Leg {
                before,
                arrival: made.arrival,
                peak,
                cost: made.cost,
                food: made.food,
            });
            peak = peak.max(made.then.cost);
            last = made.then;
        });
        route.cost = if able { last.cost } else { f64::INFINITY };
        legs.push(Leg {
            before: last,
            arrival: f64::INFINITY,
            peak,
            cost: 0.0,
            food: 0.0,
        });
        let mut rest = 0.0;
        for leg in legs.iter_mut().rev() {
            rest += leg.food;
            leg.food = rest;
        }
    }

    /// What the spliced route costs the vehicle; `None` when it cannot make it, or not below the limit. Bit for bit
    /// what `cost` says of it, and a matter of the stops that change: before them nothing does, and after them nothing
    /// from where the vehicle is as early as it was.
    pub(super) fn spliced_cost(
        &self,
        vehicle: usize,
        splice: Splice,
        routes: &[Route],
        followed: &[Followed],
        limit: f64,
    ) -> Option<f64> {
        let kept = followed[vehicle].legs.get(splice.keep)?;
        let mut progress = kept.before;
        let (of, from) = splice.end;
        let legs = &followed[of].legs;
        if kept.peak >= limit {
            return None;
        }
        if let Some(stop) = &splice.stop {
            let least = self.least(progress, stop);
            let least = least.cost + legs.get(from)?.least_after(least);
            if least * (1.0 - ROUNDING) - ROUNDING > limit {
                return None;
            }
            progress = self.make(vehicle, progress, stop)?.then;
            if progress.cost >= limit {
                return None;
            }
        }
        for (place, stop) in routes[of].stops.iter().enumerate().skip(from) {
            let leg = &legs[place];
            if of == vehicle && progress.meets(&leg.before) {
                return the_same(progress.cost, &legs[place..routes[of].stops.len()], limit);
            }
            let least = progress.cost + leg.least_after(progress);
            if least * (1.0 - ROUNDING) - ROUNDING > limit {
                return None;
            }
            progress = self.make(vehicle, progress, stop)?.then;
            if progress.cost >= limit {
                return None;
            }
        }
        Some(progress.cost)
    }

    /// Makes stop after stop, telling each with how far the vehicle had come; false when it cannot go on.
    fn walk(&self, vehicle: usize, stops: &[Stop], mut tell: impl FnMut(Progress, &Made)) -> bool {
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

    fn start(&self, vehicle: usize) -> Progress {
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
    fn make(&self, vehicle: usize, progress: Progress, stop: &Stop) -> Option<Made> {
        let weights = &self.weights;
        let driver = &self.vehicles[vehicle];
        let lead = &self.errands[stop.first()];
        let way = self.ways.to_restaurant(progress.origin, lead.restaurant);
        if !self.may_fetch(vehicle, way.metres, stop) {
            return None;
        }
        let way = way.seconds;
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
        let mut cost = lead.weight * weights.wait * waited + weights.way * way;
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
            then: Progress {
                at,
                origin,
                idle: false,
                cost: progress.cost + cost,
            },
            pickup,
            cost,
            food: all_food,
        })
    }

    /// How far he has come after the stop at best, if no way takes any time but that to the first door.
    #[inline(always)]
    fn least(&self, progress: Progress, stop: &Stop) -> Progress {
        let lead = &self.errands[stop.first()];
        let counter = progress.at.max(lead.known) + self.half_pickup;
        let (mut pickup, mut origin, mut cost) = (counter, progress.origin, progress.cost);
        for number in stop.errands() {
            let errand = &self.errands[number];
            cost += self.weights.food(errand, (counter - errand.ready).max(0.0));
            pickup = pickup.max(errand.ready);
            origin = self.ways.customer(number);
        }
        let dropoffs = stop.len() as f64 * self.dropoff;
        Progress {
            at: pickup + self.half_pickup + lead.drive + dropoffs,
            origin,
            idle: false,
            cost,
        }
    }

    fn may_fetch(&self, vehicle: usize, metres: f64, stop: &Stop) -> bool {
        stop.errands().all(|errand| {
            let errand = &self.errands[errand];
            metres <= errand.radius
                && (errand.barred.is_empty() || !errand.barred.contains(&(vehicle as u32)))
        })
    }
}

/// What a route costs that goes on as it was from here.
fn the_same(mut cost: f64, legs: &[Leg], limit: f64) -> Option<f64> {
    for leg in legs {
        cost += leg.cost;
        if cost >= limit {
            return None;
        }
    }
    Some(cost)
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
