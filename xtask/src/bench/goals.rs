//! The figures as people read them, each beside its goal if it has one.

use std::fmt::Write as _;

use serde_json::Value;

use super::results::Results;

/// A goal, and on which side of it a figure should be.
#[derive(Clone, Copy)]
enum Goal {
    None,
    AtLeast(f64),
    AtMost(f64),
}

pub struct Row {
    pub part: &'static str,
    pub what: String,
    unit: &'static str,
    figure: f64,
    goal: Goal,
}

/// The figures with their goals; what was not measured is left out.
pub fn rows(results: &Results) -> Vec<Row> {
    let parts = [drain, limits, steady, pings, recovery, scale, codec];
    parts.into_iter().flat_map(|part| part(results)).collect()
}

/// What it is, its unit, where it stands in the results, and what it should be.
type Line<'a> = (&'a str, &'static str, &'a str, Goal);

fn table(results: &Results, part: &'static str, lines: &[Line<'_>]) -> Vec<Row> {
    let row = |(what, unit, path, goal): &Line<'_>| {
        Some(Row {
            part,
            what: (*what).to_owned(),
            unit,
            figure: results.number(path)?,
            goal: *goal,
        })
    };
    lines.iter().filter_map(row).collect()
}

fn drain(results: &Results) -> Vec<Row> {
    let inside = [
        (
            "from start to the last message",
            "orders/s",
            "/drain/orders_per_s",
            Goal::None,
        ),
        (
            "per CPU second of the four processors",
            "orders",
            "/drain/orders_per_cpu_second_processors",
            Goal::AtLeast(12_200.0),
        ),
        (
            "the same with PostgreSQL counted in",
            "orders",
            "/drain/orders_per_cpu_second_with_postgres",
            Goal::AtLeast(6_100.0),
        ),
        (
            "peak memory of the four together",
            "MB",
            "/drain/peak_rss_mb_processors",
            Goal::AtMost(120.0),
        ),
        (
            "PostgreSQL, per order",
            "us CPU",
            "/drain/postgres_cpu_us_per_order",
            Goal::AtMost(130.5),
        ),
        (
            "Kafka, per order",
            "us CPU",
            "/drain/kafka_cpu_us_per_order",
            Goal::None,
        ),
    ];
    let http = [
        (
            "from start to the last message",
            "orders/s",
            "/drain_http/orders_per_s",
            Goal::None,
        ),
        (
            "per CPU second of the four processors",
            "orders",
            "/drain_http/orders_per_cpu_second_processors",
            Goal::None,
        ),
    ];
    let mut rows = table(results, "drain", &inside);
    rows.extend(table(results, "drain-http", &http));
    rows
}

fn limits(results: &Results) -> Vec<Row> {
    let lines = [
        (
            "the orders processor alone",
            "orders/s",
            "/limits/processor_orders_per_s",
            Goal::None,
        ),
        (
            "a bare Kafka client",
            "orders/s",
            "/limits/kafka_orders_per_s",
            Goal::None,
        ),
        (
            "a bare PostgreSQL client",
            "orders/s",
            "/limits/postgres_orders_per_s",
            Goal::None,
        ),
        (
            "the processor to the smaller limit",
            "times",
            "/limits/ratio",
            Goal::AtLeast(0.5),
        ),
    ];
    table(results, "limits", &lines)
}

/// The goals are those of the burst, 33 orders a second.
fn steady(results: &Results) -> Vec<Row> {
    let mut rows = Vec::new();
    for (index, run) in results.list("/steady").iter().enumerate() {
        let rate = run["rate"].as_f64().unwrap_or_default();
        let burst = |most| {
            if rate == 33.0 {
                Goal::AtMost(most)
            } else {
                Goal::None
            }
        };
        for (what, unit, field, goal) in [
            (
                "placed to confirmed, P99",
                "ms",
                "placed_to_confirmed_p99_ms",
                Goal::None,
            ),
            (
                "placed to DriverAssigned, P50",
                "ms",
                "placed_to_assigned_p50_ms",
                burst(40.0),
            ),
            (
                "placed to DriverAssigned, P99",
                "ms",
                "placed_to_assigned_p99_ms",
                burst(100.0),
            ),
            (
                "due to DriverAssigned, P99",
                "ms",
                "due_to_assigned_p99_ms",
                burst(100.0),
            ),
            ("lag at the end", "orders", "lag_orders_at_end", Goal::None),
        ] {
            let what = format!("{what}, at {rate} orders/s");
            let path = format!("/steady/{index}/{field}");
            rows.extend(table(results, "steady", &[(&what, unit, &path, goal)]));
        }
    }
    rows
}

fn pings(results: &Results) -> Vec<Row> {
    let mut rows = Vec::new();
    for (index, at) in results.list("/pings/at").iter().enumerate() {
        let pending = amount(at["pending"].as_f64().unwrap_or_default());
        let what = format!(
            "a ping among {} pending requests",
            pending.trim_end_matches(".00")
        );
        let path = format!("/pings/at/{index}/cpu_us_per_ping");
        rows.extend(table(
            results,
            "pings",
            &[(&what, "us CPU", &path, Goal::None)],
        ));
    }
    let lines = [
        (
            "with the most pending to with the fewest",
            "times",
            "/pings/ratio",
            Goal::AtMost(1.3),
        ),
        (
            "pings that one core takes",
            "/s",
            "/pings/pings_per_core_s",
            Goal::None,
        ),
    ];
    rows.extend(table(results, "pings", &lines));
    rows
}

