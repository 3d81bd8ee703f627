//! The report: one HTML file with its data, drawings and script inside, readable without network.
//!
//! Here the data are put together; `report/page.html`, `page.css` and `page.js` show them, with the drawing in `draw.js` that
//! the report of a shadow replay (`shadow.html`, `shadow.js`) uses as well. The curves are histograms by the
//! minute, so a page of many instances stays small, and shares are of orders placed: an order never delivered keeps its
//! curve below 100 %. One instance, the first, can be played on a map.

use dispatch::Point;
use serde::Serialize;

use crate::instance::{Instance, minute_of};
use crate::measures::deliveries;
use crate::results::Results;
use crate::run::Run;
use crate::solution::{Solution, Trip};

/// Of the utilisation over the day.
const BIN_MIN: f64 = 15.0;
/// Beyond this many minutes a curve shows no more.
const LONGEST_MIN: usize = 240;

const PAGE: &str = include_str!("report/page.html");
const STYLE: &str = include_str!("report/page.css");
const SCRIPT: &str = include_str!("report/page.js");
const DRAWING: &str = include_str!("report/draw.js");
const SHADOW_PAGE: &str = include_str!("report/shadow.html");
const SHADOW_SCRIPT: &str = include_str!("report/shadow.js");

/// What the page's script reads.
#[derive(Serialize)]
struct Data<'a> {
    results: &'a Results,
    bin_min: f64,
    /// By policy, then by instance.
    curves: Vec<Vec<Curves>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    map: Option<Map<'a>>,
}

/// An instance under a policy.
#[derive(Serialize)]
struct Curves {
    orders: usize,
    /// Orders by whole minutes of click-to-door, from 0 on.
    click_to_door: Vec<u32>,
    /// Orders by whole minutes of food wait, from 0 on.
    ready_to_pickup: Vec<u32>,
    /// Courier minutes on trips and on duty, by `bin_min` of the day.
    busy: Vec<f64>,
    on_duty: Vec<f64>,
}

/// An instance to be played. Places in metres, instants in minutes.
#[derive(Serialize)]
struct Map<'a> {
    instance: &'a str,
    metres_per_minute: f64,
    half_dropoff: f64,
    restaurants: Vec<(f64, f64)>,
    /// x, y, on, off
    couriers: Vec<(f64, f64, f64, f64)>,
    /// x, y, restaurant, placed, ready
    orders: Vec<(f64, f64, usize, f64, f64)>,
    /// By policy.
    trips: Vec<Vec<Leg>>,
}

/// A trip: courier, departure, pickup, and for each drop order, departure and drop-off.
type Leg = (usize, f64, f64, Vec<(usize, f64, f64)>);

/// The page. `runs` is by policy, then by instance, like the results.
pub fn page(instances: &[Instance], results: &Results, runs: &[Vec<Run>]) -> String {
    let curves = |runs: &Vec<Run>| -> Vec<Curves> {
        let pairs = instances.iter().zip(runs);
        pairs
            .map(|(instance, run)| Curves::of(instance, &run.solution))
            .collect()
    };
    let data = Data {
        results,
        bin_min: BIN_MIN,
        curves: runs.iter().map(curves).collect(),
        map: instances.first().map(|instance| Map::of(instance, runs)),
    };
    filled(PAGE, "/* page.js */", SCRIPT, &data)
}

/// The page of a shadow replay. `data`: what `report/shadow.js` reads.
pub fn shadow_page(data: &impl Serialize) -> String {
    filled(SHADOW_PAGE, "/* shadow.js */", SHADOW_SCRIPT, data)
}

fn filled(page: &str, place: &str, script: &str, data: &impl Serialize) -> String {
    let data = serde_json::to_string(data).expect("a tree of names and numbers is JSON");
    // Inside a script element nothing but its end tag has a meaning, and no name may contain that.
    let data = data.replace('<', "\\u003c");
    page.replace("/* page.css */", STYLE)
        .replace("/* draw.js */", DRAWING)
        .replace(place, script)
        .replace("/* data */", &data)
}

impl Curves {
    fn of(instance: &Instance, solution: &Solution) -> Curves {
        let deliveries = deliveries(instance, solution);
        let mut busy = Bins::default();
        let mut on_duty = Bins::default();
        for (courier, trips) in instance.couriers.iter().zip(solution.by_courier(instance)) {
            let (on, mut home) = (minute_of(courier.on_at), minute_of(courier.off_at));
            for trip in trips {
                let free = minute_of(trip.free_at(instance));
                busy.add(minute_of(trip.departs_at), free);
                home = home.max(free);
            }
            on_duty.add(on, home);
        }
        Curves {
            orders: instance.orders.len(),
            click_to_door: histogram(deliveries.iter().map(|d| d.click_to_door)),
            ready_to_pickup: histogram(deliveries.iter().map(|d| d.ready_to_pickup)),
            busy: busy.0,
            on_duty: on_duty.0,
        }
    }
}

/// How many numbers there are of each whole minute, fractions rounded up; what is too long is left out.
fn histogram(minutes: impl Iterator<Item = f64>) -> Vec<u32> {
    let mut counts = Vec::new();
    for minute in minutes {
        let minute = minute.max(0.0).ceil() as usize;
        if minute <= LONGEST_MIN {
            counts.resize(counts.len().max(minute + 1), 0);
            counts[minute] += 1;
        }
    }
    counts
}

/// Minutes by the part of the day into which they fall; what is before the day counts to its first part.
#[derive(Default)]
struct Bins(Vec<f64>);

impl Bins {
    fn add(&mut self, from: f64, until: f64) {
        let mut at = from.max(0.0);
        while at < until {
            let bin = (at / BIN_MIN) as usize;
            let end = ((bin + 1) as f64 * BIN_MIN).min(until);
            self.0.resize(self.0.len().max(bin + 1), 0.0);
            self.0[bin] += end - at;
            at = end;
        }
    }
}

impl<'a> Map<'a> {
    fn of(instance: &'a Instance, runs: &[Vec<Run>]) -> Map<'a> {
        let xy = |point: Point| (point.x(), point.y());
        let leg = |trip: &Trip| -> Leg {
            let drops = trip.drops.iter();
            let drops = drops.map(|drop| {
                (
                    drop.order,
                    minute_of(drop.departs_at),
                    minute_of(drop.dropoff_at),
                )
            });
            (
                trip.courier,
                minute_of(trip.departs_at),
                minute_of(trip.pickup_at),
                drops.collect(),
            )
        };
        let first = runs.iter().filter_map(|runs| runs.first());
        let trips = first.map(|run| run.solution.trips.iter().map(leg).collect());
        Map {
            instance: &instance.name,
            metres_per_minute: instance.parameters.metres_per_minute,
            half_dropoff: instance.parameters.dropoff_service_min / 2.0,
            restaurants: instance
                .restaurants
                .iter()
                .map(|r| xy(r.location))
                .collect(),
            couriers: instance
                .couriers
                .iter()
                .map(|c| {
                    let (x, y) = xy(c.start);
                    (x, y, minute_of(c.on_at), minute_of(c.off_at))
                })
                .collect(),
            orders: instance
                .orders
                .iter()
                .map(|order| {
                    let (x, y) = xy(order.customer);
                    (
                        x,
                        y,
                        order.restaurant,
                        minute_of(order.placed_at),
                        minute_of(order.ready_at),
                    )
                })
                .collect(),
            trips: trips.collect(),
        }
    }
}
