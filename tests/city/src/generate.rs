//! A small city from a seed: the same seed, the same city.
//!
//! Restaurants crowd the inner half of the area, customers live within 2.5 km of theirs, orders come evenly over the
//! span, food takes 8 to 25 minutes, and couriers are on duty from before the first order until long after the last.

use contracts::GeoSpec;
use contracts::orders::OrderItem;
use contracts::value::Point;
use dispatch::RoadConfig;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::geometry::Frame;
use crate::plan::{Courier, Order, Plan, Restaurant};

/// How much of a city.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Size {
    pub orders: usize,
    pub couriers: usize,
    pub restaurants: usize,
    /// City seconds over which the orders are placed.
    pub span_s: f64,
}

/// From home to the first order: drivers come online before.
const LEAD_S: f64 = 120.0;
/// How far from a restaurant its customers live, metres.
const REACH_M: f64 = 2_500.0;
const MENU: [(&str, i64); 6] = [
    ("Margherita", 890),
    ("Pad Thai", 1_150),
    ("Falafel plate", 780),
    ("Ramen", 1_340),
    ("Caesar salad", 960),
    ("Tiramisu", 520),
];

impl Plan {
    /// The city of `seed` in `geo`.
    pub fn generate(geo: &GeoSpec, seed: u64, size: Size) -> Plan {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ fingerprint(geo.name.as_str()));
        let radius = f64::from(geo.radius_m);
        let frame = Frame::around(&geo.centre);
        let restaurants: Vec<Restaurant> = (1..=size.restaurants.max(1))
            .map(|number| Restaurant {
                id: format!("{}-r{number}", geo.name),
                location: in_disc(&frame, &mut rng, (0.0, 0.0), radius * 0.5),
            })
            .collect();
        let couriers = (1..=size.couriers)
            .map(|number| Courier {
                name: format!("d{number}"),
                start: in_disc(&frame, &mut rng, (0.0, 0.0), radius * 0.6),
                on_s: rng.random_range(0.0..LEAD_S),
                off_s: size.span_s + 6.0 * 3_600.0,
            })
            .collect();
        let mut orders: Vec<Order> = (0..size.orders)
            .map(|_| order(&mut rng, &frame, radius, &restaurants, size.span_s))
            .collect();
        orders.sort_by(|a, b| a.placed_s.total_cmp(&b.placed_s));
        let road = RoadConfig {
            time_zone: geo.time_zone.name().to_owned(),
            ..RoadConfig::default()
        };
        let name = geo.name.clone();
        Plan {
            geo: name,
            restaurants,
            couriers,
            orders,
            road,
            pickup_service_s: 120.0,
            dropoff_service_s: 120.0,
        }
    }
}

fn order(
    rng: &mut ChaCha8Rng,
    frame: &Frame,
    radius: f64,
    restaurants: &[Restaurant],
    span_s: f64,
) -> Order {
    let restaurant = rng.random_range(0..restaurants.len());
    let home = frame.to_plane(&restaurants[restaurant].location);
    // Inside the area, or nobody would deliver there.
    let customer = loop {
        let point = in_disc(frame, rng, home, REACH_M.min(radius * 0.9));
        let (x, y) = frame.to_plane(&point);
        if x.hypot(y) < radius * 0.95 {
            break point;
        }
    };
    let placed_s = LEAD_S + rng.random_range(0.0..=span_s);
    Order {
        restaurant,
        customer,
        placed_s,
        ready_s: placed_s + rng.random_range(480.0..1_500.0),
        items: items(rng),
        delivery_fee_minor: rng.random_range(1..5) * 50 + 149,
        tip_minor: rng.random_range(0..4) * 100,
    }
}

/// One to four lines of the menu.
pub(crate) fn items(rng: &mut ChaCha8Rng) -> Vec<OrderItem> {
    let first = rng.random_range(0..MENU.len());
    let line = |place: usize, rng: &mut ChaCha8Rng| {
        let (name, price) = MENU[(first + place) % MENU.len()];
        let id = format!("sku-{}", (first + place) % MENU.len() + 1);
        OrderItem {
            id,
            name: name.to_owned(),
            quantity: rng.random_range(1..4),
            unit_price_minor: price,
        }
    };
    (0..rng.random_range(1..=4))
        .map(|place| line(place, rng))
        .collect()
}

/// Evenly in a disc.
fn in_disc(frame: &Frame, rng: &mut ChaCha8Rng, centre: (f64, f64), radius: f64) -> Point {
    let (distance, angle) = (
        radius * rng.random::<f64>().sqrt(),
        rng.random_range(0.0..std::f64::consts::TAU),
    );
    frame.to_earth(
        centre.0 + distance * angle.cos(),
        centre.1 + distance * angle.sin(),
    )
}

/// A number for a name, the same on every machine (FNV-1a).
pub(crate) fn fingerprint(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::Catalogue;

    const SIZE: Size = Size {
        orders: 40,
        couriers: 9,
        restaurants: 5,
        span_s: 1_800.0,
    };

    fn plan(seed: u64) -> Plan {
        Plan::generate(
            Catalogue::embedded().geo("berlin-mitte").unwrap(),
            seed,
            SIZE,
        )
    }

    #[test]
    fn a_seed_gives_one_city_and_another_seed_another() {
        assert_eq!(plan(7), plan(7));
        assert_ne!(plan(7), plan(8));
    }

    #[test]
    fn geos_of_one_seed_differ() {
        let catalogue = Catalogue::embedded();
        let other = Plan::generate(catalogue.geo("london-soho").unwrap(), 7, SIZE);
        assert_ne!(plan(7).orders[0].placed_s, other.orders[0].placed_s);
    }

    #[test]
    fn everybody_is_inside_the_area_and_orders_come_in_order() {
        let catalogue = Catalogue::embedded();
        let geo = catalogue.geo("berlin-mitte").unwrap();
        let frame = Frame::around(&geo.centre);
        let plan = plan(7);
        assert_eq!(
            (
                plan.orders.len(),
                plan.couriers.len(),
                plan.restaurants.len()
            ),
            (40, 9, 5)
        );
        for order in &plan.orders {
            let (x, y) = frame.to_plane(&order.customer);
            assert!(x.hypot(y) < f64::from(geo.radius_m));
            assert!(order.ready_s > order.placed_s && order.total_minor() > 0);
        }
        assert!(plan.orders.is_sorted_by(|a, b| a.placed_s <= b.placed_s));
    }
}
