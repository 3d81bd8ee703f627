//! `cargo xtask bench`: what it costs and how fast it is, measured on the real stack with programs built for release.
//!
//! Each part starts from an empty stack of its own. Absolute figures depend on the machine, which is named beside them, and
//! on what else it does; ratios are of two things measured in one run. Goals are printed and kept by nobody; what fails the
//! command is a part whose counts do not add up.

mod capacity;
mod drain;
mod exposition;
mod goals;
mod history;
mod limits;
mod machine;
mod page;
mod pings;
mod plot;
mod recovery;
mod results;
mod rig;
mod scale;
mod steady;
mod usage;

use std::cell::RefCell;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};

use self::drain::Setup;
use self::machine::Machine;
use self::results::Results;
use self::rig::Site;
use crate::process;
use crate::stack::dir::StackDir;
use crate::workspace;

#[derive(Args, Debug)]
pub struct Options {
    /// These parts only
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Part>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
    /// Take the figures over into tests/bench/results.json, and draw BENCHMARKS.md anew
    #[arg(long)]
    page: bool,
    /// Measure nothing: show what tests/bench/results.json has
    #[arg(long)]
    stored: bool,
    /// Orders of the drains and of the comparison with the limits
    #[arg(long, default_value_t = 50_000)]
    orders: u64,
    /// Rates of the steady part, in orders per second
    #[arg(long, value_delimiter = ',', default_values_t = [8.3, 33.0, 330.0])]
    rates: Vec<f64>,
    /// Seconds for which each rate is held
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Seconds of pings at each number of pending requests
    #[arg(long, default_value_t = 20)]
    ping_seconds: u32,
    /// Orders of each run of the scale part
    #[arg(long, default_value_t = 20_000)]
    scale_orders: u64,
    /// Orders in the tables after growth
    #[arg(long, default_value_t = 1_000_000)]
    scale_rows: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A backlog is worked off
    Drain,
    /// The same with a gateway behind HTTP
    DrainHttp,
    /// One processor beside bare clients of Kafka and PostgreSQL
    Limits,
    /// Orders come at a steady rate
    Steady,
    /// Drivers say where they are
    Pings,
    /// The owner of a geo is killed
    Recovery,
    /// More of everything
    Scale,
    /// Records to bytes and back
    Codec,
}

pub fn run(options: &Options) -> Result<ExitCode> {
    process::catch_interrupts();
    let stored = Results::stored()?;
    let results = if options.stored {
        stored
    } else {
        let measured = measure(options)?;
        if options.page {
            let all = stored.updated(measured.clone());
            all.store()?;
            page::write(&all)?;
        }
        measured
    };
    if options.stored && options.page {
        page::write(&results)?;
    }
    if options.json {
        println!("{}", results.to_json()?);
    } else {
        print!("{}", goals::text(&results));
    }
    Ok(match results.failed() {
        failed if failed.is_empty() => ExitCode::SUCCESS,
        failed => {
            eprintln!("bench: the checks of {} failed", failed.join(", "));
            ExitCode::FAILURE
        }
    })
}

fn measure(options: &Options) -> Result<Results> {
    rig::build()?;
    let site = Site {
        dir: StackDir::at(&workspace::root().join(".stack/bench"))?,
        versions: RefCell::new(None),
    };
    let mut results = Results::default();
    for part in Part::value_variants() {
        if options.only.is_empty() || options.only.contains(part) {
            ensure!(!process::interrupted(), "interrupted");
            let name = part
                .to_possible_value()
                .map(|value| value.get_name().replace('-', "_"));
            let name = name.unwrap_or_default();
            eprintln!("bench: {name}");
            results.add(&name, measured(&site, *part, options)?);
        }
    }
    let machine = Machine::this(site.versions.take())?;
    results.taken_by(&machine)?;
    Ok(results)
}

fn measured(site: &Site, part: Part, options: &Options) -> Result<Value> {
    let plain = Setup::plain(options.orders);
    match part {
        Part::Drain => value(drain::run(site, &plain)?),
        Part::DrainHttp => {
            let http_gateway = true;
            value(drain::run(
                site,
                &Setup {
                    http_gateway,
                    ..plain
                },
            )?)
        }
        Part::Limits => value(limits::run(site, options.orders)?),
        Part::Steady => {
            let rates = options.rates.iter();
            let runs = rates.map(|rate| steady::run(site, *rate, options.seconds));
            value(runs.collect::<Result<Vec<_>>>()?)
        }
        Part::Pings => value(pings::run(site, options.ping_seconds)?),
        Part::Recovery => value(recovery::run(site)?),
        Part::Scale => value(scale::run(site, options.scale_orders, options.scale_rows)?),
        // Nothing to check but that both directions worked, without which there are no figures.
        Part::Codec => Ok(json!({ "records": rig::codec()?, "checks_ok": true })),
    }
}

fn value(part: impl Serialize) -> Result<Value> {
    Ok(serde_json::to_value(part)?)
}
