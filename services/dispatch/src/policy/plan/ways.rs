//! How long the ways are that a plan's routes are made of.
//!
//! A search evaluates the same few ways many thousand times. To each restaurant the ways of the vehicles that start near it
//! are known from the beginning; what is asked for is remembered in a table where later ways may displace it. All at the pace of the plan's instant.

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

/// An empty slot; no number is as high.
const EMPTY: (u64, Way) = (
    u64::MAX,
    Way {
        seconds: 0.0,
        metres: 0.0,
    },
);
/// So many slots at most; a power of two.
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
    /// By restaurant, the vehicles in question for it with their ways, by number.
    near: Vec<Vec<(usize, Way)>>,
    /// Ways that were asked for with the number of origin and restaurant, each in the only slot where it is looked for.
    asked: Vec<Cell<(u64, Way)>>,
    /// By how much a spread number is shifted to be a slot's.
    shift: u32,
}

impl<'a> Ways<'a> {
    /// `near`: by restaurant, the vehicles in question for it by number, with their ways to it.
    pub fn new(
        vehicles: &[Vehicle],
        errands: &[Errand],
        near: Vec<Vec<(usize, Way)>>,
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
        let slots = slots((errands.len() + vehicles.len()) * pickups.len());
        Ways {
            travel,
            now,
            starts: vehicles.iter().map(|vehicle| vehicle.place).collect(),
            doors: errands.iter().map(|errand| errand.dropoff).collect(),
            asked: vec![Cell::new(EMPTY); slots],
            shift: u64::BITS - slots.trailing_zeros(),
            near,
            pickups,
        }
    }

    /// The vehicles in question for the restaurant, by number, with their ways to it.
    pub(super) fn near(&self, restaurant: u32) -> &[(usize, Way)] {
        &self.near[restaurant as usize]
    }

    pub(super) fn start(&self, vehicle: usize) -> Origin {
        Origin((self.doors.len() + vehicle) as u32)
    }

    pub(super) fn customer(&self, errand: usize) -> Origin {
        Origin(errand as u32)
    }

    /// From there to the restaurant.
    #[inline]
    pub(super) fn to_restaurant(&self, from: Origin, restaurant: u32) -> Way {
        let number = (u64::from(from.0) << 32) | u64::from(restaurant);
        let slot = &self.asked[(number.wrapping_mul(SPREAD) >> self.shift) as usize];
        let (known, way) = slot.get();
        if known == number {
            return way;
        }
        let way = self.look_up(from, restaurant);
        slot.set((number, way));
        way
    }

    #[cold]
    fn look_up(&self, Origin(number): Origin, restaurant: u32) -> Way {
        let pickup = self.pickups[restaurant as usize];
        let number = number as usize;
        let Some(vehicle) = number.checked_sub(self.doors.len()) else {
            return self.way(self.doors[number], pickup);
        };
        let near = self.near(restaurant);
        let place = near.binary_search_by_key(&vehicle, |(number, _)| *number);
        place.map_or_else(|_| self.way(self.starts[vehicle], pickup), |it| near[it].1)
    }

    fn way(&self, from: Place, to: Place) -> Way {
        Way::between(from, to, self.travel, self.now)
    }

    pub(super) fn drive(&self, from: Place, to: Place) -> f64 {
        let Seconds(seconds) = self.travel.eta(from, to, self.now);
        seconds
    }
}

/// As many as there are ways, within bounds; a power of two.
fn slots(ways: usize) -> usize {
    ways.next_power_of_two().clamp(2, SLOTS)
}
