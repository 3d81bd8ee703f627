//! A request: one attempt at finding a driver for an order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::config::Config;
use crate::ids::{DriverId, OrderId, RestaurantId};
use crate::point::Point;
use crate::time::{At, Seconds};

/// Everything dispatch knows of an order that wants a driver; what `pending_assignments` stores.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    pub order_id: OrderId,
    /// The order's version. With `attempt` it says which of two requests for one order is newer.
    pub version: i32,
    /// Counts from 1; each decline or ignored offer adds one.
    pub attempt: u32,
    pub restaurant_id: RestaurantId,
    pub restaurant: Point,
    pub customer: Point,
    pub placed_at: At,
    /// From when this attempt competes for drivers.
    pub requested_at: At,
    /// When the food will be ready, as far as is known.
    pub ready_at: At,
    /// When that was said (event time); what was said later wins, whatever arrives first.
    pub ready_said_at: At,
    /// Drivers further from the restaurant than this are not asked; metres, great circle.
    pub search_radius_m: f64,
    /// Drivers who declined or ignored this order, and until when they are not asked again.
    pub cooled: BTreeMap<DriverId, At>,
}

impl Request {
    /// The instant at which it fails for good if nobody has been found.
    pub fn expires_at(&self, config: &Config) -> At {
        self.placed_at
            .max(self.ready_at)
            .plus(Seconds(config.max_wait_s))
    }

    /// The instant at which it falls due for a driver so far away; may lie before it competes at all.
    pub fn due_at(&self, tolerance: Seconds, eta: Seconds) -> At {
        self.ready_at.minus(tolerance + eta)
    }

    /// How long a driver who leaves now would wait for the food; negative: how long the food would.
    pub fn slack(&self, now: At, eta: Seconds) -> Seconds {
        self.ready_at.since(now) - eta
    }

    pub(crate) fn newer_than(&self, other: &Request) -> bool {
        (self.version, self.attempt) > (other.version, other.attempt)
    }

    /// Takes over a ready instant, unless what is known was said later.
    pub(crate) fn hear_ready(&mut self, ready_at: At, said_at: At) -> bool {
        let news = said_at > self.ready_said_at;
        if news {
            self.ready_at = ready_at;
            self.ready_said_at = said_at;
        }
        news
    }

    /// The request that competes after this driver declined or ignored it.
    pub(crate) fn declined_by(mut self, driver: &DriverId, at: At, config: &Config) -> Request {
        self.version += 1;
        self.attempt += 1;
        self.requested_at = at;
        self.cooled.retain(|_, until| *until > at);
        self.cooled
            .insert(driver.clone(), at.plus(Seconds(config.cool_down_s)));
        self
    }
}

/// Orders by the instant at which they were placed, the last first.
#[derive(Debug, Clone, Default)]
pub(crate) struct Placed(BTreeSet<(Reverse<At>, OrderId)>);

impl Placed {
    pub fn insert(&mut self, request: &Request) {
        self.0
            .insert((Reverse(request.placed_at), request.order_id));
    }

    pub fn remove(&mut self, request: &Request) {
        self.0
            .remove(&(Reverse(request.placed_at), request.order_id));
    }

    /// From this instant back; of those placed together the first by id first.
    pub fn last(&self, now: At) -> impl Iterator<Item = OrderId> {
        let from = (Reverse(now), OrderId(Uuid::nil()));
        self.0.range(from..).map(|(_, order)| *order)
    }
}
