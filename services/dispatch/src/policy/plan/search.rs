//! From first errands to routes: the errands that are left go where they cost least, then single errands
//! move, and pairs of routes exchange stops or tails, as long as that lowers the total cost.
//!
//! A move is tried again only where something changed since, and only towards the errand's candidates; an exchange that was
//! looked at from one of its two sides not from the other. The
//! budget counts the changes that are looked at, not time, so that it ends alike everywhere; those that a bound rules out
//! count as well, so no bound changes a plan. When it is spent, what has been found stands.

use super::matching::Candidate;
use super::splice::{Followed, Splice, surely, surpasses};
use super::wanted::Wanted;
use super::{Problem, Route, Stop};

/// A gain below this (seconds) is none: rounding must not let the search run in circles.
const GAIN: f64 = 1e-6;
/// Rounds of moves at most; later ones find next to nothing.
const ROUNDS: usize = 4;

/// Exchanges are looked for with the first of a stop's candidates only: those who could be earliest.
const PARTNERS: usize = 16;

/// Where an errand could go.
#[derive(Clone, Copy)]
struct Slot {
    vehicle: usize,
    stop: usize,
    /// Its turn among the orders of that stop; `None`: a stop of its own before it.
    turn: Option<usize>,
}

struct Search<'a> {
    problem: &'a Problem<'a>,
    candidates: &'a [Vec<Candidate>],
    routes: Vec<Route>,
    /// The routes, stop by stop; of one that has had none yet perhaps nothing.
    followed: Vec<Followed>,
    vehicle_of: Vec<Option<usize>>,
    /// Errands by restaurant, for those that may share a trip.
    companions: Vec<Vec<usize>>,
    wanted: Wanted,
    /// Counts the changes of routes.
    clock: u32,
    /// By vehicle, when its route changed last.
    changed: Vec<u32>,
    /// By errand, when a move of it was looked for last; by vehicle, the same of exchanges.
    tried: Vec<u32>,
    compared: Vec<u32>,
    /// Room for a route that is put aside.
    spare: (Route, Followed),
    effort: usize,
}

/// The best routes found, beginning with these first errands.
pub(super) fn routes(
    problem: &Problem<'_>,
    candidates: &[Vec<Candidate>],
    first: &[Option<usize>],
) -> Vec<Route> {
    let mut search = Search::new(problem, candidates, first);
    search.improve();
    search.routes
}

fn by_ready(problem: &Problem<'_>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..problem.errands.len()).collect();
    let ready = |errand: usize| problem.errands[errand].ready;
    order.sort_by(|a, b| ready(*a).total_cmp(&ready(*b)).then(a.cmp(b)));
    order
}

fn companions(problem: &Problem<'_>) -> Vec<Vec<usize>> {
    let mut companions: Vec<Vec<usize>> = Vec::new();
    for (index, errand) in problem.errands.iter().enumerate() {
        let restaurant = errand.restaurant as usize;
        if companions.len() <= restaurant {
            companions.resize(restaurant + 1, Vec::new());
        }
        if !errand.expected {
            companions[restaurant].push(index);
        }
    }
    companions
}

