//! How long the ways are that a plan's routes are made of, each computed once and only if it is asked for.
//!
//! A search evaluates the same few ways many thousand times; a table of places x restaurants is small
//! beside that, and a place from which nobody sets out has no row in it. All at the pace of the plan's instant.

use std::cell::{Cell, OnceCell};

use rstar::RTree;

use super::{Errand, Vehicle};
use crate::fleet::Spot;
use crate::point::Place;
use crate::time::{At, Seconds};
use crate::travel::TravelTime;

/// Where a way begins: at a vehicle's place or at an errand's customer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin(usize);

#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    pub seconds: f64,
    pub metres: f64,
}

/// No way is shorter than nothing.
const UNKNOWN: Way = Way {
    seconds: 0.0,
    metres: -1.0,
};

pub(in crate::policy) struct Ways<'a> {
    travel: &'a dyn TravelTime,
    now: At,
    vehicles: usize,
    origins: Vec<Place>,
    /// By restaurant.
    pickups: Vec<Place>,
    /// By origin, once it was asked for, and restaurant; `UNKNOWN` until then.
    known: Vec<OnceCell<Box<[Cell<Way>]>>>,
}

impl<'a> Ways<'a> {
    pub fn between(
        vehicles: &[Vehicle],
        errands: &[Errand],
        travel: &'a dyn TravelTime,
        now: At,
    ) -> Ways<'a> {
        let starts = vehicles.iter().map(|vehicle| vehicle.place);
        let origins: Vec<Place> = starts
            .chain(errands.iter().map(|errand| errand.dropoff))
            .collect();
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
            vehicles: vehicles.len(),
            known: vec![OnceCell::new(); origins.len()],
            origins,
            pickups,
        }
    }

    pub(super) fn start(&self, vehicle: usize) -> Origin {
        Origin(vehicle)
    }

    pub(super) fn customer(&self, errand: usize) -> Origin {
        Origin(self.vehicles + errand)
    }

    /// From there to the restaurant.
    pub(super) fn to_restaurant(&self, from: Origin, restaurant: u32) -> Way {
        let row = self.known[from.0]
            .get_or_init(|| vec![Cell::new(UNKNOWN); self.pickups.len()].into_boxed_slice());
        let cell = &row[restaurant as usize];
        if cell.get().metres < 0.0 {
            let pickup = self.pickups[restaurant as usize];
            let metres = self.travel.distance_m(self.origins[from.0], pickup);
            let Seconds(seconds) = self.travel.seconds(metres, self.now);
            cell.set(Way { seconds, metres });
        }
        cell.get()
    }

    /// By restaurant, the vehicles that start nearest to it: at most so many, by number.
    pub(super) fn nearest(&self, most: usize) -> Vec<Vec<usize>> {
        let spot = |who: usize| Spot {
            place: self.origins[who],
            who,
        };
        if self.vehicles <= most {
            return vec![(0..self.vehicles).collect(); self.pickups.len()];
        }
        let index = RTree::bulk_load((0..self.vehicles).map(spot).collect());
        let nearest_to = |pickup: &Place| {
            let spots = index.nearest_neighbor_iter(pickup.0).take(most);
            let mut nearest: Vec<usize> = spots.map(|spot| spot.who).collect();
            nearest.sort_unstable();
            nearest
        };
        self.pickups.iter().map(nearest_to).collect()
    }

    pub(super) fn drive(&self, from: Place, to: Place) -> f64 {
        let Seconds(seconds) = self.travel.eta(from, to, self.now);
        seconds
    }
}
