//! Results as a table for people or as JSON for programs; both hold the same.

use std::io::Write;

use anstyle::{AnsiColor, Color, Style};
use anyhow::Result;
use chrono::{DateTime, Utc};
use clap::ValueEnum;
use serde::Serialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
}

/// A line of a table.
pub trait Row: Serialize {
    const COLUMNS: &'static [&'static str];
    fn cells(&self) -> Vec<String>;
    /// Whether a person has to look at it: shown in red.
    fn is_alarming(&self) -> bool {
        false
    }
}

const HEADING: Style = Style::new().bold();
const ALARM: Style = Style::new().fg_color(Some(Color::Ansi(AnsiColor::Red)));

/// Prints all rows, then in a table one line that sums them up.
pub fn print<R: Row>(format: Format, rows: &[R], summary: &str) -> Result<()> {
    match format {
        Format::Json => line(&serde_json::to_string_pretty(rows)?),
        Format::Table => line(&format!("{}{summary}", table(rows))),
    }
}

/// Prints a line, in colour on a terminal only. A reader who has seen enough (`| head`) is no failure.
pub fn line(text: &str) -> Result<()> {
    match writeln!(anstream::stdout(), "{text}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written?),
    }
}

fn table<R: Row>(rows: &[R]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let mut lines = vec![
        R::COLUMNS
            .iter()
            .map(|c| c.to_uppercase())
            .collect::<Vec<_>>(),
    ];
    lines.extend(rows.iter().map(Row::cells));
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..R::COLUMNS.len()).map(width).collect();
    let styles = rows.iter().map(|row| row.is_alarming().then_some(ALARM));
    let mut text = String::new();
    for (line, style) in lines
        .iter()
        .zip(std::iter::once(Some(HEADING)).chain(styles))
    {
        let cells = line
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        let cells = cells.collect::<Vec<_>>().join("  ");
        let style = style.unwrap_or_default();
        text += &format!("{style}{}{style:#}\n", cells.trim_end());
    }
    text
}

/// An instant to the second.
pub fn second(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// No more than so many characters, on one line.
pub fn short(text: &str, most: usize) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() <= most {
        return line;
    }
    let kept: String = line.chars().take(most.saturating_sub(1)).collect();
    format!("{kept}…")
}
