//! Capacity on paper: what the measured costs mean for 1, 20 and 1,000 geos, and one check of the arithmetic.
//!
//! The formulas stand in BENCHMARKS.md beside the table; every constant of theirs that is not measured stands here.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};
use toml::Table;

use super::goals::amount;
use super::results::Results;
use crate::workspace;

/// What 20 geos bring at their peak, by the requirements: 500 orders a minute, 10,000 drivers who ping every five seconds.
const GEOS_OF_PEAK: f64 = 20.0;
const PEAK_ORDERS_PER_S: f64 = 500.0 / 60.0;
const PEAK_PINGS_PER_S: f64 = 2_000.0;
/// What is built for, in peaks.
const HEADROOM: f64 = 10.0;
/// A day brings as many orders and pings as so many hours at the peak.
const PEAK_HOURS_A_DAY: f64 = 8.0;
/// Most of a core that an instance, which thinks on one thread, should be busy.
const BUSY: f64 = 0.7;
/// Kafka's replicas, and brokers.
const REPLICAS: f64 = 3.0;
const PROCESSORS: f64 = 4.0;
/// Clients of Kafka in a process (membership, reader, asker, producer, and in one of the four a reader of positions), each with a
/// connection per broker and one to its coordinator; most connections of its pool to PostgreSQL.
const KAFKA_CONNECTIONS: f64 = (4.0 + 1.0 / PROCESSORS) * (REPLICAS + 1.0);
const POSTGRES_CONNECTIONS: f64 = 2.0;
/// Days for which events, positions and rows are kept.
const KEPT_EVENTS: f64 = 7.0;
const KEPT_PINGS: f64 = 1.0;
const KEPT_ROWS: f64 = 90.0;
const GB: f64 = 1e9;

/// What the results say, as the formulas want it.
struct Costs {
    /// Runs of the steady part: orders per second, and CPU seconds per order of processors, PostgreSQL and Kafka.
    rates: Vec<(f64, [f64; 3])>,
    ping_s: f64,
    kafka_bytes_per_order: f64,
    kafka_bytes_per_ping: f64,
    postgres_bytes_per_order: f64,
}

/// The table, and the check below it; a hint where parts have not been measured.
pub fn tables(results: &Results) -> Result<String> {
    let Some(costs) = Costs::of(results) else {
        return Ok("To be written when drain, steady and pings have been measured.".to_owned());
    };
    let partitions = partitions_per_geo()?;
    let mut table = String::from("| | 1 geo | 20 geos | 1,000 geos |\n|---|---|---|---|\n");
    let sizes = [1.0, 20.0, 1_000.0].map(|geos| Size::of(geos, &costs, partitions));
    for (index, (name, _)) in sizes[0].lines.iter().enumerate() {
        // Writing to a String does not fail.
        _ = write!(table, "| {name} |");
        for size in &sizes {
            _ = write!(table, " {} |", amount(size.lines[index].1));
        }
        table.push('\n');
    }
    _ = write!(table, "\n{}", costs.check());
    Ok(table)
}

