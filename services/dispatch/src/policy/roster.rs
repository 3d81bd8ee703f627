//! The drivers whom a plan is about: for each restaurant those who start near it, now or later, and their ways to it.
//!
//! A plan considers the `candidates` drivers who could be earliest with an order, among the `NEAREST` who start nearest to
//! its restaurant. Most of a fleet stands in neither set, so it is not visited: each restaurant is searched outwards in
//! the fleet's own indexes, until so many have been met, or until so many free drivers have been met who are all in time
//! that nobody further away could come before them. Of those met the ones are kept who could be a candidate for any of its
//! orders at all. What is left out could not have changed the plan. Of a small fleet all are listed.
//!
//! Costs, per restaurant, a search of the indexes over those met, or a distance for each who is listed; per driver, one look at him.

use std::collections::BinaryHeap;

use super::plan::{Errand, Vehicle, Way};
use crate::board::Board;
use crate::driver::Driver;
use crate::fleet::{Fleet, Number};
use crate::point::Place;
use crate::time::At;

/// Among so many drivers who start nearest to a restaurant the candidates for its orders are chosen.
pub(super) const NEAREST: usize = 160;
/// A fleet of so many drivers at most is listed instead, which costs less than to search it.
pub(super) const FEW: usize = 512;
/// Ways that differ by less (seconds) may do so by rounding only.
const ROUNDING: f64 = 1e-6;

pub(super) struct Roster {
    /// In the order of their ids.
    pub drivers: Vec<Number>,
    pub vehicles: Vec<Vehicle>,
    /// By restaurant, who is in question for its orders, by number, with their ways to it.
    pub near: Vec<Vec<(usize, Way)>>,
}

/// What matters of a restaurant for who is in question.
pub(super) struct Door {
    pub pickup: Place,
    /// When the last of its errands is known.
    known: f64,
}

impl Roster {
    /// Those in question for these errands, `candidates` for each.
    pub fn around(board: &Board<'_>, errands: &[Errand], candidates: usize) -> Roster {
        if board.fleet.len() <= FEW {
            return Roster::listed(board, errands, NEAREST.max(candidates));
        }
        let mut call = Call {
            board,
            candidates,
            nearest: NEAREST.max(candidates),
            half_pickup: board.rules.config.pickup_service_s / 2.0,
            found: vec![NOT_MET; board.fleet.len()],
            drivers: Vec::new(),
        };
        let near: Vec<_> = doors(errands).iter().map(|door| call.met(door)).collect();
        Roster::numbered(board.fleet, &call.drivers, near)
    }

    /// The whole fleet, and so many of it who start nearest to each restaurant.
    fn listed(board: &Board<'_>, errands: &[Errand], nearest: usize) -> Roster {
        let start = |(number, driver): (Number, &Driver)| Some((number, vehicle(driver, board)?));
        let (drivers, vehicles): (Vec<_>, Vec<Vehicle>) =
            board.fleet.iter().filter_map(start).unzip();
        let (travel, now) = (board.rules.travel.as_ref(), board.now);
        let mut by_chord: Vec<(u64, usize)> = Vec::with_capacity(vehicles.len());
        let near = doors(errands).into_iter().map(|door| {
            by_chord.clear();
            // The bits of a square sort as it does.
            let chord2 = |vehicle: &Vehicle| vehicle.place.chord2(door.pickup).to_bits();
            by_chord.extend(vehicles.iter().map(chord2).zip(0..));
            if by_chord.len() > nearest {
                by_chord.select_nth_unstable(nearest);
                by_chord.truncate(nearest);
            }
            let way = |at: usize| Way::between(vehicles[at].place, door.pickup, travel, now);
            by_chord.iter().map(|&(_, at)| (at, way(at))).collect()
        });
        let near = near.collect();
        Roster {
            drivers,
            vehicles,
            near,
        }
    }

    /// Numbers those who are near a restaurant in the order of their ids, which no order of arrival can change.
    pub(super) fn numbered(
        fleet: &Fleet,
        found: &[(Number, Vehicle)],
        mut near: Vec<Vec<(usize, Way)>>,
    ) -> Roster {
        let mut rank = vec![usize::MAX; found.len()];
        let mut order = Vec::with_capacity(found.len());
        for &(place, _) in near.iter().flatten() {
            if rank[place] == usize::MAX {
                rank[place] = 0;
                order.push((found[place].0, place));
            }
        }
        order.sort_unstable_by(|(one, _), (other, _)| fleet.by_id(*one, *other));
        for (at, (_, place)) in order.iter().enumerate() {
            rank[*place] = at;
        }
        for met in &mut near {
            for (place, _) in met.iter_mut() {
                *place = rank[*place];
            }
        }
        let sorted = order.into_iter();
        let (drivers, vehicles) = sorted
            .map(|(number, place)| (number, found[place].1.clone()))
            .unzip();
        Roster {
            drivers,
            vehicles,
            near,
        }
    }
}

/// By restaurant.
pub(super) fn doors(errands: &[Errand]) -> Vec<Door> {
    let mut doors: Vec<Door> = Vec::new();
    for errand in errands {
        let known = errand.known;
        match doors.get_mut(errand.restaurant as usize) {
            Some(door) => door.known = door.known.max(known),
            None => doors.push(Door {
                pickup: errand.pickup,
                known,
            }),
        }
    }
    doors
}

/// In place of a driver's place among those found: nobody has come across him yet.
const NOT_MET: u32 = u32::MAX;
/// The same: he cannot be planned with.
const NO_USE: u32 = u32::MAX - 1;

