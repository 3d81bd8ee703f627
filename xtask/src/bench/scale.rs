//! What an order costs when there is more of everything: instances, partitions, geos, rows.
//!
//! Every run drains the same number of orders through processors that run already, on a stack of its own, and is compared
//! with runs that differ in one thing. A cost is processor time of the four processors and of PostgreSQL per order. It changes
//! within minutes by more than what is looked for, so what is compared with others is run before and after each of them, and a
//! ratio is that to the mean of these two.
//!
//! Instances: one of each processor, against two of each, where every instance is held to the same [`SHARE`] of a core. So
//! the second set has as much to work with as the first, and what both take with Kafka, PostgreSQL and the clients stays
//! below what two cores have: else the machine's end would be measured, not the second set's worth.

use anyhow::Result;
use serde::Serialize;

use super::drain::{self, Drain, Setup};
use super::rig::{GEO, Site};
use crate::processors::{Instance, PROCESSORS};

/// Geos by their partitions; [`GEO`] has six, and one by a catalogue of its own.
const TWELVE: &str = "berlin-mitte";
const TWENTY_FOUR: &str = "london-soho";
/// All of the catalogue.
const GEOS: [&str; 20] = [
    "berlin-mitte",
    "london-soho",
    "amsterdam-centrum",
    "paris-bastille",
    "madrid-centro",
    "lisboa-baixa",
    "dublin-docklands",
    "stockholm-sodermalm",
    "warszawa-srodmiescie",
    "wien-innere-stadt",
    "milano-duomo",
    "athina-plaka",
    "istanbul-besiktas",
    "new-york-midtown",
    "chicago-loop",
    "san-francisco-soma",
    "toronto-downtown",
    "sao-paulo-pinheiros",
    "sydney-cbd",
    "wellington-te-aro",
];
/// Given six partitions each. Of two instances of assignment, which own whole geos, each has two of them: whether the group
/// deals its list of geos in halves or in turns.
const FOUR: [&str; 4] = [
    "madrid-centro",
    "lisboa-baixa",
    "chicago-loop",
    "san-francisco-soma",
];
/// Orders in the tables, before and after growth.
const FEW: u64 = 10_000;
/// Of a core, for each instance where two of each are compared with one.
const SHARE: f64 = 0.06;

#[derive(Serialize)]
pub struct Scale {
    pub orders: u64,
    /// One geo of six partitions, one instance of each, empty tables; the mean of its runs, as of `rows_few` and `one_instance`.
    pub base: Point,
    pub partitions_1: Point,
    pub partitions_12: Point,
    pub partitions_24: Point,
    /// All of the catalogue, with their 294 partitions.
    pub geos_20: Point,
    /// The same with as many partitions each as the base has.
    pub geos_20_of_6_partitions: Point,
    pub rows_few: Point,
    pub rows_many: Point,
    pub one_instance: Point,
    pub two_instances: Point,
    /// Cost per order to that of the base, or of few rows, just before and after; wanted: at most 1.2 at 20 geos and with
    /// many rows.
    pub cost_ratio_partitions_1: f64,
    pub cost_ratio_partitions_12: f64,
    pub cost_ratio_partitions_24: f64,
    pub cost_ratio_geos_20: f64,
    pub cost_ratio_geos_20_of_6_partitions: f64,
    pub cost_ratio_rows: f64,
    /// Of a core, for each instance of the last two.
    pub share: f64,
    /// Two instances of each to one; wanted: at least 1.8.
    pub throughput_ratio_instances: f64,
    pub checks_ok: bool,
}

#[derive(Serialize)]
pub struct Point {
    pub what: String,
    pub orders_per_s: f64,
    pub processors_cpu_us_per_order: f64,
    pub postgres_cpu_us_per_order: f64,
    pub kafka_cpu_us_per_order: f64,
    pub checks_ok: bool,
}

impl Point {
    fn of(what: String, drain: &Drain) -> Self {
        Self {
            what,
            orders_per_s: drain.orders_per_s,
            processors_cpu_us_per_order: drain.processors_cpu_us_per_order,
            postgres_cpu_us_per_order: drain.postgres_cpu_us_per_order,
            kafka_cpu_us_per_order: drain.kafka_cpu_us_per_order,
            checks_ok: drain.checks_ok,
        }
    }

    fn cost(&self) -> f64 {
        self.processors_cpu_us_per_order + self.postgres_cpu_us_per_order
    }

    /// Of several runs of one thing.
    fn mean(points: &[Point]) -> Self {
        let mean = |of: fn(&Point) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
        Self {
            what: points[0].what.clone(),
            orders_per_s: mean(|point| point.orders_per_s),
            processors_cpu_us_per_order: mean(|point| point.processors_cpu_us_per_order),
            postgres_cpu_us_per_order: mean(|point| point.postgres_cpu_us_per_order),
            kafka_cpu_us_per_order: mean(|point| point.kafka_cpu_us_per_order),
            checks_ok: points.iter().all(|point| point.checks_ok),
        }
    }
}

