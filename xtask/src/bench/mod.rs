//! `cargo xtask bench`: what it costs and how fast it is, measured on the real stack with programs built for release.
//!
//! Each part starts from an empty stack of its own. Absolute figures depend on the machine, which is named beside them, and
//! on what else it does; ratios are of two things measured in one run. Goals are printed and kept by nobody; what fails the
//! command is a part whose counts do not add up.

mod allotment;
mod capacity;
mod catalogue;
mod drain;
mod exposition;
mod goals;
mod history;
mod learn;
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

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::{Value, json};

pub use self::learn::learn;

use self::drain::Setup;
use self::machine::Machine;
use self::results::Results;
use self::rig::Site;
use crate::process;
use crate::stack;
use crate::workspace::Profile;

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
    #[arg(long, default_value_t = 60)]
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
    let (results, mut failed) = if options.stored {
        (stored.clone(), Vec::new())
    } else {
        measure(options, Profile::Release)?
    };
    if options.page {
        let all = stored.updated(results.clone());
        all.store()?;
        page::write(&all)?;
    }
    if options.json {
        println!("{}", results.to_json()?);
    } else {
        print!("{}", goals::text(&results));
    }
    failed.extend(results.failed().into_iter().map(str::to_owned));
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("bench: failed: {}", failed.join(", "));
    Ok(ExitCode::FAILURE)
}

/// What was measured of processors built so, and the parts that could not be: one that fails costs the others nothing.
fn measure(options: &Options, profile: Profile) -> Result<(Results, Vec<String>)> {
    let load_before = machine::load()?;
    rig::build()?;
    let site = Site::of(profile)?;
    let (mut results, mut failed) = (Results::default(), Vec::new());
    for part in Part::value_variants() {
        if !options.only.is_empty() && !options.only.contains(part) {
            continue;
        }
        ensure!(!process::interrupted(), "interrupted");
        let name = part.key();
        eprintln!("bench: {name}");
        match measured(&site, *part, options) {
            Ok(figures) => results.add(&name, figures),
            Err(error) => {
                eprintln!("bench: {name}: {error:#}");
                failed.push(name);
            }
        }
    }
    stack::down(&site.dir)?;
    results.taken_by(&Machine::this(site.versions.take(), load_before)?)?;
    Ok((results, failed))
}

impl Part {
    /// Its field in the results.
    fn key(self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().replace('-', "_"))
    }
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
