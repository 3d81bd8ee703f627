//! Routes cut open and joined anew: what that costs, and what it costs at least.
//!
//! A search tries some ten thousand splices per tick, of which one in a hundred gains. So each route is followed once, stop by
//! stop, and what is learned on the way bounds every splice of it. The end of a route, begun by another vehicle or at another time, differs from
//! what it was only by how much later or earlier its first restaurant is reached. Later, its food waits longer by that
//! much, less what its driver's own waits take up; earlier, by no more than that less. The cost of food waits is convex, so
//! its slope where it was bounds what either makes of it. This looks up one way; only what may gain is walked.
//!
//! A bound never exceeds what it bounds by more than rounding can make of it, so what is left out could not have been chosen.

use super::route::{Made, Progress};
use super::{Errand, Problem, Route, Stop};

/// By how much sums of the same costs may differ, in seconds and as a share: far more than rounding can make of them.
const ROUNDING: f64 = 1e-9;

/// A route followed: how far its vehicle has come before each stop, and after the last.
#[derive(Debug, Clone, Default)]
pub(super) struct Followed {
    legs: Vec<Leg>,
}

#[derive(Debug, Clone, Copy)]
struct Leg {
    before: Progress,
    /// The most that it had cost after any stop before.
    peak: f64,
    /// What comes next; after the last stop nothing.
    next: Option<Next>,
}

/// A stop on a route.
#[derive(Debug, Clone, Copy)]
struct Next {
    restaurant: u32,
    /// From when a driver can be sent there, and when this one is there.
    known: f64,
    arrival: f64,
    /// How long all its food has been ready when he has it.
    cooling: f64,
    cost: f64,
    /// Of that the way there.
    way: f64,
    stop: Load,
    /// With all stops that follow.
    rest: Load,
}

/// What stops cost, and how that changes with when the first of them is reached.
#[derive(Debug, Clone, Copy, Default)]
struct Load {
    /// What food waits cost, and by how much more for each second that all is later.
    food: f64,
    slope: f64,
    /// What the driver's waits cost, and a second of them at most.
    wait: f64,
    rate: f64,
    /// So many seconds of delay his waits take up.
    slack: f64,
    /// What does not depend on time: detours, and the ways but that to the first stop.
    fixed: f64,
}

impl Load {
    /// What food waits and what does not depend on time cost at least if the first restaurant is reached so much later, or later still.
    #[inline(always)]
    fn least_food(&self, later: f64) -> f64 {
        let delay = if later > 0.0 {
            (later - self.slack).max(0.0)
        } else {
            later
        };
        (self.food + delay * self.slope).max(0.0) + self.fixed
    }

    /// What it costs at least if the first restaurant is reached so, the way there left out.
    #[inline(always)]
    fn least(&self, &Reached { later, unpaid, .. }: &Reached) -> f64 {
        let wait = self.wait - unpaid;
        self.least_food(later) + (wait - later.max(0.0) * self.rate).max(0.0)
    }
}

/// How a vehicle reaches the restaurant of a stop that stands on some route.
struct Reached {
    /// By how much later than on that route; negative: earlier.
    later: f64,
    /// What the way there costs.
    way: f64,
    /// What of his wait there on that route would not be paid: none is by one who waits idle.
    unpaid: f64,
}

/// A route made of parts: the beginning of the vehicle's own, perhaps another stop, and the end of some route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Splice {
    pub keep: usize,
    pub stop: Option<Stop>,
    /// Of which vehicle's route the end is, and the stop that it begins with.
    pub end: (usize, usize),
}

/// Whether a cost is the limit at least, although rounding may have made too much of it.
#[inline(always)]
pub(super) fn surpasses(least: f64, limit: f64) -> bool {
    surely(least) > limit
}

/// What is left of a bound if rounding made as much of it as it can.
#[inline(always)]
pub(super) fn surely(least: f64) -> f64 {
    least * (1.0 - ROUNDING) - ROUNDING
}

