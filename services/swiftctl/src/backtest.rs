//! `swiftctl backtest`: policies compared on the public benchmark. Needs no cluster; the work is in the crate `backtest`.

use anyhow::Result;
use backtest::{Arguments, LEGEND};

use crate::Outcome;
use crate::output::Format;

pub fn run(arguments: &Arguments, format: Format) -> Result<Outcome> {
    let results = arguments.run()?;
    match format {
        Format::Json => println!("{}", results.json()),
        Format::Table => println!("{}{LEGEND}", results.table()),
    }
    Ok(Outcome::Done)
}
