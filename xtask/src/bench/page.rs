//! The figures as people read them: as text, and as the tables of BENCHMARKS.md.
//!
//! What the page says in words is written by people; what stands between its markers is written here, from the results
//! alone, so that a new measurement changes figures and nothing else.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::capacity;
use super::plot;
use super::results::Results;
use crate::workspace;

/// A goal, and on which side of it a figure should be.
#[derive(Clone, Copy)]
enum Goal {
    None,
    AtLeast(f64),
    AtMost(f64),
}

struct Row {
    part: &'static str,
    what: String,
    unit: &'static str,
    figure: f64,
    goal: Goal,
}

/// The figures with their goals; what was not measured is left out.
fn rows(results: &Results) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |part, what: &str, unit, path: &str, goal| {
        let row = results.number(path).map(|figure| Row {
            part,
            what: what.to_owned(),
            unit,
            figure,
            goal,
        });
        rows.extend(row);
    };
    use Goal::{AtLeast, AtMost, None};
    add(
        "drain",
        "orders, from start to the last message",
        "/s",
        "/drain/orders_per_s",
        None,
    );
    add(
        "drain",
        "per CPU second of the four processors",
        "orders",
        "/drain/orders_per_cpu_second_processors",
        AtLeast(12_200.0),
    );
    add(
        "drain",
        "the same with PostgreSQL counted in",
        "orders",
        "/drain/orders_per_cpu_second_with_postgres",
        AtLeast(6_100.0),
    );
    add(
        "drain",
        "peak memory of the four together",
        "MB",
        "/drain/peak_rss_mb_processors",
        AtMost(120.0),
    );
    add(
        "drain",
        "PostgreSQL, per order",
        "us CPU",
        "/drain/postgres_cpu_us_per_order",
        AtMost(130.5),
    );
    add(
        "drain",
        "Kafka, per order",
        "us CPU",
        "/drain/kafka_cpu_us_per_order",
        None,
    );
    add(
        "drain_http",
        "orders with the gateway behind HTTP",
        "/s",
        "/drain_http/orders_per_s",
        None,
    );
    add(
        "drain_http",
        "per CPU second of the four processors",
        "orders",
        "/drain_http/orders_per_cpu_second_processors",
        None,
    );
    add(
        "limits",
        "the orders processor alone",
        "orders/s",
        "/limits/processor_orders_per_s",
        None,
    );
    add(
        "limits",
        "a bare Kafka client",
        "orders/s",
        "/limits/kafka_orders_per_s",
        None,
    );
    add(
        "limits",
        "a bare PostgreSQL client",
        "orders/s",
        "/limits/postgres_orders_per_s",
        None,
    );
    add(
        "limits",
        "the processor to the smaller limit",
        "times",
        "/limits/ratio",
        AtLeast(0.5),
    );
    for (index, run) in results.list("/steady").iter().enumerate() {
        let rate = run["rate"].as_f64().unwrap_or_default();
        // The goals are those of the burst.
        let burst = |goal| if rate == 33.0 { goal } else { None };
        for (what, field, goal) in [
            (
                "placed to confirmed, P99",
                "placed_to_confirmed_p99_ms",
                None,
            ),
            (
                "placed to DriverAssigned, P50",
                "placed_to_assigned_p50_ms",
                burst(AtMost(40.0)),
            ),
            (
                "placed to DriverAssigned, P99",
                "placed_to_assigned_p99_ms",
                burst(AtMost(100.0)),
            ),
            (
                "due to DriverAssigned, P99",
                "due_to_assigned_p99_ms",
                burst(AtMost(100.0)),
            ),
        ] {
            let what = format!("{what}, at {rate} orders/s");
            add(
                "steady",
                &what,
                "ms",
                &format!("/steady/{index}/{field}"),
                goal,
            );
        }
        let (what, path) = (
            format!("lag at the end, at {rate} orders/s"),
            format!("/steady/{index}/lag_messages_at_end"),
        );
        add("steady", &what, "messages", &path, None);
    }
    for (index, at) in results.list("/pings/at").iter().enumerate() {
        let what = format!("a ping among {} pending requests", at["pending"]);
        add(
            "pings",
            &what,
            "us CPU",
            &format!("/pings/at/{index}/cpu_us_per_ping"),
            None,
        );
    }
    add(
        "pings",
        "with the most pending to with the fewest",
        "times",
        "/pings/ratio",
        AtMost(1.3),
    );
    add(
        "pings",
        "pings that one core takes",
        "/s",
        "/pings/pings_per_core_s",
        None,
    );
    add(
        "recovery",
        "kill -9 to the next decision",
        "s",
        "/recovery/kill_to_decision_s",
        None,
    );
    add(
        "recovery",
        "of it until the group moved the geo",
        "s",
        "/recovery/kill_to_ownership_s",
        None,
    );
    add(
        "recovery",
        "then rebuilding 100,000 requests",
        "s",
        "/recovery/rebuild_s",
        None,
    );
    add(
        "recovery",
        "from the move to the decision",
        "s",
        "/recovery/ownership_to_decision_s",
        AtMost(5.0),
    );
    add(
        "scale",
        "cost per order at 12 partitions, to 6",
        "times",
        "/scale/cost_ratio_partitions_12",
        None,
    );
    add(
        "scale",
        "cost per order at 24 partitions, to 6",
        "times",
        "/scale/cost_ratio_partitions_24",
        None,
    );
    add(
        "scale",
        "cost per order in 20 geos, to one",
        "times",
        "/scale/cost_ratio_geos_20",
        AtMost(1.2),
    );
    add(
        "scale",
        "cost per order in full tables, to 10,000 rows",
        "times",
        "/scale/cost_ratio_rows",
        AtMost(1.2),
    );
    add(
        "scale",
        "throughput of two instances of each, on these cores",
        "times",
        "/scale/throughput_ratio_instances",
        AtLeast(1.8),
    );
    add(
        "scale",
        "the same by cost, where cores are not short",
        "times",
        "/scale/throughput_ratio_instances_by_cost",
        None,
    );
    for (record, _) in results
        .value("/codec/records")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        for way in ["encode", "decode"] {
            for (of, field) in [
                ("ns", "ours_ns"),
                (
                    "times as long: serde_avro_fast bare",
                    "serde_avro_fast_to_ours",
                ),
                ("times as long: apache-avro", "apache_avro_to_ours"),
            ] {
                let (what, path) = (
                    format!("{way} {record}"),
                    format!("/codec/records/{record}/{way}/{field}"),
                );
                add("codec", &what, of, &path, None);
            }
        }
    }
    rows
}