impl<'a> Search<'a> {
    /// Each of these first errands on a route of its own.
    fn new(
        problem: &'a Problem<'a>,
        candidates: &'a [Vec<Candidate>],
        first: &[Option<usize>],
    ) -> Search<'a> {
        let vehicles = problem.vehicles.len();
        let mut search = Search {
            problem,
            candidates,
            routes: vec![Route::default(); vehicles],
            followed: vec![Followed::default(); vehicles],
            vehicle_of: first.to_vec(),
            companions: companions(problem),
            wanted: Wanted::new(candidates, vehicles),
            clock: 1,
            changed: vec![1; vehicles],
            tried: vec![0; candidates.len()],
            compared: vec![0; vehicles],
            spare: Default::default(),
            effort: problem.effort,
        };
        for (errand, vehicle) in first.iter().enumerate() {
            if let Some(vehicle) = *vehicle {
                search.routes[vehicle].stops.push(Stop::of(errand));
                search.price(vehicle);
            }
        }
        search
    }

    /// Adds the errands that are left, and improves until nothing helps; false when the budget ended it before.
    fn improve(&mut self) -> bool {
        let order = by_ready(self.problem);
        for &errand in &order {
            if self.vehicle_of[errand].is_none()
                && let Some(slot) = self.best_slot(errand, f64::INFINITY, 0)
            {
                self.put(errand, slot);
            }
        }
        for _ in 0..ROUNDS {
            let moved = self.move_errands(&order);
            let exchanged = self.exchange();
            if self.effort == 0 {
                return false;
            }
            if !(moved || exchanged) {
                return true;
            }
        }
        false
    }

    /// What the spliced route costs the vehicle, if that is below the limit.
    #[inline(never)]
    fn try_out(&self, vehicle: usize, splice: Splice, limit: f64) -> Option<f64> {
        self.problem
            .spliced_cost(vehicle, splice, &self.routes, &self.followed, limit)
    }

    fn spend(&mut self) {
        self.effort = self.effort.saturating_sub(1);
    }

    fn follow(&mut self, vehicle: usize) {
        let (route, followed) = (&mut self.routes[vehicle], &mut self.followed[vehicle]);
        self.problem.follow(vehicle, route, followed);
    }

    fn price(&mut self, vehicle: usize) {
        self.follow(vehicle);
        self.clock += 1;
        self.changed[vehicle] = self.clock;
    }

    /// The slot that adds least, and less than the limit and than leaving the errand out; a stop of its own only on routes
    /// that changed since.
    fn best_slot(&mut self, errand: usize, limit: f64, since: u32) -> Option<Slot> {
        self.tried[errand] = self.clock;
        let left_out = self.problem.weights.left_out(&self.problem.errands[errand]);
        let mut limit = limit.min(left_out);
        let mut best = None;
        let known: &[Candidate] = &self.candidates[errand];
        for candidate in known {
            let vehicle = candidate.vehicle;
            // Nothing before it makes a pickup earlier, so alone it costs least.
            if candidate.cost.min(0.0) >= limit || self.changed[vehicle] <= since {
                continue;
            }
            if candidate.floor >= limit - GAIN {
                continue;
            }
            if self.routes[vehicle].stops.is_empty() {
                self.only_slot(candidate, &mut limit, &mut best);
            } else {
                self.slots_of(errand, vehicle, &mut limit, &mut best);
            }
        }
        self.shared_slots(errand, &mut limit, &mut best);
        best
    }

    /// A stop of its own on an empty route: what that costs is known.
    fn only_slot(&mut self, candidate: &Candidate, limit: &mut f64, best: &mut Option<Slot>) {
        self.spend();
        if candidate.cost < *limit - GAIN {
            *limit = candidate.cost;
            *best = Some(Slot {
                vehicle: candidate.vehicle,
                stop: 0,
                turn: None,
            });
        }
    }

    /// Stops of its own on the vehicle's route.
    fn slots_of(
        &mut self,
        errand: usize,
        vehicle: usize,
        limit: &mut f64,
        best: &mut Option<Slot>,
    ) {
        let base = self.routes[vehicle].cost;
        for stop in 0..=self.routes[vehicle].stops.len() {
            let splice = Splice {
                keep: stop,
                stop: Some(Stop::of(errand)),
                end: (vehicle, stop),
            };
            self.spend();
            let below = base + *limit - GAIN;
            let own = &self.problem.errands[errand];
            let least = self.problem.least_with(own, &self.followed[vehicle], stop);
            if surpasses(least, below) {
                continue;
            }
            // By far the most of all that is tried, so not by way of `try_out`.
            let (routes, followed) = (&self.routes, &self.followed);
            let cost = self
                .problem
                .spliced_cost(vehicle, splice, routes, followed, below);
            if let Some(cost) = cost {
                *limit = cost - base;
                *best = Some(Slot {
                    vehicle,
                    stop,
                    turn: None,
                });
            }
        }
    }

    /// Turns in stops that are made at its restaurant anyway.
    fn shared_slots(&mut self, errand: usize, limit: &mut f64, best: &mut Option<Slot>) {
        let own = &self.problem.errands[errand];
        if self.problem.trip_size < 2 || own.expected {
            return;
        }
        for place in 0..self.companions[own.restaurant as usize].len() {
            let other = self.companions[own.restaurant as usize][place];
            let Some(vehicle) = self.vehicle_of[other].filter(|_| other != errand) else {
                continue;
            };
            let route = &self.routes[vehicle];
            // A stop of several is met once, at its first.
            let Some(stop) = route.stops.iter().position(|stop| stop.first() == other) else {
                continue;
            };
            let shared = route.stops[stop];
            let apart = |other: usize| {
                (self.problem.errands[other].ready - own.ready).abs() > self.problem.spread
            };
            if shared.len() >= self.problem.trip_size || shared.errands().any(apart) {
                continue;
            }
            let base = route.cost;
            for turn in 0..=shared.len() {
                let splice = Splice {
                    keep: stop,
                    stop: Some(shared.with(turn, errand)),
                    end: (vehicle, stop + 1),
                };
                self.spend();
                if let Some(cost) = self.try_out(vehicle, splice, base + *limit - GAIN) {
                    *limit = cost - base;
                    *best = Some(Slot {
                        vehicle,
                        stop,
                        turn: Some(turn),
                    });
                }
            }
        }
    }

    fn put(&mut self, errand: usize, slot: Slot) {
        let stops = &mut self.routes[slot.vehicle].stops;
        match slot.turn {
            None => stops.insert(slot.stop, Stop::of(errand)),
            Some(turn) => stops[slot.stop] = stops[slot.stop].with(turn, errand),
        }
        self.vehicle_of[errand] = Some(slot.vehicle);
        self.price(slot.vehicle);
    }

    /// Tries to move each errand that costs anything to where it costs less.
    fn move_errands(&mut self, order: &[usize]) -> bool {
        let mut moved = false;
        for &errand in order {
            if self.effort == 0 {
                break;
            }
            moved |= match self.vehicle_of[errand] {
                Some(vehicle) => self.move_errand(errand, vehicle),
                None => {
                    let slot = self.best_slot(errand, f64::INFINITY, self.tried[errand]);
                    slot.inspect(|slot| self.put(errand, *slot)).is_some()
                }
            };
        }
        moved
    }

    fn move_errand(&mut self, errand: usize, vehicle: usize) -> bool {
        if self.routes[vehicle].cost <= GAIN {
            return false;
        }
        let tried = self.tried[errand];
        let since = if self.changed[vehicle] > tried {
            0
        } else {
            tried
        };
        let stops = &self.routes[vehicle].stops;
        let holds = |stop: &Stop| stop.errands().any(|other| other == errand);
        let Some(stop) = stops.iter().position(holds) else {
            return false;
        };
        let rest = stops[stop].without(errand);
        let without = Splice {
            keep: stop,
            stop: rest,
            end: (vehicle, stop + 1),
        };
        self.spend();
        let Some(cost) = self.try_out(vehicle, without, f64::INFINITY) else {
            return false;
        };
        let gain = self.routes[vehicle].cost - cost;
        if gain <= GAIN {
            return false;
        }
        let mut before = std::mem::take(&mut self.spare);
        before.0.stops.clone_from(&self.routes[vehicle].stops);
        before.0.stops.splice(stop..=stop, rest);
        self.swap(vehicle, &mut before);
        self.follow(vehicle);
        self.vehicle_of[errand] = None;
        let moved = match self.best_slot(errand, gain, since) {
            Some(slot) => {
                self.put(errand, slot);
                self.price(vehicle);
                true
            }
            None => {
                self.swap(vehicle, &mut before);
                self.vehicle_of[errand] = Some(vehicle);
                false
            }
        };
        self.spare = before;
        moved
    }

    fn swap(&mut self, vehicle: usize, (route, followed): &mut (Route, Followed)) {
        std::mem::swap(&mut self.routes[vehicle], route);
        std::mem::swap(&mut self.followed[vehicle], followed);
    }

    /// Lets routes that cost anything exchange stops or tails with those of candidates of their stops.
    fn exchange(&mut self) -> bool {
        let mut exchanged = false;
        for vehicle in 0..self.routes.len() {
            let compared = self.compared[vehicle];
            if self.routes[vehicle].cost > GAIN {
                self.compared[vehicle] = self.clock;
            }
            let mut stop = 0;
            while stop < self.routes[vehicle].stops.len() {
                if self.effort == 0 || self.routes[vehicle].cost <= GAIN {
                    break;
                }
                let lead = self.routes[vehicle].stops[stop].first();
                let partners: &[Candidate] = &self.candidates[lead];
                for partner in partners.iter().take(PARTNERS) {
                    let other = partner.vehicle;
                    let fresh = self.changed[vehicle].max(self.changed[other]) > compared;
                    if fresh
                        && other != vehicle
                        && stop < self.routes[vehicle].stops.len()
                        && partner.floor < self.routes[vehicle].cost + self.routes[other].cost
                    {
                        exchanged |= if self.cannot_gain(vehicle, lead, partner) {
                            self.spend();
                            false
                        } else {
                            self.exchange_between(vehicle, stop, other)
                        };
                    }
                }
                stop += 1;
            }
        }
        exchanged
    }

    /// Whether all that could be exchanged is the vehicle's only errand for nothing, at no gain.
    fn cannot_gain(&self, vehicle: usize, errand: usize, partner: &Candidate) -> bool {
        let only = Stop::of(errand);
        self.routes[vehicle].stops == [only]
            && self.routes[partner.vehicle].stops.is_empty()
            && partner.cost >= self.routes[vehicle].cost - GAIN
    }

    /// Makes the best exchange of this stop, or of the tail that begins with it, for something of the
    /// other's route, if one lowers the cost.
    fn exchange_between(&mut self, one: usize, stop: usize, other: usize) -> bool {
        if self.routes[other].stops.is_empty() {
            self.follow(other);
        }
        let mut best = self.routes[one].cost + self.routes[other].cost - GAIN;
        let mut found = None;
        let last = self.routes[other].stops.len();
        // What the other looked at, and nothing has changed since.
        let settled = self.changed[one].max(self.changed[other]) <= self.compared[other];
        for cut in 0..=last {
            if settled && cut < last && self.wanted.has(self.routes[other].stops[cut].first(), one)
            {
                continue;
            }
            let followed = |vehicle: usize| &self.followed[vehicle];
            let between = self
                .problem
                .between((followed(one), stop), (followed(other), cut));
            let Some(between) = between else { continue };
            for tails in [true, false] {
                if !tails && cut == last {
                    continue;
                }
                self.effort = self.effort.saturating_sub(1);
                let [least, rest] = if tails {
                    between.least_of_tails()
                } else {
                    between.least_of_stops(self.problem)
                };
                if surpasses(least + rest, best) {
                    continue;
                }
                let [ours, theirs] = self.exchanged((one, stop), (other, cut), tails);
                if let Some(first) = self.try_out(one, ours, best - surely(rest))
                    && let Some(second) = self.try_out(other, theirs, best - first)
                {
                    best = first + second;
                    found = Some((ours, theirs));
                }
            }
        }
        let Some((ours, theirs)) = found else {
            return false;
        };
        let stops = [(one, ours), (other, theirs)]
            .map(|(vehicle, splice)| (vehicle, self.spliced(vehicle, splice)));
        for (vehicle, stops) in stops {
            for errand in stops.iter().flat_map(|stop| stop.errands()) {
                self.vehicle_of[errand] = Some(vehicle);
            }
            self.routes[vehicle].stops = stops;
            self.price(vehicle);
        }
        true
    }

    /// Both routes after an exchange: of the tails that begin with these stops of theirs, or of the stops alone.
    fn exchanged(&self, one: (usize, usize), other: (usize, usize), tails: bool) -> [Splice; 2] {
        let swapped = |(vehicle, stop): (usize, usize), for_it: (usize, usize)| Splice {
            keep: stop,
            stop: (!tails).then(|| self.routes[for_it.0].stops[for_it.1]),
            end: if tails { for_it } else { (vehicle, stop + 1) },
        };
        [swapped(one, other), swapped(other, one)]
    }

    fn spliced(&self, vehicle: usize, splice: Splice) -> Vec<Stop> {
        let (of, from) = splice.end;
        let kept = self.routes[vehicle].stops[..splice.keep].iter();
        let end = self.routes[of].stops[from..].iter();
        kept.chain(&splice.stop).chain(end).copied().collect()
    }
}

#[cfg(test)]
mod local_optimum;
