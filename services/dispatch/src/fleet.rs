//! The drivers of a geo, with a spatial index of those who could be asked.
//!
//! **Ping cost.** A ping moves one entry of the index: O(log drivers). The requests that count on that
//! driver are not visited; his odometer advances, and only those whose reading it passes are woken.
//! Each such wake-up was paid for by half of the request's remaining time (see `queue`), so a request
//! is woken a logarithmic number of times in its life, however many pings there are.
//!
//! **Silence.** The index may hold drivers who fell silent; `drop_silent` removes them at the start of
//! a tick. A driver is looked at once per location TTL, not once per ping. Those who carry orders are looked at
//! alike, by a longer measure: `vanished`.
//!
//! **Numbers.** Within the fleet a driver is a number, given when he is first heard of and never again: four bytes in
//! every index instead of a name, and no search by names while neighbours are compared. Numbers follow the order of
//! arrival, so nothing is decided by them; ties are the names' to break. The first letters of each name stand side by side
//! (`Initials`), since comparing thousands of names that lie all over the memory costs more than all else about them.
//!
//! **Later starts.** A second index holds where the others will start: those under way at their last door, those off
//! duty where their next shift begins. It changes with trips and duty, not with pings.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use foldhash::HashMap;

use crate::driver::{Driver, Reading};
use crate::ids::{DriverId, OrderId, TripId};
use crate::point::Place;
use crate::queue::Pending;
use crate::rules::Rules;
use crate::spots::Spots;
use crate::time::{At, Seconds};

/// A driver who could take a request now.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub driver_id: DriverId,
    pub distance_m: f64,
    pub eta: Seconds,
}

/// What a change of one driver means for requests.
#[derive(Debug, Default)]
pub(crate) struct Stir {
    /// Requests that counted on him and must look again.
    pub watchers: Vec<OrderId>,
    /// Where he can be fetched from now, if he could not be before or stood elsewhere.
    pub stands: Option<Place>,
}

/// A driver within the fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Number(u32);

impl Number {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// The first bytes of a name as a number that sorts as they do; shorter names end in zeros. Equal ones say nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Initials(u128);

impl Initials {
    fn of(id: &DriverId) -> Initials {
        let name = id.as_str().as_bytes();
        let mut first = [0; size_of::<u128>()];
        let count = name.len().min(first.len());
        first[..count].copy_from_slice(&name[..count]);
        Initials(u128::from_be_bytes(first))
    }
}

#[derive(Debug, Default)]
pub(crate) struct Fleet {
    /// By number.
    drivers: Vec<Driver>,
    /// By number.
    initials: Vec<Initials>,
    /// Looked up only: its order, which differs between processes, is never seen.
    numbers: HashMap<DriverId, Number>,
    index: Spots<Number>,
    later: Spots<Number>,
    /// When to look whether an indexed driver has fallen silent.
    hearings: BTreeSet<(At, Number)>,
    /// When to look whether a driver with a trip has vanished.
    checks: BTreeSet<(At, Number)>,
}

impl Fleet {
    pub fn get(&self, id: &DriverId) -> Option<&Driver> {
        self.numbers.get(id).map(|number| self.driver(*number))
    }

    pub fn driver(&self, number: Number) -> &Driver {
        &self.drivers[number.0 as usize]
    }

    fn get_mut(&mut self, id: &DriverId) -> Option<&mut Driver> {
        let number = self.numbers.get(id)?;
        Some(&mut self.drivers[number.0 as usize])
    }

    /// All drivers, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (Number, &Driver)> {
        let mut numbers: Vec<Number> = (0..).map(Number).take(self.len()).collect();
        numbers.sort_unstable_by(|one, other| self.by_id(*one, *other));
        let driver = |number: Number| (number, self.driver(number));
        numbers.into_iter().map(driver)
    }

    /// The order of two drivers' ids.
    pub fn by_id(&self, one: Number, other: Number) -> Ordering {
        let initials = |number: Number| self.initials[number.index()];
        let ids = || self.driver(one).id.cmp(&self.driver(other).id);
        initials(one).cmp(&initials(other)).then_with(ids)
    }