/// One column of the table.
struct Size {
    lines: Vec<(&'static str, f64)>,
}

impl Size {
    fn of(geos: f64, costs: &Costs, partitions: f64) -> Self {
        let share = geos / GEOS_OF_PEAK;
        let (orders, pings) = (PEAK_ORDERS_PER_S * share, PEAK_PINGS_PER_S * share);
        let (most_orders, most_pings) = (orders * HEADROOM, pings * HEADROOM);
        let [processors, postgres, kafka] = costs.per_order(most_orders).map(|s| s * most_orders);
        let ping_cores = costs.ping_s * most_pings;
        // Orders spread over four processors; pings go to assignment alone.
        let needed = (processors / PROCESSORS / BUSY).ceil().max(2.0);
        let for_pings = ((processors / PROCESSORS + ping_cores) / BUSY)
            .ceil()
            .max(2.0);
        let processes = needed * (PROCESSORS - 1.0) + for_pings;
        let day = PEAK_HOURS_A_DAY * 3_600.0;
        let order_bytes = costs.kafka_bytes_per_order * orders * day * REPLICAS;
        let ping_bytes = costs.kafka_bytes_per_ping * pings * day * REPLICAS;
        let row_bytes = costs.postgres_bytes_per_order * orders * day;
        let lines = vec![
            ("orders/s at the peak", orders),
            ("GPS/s at the peak", pings),
            ("partitions, dead letters included", partitions * geos),
            ("orders/s at ten times the peak", most_orders),
            ("cores of the processors for them", processors),
            ("cores of PostgreSQL for them", postgres),
            ("cores of Kafka for them, one replica", kafka),
            ("cores of assignment for ten times the GPS", ping_cores),
            ("processes, at least two of each", processes),
            ("connections to Kafka", processes * KAFKA_CONNECTIONS),
            (
                "connections to PostgreSQL",
                processes * POSTGRES_CONNECTIONS,
            ),
            ("GB a day in Kafka, orders", order_bytes / GB),
            ("GB a day in Kafka, positions", ping_bytes / GB),
            (
                "GB kept in Kafka",
                (order_bytes * KEPT_EVENTS + ping_bytes * KEPT_PINGS) / GB,
            ),
            ("GB a day in PostgreSQL", row_bytes / GB),
            ("GB kept in PostgreSQL", row_bytes * KEPT_ROWS / GB),
        ];
        Self { lines }
    }
}

impl Costs {
    fn of(results: &Results) -> Option<Self> {
        let seconds = |run: &serde_json::Value, field: &str| Some(run[field].as_f64()? / 1e6);
        let rate = |run: &serde_json::Value| {
            let fields = [
                "processors_cpu_us_per_order",
                "postgres_cpu_us_per_order",
                "kafka_cpu_us_per_order",
            ];
            let costs = fields.map(|field| seconds(run, field));
            Some((run["rate"].as_f64()?, [costs[0]?, costs[1]?, costs[2]?]))
        };
        let mut rates: Vec<_> = results.list("/steady").iter().filter_map(rate).collect();
        rates.sort_by(|a, b| a.0.total_cmp(&b.0));
        if rates.is_empty() {
            return None;
        }
        Some(Self {
            rates,
            ping_s: 1.0 / results.number("/pings/pings_per_core_s")?,
            kafka_bytes_per_order: results.number("/drain/kafka_bytes_per_order")?,
            kafka_bytes_per_ping: results.number("/pings/kafka_bytes_per_ping")?,
            postgres_bytes_per_order: results.number("/drain/postgres_bytes_per_order")?,
        })
    }

    /// CPU seconds per order at this rate: those of the fastest measured rate that is not above it, or of the slowest. An
    /// order is cheaper the more of them share a cycle, so this never makes it too cheap above the slowest.
    fn per_order(&self, rate: f64) -> [f64; 3] {
        let below = self
            .rates
            .iter()
            .rev()
            .find(|(measured, _)| *measured <= rate);
        below.unwrap_or(&self.rates[0]).1
    }

