//! The drives that were seen, and what they say of the travel times: one factor per hour of day.
//!
//! A drive is the way from the restaurant's counter to the first door of a trip, or from one door to the next: there the driver has
//! what he needs and does nothing but drive, and both ends are told by him and kept in the tables. The way to the restaurant is
//! none: it begins with an offer that waits for its answer, at a place that only a position knows; and from arrival to
//! pickup it is the food that takes its time.
//!
//! Of each hour of day the latest drives are kept, by the instant at which they ended and not by when they were heard of, so
//! their order of arrival does not matter. The factor is their median, which a minority of wrong ones cannot move beyond the others;
//! it moves in small steps, so that it seldom changes. A change makes the next tick look again at all requests that are close to
//! being due.

use serde::{Deserialize, Serialize};

use crate::ids::OrderId;
use crate::input::Applied;
use crate::point::Point;
use crate::scheduler::Scheduler;
use crate::time::{At, Seconds};
use crate::travel::Correction;
use crate::trip::Phase;

/// Factors are multiples of one in so many.
const STEPS: f64 = 64.0;

/// A way driven in one go, services left out.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Drive {
    /// The order that was brought.
    pub order_id: OrderId,
    pub from: Point,
    pub to: Point,
    pub left_at: At,
    pub arrived_at: At,
}

/// What is remembered of a drive.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SeenDrive {
    /// The local hour of day in which it began.
    pub hour: u8,
    pub arrived_at: At,
    pub order_id: OrderId,
    /// Time needed / time that the model without correction estimates, cut to the bounds.
    pub ratio: f64,
}

impl SeenDrive {
    /// Names it; drives are in this order.
    pub fn key(&self) -> (u8, At, OrderId) {
        (self.hour, self.arrived_at, self.order_id)
    }
}

/// The latest drives of each hour of day; what `drives` stores.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Drives {
    /// By hour, then by end, then by order.
    seen: Vec<SeenDrive>,
    /// By hour, the factor that another scheduler said it had, where this one has not seen what that one had.
    told: Vec<(u8, f64)>,
}

impl Drives {
    /// All of these, in any order, each once.
    pub fn new(mut seen: Vec<SeenDrive>) -> Drives {
        seen.sort_unstable_by_key(SeenDrive::key);
        let told = Vec::new();
        Drives { seen, told }
    }

    /// Remembers a drive among the latest `most` of its hour; whether it is one of them and news.
    pub fn add(&mut self, drive: SeenDrive, most: u32) -> bool {
        let place = self.seen.partition_point(|it| it.key() < drive.key());
        if self
            .seen
            .get(place)
            .is_some_and(|it| it.key() == drive.key())
        {
            return false;
        }
        self.seen.insert(place, drive);
        let first = self.seen.partition_point(|it| it.hour < drive.hour);
        let count = self.of_hour(drive.hour).len();
        let excess = count.saturating_sub(most as usize);
        self.seen.drain(first..first + excess);
        place >= first + excess
    }

    /// The drives of an hour of day, the latest last.
    pub fn of_hour(&self, hour: u8) -> &[SeenDrive] {
        let first = self.seen.partition_point(|it| it.hour < hour);
        let end = self.seen.partition_point(|it| it.hour <= hour);
        &self.seen[first..end]
    }

    pub fn iter(&self) -> impl Iterator<Item = &SeenDrive> {
        self.seen.iter()
    }

    /// By what travel times of this hour of day are multiplied.
    pub fn factor(&self, hour: u8, correction: &Correction) -> f64 {
        if !correction.on {
            return 1.0;
        }
        let told = self.told.iter().find(|(of, _)| *of == hour);
        told.map_or_else(|| self.learned(hour, correction), |(_, factor)| *factor)
    }

