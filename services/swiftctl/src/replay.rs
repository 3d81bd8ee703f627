//! `swiftctl replay`: what the topics hold, run again: through another policy beside the recorded decisions, or into fresh tables.
//!
//! Nothing live is written to, no group is joined, nobody outside is called.

mod answer;
mod closed_loop;
mod compare;
mod cursor;
mod excluded;
mod lane;
mod open_loop;
mod policy;
mod rebuild;
mod rebuilders;
mod report;
mod shadow;
mod tape;

use anyhow::Result;
use clap::Subcommand;

use crate::Outcome;
use crate::endpoints::Endpoints;
use crate::output::Format;

#[derive(Subcommand)]
pub enum Command {
    /// Run a span of a geo's topics through a policy, beside the decisions that were made: what would change?
    Shadow(shadow::Shadow),
    /// Build a service's state anew from the topics, beside the live one, and say what differs.
    Rebuild(rebuild::Rebuild),
}

pub async fn run(command: Command, endpoints: &Endpoints, format: Format) -> Result<Outcome> {
    match command {
        Command::Shadow(shadow) => shadow::run(&shadow, endpoints, format).await,
        Command::Rebuild(rebuild) => rebuild::run(&rebuild, endpoints, format).await,
    }
}
