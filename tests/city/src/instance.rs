//! A Meal Delivery Routing instance as a plan: real orders, restaurants and couriers of a real company.
//!
//! The format is that of the public MDRP library: tab-separated files with one header line, metres in a plane, minutes
//! from the start of the day. The plane is laid around the geo's centre so that distances are kept; travel is straight
//! at the instance's speed. The clock starts a minute before the first order; shifts that ended earlier are left out.

use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, bail, ensure};
use contracts::GeoSpec;
use dispatch::RoadConfig;
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
        let parameters = Table::read(dir, "instance_parameters.txt")?;
        let parameters = parameters
            .rows
            .first()
            .context("instance_parameters.txt: no row")?;
        let (metres_per_minute, pickup, dropoff) = (
            parameters.number(0)?,
            parameters.number(1)?,
            parameters.number(2)?,
        );
        let restaurants = Table::read(dir, "restaurants.txt")?;
        let couriers = Table::read(dir, "couriers.txt")?;
        let mut orders = Table::read(dir, "orders.txt")?.rows;
        ensure!(!orders.is_empty(), "orders.txt: no row");
        let mut placed = orders
            .iter()
            .map(|row| row.number(3))
            .collect::<anyhow::Result<Vec<f64>>>()?;
        placed.sort_by(f64::total_cmp);
        orders.sort_by(|a, b| {
            a.number(3)
                .unwrap_or(0.0)
                .total_cmp(&b.number(3).unwrap_or(0.0))
        });
        orders.truncate(limit.unwrap_or(usize::MAX));
        let day = Day {
            begin_s: placed[0] * 60.0 - LEAD_S,
            plane: Plane::of(geo, &restaurants)?,
        };
        let plan = Plan {
            geo: geo.name.clone(),
            restaurants: restaurants
                .rows
                .iter()
                .map(|row| day.restaurant(row))
                .collect::<anyhow::Result<_>>()?,
            couriers: couriers
                .rows
                .iter()
                .filter_map(|row| day.courier(row).transpose())
                .collect::<anyhow::Result<_>>()?,
            orders: day.orders(&orders, &restaurants)?,
            road: straight(metres_per_minute),
            pickup_service_s: pickup * 60.0,
            dropoff_service_s: dropoff * 60.0,
        };
        Ok(plan)
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
    fn of(geo: &GeoSpec, restaurants: &Table) -> anyhow::Result<Self> {
        ensure!(!restaurants.rows.is_empty(), "restaurants.txt: no row");
        let mean = |column: usize| -> anyhow::Result<f64> {
            let sum: f64 = restaurants
                .rows
                .iter()
                .map(|row| row.number(column))
                .sum::<anyhow::Result<f64>>()?;
            Ok(sum / restaurants.rows.len() as f64)
        };
        Ok(Self {
            frame: Frame::around(&geo.centre),
            middle: (mean(1)?, mean(2)?),
        })
    }

    fn point(&self, row: &Row) -> anyhow::Result<contracts::value::Point> {
        Ok(self.frame.to_earth(
            row.number(1)? - self.middle.0,
            row.number(2)? - self.middle.1,
        ))
    }
}

struct Day {
    begin_s: f64,
    plane: Plane,
}

impl Day {
    fn city_s(&self, minutes: f64) -> f64 {
        minutes * 60.0 - self.begin_s
    }

    fn restaurant(&self, row: &Row) -> anyhow::Result<Restaurant> {
        Ok(Restaurant {
            id: row.text(0)?.to_owned(),
            location: self.plane.point(row)?,
        })
    }

    /// `None`: off duty before the day begins.
    fn courier(&self, row: &Row) -> anyhow::Result<Option<Courier>> {
        let (on_s, off_s) = (
            self.city_s(row.number(3)?).max(0.0),
            self.city_s(row.number(4)?),
        );
        let courier = Courier {
            name: row.text(0)?.to_owned(),
            start: self.plane.point(row)?,
            on_s,
            off_s,
        };
        Ok((off_s > on_s).then_some(courier))
    }

    fn orders(&self, rows: &[Row], restaurants: &Table) -> anyhow::Result<Vec<Order>> {
        let places: HashMap<&str, usize> = restaurants
            .rows
            .iter()
            .enumerate()
            .filter_map(|(place, row)| Some((row.text(0).ok()?, place)))
            .collect();
        // The files say nothing of dishes and prices.
        let mut menu = ChaCha8Rng::seed_from_u64(1);
        let order = |row: &Row| {
            let restaurant = row.text(4)?;
            let restaurant = places
                .get(restaurant)
                .with_context(|| row.wrong(4, "a restaurant of restaurants.txt"))?;
            Ok(Order {
                restaurant: *restaurant,
                customer: self.plane.point(row)?,
                placed_s: self.city_s(row.number(3)?),
                ready_s: self.city_s(row.number(5)?),
                items: items(&mut menu),
                delivery_fee_minor: 299,
                tip_minor: 0,
            })
        };
        rows.iter().map(order).collect()
    }
}

/// A file's rows below its header.
struct Table {
    rows: Vec<Row>,
}

/// A line, and where it stands.
struct Row {
    file: &'static str,
    line: usize,
    cells: Vec<String>,
}

impl Table {
    fn read(dir: &Path, file: &'static str) -> anyhow::Result<Self> {
        let path = dir.join(file);
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("instance file {}", path.display()))?;
        let cells = |line: &str| {
            line.split('\t')
                .map(|cell| cell.trim().to_owned())
                .collect()
        };
        let lines = text
            .lines()
            .enumerate()
            .skip(1)
            .filter(|(_, line)| !line.trim().is_empty());
        Ok(Self {
            rows: lines
                .map(|(at, line)| Row {
                    file,
                    line: at + 1,
                    cells: cells(line),
                })
                .collect(),
        })
    }
}

impl Row {
    fn text(&self, column: usize) -> anyhow::Result<&str> {
        self.cells
            .get(column)
            .map(String::as_str)
            .with_context(|| self.wrong(column, "a cell"))
    }

    fn number(&self, column: usize) -> anyhow::Result<f64> {
        match f64::from_str(self.text(column)?) {
            Ok(number) if number.is_finite() => Ok(number),
            _ => bail!(self.wrong(column, "a number")),
        }
    }

    fn wrong(&self, column: usize, expected: &str) -> String {
        let value = self.cells.get(column).map_or("", String::as_str);
        format!(
            "{} line {}, column {}: {value:?} is not {expected}",
            self.file,
            self.line,
            column + 1
        )
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
            "meters_per_minute\tpickup\tdropoff\tx\ty\n300\t4\t2\t40\t90\n",
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
        let error = read("o1\t1000\tnorth\t40\tr1\t55\n", None)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "orders.txt line 2, column 3: \"north\" is not a number"
        );
        let error = read("o1\t1000\t1000\t40\tr9\t55\n", None)
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "orders.txt line 2, column 5: \"r9\" is not a restaurant of restaurants.txt"
        );
    }
}
