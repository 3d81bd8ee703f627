//! `city run` lives a day on the real topics; `city verify` reads it back as an outsider. Exit status says whether all is well.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use city::verify::{self, Report};
use city::{Plan, Run, Size, World, run};
use clap::{Args, Parser, Subcommand, ValueEnum};
use contracts::Catalogue;

#[derive(Parser)]
#[command(about = "A city that lives: checkout, kitchens, drivers and their phones")]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Places orders, cooks and delivers them; prints a JSON line of progress per second.
    Run(RunArguments),
    /// Reads all topics of the geos and checks what has to hold.
    Verify(VerifyArguments),
    /// Prints the travel model of each geo, in the speeds of life (JSON): what assignment has to be configured with.
    Travel(CityArguments),
}

#[derive(Args)]
struct StackArguments {
    /// Kafka's bootstrap servers.
    #[arg(long)]
    brokers: String,
    /// Base URL of the schema registry's API.
    #[arg(long)]
    registry: String,
}

#[derive(Args)]
struct CityArguments {
    /// Geos of geos.toml, comma-separated: a city in each.
    #[arg(long, value_delimiter = ',', required = true)]
    geos: Vec<String>,
    /// How many times faster than life.
    #[arg(long, default_value_t = 60.0)]
    speed: f64,
    /// The same seed, the same city.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Orders of all geos together [default: 60, or all of the instance].
    #[arg(long)]
    orders: Option<usize>,
    /// Drivers per geo [default: enough for the orders].
    #[arg(long)]
    couriers: Option<usize>,
    /// Minutes of the city over which orders are placed.
    #[arg(long, default_value_t = 40.0)]
    span_min: f64,
    /// A Meal Delivery Routing instance to play in each geo instead of a generated city.
    #[arg(long)]
    instance: Option<PathBuf>,
}

#[derive(Args)]
struct RunArguments {
    #[command(flatten)]
    stack: StackArguments,
    #[command(flatten)]
    city: CityArguments,
    #[command(flatten)]
    world: World,
    /// Wall seconds after which the run is given up [default: three hours of the city after the last order, and a minute].
    #[arg(long)]
    deadline_s: Option<f64>,
}

#[derive(Args)]
struct VerifyArguments {
    #[command(flatten)]
    stack: StackArguments,
    /// Geos of geos.toml, comma-separated.
    #[arg(long, value_delimiter = ',', required = true)]
    geos: Vec<String>,
    /// Seconds for what is still on its way (a refund, a last notification) before a violation counts.
    #[arg(long, default_value_t = 10.0)]
    settle_s: f64,
    /// Greatest difference between partitions of a geo in orders accepted; the number of instances of orders that wrote
    /// them, as each keeps within 1. Not checked unless given.
    #[arg(long)]
    max_spread: Option<u64>,
    /// Base URL of the mock gateway, to compare its ledger with what payments said.
    #[arg(long)]
    gateway: Option<String>,
    /// Tell of cancellations and of money in the last line as well.
    #[arg(long)]
    tell_all: bool,
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Table,
    Json,
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Command::parse().what {
        What::Run(arguments) => live(arguments).await,
        What::Verify(arguments) => look_back(arguments).await,
        What::Travel(arguments) => travel(&arguments),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("city: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn live(arguments: RunArguments) -> anyhow::Result<bool> {
    let plans = arguments.city.plans()?;
    let speed = arguments.city.speed;
    let last = plans.iter().map(Plan::last_placed_s).fold(0.0, f64::max);
    let deadline = arguments
        .deadline_s
        .unwrap_or((last + 3.0 * 3_600.0) / speed + 60.0);
    let geos = plans.len();
    let world = |place: usize| World {
        bad_orders: share(arguments.world.bad_orders, geos, place),
        poison: share(arguments.world.poison, geos, place),
        ..arguments.world
    };
    let outcome = run(
        Run {
            brokers: arguments.stack.brokers,
            registry: arguments.stack.registry,
            plans: plans
                .into_iter()
                .enumerate()
                .map(|(place, plan)| (plan, world(place)))
                .collect(),
            speed,
            seed: arguments.city.seed,
            deadline: Duration::from_secs_f64(deadline),
        },
        |line| {
            println!(
                "{}",
                serde_json::to_string(line).expect("numbers and names are JSON")
            )
        },
    )
    .await?;
    if !outcome.complete {
        let open = outcome.progress.placed - outcome.progress.ended();
        eprintln!("city: gave up after {deadline:.0} s with {open} orders placed and not ended");
    }
    if outcome.undelivered > 0 {
        eprintln!("city: Kafka did not take {} records", outcome.undelivered);
    }
    Ok(outcome.complete && outcome.undelivered == 0)
}

async fn look_back(arguments: VerifyArguments) -> anyhow::Result<bool> {
    let wanted = verify::Wanted {
        brokers: arguments.stack.brokers,
        registry: arguments.stack.registry,
        geos: arguments.geos,
        catalogue: Catalogue::embedded(),
        settle: Duration::from_secs_f64(arguments.settle_s),
        max_spread: arguments.max_spread,
        gateway: arguments.gateway,
        tell_all: arguments.tell_all,
    };
    let report: Report = verify::verify(&wanted).await?;
    match arguments.format {
        Format::Table => print!("{report}"),
        Format::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    Ok(report.holds())
}

fn travel(arguments: &CityArguments) -> anyhow::Result<bool> {
    let roads = arguments
        .plans()?
        .into_iter()
        .map(|plan| (plan.geo.to_string(), plan.road));
    let roads: std::collections::BTreeMap<String, dispatch::RoadConfig> = roads.collect();
    println!("{}", serde_json::to_string_pretty(&roads)?);
    Ok(true)
}

impl CityArguments {
    fn plans(&self) -> anyhow::Result<Vec<Plan>> {
        anyhow::ensure!(self.speed > 0.0, "--speed {}: must be above 0", self.speed);
        let catalogue = Catalogue::embedded();
        let plan = |(place, name): (usize, &String)| {
            let geo = catalogue.geo(name).context("--geos")?;
            if let Some(dir) = &self.instance {
                let limit = self
                    .orders
                    .map(|orders| share(orders, self.geos.len(), place));
                return Plan::from_instance(geo, dir, limit);
            }
            let orders = share(self.orders.unwrap_or(60), self.geos.len(), place);
            let couriers = self
                .couriers
                .unwrap_or_else(|| self.enough_couriers(orders));
            let size = Size {
                orders,
                couriers,
                restaurants: (orders / 5).clamp(3, 200),
                span_s: self.span_min * 60.0,
            };
            Ok(Plan::generate(geo, self.seed, size))
        };
        self.geos.iter().enumerate().map(plan).collect()
    }

    /// An order keeps a driver for some 25 minutes; half as many again for the busy quarter of an hour.
    fn enough_couriers(&self, orders: usize) -> usize {
        (orders as f64 * 25.0 / (self.span_min + 10.0) * 1.5).ceil() as usize + 2
    }
}

/// The part of a whole that falls to one of several.
fn share(whole: usize, of: usize, place: usize) -> usize {
    whole / of + usize::from(place < whole % of)
}
