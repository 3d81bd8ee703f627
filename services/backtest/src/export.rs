//! Solution files of the public evaluator, written and read.
//!
//! One directory per instance with three files, cells separated by spaces, one header line, minutes from the start of
//! the day: `solution_info_assignments.txt` (trips), `solution_info_orders.txt` (delivered orders) and
//! `solution_info_couriers.txt` (moves, in which `0` is the place where the courier came on duty). The evaluator drops
//! fractions of a minute, which occur where a service takes an odd number of minutes.
//!
//! Reading gives back the solution that was written, so that a solution from elsewhere can be checked and measured too.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use dispatch::At;

use crate::instance::{Instance, at_minute, minute_of};
use crate::solution::{Drop, Solution, Trip};
use crate::table::{FileError, Row, Table};

const ASSIGNMENTS: &str = "solution_info_assignments.txt";
const ORDERS: &str = "solution_info_orders.txt";
const COURIERS: &str = "solution_info_couriers.txt";
const SEPARATOR: char = ' ';
/// The place where a courier comes on duty.
const START: &str = "0";

/// Writes the solution files into `dir`, which is created.
pub fn write(dir: &Path, instance: &Instance, solution: &Solution) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    fs::write(dir.join(ASSIGNMENTS), assignments(instance, solution))?;
    fs::write(dir.join(ORDERS), orders(instance, solution))?;
    fs::write(dir.join(COURIERS), couriers(instance, solution))
}

fn assignments(instance: &Instance, solution: &Solution) -> String {
    let mut text = String::from("assignment_time pickup_time courier_id order_list\n");
    for trip in &solution.trips {
        let (decided, pickup) = (minute_of(trip.decided_at), minute_of(trip.pickup_at));
        let _ = write!(
            text,
            "{decided} {pickup} {}",
            instance.couriers[trip.courier].id
        );
        for order in trip.orders(instance) {
            let _ = write!(text, " {}", order.id);
        }
        text.push('\n');
    }
    text
}

fn orders(instance: &Instance, solution: &Solution) -> String {
    let mut text =
        String::from("order placement_time ready_time pickup_time dropoff_time courier\n");
    for trip in &solution.trips {
        let courier = &instance.couriers[trip.courier].id;
        for (drop, order) in trip.drops.iter().zip(trip.orders(instance)) {
            let instants = [
                order.placed_at,
                order.ready_at,
                trip.pickup_at,
                drop.dropoff_at,
            ];
            let [placed, ready, pickup, dropoff] = instants.map(minute_of);
            let _ = writeln!(
                text,
                "{} {placed} {ready} {pickup} {dropoff} {courier}",
                order.id
            );
        }
    }
    text
}

fn couriers(instance: &Instance, solution: &Solution) -> String {
    let mut text = String::from("courier_id departure_time origin destination\n");
    for (courier, trips) in instance.couriers.iter().zip(solution.by_courier(instance)) {
        let mut from = START;
        for trip in trips {
            for (departs_at, to) in moves(instance, trip) {
                let departs = minute_of(departs_at);
                let _ = writeln!(text, "{} {departs} {from} {to}", courier.id);
                from = to;
            }
        }
    }
    text
}

/// When the courier leaves, and where he goes: to the restaurant, then to each customer.
fn moves<'a>(instance: &'a Instance, trip: &'a Trip) -> Vec<(At, &'a str)> {
    let restaurant = trip.restaurant(instance);
    let first_mile = restaurant.map(|restaurant| (trip.departs_at, restaurant.id.as_str()));
    let drops = trip.drops.iter().zip(trip.orders(instance));
    let drops = drops.map(|(drop, order)| (drop.departs_at, order.id.as_str()));
    first_mile.into_iter().chain(drops).collect()
}

