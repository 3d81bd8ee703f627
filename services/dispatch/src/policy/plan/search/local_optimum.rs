//! What the search promises of its result, held to by trying every move of one errand in small made-up problems.

use std::cell::Cell;
use std::collections::HashSet;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::super::{Errand, Vehicle, Way, Ways, Weights, matching};
use super::*;
use crate::point::Place;
use crate::time::At;
use crate::travel::WholeMinutes;

/// On a coarse grid, so that ties are common.
fn place() -> impl Strategy<Value = Place> {
    (0..8u8, 0..8u8).prop_map(|(x, y)| Place([x, y, 0].map(|axis| f64::from(axis) * 400.0)))
}

/// Restaurant, customer, ready, expected.
type Order = (u32, Place, f64, bool);

fn order() -> impl Strategy<Value = Order> {
    let ready = (-10..40i32).prop_map(|minutes| f64::from(minutes) * 60.0);
    (0..3u32, place(), ready, prop::bool::weighted(0.2))
}

fn errand(doors: &[Place], order: &Order, travel: &WholeMinutes) -> Errand {
    let &(restaurant, dropoff, ready, expected) = order;
    let pickup = doors[restaurant as usize];
    let drive = Way::between(pickup, dropoff, travel, At(0)).seconds;
    Errand {
        restaurant,
        pickup,
        dropoff,
        ready,
        known: 0.0,
        drive,
        given: 600.0 + drive,
        weight: if expected { 0.4 } else { 1.0 },
        expected,
        radius: f64::INFINITY,
        barred: Vec::new(),
    }
}

/// With a price on food wait and detours alone, and all orders known: then nothing that is added makes anything else
/// cheaper, and what the search does not try for its least cost cannot help. `drivers`: where each is, when he is free and until when.
fn problem<'a>(
    doors: &[Place],
    orders: &[Order],
    drivers: &[(Place, f64, f64)],
    trip_size: usize,
    travel: &'a WholeMinutes,
) -> Problem<'a> {
    let errands: Vec<Errand> = orders.iter().map(|o| errand(doors, o, travel)).collect();
    let vehicle = |&(place, free, until): &(Place, f64, f64)| Vehicle {
        place,
        free,
        idle: free == 0.0,
        until,
    };
    let vehicles: Vec<Vehicle> = drivers.iter().map(vehicle).collect();
    let way = |from: &Vehicle, to| Way::between(from.place, to, travel, At(0));
    let near = |door: &Place| {
        let all = vehicles.iter().enumerate();
        all.map(|(number, vehicle)| (number, way(vehicle, *door)))
            .collect()
    };
    let near = doors.iter().map(near).collect();
    Problem {
        ways: Ways::new(&vehicles, &errands, travel, At(0)),
        near,
        errands,
        vehicles,
        weights: Weights {
            unsure: 600.0,
            squared: 0.0001,
            detour: 0.1,
            wait: 0.0,
            way: 0.0,
            unserved: 70_000.0,
            unserved_expected: 2_000.0,
            second_trip: 3_600.0,
        },
        trip_size,
        spread: 900.0,
        max_detour: 900.0,
        candidates: 24,
        effort: 1_000_000,
        half_pickup: 60.0,
        dropoff: 120.0,
    }
}

/// What the routes cost, and all errands that are on none.
fn total(problem: &Problem<'_>, routes: &[Vec<Stop>]) -> Option<f64> {
    let mut left = vec![true; problem.errands.len()];
    let mut total = 0.0;
    for (vehicle, stops) in routes.iter().enumerate() {
        total += problem.cost(vehicle, stops)?;
        let on = stops.iter().flat_map(Stop::errands);
        on.for_each(|errand| left[errand] = false);
    }
    let errands = problem.errands.iter().zip(left);
    let left_out = errands.filter(|(_, left)| *left);
    let left_out = left_out.map(|(errand, _)| problem.weights.left_out(errand));
    Some(total + left_out.sum::<f64>())
}

/// Every plan that differs in where this one errand is, and last the one that leaves it out.
fn moved(problem: &Problem<'_>, routes: &[Vec<Stop>], errand: usize) -> Vec<Vec<Vec<Stop>>> {
    let own = &problem.errands[errand];
    let mut rest = routes.to_vec();
    for stops in &mut rest {
        let without = |stop: &Stop| match stop.errands().any(|other| other == errand) {
            true => stop.without(errand),
            false => Some(*stop),
        };
        *stops = stops.iter().filter_map(without).collect();
    }
    let mut plans = Vec::new();
    for vehicle in 0..rest.len() {
        for place in 0..=rest[vehicle].len() {
            let mut plan = rest.clone();
            plan[vehicle].insert(place, Stop::of(errand));
            plans.push(plan);
            let Some(stop) = rest[vehicle].get(place) else {
                continue;
            };
            let fits = |other: usize| {
                let other = &problem.errands[other];
                let near = (other.ready - own.ready).abs() <= problem.spread;
                other.restaurant == own.restaurant && !other.expected && near
            };
            let room = stop.len() < problem.trip_size && !own.expected;
            for turn in 0..=stop.len() {
                if room && stop.errands().all(fits) {
                    let mut plan = rest.clone();
                    plan[vehicle][place] = stop.with(turn, errand);
                    plans.push(plan);
                }
            }
        }
    }
    plans.push(rest);
    plans
}

