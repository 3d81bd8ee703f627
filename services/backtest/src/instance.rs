//! An instance of the public Meal Delivery Routing Problem library: a day of orders, restaurants and couriers.
//!
//! A directory of tab-separated files with one header line each. Times are minutes from the start of the day, places are
//! metres in a plane. What is read is complete and consistent: ids are unique, every order's restaurant exists, speeds and
//! times make sense. Rows keep the order of the file; an order's place in `orders` is its identity here.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use dispatch::{At, Point, Seconds};

use crate::table::{FileError, Row, Table};

/// The file whose presence makes a directory an instance.
const ORDERS: &str = "orders.txt";
const SEPARATOR: char = '\t';

/// One instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// The directory's name.
    pub name: String,
    pub parameters: Parameters,
    pub restaurants: Vec<Restaurant>,
    pub couriers: Vec<Courier>,
    pub orders: Vec<Order>,
}

/// What holds for all orders and couriers of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    pub metres_per_minute: f64,
    /// Minutes at the restaurant: half before the pickup, half after.
    pub pickup_service_min: f64,
    /// Minutes at the customer's: half before the drop-off, half after.
    pub dropoff_service_min: f64,
    /// Click-to-door that is aimed at, minutes.
    pub target_click_to_door_min: f64,
    /// Click-to-door that must not be exceeded, minutes; what an undelivered order is charged with.
    pub maximum_click_to_door_min: f64,
    /// Dollars.
    pub pay_per_order: f64,
    /// Dollars per hour of shift, where pay per order comes to less.
    pub guaranteed_pay_per_hour: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Restaurant {
    pub id: String,
    pub location: Point,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Courier {
    pub id: String,
    /// Where he comes on duty.
    pub start: Point,
    pub on_at: At,
    /// No pickup after this instant; drop-offs may be later.
    pub off_at: At,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    pub id: String,
    pub customer: Point,
    /// The instant at which the order becomes known, and with it `ready_at`.
    pub placed_at: At,
    /// Place in the instance's `restaurants`.
    pub restaurant: usize,
    pub ready_at: At,
}

/// The instant so many minutes after the start of the day.
pub fn at_minute(minutes: f64) -> At {
    At::from_seconds(minutes * 60.0)
}

/// Minutes from the start of the day.
pub fn minute_of(at: At) -> f64 {
    minutes(at.since(At(0)))
}

pub fn minutes(span: Seconds) -> f64 {
    span.0 / 60.0
}

impl Instance {
    /// The instance directories meant by `path`: itself, or its subdirectories by name, those that hold an `orders.txt`.
    pub fn directories(path: &Path) -> Result<Vec<PathBuf>, FileError> {
        if path.join(ORDERS).is_file() {
            return Ok(vec![path.to_owned()]);
        }
        let unreadable = |source| FileError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let entries = fs::read_dir(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(unreadable)?;
        let mut found: Vec<PathBuf> = entries
            .into_iter()
            .map(|entry| entry.path())
            .filter(|dir| dir.join(ORDERS).is_file())
            .collect();
        found.sort();
        if found.is_empty() {
            let path = path.join(ORDERS);
            let source = std::io::ErrorKind::NotFound.into();
            return Err(FileError::Unreadable { path, source });
        }
        Ok(found)
    }

    /// Reads the instance in `dir`.
    pub fn read(dir: &Path) -> Result<Instance, FileError> {
        let table = |file, first| Table::read(dir, file, SEPARATOR, first);
        let parameters =
            parameters(table("instance_parameters.txt", "meters_per_minute")?.first()?)?;
        let restaurants = table("restaurants.txt", "restaurant")?;
        let places = unique(&restaurants)?;
        let couriers = table("couriers.txt", "courier")?;
        unique(&couriers)?;
        let orders = table(ORDERS, "order")?;
        unique(&orders)?;
        orders.first()?;
        let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        Ok(Instance {
            name: dir
                .file_name()
                .unwrap_or(dir.as_os_str())
                .to_string_lossy()
                .into_owned(),
            parameters,
            couriers: couriers
                .rows()
                .iter()
                .map(courier)
                .collect::<Result<_, _>>()?,
            orders: orders
                .rows()
                .iter()
                .map(|row| order(row, &places))
                .collect::<Result<_, _>>()?,
            restaurants: restaurants
                .rows()
                .iter()
                .map(restaurant)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl Instance {
    /// Travel by the benchmark's rule: whole minutes, rounded up, along the straight line.
    pub fn travel_min(&self, from: Point, to: Point) -> f64 {
        let (dx, dy) = (to.x() - from.x(), to.y() - from.y());
        ((dx * dx + dy * dy).sqrt() / self.parameters.metres_per_minute).ceil()
    }
}

fn parameters(row: &Row) -> Result<Parameters, FileError> {
    let at_least_zero = |column| row.number_that(column, "0 or more", |value| value >= 0.0);
    Ok(Parameters {
        metres_per_minute: row.number_that(0, "a speed above 0", |value| value > 0.0)?,
        pickup_service_min: at_least_zero(1)?,
        dropoff_service_min: at_least_zero(2)?,
        target_click_to_door_min: at_least_zero(3)?,
        maximum_click_to_door_min: at_least_zero(4)?,
        pay_per_order: at_least_zero(5)?,
        guaranteed_pay_per_hour: at_least_zero(6)?,
    })
}

fn restaurant(row: &Row) -> Result<Restaurant, FileError> {
    Ok(Restaurant {
        id: row.text(0)?.to_owned(),
        location: point(row)?,
    })
}

fn courier(row: &Row) -> Result<Courier, FileError> {
    let on = minute(row, 3)?;
    let not_before = format!("a minute from on_time {on} on");
    let off = row.number_that(4, &not_before, |value| value >= on)?;
    Ok(Courier {
        id: row.text(0)?.to_owned(),
        start: point(row)?,
        on_at: at_minute(on),
        off_at: at_minute(off),
    })
}

fn order(row: &Row, restaurants: &HashMap<&str, usize>) -> Result<Order, FileError> {
    let placed = minute(row, 3)?;
    let not_before = format!("a minute from placement_time {placed} on");
    let ready = row.number_that(5, &not_before, |value| value >= placed)?;
    let restaurant = restaurants.get(row.text(4)?);
    Ok(Order {
        id: row.text(0)?.to_owned(),
        customer: point(row)?,
        placed_at: at_minute(placed),
        restaurant: *restaurant.ok_or_else(|| row.wrong(4, "a restaurant of restaurants.txt"))?,
        ready_at: at_minute(ready),
    })
}

/// A minute within some years of the start of the day.
fn minute(row: &Row, column: usize) -> Result<f64, FileError> {
    row.number_that(column, "a minute of the day", |value| value.abs() < 1e6)
}

fn point(row: &Row) -> Result<Point, FileError> {
    let metres = |column| {
        row.number_that(column, "a place within 10,000 km", |value| {
            value.abs() <= 1e7
        })
    };
    let (x, y) = (metres(1)?, metres(2)?);
    Point::metres(x, y).map_err(|_| row.wrong(1, "a place"))
}

/// The rows' places by id.
fn unique(table: &Table) -> Result<HashMap<&str, usize>, FileError> {
    let mut places = HashMap::new();
    for (place, row) in table.rows().iter().enumerate() {
        if places.insert(row.text(0)?, place).is_some() {
            return Err(row.wrong(0, "an id of its own: an earlier row has it"));
        }
    }
    Ok(places)
}
