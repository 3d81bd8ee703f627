//! A Meal Delivery Routing instance as a plan: real orders, restaurants and couriers of a real company.
//!
//! The format is that of the public MDRP library: tab-separated files with one header line, metres in a plane, minutes
//! from the start of the day. The plane is laid around the geo's centre so that distances are kept; travel is straight
//! at the instance's speed. The clock starts a minute before the first order; shifts that ended earlier are left out.

use std::path::Path;

use anyhow::ensure;
use backtest::Instance;
use backtest::instance::{Courier as InstanceCourier, minute_of};
use contracts::GeoSpec;
use dispatch::{At, Point, RoadConfig};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::generate::items;
use crate::geometry::Frame;
use crate::plan::{Courier, Order, Plan, Restaurant};

/// City seconds before the first order.
const LEAD_S: f64 = 60.0;

impl Plan {
    /// The instance in directory `dir`, its first `limit` orders, played in `geo`.
    pub fn from_instance(geo: &GeoSpec, dir: &Path, limit: Option<usize>) -> anyhow::Result<Plan> {
        let mut instance = Instance::read(dir)?;
        ensure!(!instance.restaurants.is_empty(), "restaurants.txt: no row");
        instance.orders.sort_by_key(|order| order.placed_at);
        instance.orders.truncate(limit.unwrap_or(usize::MAX));
        let first_s = instance
            .orders
            .first()
            .map_or(0.0, |order| minute_of(order.placed_at) * 60.0);
        let day = Day {
            begin_s: first_s - LEAD_S,
            plane: Plane::of(geo, &instance),
        };
        Ok(Plan {
            geo: geo.name.clone(),
            restaurants: day.restaurants(&instance),
            couriers: instance
                .couriers
                .iter()
                .filter_map(|courier| day.courier(courier))
                .collect(),
            orders: day.orders(&instance),
            road: straight(instance.parameters.metres_per_minute),
            pickup_service_s: instance.parameters.pickup_service_min * 60.0,
            dropoff_service_s: instance.parameters.dropoff_service_min * 60.0,
        })
    }
}

/// Straight lines at one speed, at every hour.
fn straight(metres_per_minute: f64) -> RoadConfig {
    RoadConfig {
        detour: 1.0,
        speed_kmh: [metres_per_minute * 0.06; 24],
        time_zone: "UTC".to_owned(),
    }
}

/// The plane of the files, laid on the earth with the middle of the restaurants at the geo's centre.
struct Plane {
    frame: Frame,
    middle: (f64, f64),
}

impl Plane {
    fn of(geo: &GeoSpec, instance: &Instance) -> Self {
        let count = instance.restaurants.len() as f64;
        let mean = |axis: fn(Point) -> f64| {
            let sum: f64 = instance.restaurants.iter().map(|r| axis(r.location)).sum();
            sum / count
        };
        Self {
            frame: Frame::around(&geo.centre),
            middle: (mean(Point::x), mean(Point::y)),
        }
    }

    fn point(&self, point: Point) -> contracts::value::Point {
        self.frame
            .to_earth(point.x() - self.middle.0, point.y() - self.middle.1)
    }
}

struct Day {
    begin_s: f64,
    plane: Plane,
}

impl Day {
    fn city_s(&self, at: At) -> f64 {
        minute_of(at) * 60.0 - self.begin_s
    }

    fn restaurants(&self, instance: &Instance) -> Vec<Restaurant> {
        let restaurants = instance.restaurants.iter();
        restaurants
            .map(|restaurant| Restaurant {
                id: restaurant.id.clone(),
                location: self.plane.point(restaurant.location),
            })
            .collect()
    }

    /// `None`: off duty before the day begins.
    fn courier(&self, courier: &InstanceCourier) -> Option<Courier> {
        let (on_s, off_s) = (
            self.city_s(courier.on_at).max(0.0),
            self.city_s(courier.off_at),
        );
        (off_s > on_s).then(|| Courier {
            name: courier.id.clone(),
            start: self.plane.point(courier.start),
            on_s,
            off_s,
        })
    }