    /// The number of a driver, of an unknown one a new one: he begins off duty.
    fn number(&mut self, id: &DriverId) -> Number {
        if let Some(number) = self.numbers.get(id) {
            return *number;
        }
        let number = Number(self.drivers.len() as u32);
        self.drivers.push(Driver::unknown(id.clone()));
        self.initials.push(Initials::of(id));
        self.numbers.insert(id.clone(), number);
        number
    }

    /// All drivers' numbers are below this.
    pub fn len(&self) -> usize {
        self.drivers.len()
    }

    /// How many could be asked, silent ones not yet noticed included.
    pub fn candidates(&self) -> usize {
        self.index.len()
    }

    /// Changes what is known of a driver (an unknown one begins off duty) and brings the index in line.
    pub fn update(
        &mut self,
        id: &DriverId,
        rules: &Rules,
        change: impl FnOnce(&mut Driver),
    ) -> Stir {
        let number = self.number(id);
        let driver = &mut self.drivers[number.0 as usize];
        let (shift_end, later) = (driver.shift_end, driver.starts_later());
        let before = driver.stands();
        change(driver);
        if driver.trip.is_some()
            && !driver.checking
            && let Some(at) = rules.vanishes_at(driver.seen_at)
        {
            driver.checking = true;
            self.checks.insert((at, number));
        }
        reindex(&mut self.later, number, later, driver.starts_later());
        let after = driver.available();
        let same_shift = shift_end == driver.shift_end;
        if before == after && same_shift {
            return Stir::default();
        }
        driver.indexed = after.is_some();
        if let (Some(from), Some(to)) = (before, after) {
            driver.odometer_m += rules.travel.distance_m(from, to);
        }
        let watchers = if after.is_some() && same_shift {
            overtaken(driver)
        } else {
            all_watchers(driver)
        };
        if let Some(at) = after.and_then(|_| newly_heard(driver, rules)) {
            self.hearings.insert((at, number));
        }
        reindex(&mut self.index, number, before, after);
        Stir {
            watchers,
            stands: after,
        }
    }

    /// Notes when and where the driver's trip ends, as far as is known now.
    pub fn redirect(&mut self, id: &DriverId, end: Option<(At, Place)>) {
        let Some(driver) = self.get_mut(id) else {
            return;
        };
        let before = driver.starts_later();
        driver.bound_for = end.map(|(_, place)| place);
        driver.free_at = end.map_or(At::MAX, |(at, _)| at);
        let after = driver.starts_later();
        let number = self.number(id);
        reindex(&mut self.later, number, before, after);
    }

    /// Notes anew when each trip ends.
    pub fn retime(&mut self, ends_at: impl Fn(TripId) -> Option<At>) {
        for driver in &mut self.drivers {
            if let Some(at) = driver.trip.and_then(&ends_at) {
                driver.free_at = at;
            }
        }
    }

    /// Takes drivers out of the index who have been silent for longer than the TTL; those who counted on
    /// them must look again.
    pub fn drop_silent(&mut self, now: At, rules: &Rules) -> Vec<OrderId> {
        let mut watchers = Vec::new();
        while let Some((at, number)) = self.hearings.first().copied()
            && at < now
        {
            self.hearings.pop_first();
            let driver = &mut self.drivers[number.0 as usize];
            driver.hearing = false;
            let Some(place) = driver.stands() else {
                continue;
            };
            let until = rules.heard_until(driver.seen_at);
            if until >= now {
                driver.hearing = true;
                self.hearings.insert((until, number));
                continue;
            }
            driver.indexed = false;
            watchers.extend(all_watchers(driver));
            reindex(&mut self.index, number, Some(place), None);
        }
        watchers
    }

    /// When somebody may have vanished with an order.
    pub fn next_check(&self) -> Option<At> {
        self.checks.first().map(|(at, _)| *at)
    }