impl Problem<'_> {
    /// Follows the route to its end. Infinitely dear if the vehicle cannot.
    pub(super) fn follow(&self, vehicle: usize, route: &mut Route, followed: &mut Followed) {
        let legs = &mut followed.legs;
        legs.clear();
        legs.reserve_exact(route.stops.len() + 1);
        let (mut peak, mut last) = (f64::NEG_INFINITY, self.start(vehicle));
        let mut stops = route.stops.iter();
        let able = self.walk(vehicle, &route.stops, |before, made| {
            let next = stops.next().map(|stop| self.next(stop, made));
            legs.push(Leg { before, peak, next });
            peak = peak.max(made.then.cost);
            last = made.then;
        });
        route.cost = if able { last.cost } else { f64::INFINITY };
        legs.push(Leg {
            before: last,
            peak,
            next: None,
        });
        // Of the stop that follows.
        let (mut after, mut way) = (Load::default(), 0.0);
        let (mut known, mut at) = (0.0, f64::INFINITY);
        for leg in legs.iter_mut().rev() {
            let Some(next) = &mut leg.next else { continue };
            let stop = next.stop;
            next.rest = Load {
                food: stop.food + after.food,
                slope: stop.slope + after.slope,
                wait: stop.wait + after.wait,
                rate: stop.rate.max(after.rate),
                slack: stop.slack + after.slack + f64::max(known - at, 0.0),
                fixed: stop.fixed + after.fixed + way,
            };
            (after, way) = (next.rest, next.way);
            (known, at) = (next.known, leg.before.at);
        }
    }

    fn next(&self, stop: &Stop, made: &Made) -> Next {
        let lead = &self.errands[stop.first()];
        let slope = stop.errands().map(|errand| {
            let errand = &self.errands[errand];
            let there = if errand.expected {
                made.counter
            } else {
                made.pickup
            };
            self.weights.slope(errand, there - errand.ready)
        });
        let stop = Load {
            food: made.food,
            slope: slope.sum(),
            wait: made.wait,
            rate: lead.weight * self.weights.wait,
            slack: made.pickup - made.counter,
            fixed: made.cost - made.food - made.wait - made.way,
        };
        Next {
            restaurant: lead.restaurant,
            known: lead.known,
            arrival: made.arrival,
            cooling: made.pickup - made.ready,
            cost: made.cost,
            way: made.way,
            stop,
            rest: stop,
        }
    }

    /// What the spliced route costs the vehicle; `None` when it cannot make it, or not below the limit. Bit for bit
    /// what `cost` says of it, and a matter of the stops that change: before them nothing does, and after them nothing
    /// from where the vehicle is as early as it was.
    #[inline(always)]
    pub(super) fn spliced_cost(
        &self,
        vehicle: usize,
        splice: Splice,
        routes: &[Route],
        followed: &[Followed],
        limit: f64,
    ) -> Option<f64> {
        let kept = followed[vehicle].legs.get(splice.keep)?;
        if kept.peak >= limit {
            return None;
        }
        let mut progress = kept.before;
        let (of, from) = splice.end;
        let legs = followed[of].legs.get(from..)?;
        if let Some(stop) = &splice.stop {
            progress = self.make(vehicle, progress, stop)?.then;
            if progress.cost >= limit {
                return None;
            }
        }
        let then = legs.first().filter(|leg| leg.next.is_some());
        let Some(leg) = then else {
            return Some(progress.cost);
        };
        if of == vehicle && progress.meets(&leg.before) {
            return the_same(progress.cost, legs, limit);
        }
        if surpasses(progress.cost + self.least_from(&progress, leg), limit) {
            return None;
        }
        let stops = routes[of].stops.get(from..)?;
        self.walked_cost(vehicle, progress, stops, legs, (of == vehicle, limit))
    }

    /// The same of one who has come so far and makes these stops; whether they are on his route now, and below which limit.
    #[inline(never)]
    fn walked_cost(
        &self,
        vehicle: usize,
        mut progress: Progress,
        stops: &[Stop],
        legs: &[Leg],
        (his_own, limit): (bool, f64),
    ) -> Option<f64> {
        for (place, (stop, leg)) in stops.iter().zip(legs).enumerate() {
            if his_own && progress.meets(&leg.before) {
                return the_same(progress.cost, &legs[place..], limit);
            }
            if place > 0 && surpasses(progress.cost + self.least_from(&progress, leg), limit) {
                return None;
            }
            progress = self.make(vehicle, progress, stop)?.then;
            if progress.cost >= limit {
                return None;
            }
        }
        Some(progress.cost)
    }

    /// What a route costs at least with this errand fetched before that stop, had no restaurant any way to it.
    #[inline(always)]
    pub(super) fn least_with(&self, errand: &Errand, followed: &Followed, stop: usize) -> f64 {
        let Some(Leg { before, next, .. }) = followed.legs.get(stop) else {
            return f64::INFINITY;
        };
        let counter = before.at.max(errand.known) + self.half_pickup;
        let late = self.weights.waits(errand, counter - errand.ready);
        let own = self.weights.food(errand, late);
        let done = counter.max(errand.ready) + self.half_pickup + errand.drive + self.dropoff;
        let rest = |next: &Next| next.rest.least_food(done.max(next.known) - next.arrival);
        before.cost + own + next.as_ref().map_or(0.0, rest)
    }

    /// What the stops from here on cost at least for one who has come so far and makes them next.
    #[inline(always)]
    fn least_from(&self, progress: &Progress, leg: &Leg) -> f64 {
        let Some(next) = &leg.next else { return 0.0 };
        let reached = self.reach(progress, next);
        reached.way + next.rest.least(&reached)
    }

    #[inline(always)]
    fn reach(&self, from: &Progress, next: &Next) -> Reached {
        let way = self.ways.to_restaurant(from.origin, next.restaurant);
        Reached {
            later: from.at.max(next.known) + way - next.arrival,
            way: self.weights.way * way,
            unpaid: if from.idle { next.stop.wait } else { 0.0 },
        }
    }

    /// The routes before an exchange of what begins with these stops of theirs.
    #[inline(always)]
    pub(super) fn between<'f>(
        &self,
        (one, stop): (&'f Followed, usize),
        (other, cut): (&'f Followed, usize),
    ) -> Option<Between<'f>> {
        let (ours, theirs) = (one.legs.get(stop..)?, other.legs.get(cut..)?);
        let reach = |from: &[Leg], to: &[Leg]| {
            let (from, to) = (from.first()?, to.first()?.next.as_ref()?);
            Some(self.reach(&from.before, to))
        };
        Some(Between {
            ours,
            theirs,
            there: reach(ours, theirs),
            here: reach(theirs, ours),
        })
    }

    /// What a route costs at least with the stop of another in place of its own: both as the legs from there on.
    #[inline(always)]
    fn least_instead(&self, ours: &[Leg], theirs: &[Leg], reached: &Option<Reached>) -> f64 {
        let ([before, after, ..], [cut, back, ..], Some(reached)) = (ours, theirs, reached) else {
            return f64::INFINITY;
        };
        let Some(next) = &cut.next else {
            return f64::INFINITY;
        };
        // When he has the food.
        let later = if reached.later > 0.0 {
            (reached.later - next.stop.slack).max(0.0)
        } else {
            reached.later.max(-next.cooling)
        };
        let then = Progress {
            at: back.before.at + later,
            ..back.before
        };
        let own = reached.way + next.stop.least(reached);
        before.before.cost + own + self.least_from(&then, after)
    }
}