#[test]
fn with_ample_effort_no_move_of_one_errand_lowers_the_cost_which_is_that_of_the_matching_at_most() {
    let travel = WholeMinutes::new(320.0).expect("above 0");
    let free = (0..20u8).prop_map(|minutes| (f64::from(minutes) - 5.0).max(0.0) * 60.0);
    let until = prop_oneof![Just(f64::INFINITY), Just(2_400.0)];
    let cases = (
        prop::collection::vec(place(), 3),
        prop::collection::vec(order(), 1..9),
        prop::collection::vec((place(), free, until), 1..4),
        1..=Stop::MOST,
    );
    let (settled, shared) = (Cell::new(0), Cell::new(0));
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(1_000)
    };
    let outcome = TestRunner::new(config).run(&cases, |(doors, orders, drivers, trip_size)| {
        let problem = problem(&doors, &orders, &drivers, trip_size, &travel);
        let candidates = matching::candidates(&problem);
        let first = matching::first_errands(&problem, &candidates);
        let mut search = Search::new(&problem, &candidates, &first);
        let stops = |search: &Search<'_>| -> Vec<Vec<Stop>> {
            search
                .routes
                .iter()
                .map(|route| route.stops.clone())
                .collect()
        };
        let before = total(&problem, &stops(&search));
        let done = search.improve();
        let routes = stops(&search);
        let found = total(&problem, &routes);
        prop_assert!(
            found.is_some() && found <= before,
            "{:?}, was {:?}",
            found,
            before
        );
        let sum: f64 = search.routes.iter().map(|route| route.cost).sum();
        let again = routes
            .iter()
            .enumerate()
            .map(|(of, stops)| problem.cost(of, stops));
        prop_assert_eq!(Some(sum), again.sum());
        if !done {
            return Ok(());
        }
        settled.set(settled.get() + 1);
        let several = routes.iter().flatten().filter(|stop| stop.len() > 1);
        shared.set(shared.get() + several.count());
        for errand in 0..orders.len() {
            let mut plans = moved(&problem, &routes, errand);
            // Where an errand costs more than to leave it out is no place for it.
            let rest = plans.pop().and_then(|rest| total(&problem, &rest));
            let Some(without) = rest else { continue };
            for plan in plans {
                let worth = |other: &f64| *other < without - GAIN;
                let other = total(&problem, &plan).filter(worth);
                prop_assert!(
                    other.is_none_or(|other| Some(other + 2.0 * GAIN) > found),
                    "{:?} costs {:?}, but {:?} {:?}",
                    routes,
                    found,
                    plan,
                    other
                );
            }
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let (settled, shared) = (settled.get(), shared.get());
    assert!(
        settled > 900 && shared > 100,
        "{settled} settled, {shared} shared"
    );
}

/// A plan to begin with that leaves much to gain: each errand's dearest driver that no other has.
fn dearest(candidates: &[Vec<Candidate>]) -> Vec<Option<usize>> {
    let mut taken = HashSet::new();
    let free = |known: &Vec<Candidate>| {
        let mut vehicles = known.iter().rev().map(|it| it.vehicle);
        vehicles.find(|vehicle| taken.insert(*vehicle))
    };
    candidates.iter().map(free).collect()
}

#[test]
fn what_is_known_of_an_empty_route_is_what_following_it_finds() {
    let travel = WholeMinutes::new(320.0).expect("above 0");
    let free = (0..20u8).prop_map(|minutes| (f64::from(minutes) - 5.0).max(0.0) * 60.0);
    let until = prop_oneof![Just(f64::INFINITY), Just(2_400.0)];
    let cases = (
        prop::collection::vec(place(), 3),
        prop::collection::vec(order(), 1..6),
        prop::collection::vec((place(), free, until), 4..9),
        prop_oneof![Just(f64::INFINITY), 0.0..3_000.0],
    );
    let (slots, vain, gains) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let count = |of: &Cell<u32>| of.set(of.get() + 1);
    let config = ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(500)
    };
    let outcome = TestRunner::new(config).run(&cases, |(doors, orders, drivers, limit)| {
        let mut problem = problem(&doors, &orders, &drivers, 1, &travel);
        (problem.weights.wait, problem.weights.way) = (0.1, 0.01);
        let candidates = matching::candidates(&problem);
        let first = dearest(&candidates);
        let mut search = Search::new(&problem, &candidates, &first);
        for (errand, known) in candidates.iter().enumerate() {
            for candidate in known {
                let (vehicle, lead) = (candidate.vehicle, search.vehicle_of[errand]);
                if !search.routes[vehicle].stops.is_empty() {
                    continue;
                }
                let place = |slot: Option<Slot>| slot.map(|it| (it.vehicle, it.stop, it.turn));
                let (mut short, mut long) = ((limit, None), (limit, None));
                let before = search.effort;
                search.only_slot(candidate, &mut short.0, &mut short.1);
                let spent = before - search.effort;
                search.follow(vehicle);
                search.slots_of(errand, vehicle, &mut long.0, &mut long.1);
                prop_assert_eq!((short.0, place(short.1)), (long.0, place(long.1)));
                prop_assert_eq!(before - search.effort, 2 * spent);
                count(&slots);
                let Some(one) = lead.filter(|one| search.routes[*one].stops.len() == 1) else {
                    continue;
                };
                let (cannot, before) = (search.cannot_gain(one, errand, candidate), search.effort);
                let gained = search.exchange_between(one, 0, vehicle);
                prop_assert_eq!(cannot, !gained);
                prop_assert_eq!(before - search.effort, 1);
                count(if gained { &gains } else { &vain });
            }
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let seen = [slots, vain, gains].map(|seen| seen.get());
    assert!(seen[0] > 1_000 && seen[1] > 500 && seen[2] > 50, "{seen:?}");
}
