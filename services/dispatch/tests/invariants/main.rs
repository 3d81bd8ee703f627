//! The invariants of dispatch, on random histories of small cities: against an oracle that considers
//! every request and every driver at every tick, against a scheduler rebuilt from its tables, and
//! against a replay.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod oracle;
mod planned;
mod seen;
mod steps;
#[path = "../world/mod.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};

use dispatch::{
    Applied, At, BundleConfig, Config, Correction, Drive, Failure, FailureReason, Input, OrderId,
    Phase, PlanConfig, Point, PolicySpec, Release, ReleaseReason, Request, Scheduler, Shift, Tick,
    Widening,
};
use oracle::{Expected, Oracle};
use proptest::prelude::*;
use proptest::test_runner::{Config as Runs, TestCaseError, TestRunner};
use seen::Seen;
use steps::{City, DRIVERS, Named, Setting, Step, settings, steps};
use world::*;

/// A history under way.
struct Story<'a> {
    setting: Setting,
    now: At,
    live: Scheduler,
    shadow: Scheduler,
    oracle: Oracle,
    /// Everything applied, with the deciding ticks between.
    log: Vec<Result<Input, Tick>>,
    /// Where every order that ever came in is, by the test's own books.
    whereabouts: BTreeMap<OrderId, &'static str>,
    seen: &'a Seen,
}

