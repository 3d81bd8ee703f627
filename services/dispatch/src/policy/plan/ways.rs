//! How long the ways are that a plan's routes are made of.
//!
//! A search evaluates the same few ways many thousand times, so each is remembered: in a table with a place for every way while that is
//! small, beyond it in one where later ways may displace it. Seconds and metres stand apart, since bounds ask for seconds alone, and what
//! is asked for most stays in the processor's cache. All at the pace of the plan's instant.

use std::cell::Cell;

use super::{Errand, Vehicle};
use crate::point::Place;
use crate::time::{At, Seconds};
use crate::travel::TravelTime;

/// Where a way begins: at an errand's customer, or at a vehicle's place. By number, the errands first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Origin(u32);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::policy) struct Way {
    pub seconds: f64,
    pub metres: f64,
}

impl Way {
    pub fn between(from: Place, to: Place, travel: &dyn TravelTime, now: At) -> Way {
        let metres = travel.distance_m(from, to);
        let Seconds(seconds) = travel.seconds(metres, now);
        Way { seconds, metres }
    }
}

/// So many places at most.
const PLACES: usize = 1 << 17;
/// So many if ways may displace each other; a power of two.
const SLOTS: usize = 1 << 15;
/// An odd number that spreads neighbours over all slots (Knuth's multiplicative hashing).
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

pub(in crate::policy) struct Ways<'a> {
    travel: &'a dyn TravelTime,
    now: At,
    /// By vehicle.
    starts: Vec<Place>,
    /// By errand.
    doors: Vec<Place>,
    /// By restaurant.
    pickups: Vec<Place>,
    /// By slot; no number where the way is not known.
    seconds: Vec<Cell<f64>>,
    metres: Vec<Cell<f64>>,
    /// Whose way it is, where ways displace each other.
    owners: Vec<Cell<u64>>,
}

impl<'a> Ways<'a> {
    pub fn new(
        vehicles: &[Vehicle],
        errands: &[Errand],
        travel: &'a dyn TravelTime,
        now: At,
    ) -> Ways<'a> {
        let mut pickups = Vec::new();
        for errand in errands {
            let restaurant = errand.restaurant as usize;
            if pickups.len() <= restaurant {
                pickups.resize(restaurant + 1, errand.pickup);
            }
            pickups[restaurant] = errand.pickup;
        }
        let places = (errands.len() + vehicles.len()) * pickups.len();
        let (slots, owners) = if places <= PLACES {
            (places, 0)
        } else {
            (SLOTS, SLOTS)
        };
        Ways {
            travel,
            now,
            starts: vehicles.iter().map(|vehicle| vehicle.place).collect(),
            doors: errands.iter().map(|errand| errand.dropoff).collect(),
            pickups,
            seconds: vec![Cell::new(f64::NAN); slots],
            metres: vec![Cell::new(f64::NAN); slots],
            owners: vec![Cell::new(u64::MAX); owners],
        }
    }

    pub(super) fn start(&self, vehicle: usize) -> Origin {
        Origin((self.doors.len() + vehicle) as u32)
    }

    pub(super) fn customer(&self, errand: usize) -> Origin {
        Origin(errand as u32)
    }

    /// Seconds from there to the restaurant.
    #[inline(always)]
    pub(super) fn to_restaurant(&self, from: Origin, restaurant: u32) -> f64 {
        let seconds = self.known(from, restaurant, &self.seconds);
        if seconds.is_nan() {
            return self.look_up(from, restaurant).seconds;
        }
        seconds
    }

    /// The same in metres.
    #[inline(always)]
    pub(super) fn metres(&self, from: Origin, restaurant: u32) -> f64 {
        let metres = self.known(from, restaurant, &self.metres);
        if metres.is_nan() {
            return self.look_up(from, restaurant).metres;
        }
        metres
    }

    #[inline(always)]
    fn known(&self, from: Origin, restaurant: u32, table: &[Cell<f64>]) -> f64 {
        if self.owners.is_empty() {
            return table[self.place(from, restaurant)].get();
        }
        let (number, slot) = slot(from, restaurant);
        if self.owners[slot].get() == number {
            table[slot].get()
        } else {
            f64::NAN
        }
    }

    fn place(&self, from: Origin, restaurant: u32) -> usize {
        restaurant as usize * (self.doors.len() + self.starts.len()) + from.0 as usize
    }

    /// Remembers a way.
    pub(super) fn know(&self, from: Origin, restaurant: u32, way: Way) {
        let slot = if self.owners.is_empty() {
            self.place(from, restaurant)
        } else {
            let (number, slot) = slot(from, restaurant);
            self.owners[slot].set(number);
            slot
        };
        self.seconds[slot].set(way.seconds);
        self.metres[slot].set(way.metres);
    }

    #[cold]
    fn look_up(&self, from: Origin, restaurant: u32) -> Way {
        let number = from.0 as usize;
        let place = match number.checked_sub(self.doors.len()) {
            Some(vehicle) => self.starts[vehicle],
            None => self.doors[number],
        };
        let way = Way::between(
            place,
            self.pickups[restaurant as usize],
            self.travel,
            self.now,
        );
        self.know(from, restaurant, way);
        way
    }

    pub(super) fn drive(&self, from: Place, to: Place) -> f64 {
        let Seconds(seconds) = self.travel.eta(from, to, self.now);
        seconds
    }
}

/// The number of a way, and the only slot where it is looked for.
fn slot(from: Origin, restaurant: u32) -> (u64, usize) {
    let number = (u64::from(from.0) << 32) | u64::from(restaurant);
    let spread = number.wrapping_mul(SPREAD) >> (u64::BITS - SLOTS.trailing_zeros());
    (number, spread as usize)
}
