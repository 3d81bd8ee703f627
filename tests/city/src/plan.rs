//! What is going to happen in a geo before anybody meets: restaurants, couriers with shifts, orders.
//!
//! A plan is plain data in city seconds; it comes from a seed (`generate`) or from a benchmark's files (`instance`).

use contracts::Geo;
use contracts::orders::OrderItem;
use contracts::value::Point;
use dispatch::RoadConfig;

/// A day of a geo.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub geo: Geo,
    pub restaurants: Vec<Restaurant>,
    pub couriers: Vec<Courier>,
    /// In the order in which they are placed.
    pub orders: Vec<Order>,
    /// Streets and speeds: the same as in the services' configuration, or their estimates are wrong.
    pub road: RoadConfig,
    /// Seconds that a driver needs at the restaurant's counter: half before, half after taking the meal.
    pub pickup_service_s: f64,
    /// The same at the customer's door.
    pub dropoff_service_s: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Restaurant {
    pub id: String,
    pub location: Point,
}

/// A driver's day.
#[derive(Clone, Debug, PartialEq)]
pub struct Courier {
    pub name: String,
    /// Where the shift begins.
    pub start: Point,
    pub on_s: f64,
    pub off_s: f64,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    /// Index into [`Plan::restaurants`].
    pub restaurant: usize,
    pub customer: Point,
    pub placed_s: f64,
    /// When the food will be ready, as the restaurant believes when the order is placed.
    pub ready_s: f64,
    pub items: Vec<OrderItem>,
    pub delivery_fee_minor: i64,
    pub tip_minor: i64,
}

impl Order {
    /// What the checkout shows: items, fee and tip.
    pub fn total_minor(&self) -> i64 {
        let items: i64 = self
            .items
            .iter()
            .map(|item| i64::from(item.quantity) * item.unit_price_minor)
            .sum();
        items + self.delivery_fee_minor + self.tip_minor
    }
}

impl Plan {
    /// When the last order is placed.
    pub fn last_placed_s(&self) -> f64 {
        self.orders.last().map_or(0.0, |order| order.placed_s)
    }
}