/// A roll call under way.
struct Call<'a> {
    board: &'a Board<'a>,
    candidates: usize,
    nearest: usize,
    half_pickup: f64,
    /// By number, his place in `drivers`, or why he has none.
    found: Vec<u32>,
    drivers: Vec<(Number, Vehicle)>,
}

impl Call<'_> {
    /// Who is in question for this restaurant's errands, by place in `drivers`.
    fn met(&mut self, door: &Door) -> Vec<(usize, Way)> {
        let mut met: Vec<(f64, usize, Way)> = Vec::with_capacity(self.nearest);
        let mut in_time = 0;
        // Nobody with a longer way comes into question.
        let mut longest = f64::INFINITY;
        for (chord2, number) in self.board.fleet.starting_near(door.pickup) {
            let further = |last: &(f64, usize, Way)| last.0 < chord2;
            if met.len() >= self.nearest && met.last().is_none_or(further) {
                break;
            }
            let Some(found) = self.find(number) else {
                continue;
            };
            let vehicle = &self.drivers[found].1;
            let way = Way::between(
                vehicle.place,
                door.pickup,
                self.board.rules.travel.as_ref(),
                self.board.now,
            );
            if way.seconds > longest + ROUNDING {
                break;
            }
            met.push((chord2, found, way));
            let counter = door.known + way.seconds + self.half_pickup;
            if vehicle.idle && counter <= vehicle.until {
                in_time += 1;
                if in_time == self.candidates {
                    longest = way.seconds;
                }
            }
        }
        self.cut(&mut met);
        let in_question = self.in_question(door);
        met.into_iter()
            .map(|(_, found, way)| (found, way))
            .filter(in_question)
            .collect()
    }

    /// Who can be a candidate for any order of the restaurant, asked of one after the other: not who has the longer way than so many
    /// others who are in time for all of them and free no later. Whatever the order, they come before him.
    fn in_question(&self, door: &Door) -> impl FnMut(&(usize, Way)) -> bool {
        let (drivers, candidates) = (&self.drivers, self.candidates);
        let (known, half_pickup) = (door.known, self.half_pickup);
        // When those are free who are free first, as bits: never negative, so they sort alike.
        let mut ahead: BinaryHeap<u64> = BinaryHeap::with_capacity(candidates + 1);
        let mut longest = f64::NEG_INFINITY;
        move |(found, way)| {
            let vehicle = &drivers[*found].1;
            let free = vehicle.free.to_bits();
            let full = ahead.len() == candidates;
            if full && longest < way.seconds && ahead.peek().is_none_or(|last| *last <= free) {
                return false;
            }
            if vehicle.free.max(known) + way.seconds + half_pickup <= vehicle.until {
                longest = longest.max(way.seconds);
                ahead.push(free);
                if full {
                    ahead.pop();
                }
            }
            true
        }
    }

    /// Leaves as many as there may be; of those who start equally far away the first by id.
    fn cut(&self, met: &mut Vec<(f64, usize, Way)>) {
        if met.len() > self.nearest {
            met.sort_unstable_by(|one, other| {
                let number = |met: &(f64, usize, Way)| self.drivers[met.1].0;
                let by_id = || self.board.fleet.by_id(number(one), number(other));
                one.0.total_cmp(&other.0).then_with(by_id)
            });
            met.truncate(self.nearest);
        }
    }

    fn find(&mut self, number: Number) -> Option<usize> {
        let known = self.found[number.index()];
        if known == NOT_MET {
            let driver = self.board.fleet.driver(number);
            let vehicle = vehicle(driver, self.board);
            self.found[number.index()] = match vehicle {
                None => NO_USE,
                Some(vehicle) => {
                    self.drivers.push((number, vehicle));
                    self.drivers.len() as u32 - 1
                }
            };
        }
        let found = self.found[number.index()];
        (found != NO_USE).then_some(found as usize)
    }
}

/// The driver with the place he starts from: a free one where he stands, a busy one where his trip ends, and one who will
/// come on duty where and when his shift begins.
///
/// Who is not heard is not counted on. Who should have ended his trip by now is expected after as long again as he is late
/// already: the later he is, the less is known of when he will come, and nobody waits for one who never does.
pub(super) fn vehicle(driver: &Driver, board: &Board<'_>) -> Option<Vehicle> {
    let heard = board.rules.heard_until(driver.seen_at) >= board.now;
    let (free, place) = match driver.trip {
        None if !driver.online => coming(driver, board.now),
        None => driver.stands().filter(|_| heard).map(|place| (0.0, place)),
        Some(_) if !driver.online || !heard => None,
        Some(_) => {
            let free = driver.free_at.since(board.now).0.abs();
            driver.bound_for.map(|place| (free, place))
        }
    }?;
    Some(Vehicle {
        place,
        free,
        idle: driver.online && driver.trip.is_none(),
        until: until(driver).map_or(f64::INFINITY, |end| end.since(board.now).0),
    })
}

/// In how many seconds and where his next shift begins, if it is still to come.
fn coming(driver: &Driver, now: At) -> Option<(f64, Place)> {
    let (shift, place) = driver.next_shift.as_deref()?;
    (shift.begins > now).then(|| (shift.begins.since(now).0, *place))
}

/// When his pickups end, if it is known.
fn until(driver: &Driver) -> Option<At> {
    let next = driver.next_shift.as_deref();
    let next = next.map(|(shift, _)| shift.ends);
    if driver.online {
        driver.shift_end
    } else {
        next
    }
}
