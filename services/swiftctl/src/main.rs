//! The operator's tool: brings a cluster and a registry to what the files of this tree say, and shows where they differ.
//!
//! Every command that changes something prints its plan first and has `--dry-run`; nothing is ever deleted, and what would
//! lose data is refused. One module per group of commands.
//!
//! Exit codes, for scripts: 0 done, or nothing to do; 1 failed (something could not be reached, read or written); 2 wrong
//! usage; 3 refused: what the files say must not be done, and nothing was changed.

mod backtest;
mod cluster;
mod database;
mod endpoints;
mod orders;
mod output;
mod registry;
mod schemas;
mod topic_plan;
mod topics;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::endpoints::Endpoints;
use crate::output::Format;

/// Operates a Swift Eats installation.
///
/// Exit codes: 0 done or nothing to do, 1 failed, 2 wrong usage, 3 refused (nothing was changed).
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(flatten)]
    endpoints: Endpoints,
    /// How results are printed.
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    format: Format,
    #[command(subcommand)]
    group: Group,
}

#[derive(Subcommand)]
enum Group {
    /// Record schemas: the compatibility gate and the registry.
    #[command(subcommand)]
    Schemas(schemas::Command),
    /// Orders that need a person.
    #[command(subcommand)]
    Orders(orders::Command),
    /// Topics of the cluster against the catalogue.
    #[command(subcommand)]
    Topics(topics::Command),
    /// Dispatch policies on instances of the public Meal Delivery Routing benchmark, in virtual time.
    Backtest(::backtest::Arguments),
}

/// How a command ended, failures aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Done,
    Refused,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.group {
        Group::Schemas(command) => schemas::run(command, &cli.endpoints, cli.format).await,
        Group::Orders(command) => orders::run(command, &cli.endpoints, cli.format).await,
        Group::Topics(command) => topics::run(command, &cli.endpoints, cli.format).await,
        Group::Backtest(arguments) => backtest::run(&arguments, cli.format),
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Refused) => ExitCode::from(3),
        Err(error) => {
            eprintln!("swiftctl: {error:#}");
            ExitCode::FAILURE
        }
    }
}
