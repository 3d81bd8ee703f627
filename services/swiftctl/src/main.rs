//! The operator's one tool: what a cluster, a registry and the services hold against what they should, what went wrong with an
//! order, a lane or a message, and what can be done about it.
//!
//! Every command that changes something has `--dry-run`, and makes its whole plan before it changes anything. What gives
//! something up is refused unless it is asked for by name. One module per group of commands; what they find out comes from
//! Kafka, the registry and PostgreSQL, so that no service has to be well for it.
//!
//! Exit codes, for scripts: 0 done, or nothing to do; 1 failed (something could not be reached, read or written); 2 wrong
//! usage; 3 refused: what the files say must not be done, and nothing was changed.

mod avro;
mod backtest;
mod cluster;
mod database;
mod dlq;
mod drain;
mod drivers;
mod endpoints;
mod events;
mod instant;
mod lanes;
mod log;
mod orders;
mod output;
mod progress;
mod registry;
mod replay;
mod schema_diff;
mod schemas;
mod topic_plan;
mod topics;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

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
    /// Dead letters: look at them, put them back, put them away.
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// What the topics say: an order's whole story, or what happens now.
    #[command(subcommand)]
    Events(events::Command),
    /// Drivers, as assignment knows them.
    #[command(subcommand)]
    Drivers(drivers::Command),
    /// Ask an instance of a service to hand its lanes over and end.
    Drain(drain::Drain),
    /// Print completions for a shell, e.g. `source <(swiftctl completions bash)`.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Lanes of the services: owner, position in both logs, lag, and what stands still and why.
    Lanes(lanes::Lanes),
    /// Topics of the cluster against the catalogue.
    #[command(subcommand)]
    Topics(topics::Command),
    /// What the topics hold, run again: through another policy.
    #[command(subcommand)]
    Replay(replay::Command),
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
        Group::Dlq(command) => dlq::run(command, &cli.endpoints, cli.format).await,
        Group::Events(command) => events::run(command, &cli.endpoints, cli.format).await,
        Group::Drivers(command) => drivers::run(command, &cli.endpoints, cli.format).await,
        Group::Drain(drain) => drain::run(drain, &cli.endpoints, cli.format).await,
        Group::Completions { shell } => {
            let mut command = Cli::command();
            clap_complete::generate(shell, &mut command, "swiftctl", &mut std::io::stdout());
            Ok(Outcome::Done)
        }
        Group::Lanes(lanes) => lanes::run(lanes, &cli.endpoints, cli.format).await,
        Group::Topics(command) => topics::run(command, &cli.endpoints, cli.format).await,
        Group::Replay(command) => replay::run(command, &cli.endpoints, cli.format).await,
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