/// A run, and the mean of those just before and after it that it is compared with.
struct Beside {
    point: Point,
    base: Point,
}

impl Beside {
    fn cost_ratio(&self) -> f64 {
        self.point.cost() / self.base.cost()
    }

    fn throughput_ratio(&self) -> f64 {
        self.point.orders_per_s / self.base.orders_per_s
    }

    fn checks_ok(&self) -> bool {
        self.point.checks_ok && self.base.checks_ok
    }
}

/// Runs the others, and the base before, between and after them; returns the mean of all runs of the base too.
fn compare<const N: usize>(
    site: &Site,
    base: (&str, Setup),
    others: [(&str, Setup); N],
) -> Result<(Point, [Beside; N])> {
    let measure = |(what, setup): &(&str, Setup)| {
        eprintln!("bench: scale: {what}");
        anyhow::Ok(Point::of((*what).to_owned(), &drain::run(site, setup)?))
    };
    let mut bases = vec![measure(&base)?];
    let mut points = Vec::new();
    for other in &others {
        points.push(measure(other)?);
        bases.push(measure(&base)?);
    }
    let mut beside = bases.windows(2).map(Point::mean).zip(points);
    let beside = std::array::from_fn(|_| {
        let (base, point) = beside.next().expect("one for each of the others");
        Beside { point, base }
    });
    Ok((Point::mean(&bases), beside))
}

/// `rows`: orders in the tables after growth.
pub fn run(site: &Site, orders: u64, rows: u64) -> Result<Scale> {
    let base = Setup {
        warm: true,
        ..Setup::plain(orders)
    };
    let in_geos = |geos: &[&'static str]| Setup {
        geos: geos.to_vec(),
        ..base.clone()
    };
    let with_rows = |rows| Setup {
        history: Some(rows),
        ..base.clone()
    };
    let of_partitions = |partitions, geos: &[&'static str]| Setup {
        partitions: Some(partitions),
        ..in_geos(geos)
    };
    let held = |sets| Setup {
        instances: instances(sets),
        share: Some(SHARE),
        ..of_partitions(6, &FOUR)
    };
    let others = [
        ("one geo of 1 partition", of_partitions(1, &[GEO])),
        ("one geo of 12 partitions", in_geos(&[TWELVE])),
        ("one geo of 24 partitions", in_geos(&[TWENTY_FOUR])),
        ("20 geos", in_geos(&GEOS)),
        ("20 geos of 6 partitions each", of_partitions(6, &GEOS)),
    ];
    let (base, beside) = compare(site, ("one geo of 6 partitions", in_geos(&[GEO])), others)?;
    let [few, many] = [FEW, rows].map(|rows| format!("{rows} orders in the tables"));
    let (rows_few, [rows_many]) =
        compare(site, (&few, with_rows(FEW)), [(&many, with_rows(rows))])?;
    let one = ("one instance of each, held to a share", held(1));
    let two = ("two instances of each, held to the same shares", held(2));
    let (one_instance, [two_instances]) = compare(site, one, [two])?;
    let checks_ok =
        beside.iter().all(Beside::checks_ok) && rows_many.checks_ok() && two_instances.checks_ok();
    let [
        partitions_1,
        partitions_12,
        partitions_24,
        geos_20,
        geos_20_of_6_partitions,
    ] = beside;
    Ok(Scale {
        orders,
        cost_ratio_partitions_1: partitions_1.cost_ratio(),
        cost_ratio_partitions_12: partitions_12.cost_ratio(),
        cost_ratio_partitions_24: partitions_24.cost_ratio(),
        cost_ratio_geos_20: geos_20.cost_ratio(),
        cost_ratio_geos_20_of_6_partitions: geos_20_of_6_partitions.cost_ratio(),
        cost_ratio_rows: rows_many.cost_ratio(),
        share: SHARE,
        throughput_ratio_instances: two_instances.throughput_ratio(),
        checks_ok,
        base,
        partitions_1: partitions_1.point,
        partitions_12: partitions_12.point,
        partitions_24: partitions_24.point,
        geos_20: geos_20.point,
        geos_20_of_6_partitions: geos_20_of_6_partitions.point,
        rows_few,
        rows_many: rows_many.point,
        one_instance,
        two_instances: two_instances.point,
    })
}

/// So many of each processor.
fn instances(sets: u8) -> Vec<Instance> {
    let set = |slot: u8| PROCESSORS.map(|processor| Instance { processor, slot });
    (0..sets).flat_map(set).collect()
}