    /// Cores of everything at a rate between, predicted on a line through the slowest and the fastest, beside the measured.
    fn check(&self) -> String {
        let cores = |(rate, costs): &(f64, [f64; 3])| rate * costs.iter().sum::<f64>();
        let [first, middle, .., last] = self.rates.as_slice() else {
            return "The check needs three rates of the steady part.\n".to_owned();
        };
        let each = (cores(last) - cores(first)) / (last.0 - first.0);
        let fixed = cores(first) - each * first.0;
        let predicted = fixed + each * middle.0;
        format!(
            "The check: {} orders/s take {} cores in all (processors, PostgreSQL, Kafka), {} orders/s take {}. On the line \
             between, {} cores and {} ms per order more, {} orders/s would take {}. Measured: {}, {} times that.\n",
            first.0,
            amount(cores(first)),
            last.0,
            amount(cores(last)),
            amount(fixed),
            amount(each * 1e3),
            middle.0,
            amount(predicted),
            amount(cores(middle)),
            amount(cores(middle) / predicted),
        )
    }
}

/// Mean over the catalogue's geos.
fn partitions_per_geo() -> Result<f64> {
    let read = |file: &str| -> Result<Table> {
        let text = fs::read_to_string(workspace::root().join("schemas").join(file))?;
        text.parse().with_context(|| file.to_owned())
    };
    let (topics, geos) = (read("topics.toml")?, read("geos.toml")?);
    partitions(&topics, &geos).context("the catalogue of topics")
}

fn partitions(topics: &Table, geos: &Table) -> Option<f64> {
    let classes = topics.get("partition_classes")?;
    let letters = topics
        .get("dead_letters")?
        .get("partitions")?
        .as_integer()?;
    let geos = geos.get("geo")?.as_array()?;
    let mut sum = 0;
    for geo in geos {
        let class = classes.get(geo.get("class")?.as_str()?)?.as_integer()?;
        for stream in topics.get("stream")?.as_array()? {
            sum += stream.get("partitions")?.as_integer().unwrap_or(class);
            sum += if stream.get("dead_letters")?.as_bool()? {
                letters
            } else {
                0
            };
        }
    }
    Some(sum as f64 / geos.len() as f64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn results() -> Results {
        let run = |rate: f64, us: f64| {
            json!({ "rate": rate, "processors_cpu_us_per_order": us, "postgres_cpu_us_per_order": us,
                "kafka_cpu_us_per_order": us })
        };
        let mut results = Results::default();
        results.add(
            "steady",
            json!([run(10.0, 2_000.0), run(330.0, 1_000.0), run(33.0, 1_500.0)]),
        );
        results.add(
            "pings",
            json!({ "pings_per_core_s": 50_000.0, "kafka_bytes_per_ping": 100.0 }),
        );
        results.add(
            "drain",
            json!({ "kafka_bytes_per_order": 4_000.0, "postgres_bytes_per_order": 3_000.0 }),
        );
        results
    }

    #[test]
    fn a_size_takes_the_cost_of_the_fastest_rate_that_it_reaches() {
        let costs = Costs::of(&results()).expect("all is there");
        let at = |rate| costs.per_order(rate)[0] * 1e6;
        assert_eq!(
            [1.0, 33.0, 329.0, 5_000.0].map(at),
            [2_000.0, 1_500.0, 1_500.0, 1_000.0]
        );
        let size = Size::of(20.0, &costs, 100.0);
        let line = |name: &str| {
            size.lines
                .iter()
                .find(|line| line.0 == name)
                .map(|line| line.1)
        };
        assert_eq!(line("partitions, dead letters included"), Some(2_000.0));
        // 83 orders a second at 1.5 ms.
        assert!((line("cores of the processors for them").expect("a line") - 0.125).abs() < 1e-9);
        // 8.33 orders a second for eight hours, 4,000 bytes three times.
        assert!((line("GB a day in Kafka, orders").expect("a line") - 2.88).abs() < 1e-9);
    }

    #[test]
    fn the_check_lies_on_the_line_between_the_slowest_and_the_fastest() {
        let costs = Costs::of(&results()).expect("all is there");
        // 0.06 cores at 10/s and 0.99 at 330/s: at 33/s 0.127, and 0.149 were measured.
        let check = costs.check();
        assert!(
            check.contains("33 orders/s would take 0.13. Measured: 0.15, 1.17 times"),
            "{check}"
        );
    }

    #[test]
    fn every_stream_of_every_geo_has_its_partitions_and_its_dead_letters() {
        let topics = "[partition_classes]\nsmall = 6\nbusy = 12\n[dead_letters]\npartitions = 1\n\
            [[stream]]\npartitions = 'class'\ndead_letters = true\n[[stream]]\npartitions = 1\ndead_letters = false\n";
        let geos = "[[geo]]\nclass = 'small'\n[[geo]]\nclass = 'busy'\n";
        let parse = |text: &str| text.parse::<Table>().expect("TOML");
        assert_eq!(
            partitions(&parse(topics), &parse(geos)),
            Some((8.0 + 14.0) / 2.0)
        );
    }
}