/// Two routes before an exchange: their legs from the stops on at which they are cut, and how each would reach the other's.
pub(super) struct Between<'f> {
    ours: &'f [Leg],
    theirs: &'f [Leg],
    there: Option<Reached>,
    here: Option<Reached>,
}

impl Between<'_> {
    /// What both routes cost at least with their tails exchanged.
    #[inline(always)]
    pub fn least_of_tails(&self) -> [f64; 2] {
        let least = |ours: &[Leg], theirs: &[Leg], reached: &Option<Reached>| {
            let next = theirs.first().and_then(|leg| leg.next.as_ref());
            let tail = next.zip(reached.as_ref());
            let before = ours.first().map_or(0.0, |leg| leg.before.cost);
            before
                + tail.map_or(0.0, |(next, reached)| {
                    reached.way + next.rest.least(reached)
                })
        };
        [
            least(self.ours, self.theirs, &self.there),
            least(self.theirs, self.ours, &self.here),
        ]
    }

    /// The same with only the first stops exchanged.
    #[inline(always)]
    pub fn least_of_stops(&self, problem: &Problem<'_>) -> [f64; 2] {
        [
            problem.least_instead(self.ours, self.theirs, &self.there),
            problem.least_instead(self.theirs, self.ours, &self.here),
        ]
    }
}

/// What a route costs that goes on as it was from here.
fn the_same(mut cost: f64, legs: &[Leg], limit: f64) -> Option<f64> {
    for next in legs.iter().filter_map(|leg| leg.next.as_ref()) {
        cost += next.cost;
        if cost >= limit {
            return None;
        }
    }
    Some(cost)
}
