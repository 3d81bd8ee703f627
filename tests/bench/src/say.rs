//! What checkout and drivers say: valid in every field, the same for the same number.

use chrono::{DateTime, Utc};
use contracts::GeoSpec;
use contracts::driver::{DriverLocation, DriverOnline};
use contracts::driver_assignment::{AssignmentRequested, ItemCount};
use contracts::orders::{Customer, OrderItem, OrderPlaced, Restaurant};
use contracts::value::{Money, Place, Point};
use uuid::Uuid;

/// The order of this number; its food is ready when it is placed.
pub fn order_placed(geo: &GeoSpec, ids: OrderIds, number: u32, at: DateTime<Utc>) -> OrderPlaced {
    let order_id = ids.of(number);
    let items = vec![
        item("margherita", 1, 950),
        item("salad", 1 + i32::try_from(number % 2).unwrap_or(0), 640),
    ];
    let goods: i64 = items
        .iter()
        .map(|item| i64::from(item.quantity) * item.unit_price_minor)
        .sum();
    let restaurant = number % 200;
    OrderPlaced {
        event_id: Uuid::from_u64_pair(ids.run ^ 0xe0, u64::from(number) | 1 << 40),
        occurred_at: at,
        geo: geo.name.to_string(),
        order_id,
        order_version: 1,
        customer: Customer {
            id: format!("customer-{number}"),
            name: Some("A customer".to_owned()),
            location: spot(geo, number.wrapping_mul(7) + 3),
            webhook_url: None,
        },
        restaurant: Restaurant {
            id: format!("restaurant-{restaurant}"),
            name: Some("A restaurant".to_owned()),
            location: spot(geo, restaurant),
            webhook_url: None,
        },
        items,
        delivery_fee_minor: 290,
        tip_minor: 100,
        total: Money {
            amount_minor: goods + 390,
            currency: "EUR".to_owned(),
        },
        payment_method: "tok_bench".to_owned(),
        placed_at: at,
        ready_at: at,
        prep_total_s: 600,
    }
}

/// What the orders of a run are called.
#[derive(Clone, Copy, Debug)]
pub struct OrderIds {
    /// Sets the orders of this run apart from those of others.
    pub run: u64,
    /// Whether neighbours in time lie far apart by id, as random ids do: in tables with millions of rows each then touches
    /// pages of its own.
    pub scattered: bool,
}

impl OrderIds {
    pub fn of(self, number: u32) -> Uuid {
        let number = u64::from(number);
        if self.scattered {
            // Odd, so that different numbers stay different: 2^64 divided by the golden ratio.
            let spread = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            Uuid::from_u64_pair(spread, 0x8000_0000_0000_0000 | self.run)
        } else {
            Uuid::from_u64_pair(self.run, 0x8000_0000_0000_0000 | number)
        }
    }
}

/// The request for a driver of the order of this number, whose food is ready at `ready_at`.
pub fn assignment_requested(
    geo: &GeoSpec,
    ids: OrderIds,
    number: u32,
    at: DateTime<Utc>,
    ready_at: DateTime<Utc>,
) -> AssignmentRequested {
    let restaurant = number % 200;
    AssignmentRequested {
        event_id: Uuid::from_u64_pair(ids.run ^ 0xa0, u64::from(number) | 1 << 40),
        occurred_at: at,
        geo: geo.name.to_string(),
        order_id: ids.of(number),
        order_version: 3,
        attempt: 1,
        restaurant: Place {
            id: format!("restaurant-{restaurant}"),
            location: spot(geo, restaurant),
        },
        customer_location: spot(geo, number.wrapping_mul(7) + 3),
        placed_at: at,
        ready_at,
        prep_total_s: 600,
        items: vec![ItemCount {
            id: "margherita".to_owned(),
            quantity: 1,
        }],
        search_radius_m: 8_000,
    }
}

/// The `round`-th ping of the driver of this number: he has moved some metres since the one before.
pub fn driver_location(
    geo: &GeoSpec,
    number: u32,
    round: u32,
    at: DateTime<Utc>,
) -> DriverLocation {
    let home = place_of_driver(geo, number);
    let step = f64::from(round % 100) * 0.0001;
    DriverLocation {
        event_id: Uuid::from_u64_pair(0xf0 << 32 | u64::from(round), u64::from(number)),
        occurred_at: at,
        geo: geo.name.to_string(),
        driver_id: driver_id(number),
        location: Point {
            lat: home.lat + step,
            lon: home.lon - step,
        },
        heading_deg: Some(315.0),
        speed_mps: Some(2.8),
        accuracy_m: Some(8.0),
    }
}

/// The driver of this number, on duty somewhere in the geo.
pub fn driver_online(geo: &GeoSpec, number: u32, at: DateTime<Utc>) -> DriverOnline {
    DriverOnline {
        event_id: Uuid::from_u64_pair(0xd0, u64::from(number)),
        occurred_at: at,
        geo: geo.name.to_string(),
        driver_id: driver_id(number),
        location: place_of_driver(geo, number),
        shift_ends_at: None,
    }
}

fn driver_id(number: u32) -> String {
    format!("driver-{number:06}")
}

fn place_of_driver(geo: &GeoSpec, number: u32) -> Point {
    spot(geo, number.wrapping_mul(13) + 5)
}

fn item(id: &str, quantity: i32, unit_price_minor: i64) -> OrderItem {
    OrderItem {
        id: id.to_owned(),
        name: id.to_owned(),
        quantity,
        unit_price_minor,
    }
}

/// A point of the geo: however many there are, the numbers from 0 up lie evenly in a square of some two kilometres around its
/// centre (the R2 sequence: multiples of 1/g and 1/g^2, where g^3 = g + 1).
fn spot(geo: &GeoSpec, number: u32) -> Point {
    const G: f64 = 1.324_717_957_244_746;
    let degrees = |step: f64| ((f64::from(number) * step).fract() - 0.5) * 0.02;
    Point {
        lat: geo.centre.lat + degrees(1.0 / G),
        lon: geo.centre.lon + degrees(1.0 / (G * G)),
    }
}
