//! A plan: for every driver the trips he should make next, over everything that is known now.
//!
//! It is made afresh in every tick, from the board alone, so it is part of no state: after a crash or in a
//! replay the same board gives the same plan. Only its first trips, and only those that must begin now,
//! become decisions; the rest is there so that they are the right ones.
//!
//! **Cost.** `matching` finds the best first errand for each driver at the place and time where he will be
//! free; `search` adds the remaining errands and improves the routes until no single move helps or its
//! budget of route evaluations is spent. Time is seconds from now, computed in a fixed order.

mod matching;
mod route;
mod search;
mod splice;
mod wanted;
mod ways;

pub(super) use route::{Errand, Route, Stop, Vehicle, Weights};
pub(super) use ways::{Way, Ways};

/// What is to be planned, and by what measure.
pub(super) struct Problem<'a> {
    pub errands: Vec<Errand>,
    pub vehicles: Vec<Vehicle>,
    pub weights: Weights,
    /// How many orders of one restaurant a trip may carry.
    pub trip_size: usize,
    /// Orders share a trip only if their food is ready within so many seconds of each other.
    pub spread: f64,
    /// By how many seconds an order of a shared trip may come later than on a trip of its own.
    pub max_detour: f64,
    /// How many drivers are considered for one errand.
    pub candidates: usize,
    /// How many changes of a route, or of two routes, the search may look at.
    pub effort: usize,
    pub half_pickup: f64,
    pub dropoff: f64,
    /// By restaurant, the vehicles in question for it with their ways.
    pub near: Vec<Vec<(usize, Way)>>,
    pub ways: Ways<'a>,
}

impl Problem<'_> {
    /// The best routes found, by vehicle.
    pub fn solve(&self) -> Vec<Route> {
        let candidates = matching::candidates(self);
        let first = matching::first_errands(self, &candidates);
        search::routes(self, &candidates, &first)
    }
}