impl<'a> Story<'a> {
    fn new(setting: Setting, seen: &'a Seen) -> Story<'a> {
        let config = Config {
            tolerance_s: setting.tolerance_s,
            widening: setting.widening,
            widening_from: 0.4,
            widening_to: 2.0,
            widening_s: 240.0,
            location_ttl_s: if setting.silence { 30.0 } else { 1e9 },
            max_attempts: 3,
            max_wait_s: 900.0,
            cool_down_s: 200.0,
            offer_timeout_s: setting.answers.then_some(45.0),
            vanish_after_s: setting.silence.then_some(80.0),
            abandon_after_s: Some(400.0),
            correction: Correction {
                on: setting.corrected,
                drives: 5,
                at_least: 2,
                ..Correction::default()
            },
            ..Config::default()
        };
        let travel = match setting.city {
            City::Grid => grid(),
            City::Road => road(),
        };
        let policy = match setting.policy {
            Named::Fifo => PolicySpec::Fifo,
            Named::SlackGreedy => PolicySpec::SlackGreedy,
            Named::Lookahead => PolicySpec::Lookahead(PlanConfig::default()),
            Named::Bundle => PolicySpec::Bundle(BundleConfig {
                max_detour_s: 300.0,
                ..BundleConfig::default()
            }),
        };
        Story {
            setting,
            now: at(3_000.0),
            live: scheduler(config.clone(), travel.clone(), &policy),
            shadow: scheduler(config.clone(), travel.clone(), &policy),
            oracle: Oracle {
                config,
                travel,
                policy,
                factor: 1.0,
            },
            log: Vec::new(),
            whereabouts: BTreeMap::new(),
            seen,
        }
    }

    fn place(&self, (x, y): (i32, i32)) -> Point {
        match self.setting.city {
            City::Grid => metres(f64::from(x) * 160.0, f64::from(y) * 160.0),
            City::Road => Point::degrees(f64::from(y) * 0.002, f64::from(x) * 0.002).unwrap(),
        }
    }

    /// Where trips are shared restaurants are few.
    fn restaurant(&self, (x, y): (i32, i32)) -> Point {
        match self.setting.policy {
            Named::Bundle => self.place((x / 4 * 4, 0)),
            _ => self.place((x, y)),
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        let now = self.now;
        let before = |lag: f64| at(now.since(at(0.0)).0 - lag);
        let later = |span: f64| at(now.since(at(0.0)).0 + span);
        let drivers = self.setting.drivers;
        let driver_id = |index: usize| driver(DRIVERS[index % drivers]);
        match step {
            Step::Tick(span) => return self.tick(later(span)),
            Step::TickWhenWanted => {
                let wanted = self.live.next_due().map_or(now, |at| at.max(now));
                return self.tick(wanted.min(later(3_600.0)));
            }
            Step::Crash => self.crash(),
            Step::Requested {
                order: number,
                at: place,
                ready_in,
                radius_m,
            } => {
                let request = Request {
                    restaurant: self.restaurant(place),
                    customer: self.place((place.1, place.0)),
                    placed_at: now,
                    requested_at: now,
                    ready_at: later(ready_in),
                    ready_said_at: now,
                    search_radius_m: radius_m,
                    ..request(number, 0.0)
                };
                if self.apply(Input::Requested(request)) == Applied::Changed {
                    let known = self.whereabouts.insert(order(number), "pending");
                    prop_assert!(known != Some("pending") && known != Some("assigned"));
                }
            }
            Step::Withdrawn(number) => {
                if self.apply(Input::Withdrawn {
                    order_id: order(number),
                    at: now,
                }) == Applied::Changed
                {
                    self.whereabouts.insert(order(number), "withdrawn");
                }
            }
            Step::ReadyIn {
                order: number,
                ready_in,
                lag,
            } => {
                self.apply(Input::ReadyAt {
                    order_id: order(number),
                    ready_at: later(ready_in),
                    at: before(lag),
                });
            }
            Step::Online { driver, shift } => {
                self.apply(Input::DriverOnline {
                    driver_id: driver_id(driver),
                    at: now,
                    shift_end: shift.map(later),
                });
            }
            Step::Offline(driver) => {
                self.apply(Input::DriverOffline {
                    driver_id: driver_id(driver),
                    at: now,
                });
            }
            Step::Announced {
                driver,
                begins_in,
                at: place,
            } => {
                let shift = Shift {
                    begins: later(begins_in),
                    ends: later(begins_in + 1_200.0),
                    start: self.place(place),
                };
                self.apply(Input::ShiftAnnounced {
                    driver_id: driver_id(driver),
                    shift: (begins_in > -30.0).then_some(shift),
                });
            }
            Step::Ping {
                driver,
                at: place,
                lag,
            } => {
                self.apply(Input::DriverPing {
                    driver_id: driver_id(driver),
                    position: self.place(place),
                    at: before(lag),
                });
            }
            Step::Left { driver, lag } => {
                self.apply(Input::DriverLeft {
                    driver_id: driver_id(driver),
                    at: before(lag),
                });
            }
            Step::Declined(number) => {
                let Some(leg) = self.live.assignment_of(order(number)).cloned() else {
                    return Ok(());
                };
                let declined = Input::Declined {
                    order_id: order(number),
                    driver_id: leg.driver_id,
                    at: now,
                };
                if self.apply(declined) == Applied::Changed {
                    self.whereabouts.insert(order(number), "pending");
                }
            }
            Step::Progress {
                order: number,
                phase,
            } => {
                let Some(leg) = self.live.assignment_of(order(number)).cloned() else {
                    return Ok(());
                };
                let drive = self.live.drive_to_door(order(number), now);
                if let Some(drive) = drive.filter(|_| phase == Phase::Delivered) {
                    self.apply(Input::Driven(drive));
                }
                let progress = Input::Progress {
                    order_id: order(number),
                    driver_id: leg.driver_id,
                    phase,
                    at: now,
                };
                if self.apply(progress) == Applied::Changed && phase == Phase::Delivered {
                    self.whereabouts.insert(order(number), "delivered");
                }
            }
            Step::Driven {
                order: number,
                from,
                to,
                took,
            } => {
                self.apply(Input::Driven(Drive {
                    order_id: order(number),
                    from: self.place(from),
                    to: self.place(to),
                    left_at: before(took),
                    arrived_at: now,
                }));
            }
        }
        Ok(())
    }

    fn apply(&mut self, input: Input) -> Applied {
        self.shadow.apply(input.clone());
        self.log.push(Ok(input.clone()));
        self.live.apply(input)
    }

    fn tick(&mut self, to: At) -> Result<(), TestCaseError> {
        self.now = to;
        let wanted = self.live.next_due().is_some_and(|at| at <= to);
        let before = self.live.snapshot();
        let tick = self.live.tick(to);
        prop_assert_eq!(
            &self.shadow.tick(to),
            &tick,
            "a rebuilt scheduler decides otherwise"
        );
        // Silence is noticed by the next beat, and so is what a plan makes of time going by and what pressure does, and what is
        // estimated of travel; everything else at its instant.
        prop_assert!(
            wanted
                || self.setting.widening != Widening::None
                || self.setting.corrected
                || self.setting.silence
                || self.setting.policy.plans()
                || !tick.decided(),
            "decided unasked: {:?}",
            tick
        );
        self.oracle.factor = self.oracle.learned(&before, to);
        prop_assert_eq!(tick.travel_factor, self.oracle.factor);
        let corrected = usize::from(tick.travel_factor != 1.0 && !tick.decisions.is_empty());
        Seen::count(&self.seen.corrected, corrected);
        let abandoned = |failure: &Failure| failure.reason == FailureReason::Abandoned;
        if tick.releases.is_empty() && !tick.failures.iter().any(abandoned) {
            prop_assert_eq!(tick.tolerance_s, self.oracle.tolerance(&before, to));
            let widened =
                tick.tolerance_s.is_finite() && tick.tolerance_s > self.setting.tolerance_s;
            Seen::count(&self.seen.widened, usize::from(widened));
            if self.setting.policy.plans() {
                self.check_plan(&before, &tick)?;
            } else {
                self.compare(&before, &tick)?;
                self.check_given_up(&before, &tick)?;
            }
        }
        self.book(&tick)?;
        if tick.decided() {
            self.log.push(Err(tick));
        }
        Ok(())
    }

    /// Invariants 2 and 3: exactly the due are committed, in order, each to its nearest; who is left has
    /// nobody.
    fn compare(&self, before: &dispatch::Snapshot, tick: &Tick) -> Result<(), TestCaseError> {
        let now = tick.at;
        let decided: Vec<Expected> = tick
            .decisions
            .iter()
            .map(|decision| Expected {
                order_id: decision.order_id,
                driver_id: decision.driver_id.clone(),
                eta: decision.driver_eta_to_restaurant_s,
                slack: decision.slack_s,
            })
            .collect();
        prop_assert_eq!(&self.oracle.decide(before, tick), &decided);
        prop_assert_eq!(self.oracle.due(before, tick).len(), tick.due);
        prop_assert!(
            decided
                .iter()
                .all(|d| self.setting.policy == Named::Fifo || d.slack <= tick.tolerance_s + 1e-6)
        );
        let after = self.live.snapshot();
        let idle: Vec<OrderId> = self
            .oracle
            .due(&after, tick)
            .iter()
            .map(|(request, _)| request.order_id)
            .collect();
        let were_due: BTreeSet<OrderId> = self
            .oracle
            .due(before, tick)
            .iter()
            .map(|(request, _)| request.order_id)
            .collect();
        prop_assert!(
            idle.iter().all(|order| !were_due.contains(order)),
            "left idle: {:?}",
            idle
        );
        prop_assert!(
            idle.is_empty() || self.live.next_due() <= Some(now),
            "due by now, next tick not at once"
        );
        Seen::count(&self.seen.waits, were_due.len() - decided.len());
        Ok(())
    }

    /// Invariants 1 and 4, on the test's own books: one driver per order, one order per driver, and
    /// every order that came in is somewhere.
    fn book(&mut self, tick: &Tick) -> Result<(), TestCaseError> {
        for release in &tick.releases {
            prop_assert_eq!(
                self.whereabouts.insert(release.order_id, "pending"),
                Some("assigned")
            );
        }
        for decision in &tick.decisions {
            prop_assert_eq!(
                self.whereabouts.insert(decision.order_id, "assigned"),
                Some("pending")
            );
            prop_assert_eq!(decision.policy, self.live.policy());
        }
        for failure in &tick.failures {
            let before = match failure.reason {
                FailureReason::Abandoned => "assigned",
                _ => "pending",
            };
            prop_assert_eq!(
                self.whereabouts.insert(failure.order_id, "failed"),
                Some(before)
            );
        }
        let state = self.live.snapshot();
        let mut trips: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for leg in &state.assignments {
            trips.entry(&leg.driver_id).or_default().insert(leg.trip_id);
        }
        prop_assert!(
            trips.values().all(|trips| trips.len() == 1),
            "a driver with two trips"
        );
        let held = |place: &str| -> Vec<OrderId> {
            self.whereabouts
                .iter()
                .filter(|(_, at)| **at == place)
                .map(|(order, _)| *order)
                .collect()
        };
        let mut assigned: Vec<OrderId> = state
            .assignments
            .iter()
            .filter(|leg| leg.phase < Phase::Delivered)
            .map(|leg| leg.request.order_id)
            .collect();
        assigned.sort();
        prop_assert_eq!(held("assigned"), assigned);
        prop_assert_eq!(
            held("pending"),
            state.pending.iter().map(|r| r.order_id).collect::<Vec<_>>()
        );
        let audit = self.live.audit();
        prop_assert_eq!(audit.violations(), 0, "{:?}", audit);
        prop_assert!(
            audit.exclusive.checks >= tick.decisions.len() as u64 && audit.conserved.checks > 0
        );
        Seen::count(&self.seen.decisions, tick.decisions.len());
        let vanished = |release: &&Release| release.reason == ReleaseReason::DriverVanished;
        let taken = tick.releases.iter().filter(vanished).count();
        Seen::count(&self.seen.vanished, taken);
        Seen::count(&self.seen.missing, tick.missing.len());
        Seen::count(&self.seen.releases, tick.releases.len() - taken);
        Seen::count(&self.seen.failures, tick.failures.len());
        Ok(())
    }

    /// Rebuilds the shadow as a new owner would: tables without positions, then the recent pings.
    fn crash(&mut self) {
        let mut tables = self.live.snapshot();
        for record in &mut tables.drivers {
            (record.position, record.seen_at) = (None, None);
        }
        let Oracle {
            config,
            travel,
            policy,
            ..
        } = &self.oracle;
        self.shadow = Scheduler::restore(config.clone(), travel.clone(), policy.build(), tables);
        let heard = |at: &At| at.plus(dispatch::Seconds(config.location_ttl_s)) >= self.now;
        for input in self.log.iter().filter_map(|entry| entry.as_ref().ok()) {
            if let Input::DriverPing { at, .. } | Input::DriverLeft { at, .. } = input
                && heard(at)
            {
                self.shadow.apply(input.clone());
            }
        }
        // Who takes over has missed what was sent meanwhile, and says so.
        let listening = Input::Listening { at: self.now };
        self.live.apply(listening.clone());
        self.shadow.apply(listening.clone());
        self.log.push(Ok(listening));
        Seen::count(&self.seen.crashes, 1);
    }

    /// Invariant 5: the inputs again, ticks only where decisions were made, and all is as it was.
    fn replay(&self) -> Result<(), TestCaseError> {
        let Oracle {
            config,
            travel,
            policy,
            ..
        } = &self.oracle;
        let mut again = scheduler(config.clone(), travel.clone(), policy);
        for entry in &self.log {
            match entry {
                Ok(input) => drop(again.apply(input.clone())),
                Err(tick) => prop_assert_eq!(&again.tick(tick.at), tick),
            }
        }
        prop_assert_eq!(again.snapshot(), self.live.snapshot());
        Ok(())
    }
}

#[test]
fn random_histories_keep_every_invariant() {
    let seen = Seen::default();
    let mut runner = TestRunner::new(Runs {
        cases: Runs::default().cases.max(4_000),
        failure_persistence: None,
        ..Runs::default()
    });
    let outcome = runner.run(&(settings(), steps()), |(setting, steps)| {
        let mut story = Story::new(setting, &seen);
        for step in steps {
            story.step(step)?;
        }
        story.replay()
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    seen.was_enough();
}
