//! What can happen in a random history, and where it takes place.

use dispatch::{Phase, Widening};
use proptest::prelude::*;

pub const DRIVERS: [&str; 5] = ["ann", "bob", "cat", "dan", "eve"];

/// What happens next; drivers and orders by number, places on a coarse grid so that ties are common.
#[derive(Debug, Clone)]
pub enum Step {
    /// Time passes and a tick runs, wanted or not.
    Tick(f64),
    /// Time passes until the scheduler wants a tick (an hour at most), which then runs.
    TickWhenWanted,
    Requested {
        order: u128,
        at: (i32, i32),
        ready_in: f64,
        radius_m: f64,
    },
    Withdrawn(u128),
    ReadyIn {
        order: u128,
        ready_in: f64,
        lag: f64,
    },
    Online {
        driver: usize,
        shift: Option<f64>,
    },
    Offline(usize),
    Announced {
        driver: usize,
        begins_in: f64,
        at: (i32, i32),
    },
    Ping {
        driver: usize,
        at: (i32, i32),
        lag: f64,
    },
    Left {
        driver: usize,
        lag: f64,
    },
    Declined(u128),
    Progress {
        order: u128,
        phase: Phase,
    },
    Driven {
        order: u128,
        from: (i32, i32),
        to: (i32, i32),
        took: f64,
    },
    /// The shadow loses its memory and is rebuilt from tables and recent pings.
    Crash,
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let order = 0..8u128;
    let driver = 0..DRIVERS.len();
    let place = (-6..=6, -6..=6);
    let lag = prop_oneof![3 => Just(0.0), 1 => Just(15.0), 1 => 0.0..40.0];
    let phase = prop_oneof![
        1 => Just(Phase::Accepted),
        1 => Just(Phase::AtRestaurant),
        3 => Just(Phase::PickedUp),
        1 => Just(Phase::Delivered)
    ];
    let shift = prop_oneof![2 => Just(None), 1 => (0.0..1500.0).prop_map(Some)];
    let radius = prop_oneof![Just(700.0), Just(1_500.0), Just(50_000.0)];
    let step = prop_oneof![
        4 => prop_oneof![Just(15.0), 0.0..3.0, 0.0..60.0, 0.0..600.0].prop_map(Step::Tick),
        6 => Just(Step::TickWhenWanted),
        6 => (order.clone(), place.clone(), -300.0..1500.0, radius)
            .prop_map(|(order, at, ready_in, radius_m)| Step::Requested { order, at, ready_in, radius_m }),
        1 => order.clone().prop_map(Step::Withdrawn),
        2 => (order.clone(), -300.0..1500.0, lag.clone())
            .prop_map(|(order, ready_in, lag)| Step::ReadyIn { order, ready_in, lag }),
        3 => (driver.clone(), shift).prop_map(|(driver, shift)| Step::Online { driver, shift }),
        1 => driver.clone().prop_map(Step::Offline),
        1 => (driver.clone(), -60.0..900.0, place.clone())
            .prop_map(|(driver, begins_in, at)| Step::Announced { driver, begins_in, at }),
        8 => (driver.clone(), place.clone(), lag.clone()).prop_map(|(driver, at, lag)| Step::Ping { driver, at, lag }),
        1 => (driver, lag).prop_map(|(driver, lag)| Step::Left { driver, lag }),
        1 => order.clone().prop_map(Step::Declined),
        2 => (0..100u128, place.clone(), place.clone(), 0.0..900.0)
            .prop_map(|(order, from, to, took)| Step::Driven { order, from, to, took }),
        6 => (order, phase).prop_map(|(order, phase)| Step::Progress { order, phase }),
        1 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 10..120)
}

/// The cities histories take place in.
#[derive(Debug, Clone, Copy)]
pub enum City {
    /// A plane with whole minutes: equal etas are common.
    Grid,
    /// Degrees near (0, 0), shortly before the speed drops.
    Road,
}

/// The policies that decide.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Named {
    Fifo,
    SlackGreedy,
    Lookahead,
    Bundle,
}

impl Named {
    pub fn plans(self) -> bool {
        matches!(self, Named::Lookahead | Named::Bundle)
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub city: City,
    pub policy: Named,
    /// With few drivers a request depends on one of them alone.
    pub drivers: usize,
    pub tolerance_s: f64,
    pub silence: bool,
    pub answers: bool,
    pub widening: Widening,
    pub corrected: bool,
}

pub fn settings() -> impl Strategy<Value = Setting> {
    (
        prop_oneof![Just(City::Grid), Just(City::Road)],
        prop_oneof![
            1 => Just(Named::Fifo),
            3 => Just(Named::SlackGreedy),
            3 => Just(Named::Lookahead),
            4 => Just(Named::Bundle)
        ],
        1..=DRIVERS.len(),
        prop_oneof![Just(0.0), Just(120.0)],
        any::<bool>(),
        any::<bool>(),
        prop_oneof![3 => Just(Widening::None), 2 => Just(Widening::Linear)],
        any::<bool>(),
    )
        .prop_map(
            |(city, policy, drivers, tolerance_s, silence, answers, widening, corrected)| Setting {
                city,
                policy,
                drivers,
                tolerance_s,
                silence,
                answers,
                widening,
                corrected,
            },
        )
}
