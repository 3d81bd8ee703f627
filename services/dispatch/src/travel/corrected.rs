//! The travel times of a model, all longer or shorter by one factor.
//!
//! What the scheduler relies on survives it: a factor above 0 changes no distance and no order, and reach stays the inverse. Only
//! `changes_after` does not know of factors: whoever changes one has to look again at what was estimated. The factor is
//! looked up once per tick, so an eta costs one multiplication more.

use std::sync::Arc;

use super::TravelTime;
use crate::point::{Place, Point};
use crate::time::{At, Seconds};

/// See the module; the factor is above 0.
#[derive(Debug, Clone)]
pub(crate) struct Corrected {
    pub model: Arc<dyn TravelTime>,
    pub factor: f64,
}

impl TravelTime for Corrected {
    fn place(&self, point: Point) -> Place {
        self.model.place(point)
    }

    fn distance_m(&self, from: Place, to: Place) -> f64 {
        self.model.distance_m(from, to)
    }

    fn seconds(&self, distance_m: f64, at: At) -> Seconds {
        self.model.seconds(distance_m, at) * self.factor
    }

    fn reach_m(&self, within: Seconds, at: At) -> f64 {
        self.model.reach_m(within / self.factor, at)
    }

    fn changes_after(&self, at: At) -> At {
        self.model.changes_after(at)
    }

    fn hour(&self, at: At) -> u8 {
        self.model.hour(at)
    }
}
