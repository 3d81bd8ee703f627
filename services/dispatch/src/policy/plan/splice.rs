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
use super::ways::Way;
use super::{Problem, Route, Stop};

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
    /// What it costs at least if the first restaurant is reached so much later (earlier when negative), and `unpaid` of what his
    /// waits cost does not count.
    #[inline(always)]
    fn least(&self, later: f64, unpaid: f64) -> f64 {
        let wait = self.wait - unpaid;
        if later > 0.0 {
            let delay = (later - self.slack).max(0.0);
            self.food + delay * self.slope + (wait - later * self.rate).max(0.0) + self.fixed
        } else {
            (self.food + later * self.slope).max(0.0) + wait + self.fixed
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
        if let Some(stop) = &splice.stop {
            progress = self.make(vehicle, progress, stop)?.then;
            if progress.cost >= limit {
                return None;
            }
        }
        let (of, from) = splice.end;
        let (stops, legs) = (
            routes[of].stops.get(from..)?,
            followed[of].legs.get(from..)?,
        );
        for (place, (stop, leg)) in stops.iter().zip(legs).enumerate() {
            if of == vehicle && progress.meets(&leg.before) {
                return the_same(progress.cost, &legs[place..], limit);
            }
            let next = leg.next.as_ref()?;
            let way = self.ways.to_restaurant(progress.origin, next.restaurant);
            let least = progress.cost + self.least_by(&progress, way, next);
            if surpasses(least, limit) {
                return None;
            }
            progress = self.make_by(vehicle, progress, stop, way)?.then;
            if progress.cost >= limit {
                return None;
            }
        }
        Some(progress.cost)
    }

    /// What this end of a route costs at least for one who has come so far and goes this way to its first stop.
    #[inline(always)]
    fn least_by(&self, progress: &Progress, way: Way, next: &Next) -> f64 {
        let later = progress.at.max(next.known) + way.seconds - next.arrival;
        let unpaid = if progress.idle { next.stop.wait } else { 0.0 };
        self.weights.way * way.seconds + next.rest.least(later, unpaid)
    }

    /// The same, if there is a stop.
    #[inline(always)]
    fn least_of(&self, progress: &Progress, next: Option<&Next>) -> f64 {
        next.map_or(0.0, |next| {
            let way = self.ways.to_restaurant(progress.origin, next.restaurant);
            self.least_by(progress, way, next)
        })
    }

    /// What both routes cost at least once they have exchanged the tails that begin with these stops of theirs.
    pub(super) fn least_of_tails(
        &self,
        (one, stop): (&Followed, usize),
        (other, cut): (&Followed, usize),
    ) -> Option<[f64; 2]> {
        let (one, other) = (one.legs.get(stop)?, other.legs.get(cut)?);
        let least = |ours: &Leg, theirs: &Leg| {
            ours.before.cost + self.least_of(&ours.before, theirs.next.as_ref())
        };
        Some([least(one, other), least(other, one)])
    }

    /// The same once they have exchanged these stops alone.
    pub(super) fn least_of_stops(
        &self,
        (one, stop): (&Followed, usize),
        (other, cut): (&Followed, usize),
    ) -> Option<[f64; 2]> {
        let (one, other) = (one.legs.get(stop..stop + 2)?, other.legs.get(cut..cut + 2)?);
        Some([
            self.least_instead(one, other)?,
            self.least_instead(other, one)?,
        ])
    }

    /// What a route costs at least with the stop of another in place of its own: both as the legs before and after it.
    #[inline(always)]
    fn least_instead(&self, ours: &[Leg], theirs: &[Leg]) -> Option<f64> {
        let (before, next) = (&ours[0].before, theirs[0].next.as_ref()?);
        let way = self
            .ways
            .to_restaurant(before.origin, next.restaurant)
            .seconds;
        let later = before.at.max(next.known) + way - next.arrival;
        let unpaid = if before.idle { next.stop.wait } else { 0.0 };
        let own = self.weights.way * way + next.stop.least(later, unpaid);
        // When he has the food.
        let later = if later > 0.0 {
            (later - next.stop.slack).max(0.0)
        } else {
            later.max(-next.cooling)
        };
        let then = Progress {
            at: theirs[1].before.at + later,
            ..theirs[1].before
        };
        Some(before.cost + own + self.least_of(&then, ours[1].next.as_ref()))
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