    /// Those who carry something and have been silent for too long, and since when: each once per silence.
    pub fn vanished(&mut self, now: At, rules: &Rules) -> BTreeMap<DriverId, At> {
        let mut vanished = BTreeMap::new();
        while let Some((at, number)) = self.checks.first().copied()
            && at <= now
        {
            self.checks.pop_first();
            let driver = &mut self.drivers[number.0 as usize];
            driver.checking = false;
            let until = rules.vanishes_at(driver.seen_at);
            let Some(until) = until.filter(|_| driver.trip.is_some()) else {
                continue;
            };
            if until > now {
                driver.checking = true;
                self.checks.insert((until, number));
            } else {
                vanished.insert(driver.id.clone(), rules.silent_since(driver.seen_at));
            }
        }
        vanished
    }

    /// Looks again, from this instant on, at everybody who carries something.
    pub fn recheck(&mut self, rules: &Rules) {
        self.checks.clear();
        for (number, driver) in (0..).map(Number).zip(&mut self.drivers) {
            let at = driver.trip.and_then(|_| rules.vanishes_at(driver.seen_at));
            driver.checking = at.is_some();
            self.checks.extend(at.map(|at| (at, number)));
        }
    }

    /// Lets a request sleep until the driver has moved beyond this reading of his odometer.
    pub fn watch(&mut self, id: &DriverId, reading: Reading, order: OrderId) {
        if let Some(driver) = self.get_mut(id) {
            driver.watchers.insert((reading, order));
        }
    }

    pub fn unwatch(&mut self, id: &DriverId, reading: Reading, order: OrderId) {
        if let Some(driver) = self.get_mut(id) {
            driver.watchers.remove(&(reading, order));
        }
    }

    /// The nearest driver who may take the request now; of equally near ones the first by id.
    ///
    /// Nearest by distance is nearest by eta, because travel time never shrinks with distance.
    pub fn nearest(
        &self,
        pending: &Pending,
        now: At,
        rules: &Rules,
    ) -> Option<(Candidate, &Driver)> {
        self.nearest_but(pending, now, rules, &BTreeSet::new())
    }

    /// The same among those who are not excepted.
    pub fn nearest_but(
        &self,
        pending: &Pending,
        now: At,
        rules: &Rules,
        except: &BTreeSet<DriverId>,
    ) -> Option<(Candidate, &Driver)> {
        let mut best: Option<(f64, Candidate, &Driver)> = None;
        for (spot, chord2) in self.index.nearest(pending.pickup) {
            if let Some((nearest, ..)) = &best
                && chord2 > *nearest
            {
                break;
            }
            let driver = self.driver(spot.who);
            if let Some((_, candidate, _)) = &best
                && driver.id > candidate.driver_id
            {
                continue;
            }
            let distance_m = rules.travel.distance_m(spot.place, pending.pickup);
            if distance_m > pending.request.search_radius_m {
                break;
            }
            let eta = rules.travel.seconds(distance_m, now);
            if may_take(driver, pending, now, eta, rules) && !except.contains(&driver.id) {
                let driver_id = driver.id.clone();
                best = Some((
                    chord2,
                    Candidate {
                        driver_id,
                        distance_m,
                        eta,
                    },
                    driver,
                ));
            }
        }
        best.map(|(_, candidate, driver)| (candidate, driver))
    }

    /// Who starts nearest to the place, now or later, with the squares of the distances, nearest first; of equally near ones
    /// those who can start now first.
    pub fn starting_near(&self, place: Place) -> impl Iterator<Item = (f64, Number)> {
        let mut now = self.index.nearest(place).peekable();
        let mut later = self.later.nearest(place).peekable();
        std::iter::from_fn(move || {
            let nearer = match (now.peek(), later.peek()) {
                (Some((_, one)), Some((_, other))) => one <= other,
                (one, _) => one.is_some(),
            };
            let next = if nearer { now.next() } else { later.next() };
            next.map(|(spot, chord2)| (chord2, spot.who))
        })
    }

