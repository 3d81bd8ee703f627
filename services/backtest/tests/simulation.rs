//! What holds for every policy on generated days: feasible, repeatable, and nobody knows what has not happened yet.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod town;

use std::collections::BTreeSet;

use backtest::instance::{at_minute, minute_of};
use backtest::{Instance, Solution, Trip, feasibility, run, simulate};
use town::*;

fn solved(instance: &Instance, name: &str) -> Solution {
    let outcome = simulate(instance, &policy(name), TOLERANCE);
    assert_eq!(outcome.audit.violations(), 0, "{name}");
    assert!(outcome.audit.checks() > 0, "{name}");
    outcome.solution
}

#[test]
fn every_policy_serves_a_day_by_the_rules() {
    for name in POLICIES {
        for seed in 1..=3 {
            let instance = generated(seed).read();
            let solution = solved(&instance, name);
            assert_eq!(
                feasibility::check(&instance, &solution),
                [],
                "{name}, seed {seed}"
            );
            let served: usize = solution.trips.iter().map(|trip| trip.drops.len()).sum();
            assert!(served > 60, "{name}, seed {seed}: {served} of 120");
        }
    }
}

#[test]
fn the_same_day_is_decided_alike_however_many_run_beside_it() {
    let instances: Vec<Instance> = (1..=5).map(|seed| generated(seed).read()).collect();
    let policies: Vec<_> = POLICIES.iter().map(|name| policy(name)).collect();
    let runs = run(&policies, &instances, TOLERANCE).unwrap();
    for (name, runs) in POLICIES.iter().zip(&runs) {
        for (instance, run) in instances.iter().zip(runs) {
            assert_eq!(run.solution, solved(instance, name));
        }
    }
    assert_eq!(runs, run(&policies, &instances, TOLERANCE).unwrap());
}

/// An order that comes later must change nothing before it comes.
#[test]
fn no_policy_decides_by_an_order_that_has_not_been_placed() {
    for name in POLICIES {
        for (seed, placed) in [(1, 90), (2, 180), (3, 270)] {
            let files = generated(seed);
            let mut more = files.clone();
            more.orders
                .push(format!("late 2500 2500 {placed} r1 {}", placed + 1));
            let (before, after) = (files.read(), more.read());
            let (before, after) = (solved(&before, name), solved(&after, name));
            let until = |solution: &Solution| -> Vec<Trip> {
                let trips = solution.trips.iter();
                trips
                    .filter(|trip| trip.decided_at < at_minute(f64::from(placed)))
                    .cloned()
                    .collect()
            };
            assert!(until(&before).len() > 10, "{name}, seed {seed}");
            assert_eq!(until(&before), until(&after), "{name}, seed {seed}");
            // Compared without a dump of both days.
            assert!(
                before != after,
                "{name}, seed {seed}: the order never counted"
            );
        }
    }
}

/// The same policy written down again as a loop over minutes and couriers, without the scheduler.
fn first_come_first_served(instance: &Instance) -> BTreeSet<(usize, String, String)> {
    let mut queue: Vec<usize> = (0..instance.orders.len()).collect();
    queue.sort_by_key(|order| (instance.orders[*order].placed_at, *order));
    let half_pickup = instance.parameters.pickup_service_min / 2.0;
    let half_dropoff = instance.parameters.dropoff_service_min / 2.0;
    let mut couriers: Vec<_> = instance
        .couriers
        .iter()
        .map(|courier| (courier.start, minute_of(courier.on_at)))
        .collect();
    let mut served = BTreeSet::new();
    for minute in 0..1_000 {
        let now = f64::from(minute);
        queue.retain(|&place| {
            let order = &instance.orders[place];
            let restaurant = instance.restaurants[order.restaurant].location;
            let pickup = |courier: usize| {
                let there = now + instance.travel_min(couriers[courier].0, restaurant);
                (there + half_pickup).max(minute_of(order.ready_at))
            };
            let metres = |courier: usize| {
                let from = couriers[courier].0;
                (from.x() - restaurant.x()).hypot(from.y() - restaurant.y())
            };
            let can = |courier: &usize| {
                let off = minute_of(instance.couriers[*courier].off_at);
                couriers[*courier].1 <= now && pickup(*courier) <= off
            };
            let nearest = (0..couriers.len()).filter(can).min_by(|a, b| {
                let ids = [a, b].map(|courier| &instance.couriers[*courier].id);
                metres(*a).total_cmp(&metres(*b)).then(ids[0].cmp(ids[1]))
            });
            let Some(courier) = nearest.filter(|_| minute_of(order.placed_at) <= now) else {
                return true;
            };
            let travel = instance.travel_min(restaurant, order.customer);
            let dropoff = pickup(courier) + half_pickup + travel + half_dropoff;
            let id = instance.couriers[courier].id.clone();
            served.insert((place, id, dropoff.to_string()));
            couriers[courier] = (order.customer, dropoff + half_dropoff);
            false
        });
    }
    served
}

#[test]
fn the_scheduler_in_virtual_time_agrees_with_a_plain_loop_over_minutes() {
    for seed in 1..=4 {
        let instance = generated(seed).read();
        let deliveries = |trip: &Trip| -> Vec<(usize, String, String)> {
            let courier = &instance.couriers[trip.courier].id;
            let drops = trip.drops.iter();
            drops
                .map(|drop| {
                    (
                        drop.order,
                        courier.clone(),
                        minute_of(drop.dropoff_at).to_string(),
                    )
                })
                .collect()
        };
        let solution = solved(&instance, "fifo");
        let found: BTreeSet<_> = solution.trips.iter().flat_map(deliveries).collect();
        assert_eq!(found, first_come_first_served(&instance), "seed {seed}");
    }
}
