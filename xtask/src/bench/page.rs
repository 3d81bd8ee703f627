//! The tables and the plot of BENCHMARKS.md.
//!
//! What the page says in words is written by people; what stands between its markers is written here, from the results
//! alone, so that a new measurement changes figures and nothing else.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::capacity;
use super::goals::{amount, rows};
use super::plot;
use super::results::Results;
use crate::workspace;

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