    /// Whether the driver, were he without a trip, could take the request now.
    pub fn could_take(&self, id: &DriverId, pending: &Pending, now: At, rules: &Rules) -> bool {
        let Some(driver) = self.get(id) else {
            return false;
        };
        let Some((_, place)) = driver.position else {
            return false;
        };
        let distance_m = rules.travel.distance_m(place, pending.pickup);
        let eta = rules.travel.seconds(distance_m, now);
        distance_m <= pending.request.search_radius_m && may_take(driver, pending, now, eta, rules)
    }

    /// The driver as a candidate for the request, if he may take it now.
    pub fn candidate(
        &self,
        id: &DriverId,
        pending: &Pending,
        now: At,
        rules: &Rules,
    ) -> Option<Candidate> {
        let driver = self.get(id)?;
        let place = driver
            .stands()
            .filter(|_| rules.heard_until(driver.seen_at) >= now)?;
        let distance_m = rules.travel.distance_m(place, pending.pickup);
        let eta = rules.travel.seconds(distance_m, now);
        (distance_m <= pending.request.search_radius_m
            && may_take(driver, pending, now, eta, rules))
        .then(|| Candidate {
            driver_id: id.clone(),
            distance_m,
            eta,
        })
    }
}

/// Whether an available driver within the radius may take the request: not cooled down for it, and his
/// shift lasts until the pickup.
fn may_take(driver: &Driver, pending: &Pending, now: At, eta: Seconds, rules: &Rules) -> bool {
    let cooled = pending
        .request
        .cooled
        .get(&driver.id)
        .is_some_and(|until| *until > now);
    !cooled
        && driver
            .shift_end
            .is_none_or(|end| pickup_at(pending, now, eta, rules) <= end)
}

/// When a driver who leaves now would have the food: at the counter half the service after arriving.
pub(crate) fn pickup_at(pending: &Pending, now: At, eta: Seconds, rules: &Rules) -> At {
    now.plus(rules.to_counter(eta))
        .max(pending.request.ready_at)
}

/// Moves a driver's entry of an index.
fn reindex(index: &mut Spots<Number>, who: Number, before: Option<Place>, after: Option<Place>) {
    if before == after {
        return;
    }
    if let Some(place) = before {
        index.remove(place, who);
    }
    if let Some(place) = after {
        index.insert(place, who);
    }
}

/// When to look for silence, if nothing says so yet.
fn newly_heard(driver: &mut Driver, rules: &Rules) -> Option<At> {
    let already = std::mem::replace(&mut driver.hearing, true);
    (!already).then(|| rules.heard_until(driver.seen_at))
}

fn all_watchers(driver: &mut Driver) -> Vec<OrderId> {
    let watchers = std::mem::take(&mut driver.watchers);
    watchers.into_iter().map(|(_, order)| order).collect()
}

/// Removes and returns the watchers whose reading the odometer has passed.
fn overtaken(driver: &mut Driver) -> Vec<OrderId> {
    let now = Reading::of(driver.odometer_m);
    let mut woken = Vec::new();
    while let Some(&(reading, order)) = driver.watchers.first()
        && reading < now
    {
        driver.watchers.pop_first();
        woken.push(order);
    }
    woken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_are_in_the_order_of_their_names_however_much_of_these_is_alike() {
        let long = "a-name-longer-than-what-is-compared-first";
        let names = [
            "",
            "\0",
            "a",
            "a\0",
            "aa",
            "a-name-longer-th",
            long,
            "b",
            "driver-9",
            "driver-10",
            "\u{e9}",
            "\u{1f6f5}",
        ];
        let names = names.map(str::to_owned);
        let more = [format!("{long}1"), format!("{long}2")];
        let mut fleet = Fleet::default();
        for name in more.iter().chain(&names) {
            fleet.number(&DriverId::new(name.as_str()));
        }
        let found: Vec<String> = fleet.iter().map(|(_, it)| it.id.to_string()).collect();
        let mut sorted: Vec<String> = more.into_iter().chain(names).collect();
        sorted.sort_unstable();
        assert_eq!(found, sorted);
    }
}