/// Reads the solution files in `dir`, which must agree with each other and name what the instance has.
pub fn read(dir: &Path, instance: &Instance) -> Result<Solution, FileError> {
    let table = |file, first| Table::read(dir, file, SEPARATOR, first);
    let couriers: Vec<&str> = instance.couriers.iter().map(|c| c.id.as_str()).collect();
    let orders: Vec<&str> = instance.orders.iter().map(|o| o.id.as_str()).collect();
    let (courier_of, order_of) = (Ids::of(&couriers), Ids::of(&orders));
    let mut dropoffs = BTreeMap::new();
    for row in table(ORDERS, "order")?.rows() {
        let order = order_of.find(row, 0, "an order of the instance")?;
        dropoffs.insert(order, at_minute(row.number(4)?));
    }
    let moves = table(COURIERS, "courier_id")?;
    let mut moves_of = vec![Vec::new(); couriers.len()];
    for row in moves.rows() {
        moves_of[courier_of.find(row, 0, "a courier of the instance")?].push(row);
    }
    let mut reader = Reader {
        instance,
        moves_of: moves_of.into_iter().map(Vec::into_iter).collect(),
        stops: vec![START; couriers.len()],
        dropoffs,
    };
    let mut trips = Vec::new();
    for row in table(ASSIGNMENTS, "assignment_time")?.rows() {
        let courier = courier_of.find(row, 2, "a courier of the instance")?;
        let carried = (3..row.width().max(4))
            .map(|column| order_of.find(row, column, "an order of the instance"))
            .collect::<Result<Vec<_>, _>>()?;
        trips.push(reader.trip(row, courier, &carried)?);
    }
    Ok(Solution { trips })
}

/// Places by id.
struct Ids<'a>(HashMap<&'a str, usize>);

impl<'a> Ids<'a> {
    fn of(ids: &[&'a str]) -> Ids<'a> {
        let places = ids.iter().enumerate();
        Ids(places.map(|(place, id)| (*id, place)).collect())
    }

    fn find(&self, row: &Row, column: usize, expected: &str) -> Result<usize, FileError> {
        let place = self.0.get(row.text(column)?);
        place.copied().ok_or_else(|| row.wrong(column, expected))
    }
}

/// Puts the three files together again, trip by trip.
struct Reader<'a> {
    instance: &'a Instance,
    /// For each courier the moves that no trip has taken yet.
    moves_of: Vec<std::vec::IntoIter<&'a Row>>,
    /// For each courier the stop that the last move led to.
    stops: Vec<&'a str>,
    dropoffs: BTreeMap<usize, At>,
}

impl<'a> Reader<'a> {
    fn trip(&mut self, row: &Row, courier: usize, carried: &[usize]) -> Result<Trip, FileError> {
        let instance = self.instance;
        let restaurant = instance.orders[carried[0]].restaurant;
        let departs_at = self.leave(row, courier, &instance.restaurants[restaurant].id)?;
        let mut drops = Vec::new();
        for (index, &order) in carried.iter().enumerate() {
            let dropoff_at = self
                .dropoffs
                .get(&order)
                .copied()
                .ok_or_else(|| row.wrong(3 + index, &format!("an order of {ORDERS}")))?;
            let departs_at = self.leave(row, courier, &instance.orders[order].id)?;
            drops.push(Drop {
                order,
                departs_at,
                dropoff_at,
            });
        }
        Ok(Trip {
            courier,
            decided_at: at_minute(row.number(0)?),
            departs_at,
            pickup_at: at_minute(row.number(1)?),
            drops,
        })
    }

    /// Takes the courier's next move, which must lead on from where he is to `to`; returns when he leaves.
    fn leave(&mut self, trip: &Row, courier: usize, to: &'a str) -> Result<At, FileError> {
        let Some(row) = self.moves_of[courier].next() else {
            return Err(trip.wrong(2, &format!("a courier with this trip in {COURIERS}")));
        };
        let from = std::mem::replace(&mut self.stops[courier], to);
        if row.text(2)? != from {
            return Err(row.wrong(2, &format!("{from:?}, where the courier is")));
        }
        if row.text(3)? != to {
            return Err(row.wrong(3, &format!("{to:?}, where his trip goes")));
        }
        Ok(at_minute(row.number(1)?))
    }
}
