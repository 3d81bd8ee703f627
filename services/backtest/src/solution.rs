//! What became of an instance: the trips of its couriers.
//!
//! Instants are those of the benchmark's rules. What a rule could be broken by is stored, not derived, so that the
//! feasibility check has something to check.

use dispatch::{At, Point, Seconds};

use crate::instance::{Instance, Order, Restaurant};

/// All trips, in the order in which they were decided; each courier's own are in the order in which he made them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Solution {
    pub trips: Vec<Trip>,
}

/// One way of a courier to a restaurant and from there to one customer or several.
#[derive(Debug, Clone, PartialEq)]
pub struct Trip {
    /// Place in the instance's `couriers`.
    pub courier: usize,
    pub decided_at: At,
    /// When the courier leaves for the restaurant.
    pub departs_at: At,
    pub pickup_at: At,
    /// In the order of delivery.
    pub drops: Vec<Drop>,
}

/// A delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct Drop {
    /// Place in the instance's `orders`.
    pub order: usize,
    /// When the courier leaves the restaurant, or the customer before.
    pub departs_at: At,
    pub dropoff_at: At,
}

impl Trip {
    /// The orders carried, in the order of delivery.
    pub fn orders<'a>(&'a self, instance: &'a Instance) -> impl Iterator<Item = &'a Order> {
        self.drops.iter().map(|drop| &instance.orders[drop.order])
    }

    /// Where the orders are fetched; `None` of a trip that carries none.
    pub fn restaurant<'a>(&self, instance: &'a Instance) -> Option<&'a Restaurant> {
        let first = self.drops.first()?;
        instance
            .restaurants
            .get(instance.orders[first.order].restaurant)
    }

    /// When the courier turns from the last door.
    pub fn free_at(&self, instance: &Instance) -> At {
        let half_service = Seconds(instance.parameters.dropoff_service_min * 30.0);
        let last = self.drops.last();
        last.map_or(self.pickup_at, |drop| drop.dropoff_at.plus(half_service))
    }

    /// Where he is then; `None` of a trip that carries nothing.
    pub fn ends(&self, instance: &Instance) -> Option<Point> {
        let last = self.drops.last()?;
        Some(instance.orders[last.order].customer)
    }
}

impl Solution {
    /// For each courier of the instance his trips.
    pub fn by_courier(&self, instance: &Instance) -> Vec<Vec<&Trip>> {
        let mut trips = vec![Vec::new(); instance.couriers.len()];
        for trip in &self.trips {
            trips[trip.courier].push(trip);
        }
        trips
    }
}