    fn orders(&self, instance: &Instance) -> Vec<Order> {
        // The files say nothing of dishes and prices.
        let mut menu = ChaCha8Rng::seed_from_u64(1);
        let orders = instance.orders.iter();
        orders
            .map(|order| Order {
                restaurant: order.restaurant,
                customer: self.plane.point(order.customer),
                placed_s: self.city_s(order.placed_at),
                ready_s: self.city_s(order.ready_at),
                items: items(&mut menu),
                delivery_fee_minor: 299,
                tip_minor: 0,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use contracts::Catalogue;
    use std::path::PathBuf;

    /// A made-up day: two restaurants, two couriers (one gone home before the first order), three orders.
    fn write(orders: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(harness::unique("instance"));
        std::fs::create_dir_all(&dir).unwrap();
        let file = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
        file(
            "instance_parameters.txt",
            "meters_per_minute\tpickup\tdropoff\ttarget\tmaximum\tpay\tguaranteed\n300\t4\t2\t40\t90\t10\t15\n",
        );
        file(
            "restaurants.txt",
            "restaurant\tx\ty\nr1\t1000\t1000\nr2\t3000\t1000\n",
        );
        file(
            "couriers.txt",
            "courier\tx\ty\ton_time\toff_time\nc1\t2000\t1000\t0\t200\nc2\t0\t0\t0\t30\n",
        );
        file(
            "orders.txt",
            &format!("order\tx\ty\tplacement_time\trestaurant\tready_time\n{orders}"),
        );
        dir
    }

    fn read(orders: &str, limit: Option<usize>) -> anyhow::Result<Plan> {
        let dir = write(orders);
        let plan = Plan::from_instance(
            Catalogue::embedded().geo("berlin-mitte").unwrap(),
            &dir,
            limit,
        );
        std::fs::remove_dir_all(dir).unwrap();
        plan
    }

    const ORDERS: &str =
        "o2\t1000\t4000\t50\tr2\t61\no1\t1000\t3000\t40\tr1\t55\no3\t0\t0\t60\tr1\t70\n";

    #[test]
    fn minutes_and_metres_become_city_seconds_and_places_with_their_distances() {
        let plan = read(ORDERS, None).unwrap();
        let times: Vec<(f64, f64)> = plan
            .orders
            .iter()
            .map(|order| (order.placed_s, order.ready_s))
            .collect();
        assert_eq!(times, [(60.0, 960.0), (660.0, 1_320.0), (1_260.0, 1_860.0)]);
        assert_eq!(
            (plan.pickup_service_s, plan.dropoff_service_s),
            (240.0, 120.0)
        );
        let frame = Frame::around(&Catalogue::embedded().geo("berlin-mitte").unwrap().centre);
        let (x, y) = frame.to_plane(&plan.orders[0].customer);
        let (rx, ry) = frame.to_plane(&plan.restaurants[plan.orders[0].restaurant].location);
        assert!(((x - rx).hypot(y - ry) - 2_000.0).abs() < 1.0);
        assert!((plan.road.speed_kmh[12] - 18.0).abs() < 1e-9 && plan.road.detour == 1.0);
    }

    #[test]
    fn a_courier_who_went_home_before_the_day_began_is_left_out() {
        let plan = read(ORDERS, None).unwrap();
        let shifts: Vec<_> = plan
            .couriers
            .iter()
            .map(|c| (c.name.as_str(), c.on_s, c.off_s))
            .collect();
        assert_eq!(shifts, [("c1", 0.0, 9_660.0)]);
    }

    #[test]
    fn a_limit_keeps_the_earliest_orders() {
        assert_eq!(read(ORDERS, Some(1)).unwrap().orders[0].placed_s, 60.0);
    }

    #[test]
    fn what_is_wrong_is_named_with_file_line_and_value() {
        let error = read("o1\t1000\tnorth\t40\tr1\t55\n", None).unwrap_err();
        let expected = "orders.txt line 2, column 3: \"north\" is not a number";
        assert!(error.to_string().ends_with(expected), "{error}");
    }
}
