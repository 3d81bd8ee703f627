//! How long the ways are that a plan's routes are made of, each computed once and only if it is asked for.
//!
//! A search evaluates the same few ways many thousand times; a table of places x restaurants is small
//! beside that. All at the pace of the plan's instant.

use std::cell::Cell;

use super::{Errand, Vehicle};
use crate::point::Place;
use crate::time::{At, Seconds};
use crate::travel::TravelTime;

/// Where a way begins: at a vehicle's place or at an errand's customer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Origin(usize);

pub(in crate::policy) struct Ways<'a> {
    travel: &'a dyn TravelTime,
    now: At,
    vehicles: usize,
    origins: Vec<Place>,
    /// By restaurant.
    pickups: Vec<Place>,
    /// Seconds by origin and restaurant; NaN while nobody has asked.
    seconds: Vec<Cell<f64>>,
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
            seconds: vec![Cell::new(f64::NAN); origins.len() * pickups.len()],
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

    /// Seconds from there to the restaurant.
    pub(super) fn to_restaurant(&self, from: Origin, restaurant: u32) -> f64 {
        let cell = &self.seconds[from.0 * self.pickups.len() + restaurant as usize];
        if cell.get().is_nan() {
            let pickup = self.pickups[restaurant as usize];
            cell.set(self.drive(self.origins[from.0], pickup));
        }
        cell.get()
    }

    /// Metres from there to the restaurant.
    pub(super) fn metres(&self, from: Origin, restaurant: u32) -> f64 {
        let pickup = self.pickups[restaurant as usize];
        self.travel.distance_m(self.origins[from.0], pickup)
    }

    pub(super) fn drive(&self, from: Place, to: Place) -> f64 {
        let Seconds(seconds) = self.travel.eta(from, to, self.now);
        seconds
    }
}