fn recovery(results: &Results) -> Vec<Row> {
    let lines = [
        (
            "kill -9 to the next decision",
            "s",
            "/recovery/kill_to_decision_s",
            Goal::None,
        ),
        (
            "of it until the group moved the geo",
            "s",
            "/recovery/kill_to_ownership_s",
            Goal::None,
        ),
        (
            "then rebuilding 100,000 requests",
            "s",
            "/recovery/rebuild_s",
            Goal::None,
        ),
        (
            "from the move to the decision",
            "s",
            "/recovery/ownership_to_decision_s",
            Goal::AtMost(5.0),
        ),
    ];
    table(results, "recovery", &lines)
}

fn scale(results: &Results) -> Vec<Row> {
    let lines = [
        (
            "cost per order at 1 partition, to 6",
            "/scale/cost_ratio_partitions_1",
            Goal::None,
        ),
        (
            "cost per order at 12 partitions, to 6",
            "/scale/cost_ratio_partitions_12",
            Goal::None,
        ),
        (
            "cost per order at 24 partitions, to 6",
            "/scale/cost_ratio_partitions_24",
            Goal::None,
        ),
        (
            "cost per order in 20 geos, to one",
            "/scale/cost_ratio_geos_20",
            Goal::AtMost(1.2),
        ),
        (
            "the same with 6 partitions each, as the one has",
            "/scale/cost_ratio_geos_20_of_6_partitions",
            Goal::AtMost(1.2),
        ),
        (
            "cost per order in full tables, to 10,000 orders",
            "/scale/cost_ratio_rows",
            Goal::AtMost(1.2),
        ),
        (
            "two instances of each to one, each with the same share of a core",
            "/scale/throughput_ratio_instances",
            Goal::AtLeast(1.8),
        ),
    ];
    let lines = lines.map(|(what, path, goal)| (what, "times", path, goal));
    table(results, "scale", &lines)
}

fn codec(results: &Results) -> Vec<Row> {
    let records = results.value("/codec/records").and_then(Value::as_object);
    let mut rows = Vec::new();
    for record in records.into_iter().flat_map(|records| records.keys()) {
        for (way, (of, unit, field)) in ["encode", "decode"].into_iter().flat_map(|way| {
            let sides = [
                ("ours", "ns", "ours_ns"),
                (
                    "serde_avro_fast bare to ours",
                    "times",
                    "serde_avro_fast_to_ours",
                ),
                ("apache-avro to ours", "times", "apache_avro_to_ours"),
            ];
            sides.map(|side| (way, side))
        }) {
            let what = format!("{way} {record}, {of}");
            let path = format!("/codec/records/{record}/{way}/{field}");
            rows.extend(table(results, "codec", &[(&what, unit, &path, Goal::None)]));
        }
    }
    rows
}

impl Row {
    pub fn figure(&self) -> String {
        format!("{} {}", amount(self.figure), self.unit)
    }

    pub fn goal(&self) -> String {
        match self.goal {
            Goal::None => String::new(),
            Goal::AtLeast(goal) => format!("at least {}", amount(goal)),
            Goal::AtMost(goal) => format!("at most {}", amount(goal)),
        }
    }

    pub fn verdict(&self) -> &'static str {
        match self.goal {
            Goal::None => "",
            Goal::AtLeast(goal) if self.figure >= goal => "met",
            Goal::AtMost(goal) if self.figure <= goal => "met",
            _ => "missed",
        }
    }
}

/// Three digits that tell something, with thousands set apart.
pub fn amount(figure: f64) -> String {
    let size = figure.abs();
    let digits = if size >= 100.0 {
        0
    } else if size >= 10.0 {
        1
    } else {
        2
    };
    // What rounds to nothing has no sign.
    let figure = if size < 0.005 { 0.0 } else { figure };
    let text = format!("{figure:.digits$}");
    let (whole, rest) = text
        .split_once('.')
        .map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        let left = whole.len() - index;
        if index > 0 && left.is_multiple_of(3) && !grouped.ends_with('-') {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if rest.is_empty() {
        grouped
    } else {
        format!("{grouped}.{rest}")
    }
}

/// For a terminal.
pub fn text(results: &Results) -> String {
    let mut text = String::new();
    let mut part = "";
    for row in rows(results) {
        if row.part != part {
            // Writing to a String does not fail, here and below.
            _ = writeln!(text, "{}", row.part);
            part = row.part;
        }
        let line = format!(
            "  {:<52} {:>22}   {:<18} {}",
            row.what,
            row.figure(),
            row.goal(),
            row.verdict()
        );
        _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_that_tell_something() {
        for (figure, text) in [
            (12_345.6, "12,346"),
            (1_234_567.0, "1,234,567"),
            (99.96, "100.0"),
            (1.005, "1.00"),
            (-4_200.0, "-4,200"),
            (-420.0, "-420"),
            (-0.004, "0.00"),
        ] {
            assert_eq!(amount(figure), text);
        }
    }

    #[test]
    fn a_missed_goal_is_said_to_be_missed() {
        let row = |figure, goal| Row {
            part: "p",
            what: String::new(),
            unit: "ms",
            figure,
            goal,
        };
        assert_eq!(row(100.0, Goal::AtMost(100.0)).verdict(), "met");
        assert_eq!(row(101.0, Goal::AtMost(100.0)).verdict(), "missed");
        assert_eq!(row(1.7, Goal::AtLeast(1.8)).verdict(), "missed");
        assert_eq!(row(f64::NAN, Goal::AtMost(1.0)).verdict(), "missed");
    }
}
