//! The clients of the benchmark suite: checkout and drivers that say everything at once or at a rate, and a reader that
//! sees when what was wanted has become visible. `cargo xtask bench` starts them; each prints one JSON object.

mod load;
mod pace;
mod reader;
mod say;

use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use contracts::{Catalogue, GeoSpec};
use serde::Serialize;

use crate::load::Load;

#[derive(Parser)]
#[command(about = "Clients of the benchmark suite")]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    what: What,
}

/// Where, and in which geo.
#[derive(Args)]
struct Place {
    /// Kafka's bootstrap servers.
    #[arg(long, global = true, default_value = "")]
    brokers: String,
    /// Base URL of the schema registry's API.
    #[arg(long, global = true, default_value = "")]
    registry: String,
    /// A geo of geos.toml.
    #[arg(long, global = true, default_value = "lisboa-baixa")]
    geo: String,
}

#[derive(Subcommand)]
enum What {
    /// Brings drivers on duty, spread over the geo.
    Drivers {
        #[arg(long)]
        count: u32,
    },
    /// Places orders whose food is ready when they are placed.
    Orders {
        #[arg(long)]
        count: u32,
    },
    /// Waits until so many records of a kind are visible to a read_committed reader; prints when the first and the last were.
    Await {
        /// Name of the record, e.g. NotificationSent; its topic is looked up in the catalogue.
        #[arg(long)]
        record: String,
        #[arg(long)]
        count: u64,
        #[arg(long, default_value_t = 600)]
        timeout_s: u64,
    },
    /// Counts records by name on all topics of the geo, read_committed, and orders named in them.
    Count,
    /// Places orders at a steady rate and measures how long after each placing each later step was visible.
    Steady {
        /// Orders per second.
        #[arg(long)]
        rate: f64,
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let Cli { place, what } = Cli::parse();
    let catalogue = Catalogue::embedded();
    let geo: &GeoSpec = catalogue.geo(&place.geo)?;
    let (brokers, registry) = (place.brokers.as_str(), place.registry.as_str());
    match what {
        What::Drivers { count } => {
            let load = Load::open(brokers, registry, geo).await?;
            load.drivers(count)?;
            print(&load.close()?)
        }
        What::Orders { count } => {
            let load = Load::open(brokers, registry, geo).await?;
            load.orders(count)?;
            print(&load.close()?)
        }
        What::Await {
            record,
            count,
            timeout_s,
        } => {
            let timeout = Duration::from_secs(timeout_s);
            print(&reader::await_records(
                brokers, &catalogue, geo, &record, count, timeout,
            )?)
        }
        What::Count => print(&reader::count(brokers, &catalogue, geo).await?),
        What::Steady { rate, seconds } => {
            print(&pace::steady(brokers, registry, &catalogue, geo, rate, seconds).await?)
        }
    }
}

fn print(result: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(result)?);
    Ok(())
}
