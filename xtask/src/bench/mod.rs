//! `cargo xtask bench`: what it costs and how fast it is, measured on the real stack with programs built for release.
//!
//! Each part starts from an empty stack of its own. Absolute figures depend on the machine; it is named beside them.

mod drain;
mod rig;
mod steady;
mod usage;

use std::fs;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::process;
use crate::stack::dir::StackDir;
use crate::workspace;

#[derive(Args, Debug)]
pub struct Options {
    /// One part only
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Print one JSON object instead of text
    #[arg(long)]
    json: bool,
    /// Orders of the drain
    #[arg(long, default_value_t = 50_000)]
    orders: u64,
    /// Rates of the steady part, in orders per second
    #[arg(long, value_delimiter = ',', default_values_t = [8.3, 33.0, 330.0])]
    rates: Vec<f64>,
    /// Seconds for which each rate is held
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// A backlog is worked off
    Drain,
    /// Orders come at a steady rate
    Steady,
}

#[derive(Serialize)]
struct Results {
    machine: Machine,
    #[serde(skip_serializing_if = "Option::is_none")]
    drain: Option<drain::Drain>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    steady: Vec<steady::Steady>,
}

/// Where it was measured.
#[derive(Serialize)]
struct Machine {
    cores: usize,
    memory_mb: u64,
    cpu: String,
}

pub fn run(options: &Options) -> Result<ExitCode> {
    process::catch_interrupts();
    rig::build()?;
    let dir = StackDir::at(&workspace::root().join(".stack/bench"))?;
    let wanted = |part| options.only.is_none_or(|only| only == part);
    let mut results = Results {
        machine: Machine::this()?,
        drain: None,
        steady: Vec::new(),
    };
    if wanted(Part::Drain) {
        results.drain = Some(drain::run(&dir, options.orders)?);
    }
    if wanted(Part::Steady) {
        for rate in &options.rates {
            results
                .steady
                .push(steady::run(&dir, *rate, options.seconds)?);
        }
    }
    println!("{}", serde_json::to_string_pretty(&results)?);
    let complete = results.steady.iter().all(|run| run.complete == run.orders);
    let whole = results.drain.as_ref().is_none_or(|drain| drain.checks_ok);
    Ok(if complete && whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Machine {
    fn this() -> Result<Self> {
        let field = |file: &str, name: &str| -> Result<String> {
            let text = fs::read_to_string(file)?;
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_once(':'));
            Ok(value.map_or_else(|| "?".to_owned(), |(_, value)| value.trim().to_owned()))
        };
        let memory = field("/proc/meminfo", "MemTotal")?;
        let kilobytes: u64 = memory
            .split_whitespace()
            .next()
            .and_then(|number| number.parse().ok())
            .unwrap_or_default();
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            memory_mb: kilobytes / 1024,
            cpu: field("/proc/cpuinfo", "model name")?,
        })
    }
}
