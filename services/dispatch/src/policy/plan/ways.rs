//! How long the ways are that a plan's routes are made of.
//!
//! A search evaluates the same few ways many thousand times. To each restaurant the ways of the vehicles that start near it
//! are known from the beginning; those from a customer's door on are remembered in a table where later ones may displace
//! them; a vehicle from afar is rarely asked for and computed each time. All at the pace of the plan's instant.

use std::cell::Cell;

use super::{Errand, Vehicle};
use crate::point::Place;
use crate::time::{At, Seconds};
use crate::travel::TravelTime;

/// Where a way begins: at a vehicle's place or at an errand's customer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Origin {
    Start(usize),
    Door(usize),
}

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
    /// Ways from doors on with the number of door and restaurant, each in the only slot where it is looked for.
    onward: Vec<Cell<(u64, Way)>>,
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
        Ways {
            travel,
            now,
            starts: vehicles.iter().map(|vehicle| vehicle.place).collect(),
            doors: errands.iter().map(|errand| errand.dropoff).collect(),
            onward: vec![Cell::new(EMPTY); slots(errands.len() * pickups.len())],
            near,
            pickups,
        }
    }

    /// The vehicles in question for the restaurant, by number, with their ways to it.
    pub(super) fn near(&self, restaurant: u32) -> &[(usize, Way)] {
        &self.near[restaurant as usize]
    }

    /// From there to the restaurant.
    pub(super) fn to_restaurant(&self, from: Origin, restaurant: u32) -> Way {
        let pickup = self.pickups[restaurant as usize];
        match from {
            Origin::Start(vehicle) => {
                let near = self.near(restaurant);
                let place = near.binary_search_by_key(&vehicle, |(number, _)| *number);
                place.map_or_else(|_| self.way(self.starts[vehicle], pickup), |it| near[it].1)
            }
            Origin::Door(errand) => {
                let number = errand as u64 * self.pickups.len() as u64 + u64::from(restaurant);
                let slot = &self.onward[number as usize & (self.onward.len() - 1)];
                let (known, way) = slot.get();
                if known == number {
                    return way;
                }
                let way = self.way(self.doors[errand], pickup);
                slot.set((number, way));
                way
            }
        }
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
    ways.next_power_of_two().min(SLOTS)
}