impl Row {
    fn figure(&self) -> String {
        format!("{} {}", amount(self.figure), self.unit)
    }

    fn goal(&self) -> String {
        match self.goal {
            Goal::None => String::new(),
            Goal::AtLeast(goal) => format!("at least {}", amount(goal)),
            Goal::AtMost(goal) => format!("at most {}", amount(goal)),
        }
    }

    fn verdict(&self) -> &'static str {
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

/// Replaces the tables and the plot of BENCHMARKS.md.
pub fn write(results: &Results) -> Result<()> {
    let path = workspace::root().join("BENCHMARKS.md");
    let page = fs::read_to_string(&path).context("BENCHMARKS.md")?;
    let page = between(&page, "machine", &machine(results))?;
    let page = between(&page, "figures", &figures(results))?;
    let page = between(&page, "hops", &hops(results))?;
    let page = between(&page, "capacity", &capacity::tables(results)?)?;
    fs::write(&path, page)?;
    let plot = plot::svg(results);
    fs::write(workspace::root().join("tests/bench/results.svg"), plot).context("the plot")
}

/// The page with another text between `<!-- NAME -->` and `<!-- /NAME -->`.
fn between(page: &str, name: &str, text: &str) -> Result<String> {
    let (open, close) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let (from, to) = (page.find(&open), page.find(&close));
    let (Some(from), Some(to)) = (from.map(|at| at + open.len()), to) else {
        anyhow::bail!("BENCHMARKS.md has no {open} or no {close}");
    };
    ensure!(from <= to, "BENCHMARKS.md: {close} stands before {open}");
    Ok(format!(
        "{}\n{}\n{}",
        &page[..from],
        text.trim_end(),
        &page[to..]
    ))
}

fn machine(results: &Results) -> String {
    let text = |path| results.text(path).unwrap_or("?").to_owned();
    let mut lines = format!(
        "{} cores of {}, {} MB of memory. Kafka {}, PostgreSQL {}, {}.\n\n",
        amount(results.number("/machine/cores").unwrap_or(0.0)).trim_end_matches(".00"),
        text("/machine/cpu"),
        amount(results.number("/machine/memory_mb").unwrap_or(0.0)),
        text("/machine/versions/kafka"),
        text("/machine/versions/postgres"),
        text("/machine/rust"),
    );
    let commits = results
        .value("/commits")
        .and_then(Value::as_object)
        .into_iter()
        .flatten();
    let each: Vec<String> = commits
        .map(|(part, commit)| format!("{part} at {}", commit.as_str().unwrap_or("?")))
        .collect();
    _ = writeln!(lines, "Measured: {}.", each.join(", "));
    lines
}

fn figures(results: &Results) -> String {
    let mut table = String::from("| part | what | measured | goal | |\n|---|---|---|---|---|\n");
    for row in rows(results) {
        let (part, what) = (row.part, &row.what);
        _ = writeln!(
            table,
            "| {part} | {what} | {} | {} | {} |",
            row.figure(),
            row.goal(),
            row.verdict()
        );
    }
    table
}

/// Each hop of the steady part, P50 / P99 / longest.
fn hops(results: &Results) -> String {
    const HOPS: [&str; 6] = [
        "OrderAccepted",
        "PaymentCaptured",
        "OrderConfirmed",
        "AssignmentRequested",
        "DriverAssigned",
        "OrderDriverAssigned",
    ];
    let runs = results.list("/steady");
    let mut table = String::from("| until, from the step before |");
    for run in runs {
        _ = write!(table, " {} orders/s |", run["rate"]);
    }
    _ = writeln!(table, "\n|---|{}", "---|".repeat(runs.len()));
    for hop in HOPS {
        _ = write!(table, "| {hop} |");
        for run in runs {
            let ms = |field| {
                run["hops"][hop][field]
                    .as_f64()
                    .map_or("?".to_owned(), amount)
            };
            _ = write!(
                table,
                " {} / {} / {} |",
                ms("p50_ms"),
                ms("p99_ms"),
                ms("max_ms")
            );
        }
        table.push('\n');
    }
    table
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
        ] {
            assert_eq!(amount(figure), text);
        }
    }

    #[test]
    fn only_what_stands_between_the_markers_changes() {
        let page = "a\n<!-- x -->\nold\n<!-- /x -->\nb\n";
        assert_eq!(
            between(page, "x", "new\n").expect("markers"),
            "a\n<!-- x -->\nnew\n<!-- /x -->\nb\n"
        );
        assert!(between(page, "y", "new").is_err());
        assert!(between("<!-- /x --> <!-- x -->", "x", "new").is_err());
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
