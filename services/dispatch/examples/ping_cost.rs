//! What a ping and a tick cost as pending requests grow: 10,000 drivers who ping every five seconds in a
//! city 30 km wide, against 1,000 to 100,000 pending requests.
//!
//! `plenty`: half of the drivers are free, food is ready over the next three hours. `shortage`: nobody is
//! free, all food is late, and 30 drivers a second finish their trips.
//!
//! `cargo run --release -p dispatch --example ping_cost`

use std::time::{Duration, Instant};

use dispatch::{At, Input, Scheduler};

mod town;

use town::{DRIVERS, Numbers, PINGS_PER_SECOND, driver, point, request, with_busy};

const SECONDS: usize = 60;

#[derive(Default)]
struct Cost {
    pings: Duration,
    ticks: Duration,
    longest_tick: Duration,
    count: u32,
    decisions: usize,
}

/// A minute of pings, with so many deliveries every tenth of a second.
fn drive(
    scheduler: &mut Scheduler,
    places: &mut [(f64, f64)],
    mut deliveries: impl Iterator<Item = Input>,
    each_tenth: usize,
    numbers: &mut Numbers,
) -> Cost {
    let mut cost = Cost::default();
    let mut next = 0;
    for tenth in 0..SECONDS * 10 {
        let now = At::from_seconds(tenth as f64 / 10.0);
        let pings: Vec<Input> = (0..PINGS_PER_SECOND / 10)
            .map(|_| {
                next = (next + 1) % DRIVERS;
                numbers.step(&mut places[next]);
                Input::DriverPing {
                    driver_id: driver(next),
                    position: point(places[next]),
                    at: now,
                }
            })
            .collect();
        let start = Instant::now();
        for ping in pings {
            scheduler.apply(ping);
        }
        cost.pings += start.elapsed();
        for delivery in deliveries.by_ref().take(each_tenth) {
            scheduler.apply(delivery);
        }
        if scheduler.next_due().is_some_and(|at| at <= now) {
            let start = Instant::now();
            let tick = scheduler.tick(now);
            let spent = start.elapsed();
            cost.ticks += spent;
            cost.longest_tick = cost.longest_tick.max(spent);
            cost.count += 1;
            cost.decisions += tick.decisions.len();
        }
    }
    cost
}

fn main() {
    println!(
        "          pending  ping us  pings %core  ticks  ms/tick  longest ms  ticks %core  decided"
    );
    for (name, busy, each_tenth) in [("plenty", DRIVERS / 2, 0), ("shortage", DRIVERS, 3)] {
        for pending in [1_000, 10_000, 100_000] {
            let mut numbers = Numbers(1);
            let mut places: Vec<(f64, f64)> = (0..DRIVERS).map(|_| numbers.place()).collect();
            let (mut scheduler, deliveries) = with_busy(busy, &places, &mut numbers);
            for number in 0..pending {
                let ready_s = if each_tenth == 0 {
                    150.0 + numbers.unit() * 10_800.0
                } else {
                    0.0
                };
                let request = request(DRIVERS + number, ready_s, &mut numbers);
                scheduler.apply(Input::Requested(request));
            }
            scheduler.tick(At::from_seconds(0.0));
            let deliveries = deliveries.into_iter();
            let cost = drive(
                &mut scheduler,
                &mut places,
                deliveries,
                each_tenth,
                &mut numbers,
            );
            report(name, pending, &cost);
            assert_eq!(scheduler.audit().violations(), 0, "{:?}", scheduler.audit());
        }
    }
}

fn report(name: &str, pending: usize, cost: &Cost) {
    let of_core = |spent: Duration| 100.0 * spent.as_secs_f64() / SECONDS as f64;
    println!(
        "{name:<9} {pending:>7}  {:>7.2}  {:>11.2}  {:>5}  {:>7.2}  {:>10.2}  {:>11.2}  {:>7}",
        cost.pings.as_secs_f64() * 1e6 / (SECONDS * PINGS_PER_SECOND) as f64,
        of_core(cost.pings),
        cost.count,
        cost.ticks.as_secs_f64() * 1e3 / f64::from(cost.count.max(1)),
        cost.longest_tick.as_secs_f64() * 1e3,
        of_core(cost.ticks),
        cost.decisions,
    );
}
