//! What checkout and drivers say: valid in every field, the same for the same number.

use chrono::{DateTime, Utc};
use contracts::GeoSpec;
use contracts::driver::DriverOnline;
use contracts::orders::{Customer, OrderItem, OrderPlaced, Restaurant};
use contracts::value::{Money, Point};
use uuid::Uuid;

/// The order of this number, of a run of its own; its food is ready when it is placed.
pub fn order_placed(geo: &GeoSpec, run: u64, number: u32, at: DateTime<Utc>) -> OrderPlaced {
    let order_id = order_id(run, number);
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
        event_id: Uuid::from_u64_pair(run ^ 0xe0, u64::from(number) | 1 << 40),
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

pub fn order_id(run: u64, number: u32) -> Uuid {
    Uuid::from_u64_pair(run, 0x8000_0000_0000_0000 | u64::from(number))
}

/// The driver of this number, on duty somewhere in the geo.
pub fn driver_online(geo: &GeoSpec, number: u32, at: DateTime<Utc>) -> DriverOnline {
    DriverOnline {
        event_id: Uuid::from_u64_pair(0xd0, u64::from(number)),
        occurred_at: at,
        geo: geo.name.to_string(),
        driver_id: format!("driver-{number:06}"),
        location: spot(geo, number.wrapping_mul(13) + 5),
        shift_ends_at: None,
    }
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
