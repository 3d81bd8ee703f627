//! `swiftctl backtest` without the rest of swiftctl, whose Kafka client takes minutes to build: for tuning policies.

use std::process::ExitCode;

use backtest::Arguments;
use clap::Parser;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    arguments: Arguments,
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let command = Command::parse();
    match command.arguments.run() {
        Ok(results) if command.json => println!("{}", results.json()),
        Ok(results) => print!("{}", results.table()),
        Err(error) => {
            eprintln!("backtest: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
