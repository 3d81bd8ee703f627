//! `cargo xtask demo`: the main job, from nothing to delivered meals, on real Kafka, registry and PostgreSQL.
//!
//! It starts an empty stack, the mock gateway and the four processors as separate processes, lets a city live, then reads
//! all topics back as an outsider. The verdict is the outsider's: its last line is the demo's, and its status too.

mod chaos;
mod city;
mod platform;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use crate::process;
use crate::stack::{self, dir::StackDir};
use crate::workspace::{self, Profile};

use self::chaos::Chaos;
use self::platform::Platform;
use self::world::{Outage, World};

/// What to show.
#[derive(Args, Debug)]
pub struct Options {
    /// Orders of all geos together [default: 60, or all of the instance]
    #[arg(long)]
    pub orders: Option<usize>,
    /// Geos, from the top of schemas/geos.toml
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=20))]
    pub geos: u8,
    /// How many times faster than life
    #[arg(long, default_value_t = 60.0)]
    pub speed: f64,
    /// The same seed: the same city, and the same kills
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// A Meal Delivery Routing instance to play instead of a generated city
    #[arg(long)]
    pub instance: Option<PathBuf>,
    /// The dispatch policy, as [assignment] policy names it [default: that of deploy/swift-eats.toml]
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// How much goes wrong
    #[arg(long, value_enum, default_value_t = World::Calm)]
    pub world: World,
    /// Kill processors now and then, without warning
    #[arg(long)]
    pub chaos: bool,
    /// Leave everything running afterwards
    #[arg(long)]
    pub keep: bool,
}

/// Programs the demo runs, besides this one.
const PACKAGES: [&str; 7] = [
    "orders",
    "payments",
    "assignment",
    "notifier",
    "gateway",
    "city",
    "swiftctl",
];

/// Runs it all; the exit code says whether every check held.
pub fn run(options: &Options) -> Result<ExitCode> {
    process::catch_interrupts();
    eprintln!("demo: building");
    workspace::build(&PACKAGES, Profile::Development)?;
    let dir = StackDir::from_env()?;
    eprintln!("demo: an empty stack (what an earlier one held is deleted)");
    stack::reset(&dir)?;
    let state = stack::up(&dir, stack::Options::default())?;
    let outcome = play(options, &dir, &state);
    if !options.keep {
        stack::down(&dir)?;
    }
    let (report, holds) = outcome?;
    print!("{report}");
    Ok(if holds {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Starts the platform, lets the city live on it, and has the outsider look; returns the report and whether all holds.
fn play(options: &Options, dir: &StackDir, state: &stack::state::State) -> Result<(String, bool)> {
    let geos = city::geos(options.geos)?;
    let roads = city::roads(options, &geos)?;
    let mut platform = Platform::start(options, dir, state, &geos, &roads)?;
    let mut chaos = options.chaos.then(|| Chaos::new(options.seed));
    let rough = options.world == World::Rough;
    let mut outage = rough.then(|| Outage::amid(options.orders.unwrap_or(city::ORDERS)));
    let lived = city::live(options, state, &geos, |second, line| {
        match &mut chaos {
            Some(chaos) => chaos.act(second, platform.processors())?,
            None => platform.processors().check_alive()?,
        }
        let outage = outage.as_mut();
        outage.map_or(Ok(()), |outage| outage.act(second, line, &platform))
    })?;
    if let Some(outage) = &outage {
        outage.check()?;
    }
    if let Some(chaos) = &chaos {
        eprintln!(
            "demo: {} processors killed and started again",
            chaos.kills()
        );
    }
    // Two reasons for more than one writer of a geo's orders: a kill, and a change of ownership. Without, it is one.
    let observer = city::Observer {
        gateway: platform.gateway_url(),
        max_spread: (!options.chaos).then_some(1),
        tell_all: rough,
    };
    let (report, holds) = city::verify(state, &geos, &observer)?;
    if options.keep {
        platform.leave();
        print_how_to_look(state, &geos, dir);
    } else {
        platform.stop()?;
    }
    Ok((report, holds && lived))
}

fn print_how_to_look(state: &stack::state::State, geos: &[String], dir: &StackDir) {
    let geo = &geos[0];
    println!(
        "kept running; `cargo xtask stack status` lists it, `cargo xtask stack down` stops it"
    );
    println!(
        "  topics    kcat -b {} -t orders.events.{geo} -s value=avro -r {} -e",
        state.kafka, state.registry
    );
    println!(
        "  tables    psql {} -c 'select status, count(*) from orders.orders group by 1'",
        state.postgres
    );
    for (name, service) in crate::services::live(&dir.services()) {
        println!("  metrics   curl {}/metrics  # {name}", service.http);
    }
    println!("  logs      {}", dir.logs().display());
}