    fn learned(&self, hour: u8, correction: &Correction) -> f64 {
        let drives = self.of_hour(hour);
        if drives.is_empty() || drives.len() < correction.at_least as usize {
            return 1.0;
        }
        let mut ratios: Vec<f64> = drives.iter().map(|drive| drive.ratio).collect();
        ratios.sort_unstable_by(f64::total_cmp);
        let (low, high) = (ratios[(ratios.len() - 1) / 2], ratios[ratios.len() / 2]);
        let median = (low + high) / 2.0;
        ((median * STEPS).round() / STEPS).clamp(correction.least, correction.most)
    }

    /// Another scheduler had this factor in this hour; whether what was seen here says otherwise.
    fn hear(&mut self, hour: u8, factor: f64, correction: &Correction) -> bool {
        self.told.retain(|(of, _)| *of != hour);
        let differs = self.factor(hour, correction) != factor;
        if differs {
            self.told.push((hour, factor));
            self.told.sort_unstable_by_key(|(of, _)| *of);
        }
        differs
    }
}

impl Scheduler {
    /// The drive that ends with the order's being delivered at `delivered_at`, if it was one: the driver had all orders of his trip
    /// that are left, and fetched none since he last delivered.
    pub fn drive_to_door(&self, order: OrderId, delivered_at: At) -> Option<Drive> {
        let leg = self.trips.get(order)?;
        let legs = self.trips.legs(leg.trip_id);
        if legs.iter().any(|leg| leg.phase != Phase::PickedUp) {
            return None;
        }
        let picked_up_at = legs.iter().map(|leg| leg.phase_at).max()?;
        let config = &self.rules.config;
        let half_pickup = Seconds(config.pickup_service_s / 2.0);
        let half_dropoff = Seconds(config.dropoff_service_s / 2.0);
        let (from, left_at) = match self.trips.last_drop(leg.trip_id) {
            Some(last) if last.at < picked_up_at => return None,
            Some(last) => (last.customer, last.at.plus(half_dropoff)),
            None => (leg.request.restaurant, picked_up_at.plus(half_pickup)),
        };
        Some(Drive {
            order_id: order,
            from,
            to: leg.request.customer,
            left_at,
            arrived_at: delivered_at.minus(half_dropoff),
        })
    }

    /// Takes in a drive; `Stale` if it does not count.
    pub(crate) fn learn(&mut self, drive: Drive) -> Applied {
        let (model, correction) = (&self.rules.model, &self.rules.config.correction);
        let (from, to) = (model.place(drive.from), model.place(drive.to));
        let Seconds(estimated) = model.eta(from, to, drive.left_at);
        let counts = estimated > 0.0 && estimated >= correction.shortest_s;
        if !correction.on || !counts {
            return Applied::Stale;
        }
        let Seconds(needed) = drive.arrived_at.since(drive.left_at);
        let seen = SeenDrive {
            hour: model.hour(drive.left_at),
            arrived_at: drive.arrived_at,
            order_id: drive.order_id,
            ratio: (needed / estimated).clamp(correction.least, correction.most),
        };
        Applied::changed_if(self.drives.add(seen, correction.drives))
    }

    /// Lets the estimates of a tick go by what has been learned until now.
    pub(crate) fn correct_travel(&mut self, now: At) {
        let hour = self.rules.model.hour(now);
        let factor = self.drives.factor(hour, &self.rules.config.correction);
        if self.rules.correct(factor) {
            self.queue.rouse_near(&mut self.fleet);
            let (trips, rules) = (&self.trips, &self.rules);
            let ends_at = |trip| trips.ends(trip, rules).map(|(at, _)| at);
            self.fleet.retime(ends_at);
        }
    }

    /// In the hour of day of `at` another scheduler had this factor; true if the drives seen here say otherwise, and the factor is
    /// taken over.
    pub fn follow_correction(&mut self, at: At, factor: f64) -> bool {
        let hour = self.rules.model.hour(at);
        let correction = &self.rules.config.correction;
        self.drives.hear(hour, factor, correction)
    }

    /// The drives that estimates go by.
    pub fn drives(&self) -> &Drives {
        &self.drives
    }

    /// The hour of day in which a drive that begins at `at` counts.
    pub fn hour(&self, at: At) -> u8 {
        self.rules.model.hour(at)
    }
}
