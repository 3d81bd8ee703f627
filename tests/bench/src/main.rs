//! The clients of the benchmark suite: checkout and drivers that say everything at once or at a rate, a reader that sees
//! when what was wanted has become visible, and bare clients of Kafka, PostgreSQL and Avro to compare with.
//! `cargo xtask bench` starts them; each prints one JSON object.

mod codec;
mod copy;
mod load;
mod pace;
mod reader;
mod rows;
mod say;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use chrono::TimeDelta;
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

/// Where, and in which geos.
#[derive(Args)]
struct Place {
    /// Kafka's bootstrap servers.
    #[arg(long, global = true, default_value = "")]
    brokers: String,
    /// Base URL of the schema registry's API.
    #[arg(long, global = true, default_value = "")]
    registry: String,
    /// Directory with the catalogue that the stack was made by, if it is not the build's.
    #[arg(long, global = true)]
    catalogue: Option<PathBuf>,
    /// Geos of geos.toml; orders and drivers go to each in turn.
    #[arg(
        long,
        global = true,
        value_delimiter = ',',
        default_value = "lisboa-baixa"
    )]
    geos: Vec<String>,
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
        /// Give neighbours in time ids that lie far apart.
        #[arg(long)]
        scattered: bool,
    },
    /// Asks for drivers, as the orders processor does.
    Requests {
        #[arg(long)]
        count: u32,
        /// Seconds until the food of the first is ready.
        #[arg(long, default_value_t = 0)]
        ready_in_s: u32,
        /// Seconds over which the others follow.
        #[arg(long, default_value_t = 0)]
        over_s: u32,
    },
    /// Says where drivers are, each in turn.
    Pings {
        #[arg(long)]
        drivers: u32,
        #[arg(long)]
        count: u32,
        /// Pings per second; as fast as possible if absent.
        #[arg(long)]
        rate: Option<f64>,
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
    /// Counts records by name on all topics of the geos, read_committed, and orders named in them.
    Count,
    /// Repeats what the orders processor read and wrote of the geo with a bare Kafka client.
    Copy {
        /// Records read per transaction.
        #[arg(long)]
        batch: usize,
    },
    /// Repeats what the orders processor stored of the geo with a bare PostgreSQL client.
    Rows {
        /// URL of the database.
        #[arg(long)]
        postgres: String,
        /// Orders per transaction.
        #[arg(long)]
        batch: usize,
    },
    /// Compares the codec with the crates it could be made of; needs no stack.
    Codec,
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
    let catalogue = match &place.catalogue {
        Some(dir) => Catalogue::load(dir)?,
        None => Catalogue::embedded(),
    };
    let geos = place.geos.iter().map(|name| catalogue.geo(name).cloned());
    let geos: Vec<GeoSpec> = geos.collect::<Result<_, _>>()?;
    let first = geos.first().context("no geo is named")?;
    let (brokers, registry) = (place.brokers.as_str(), place.registry.as_str());
    match what {
        What::Drivers { count } => {
            let load = Load::open(brokers, registry, &geos, false).await?;
            load.drivers(count)?;
            print(&load.close()?)
        }
        What::Orders { count, scattered } => {
            let load = Load::open(brokers, registry, &geos, scattered).await?;
            load.orders(count)?;
            print(&load.close()?)
        }
        What::Requests {
            count,
            ready_in_s,
            over_s,
        } => {
            let load = Load::open(brokers, registry, &geos, true).await?;
            let seconds = |s: u32| TimeDelta::seconds(s.into());
            load.requests(count, seconds(ready_in_s), seconds(over_s))?;
            print(&load.close()?)
        }
        What::Pings {
            drivers,
            count,
            rate,
        } => {
            let load = Load::open(brokers, registry, &geos, false).await?;
            load.pings(drivers, count, rate)?;
            print(&load.close()?)
        }
        What::Await {
            record,
            count,
            timeout_s,
        } => {
            let timeout = Duration::from_secs(timeout_s);
            let seen = reader::await_records(brokers, &catalogue, &geos, &record, count, timeout)?;
            print(&seen)
        }
        What::Count => print(&reader::count(brokers, &catalogue, &geos).await?),
        What::Copy { batch } => print(&copy::copy(brokers, &catalogue, first, batch).await?),
        What::Rows { postgres, batch } => print(&rows::rows(&postgres, first, batch).await?),
        What::Codec => print(&codec::compare(first, codec::ROUNDS)?),
        What::Steady { rate, seconds } => {
            print(&pace::steady(brokers, registry, &catalogue, &geos, rate, seconds).await?)
        }
    }
}

fn print(result: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(result)?);
    Ok(())
}
