//! The tables and the plot of BENCHMARKS.md.
//!
//! What the page says in words is written by people; what stands between its markers is written here, from the results
//! alone, so that a new measurement changes figures and nothing else.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::capacity;
use super::goals::{amount, rows};
use super::plot;
use super::results::Results;
use crate::workspace;

/// Replaces the tables and the plot of BENCHMARKS.md.
pub fn write(results: &Results) -> Result<()> {
    let page = fs::read_to_string(page_path()).context("BENCHMARKS.md")?;
    fs::write(page_path(), drawn(&page, results)?)?;
    fs::write(plot_path(), plot::svg(results)).context("the plot")
}

fn page_path() -> PathBuf {
    workspace::root().join("BENCHMARKS.md")
}

fn plot_path() -> PathBuf {
    workspace::root().join("tests/bench/results.svg")
}

/// The page with the tables of these results.
fn drawn(page: &str, results: &Results) -> Result<String> {
    let page = between(page, "machine", &machine(results))?;
    let page = between(&page, "figures", &figures(results))?;
    let page = between(&page, "hops", &hops(results))?;
    between(&page, "capacity", &capacity::tables(results)?)
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
    let count = |path| {
        let number = results.number(path).map_or("?".to_owned(), amount);
        number.trim_end_matches(".00").to_owned()
    };
    let mut lines = format!(
        "{} cores of {}, {} MB of memory. Kafka {}, PostgreSQL {}, {}. The load average before the last run was {}: \
         what others took of the cores is in the figures. Drained: {} orders, in each run of scale {}.\n\n",
        count("/machine/cores"),
        text("/machine/cpu"),
        count("/machine/memory_mb"),
        text("/machine/versions/kafka"),
        text("/machine/versions/postgres"),
        text("/machine/rust"),
        count("/machine/load_before"),
        count("/drain/orders"),
        count("/scale/orders"),
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
        let rate = run["rate"].as_f64().unwrap_or_default();
        _ = write!(table, " {rate} orders/s |");
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
    fn the_page_and_its_plot_show_what_is_kept_and_nothing_else() {
        let results = Results::stored().expect("tests/bench/results.json");
        let page = fs::read_to_string(page_path()).expect("BENCHMARKS.md");
        let plot = fs::read_to_string(plot_path()).expect("the plot");
        let again = "`cargo xtask bench --stored --page` draws it anew";
        assert!(drawn(&page, &results).expect("markers") == page, "{again}");
        assert!(plot::svg(&results) == plot, "{again}");
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
}
