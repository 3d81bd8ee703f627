//! What a ping costs as pending requests grow: 10,000 drivers who ping every five seconds in a city 30 km wide, half of
//! them free, against 1,000 to 100,000 requests whose food is ready over the next three hours.
//!
//! `cargo bench -p dispatch`. Its report ends with how much dearer a ping is per tenfold of requests, and fails beyond 1.3.
//! Ticks in between are made, so that what pings wake is laid to rest again, but not timed: `examples/ping_cost.rs` does.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use dispatch::{At, Input, Phase, Scheduler};

#[path = "../examples/town/mod.rs"]
mod town;

use town::{DRIVERS, Numbers, PINGS_PER_SECOND, driver, point, town};

const PENDING: [usize; 3] = [1_000, 10_000, 100_000];
/// How much dearer a ping may be among ten times as many requests.
const MOST: f64 = 1.3;
/// Of the pings whose costs are summed before a tick may run.
const BATCH: usize = 200;
/// Batches per size and sample; sizes take turns, so that what else the machine does meets all of them.
const ROUNDS: usize = 400;

/// A town under way.
struct Ride {
    scheduler: Scheduler,
    places: Vec<(f64, f64)>,
    numbers: Numbers,
    sent: usize,
}

impl Ride {
    fn among(pending: usize) -> Ride {
        let mut numbers = Numbers(1);
        let (scheduler, places) = town(pending, &mut numbers);
        Ride {
            scheduler,
            places,
            numbers,
            sent: 0,
        }
    }

    /// The next pings, at their instants.
    fn pings(&mut self, count: usize) -> Vec<Input> {
        let ping = |_| {
            let number = self.sent % DRIVERS;
            self.sent += 1;
            let at = At::from_seconds(self.sent as f64 / PINGS_PER_SECOND as f64);
            self.numbers.step(&mut self.places[number]);
            Input::DriverPing {
                driver_id: driver(number),
                position: point(self.places[number]),
                at,
            }
        };
        (0..count).map(ping).collect()
    }

    /// Whoever gets an order has delivered it at once: the same half of the drivers stays free at any size.
    fn tick(&mut self, at: At) {
        for decision in self.scheduler.tick(at).decisions {
            self.scheduler.apply(Input::Progress {
                order_id: decision.order_id,
                driver_id: decision.driver_id,
                phase: Phase::Delivered,
                at,
            });
        }
    }

    /// How long so many pings take.
    fn time(&mut self, pings: usize) -> Duration {
        let mut spent = Duration::ZERO;
        let mut left = pings;
        while left > 0 {
            let batch = self.pings(left.min(BATCH));
            left -= batch.len();
            let begun = Instant::now();
            for ping in batch {
                black_box(self.scheduler.apply(ping));
            }
            spent += begun.elapsed();
            let now = At::from_seconds(self.sent as f64 / PINGS_PER_SECOND as f64);
            if self.scheduler.next_due().is_some_and(|at| at <= now) {
                self.tick(now);
            }
        }
        spent
    }
}

fn main() -> ExitCode {
    let mut criterion = Criterion::default().configure_from_args();
    let mut rides: Vec<Ride> = PENDING.into_iter().map(Ride::among).collect();
    let mut group = criterion.benchmark_group("ping");
    group.throughput(Throughput::Elements(1));
    for (pending, ride) in PENDING.into_iter().zip(&mut rides) {
        let name = format!("{pending} pending");
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|count| ride.time(count as usize));
        });
    }
    group.finish();
    compare(&mut rides)
}

/// What the median batch took, size beside size, and whether it grows as it may.
fn compare(rides: &mut [Ride]) -> ExitCode {
    let mut batches = vec![Vec::new(); rides.len()];
    for _ in 0..ROUNDS {
        for (ride, batches) in rides.iter_mut().zip(&mut batches) {
            batches.push(ride.time(BATCH));
        }
    }
    batches
        .iter_mut()
        .for_each(|batches| batches.sort_unstable());
    let median: Vec<Duration> = batches.iter().map(|batches| batches[ROUNDS / 2]).collect();
    let mut code = ExitCode::SUCCESS;
    let sizes = PENDING.windows(2).zip(median.windows(2));
    for (pending, took) in sizes {
        let ratio = took[1].as_secs_f64() / took[0].as_secs_f64();
        let each = |took: Duration| took.as_secs_f64() * 1e6 / BATCH as f64;
        println!(
            "{:>7} to {:>7} pending: a ping takes {:.2} us, then {:.2} us: {ratio:.2} times",
            pending[0],
            pending[1],
            each(took[0]),
            each(took[1]),
        );
        if ratio > MOST {
            println!("        more than {MOST}");
            code = ExitCode::FAILURE;
        }
    }
    code
}
