//! One command for everything a developer does: `cargo xtask <command>`.

mod bench;
mod control;
mod demo;
mod gateway;
mod http;
mod process;
mod processors;
mod services;
mod settings;
mod stack;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use crate::control::Needs;
use crate::stack::{
    Options,
    dir::StackDir,
    ports::Wanted,
    state::{Engine, State},
};
use crate::workspace::{Profile, RELEASED};

#[derive(Parser)]
#[command(name = "cargo xtask", about, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show the main job: a city's orders, from checkout to the door, on the real stack
    Demo(demo::Options),
    /// Measure what it costs and how fast it is
    Bench(bench::Options),
    /// Build the processors, swiftctl and what benchmarks them for release
    Build,
    /// Learn what release builds go by: run the processors and write down which paths they take
    Learn,
    /// The local stack: Kafka, schema registry, PostgreSQL
    #[command(subcommand)]
    Stack(Stack),
    /// Check the rules of the repository that no compiler checks
    Tidy,
    /// Run every check and test, on a stack of their own
    Test {
        /// Leave the tests' stack (.stack/test) running
        #[arg(long)]
        keep_stack: bool,
        /// One step only
        #[arg(long, value_parser = test::step_names())]
        only: Option<String>,
    },
    /// Avro schemas: the compatibility gate, and the registry
    #[command(subcommand)]
    Schemas(Schemas),
    /// Topics of the running stack
    #[command(subcommand)]
    Topics(Topics),
}

#[derive(Subcommand)]
enum Schemas {
    /// Compare every schema with its last released version; needs no stack
    Check,
    /// Bring the registry to what the files say
    Register {
        /// Print the plan only
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Subcommand)]
enum Topics {
    /// Bring the cluster to what the catalogue says
    Apply {
        /// Print the plan only
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Subcommand)]
enum Stack {
    /// Start what does not run and wait until all of it answers
    Up {
        /// Kafka brokers [default: what the data on disk are for, else 1]
        #[arg(long, value_parser = clap::value_parser!(u8).range(1..=3))]
        brokers: Option<u8>,
        /// Port of the first broker [default: a free one]
        #[arg(long, env = "SWIFT_EATS_KAFKA_PORT")]
        kafka_port: Option<u16>,
        /// Port of the schema registry [default: a free one]
        #[arg(long, env = "SWIFT_EATS_REGISTRY_PORT")]
        registry_port: Option<u16>,
        /// Port of PostgreSQL [default: a free one]
        #[arg(long, env = "SWIFT_EATS_POSTGRES_PORT")]
        postgres_port: Option<u16>,
    },
    /// What runs, where, in which version; fails when something is missing
    Status {
        /// As one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Stop everything, keep the data
    Down,
    /// Stop everything, delete the data, keep the downloads
    Reset,
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Demo(options) => return demo::run(&options),
        Command::Bench(options) => return bench::run(&options),
        Command::Stack(command) => return stack_command(command),
        Command::Build => workspace::build(&RELEASED, Profile::Release)?,
        Command::Learn => bench::learn()?,
        Command::Tidy => test::tidy()?,
        Command::Test { keep_stack, only } => test::run(only.as_deref(), keep_stack)?,
        Command::Schemas(Schemas::Check) => {
            control::swiftctl(&["schemas", "check"], Needs::Nothing)?
        }
        Command::Schemas(Schemas::Register { dry_run }) => control::swiftctl(
            &with_dry_run(&["schemas", "register"], dry_run),
            Needs::Stack,
        )?,
        Command::Topics(Topics::Apply { dry_run }) => {
            control::swiftctl(&with_dry_run(&["topics", "apply"], dry_run), Needs::Stack)?
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn with_dry_run(arguments: &[&'static str], dry_run: bool) -> Vec<&'static str> {
    let mut all = arguments.to_vec();
    all.extend(dry_run.then_some("--dry-run"));
    all
}

fn stack_command(command: Stack) -> Result<ExitCode> {
    let dir = StackDir::from_env()?;
    match command {
        Stack::Up {
            brokers,
            kafka_port,
            registry_port,
            postgres_port,
        } => {
            let ports = Wanted {
                kafka: kafka_port,
                registry: registry_port,
                postgres: postgres_port,
            };
            print(&stack::up(&dir, Options { brokers, ports })?);
        }
        Stack::Status { json } => {
            let state = stack::status(&dir)?
                .context("no stack runs: start it with `cargo xtask stack up`")?;
            if json {
                println!("{}", serde_json::to_string_pretty(&state)?);
            } else {
                print(&state);
            }
            if !state.dead().is_empty() {
                eprintln!(
                    "stack: not running: {}; `cargo xtask stack up` starts again what died",
                    state.dead().join(", ")
                );
                return Ok(ExitCode::FAILURE);
            }
        }
        Stack::Down => stack::down(&dir)?,
        Stack::Reset => stack::reset(&dir)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print(state: &State) {
    let java = state
        .versions
        .java
        .map(|release| format!(", Java {release}"))
        .unwrap_or_default();
    println!(
        "kafka     {}  (Apache Kafka {}{java})",
        state.kafka, state.versions.kafka
    );
    println!(
        "registry  {}  (Apicurio Registry {})",
        state.registry, state.versions.registry
    );
    println!(
        "postgres  {}  (PostgreSQL {})",
        state.postgres, state.versions.postgres
    );
    for (name, service) in &state.services {
        println!("{name:<9} {}  (pid {})", service.http, service.pid);
    }
    match state.engine {
        Engine::Docker => println!("runs in   Docker, from compose.yaml"),
        Engine::Local => {
            let processes: Vec<String> = state
                .processes
                .iter()
                .map(|(name, p)| {
                    format!(
                        "{name} {}",
                        if p.is_alive() {
                            p.pid.to_string()
                        } else {
                            "DEAD".to_owned()
                        }
                    )
                })
                .collect();
            println!("pids      {}", processes.join(", "));
        }
    }
}
