//! Ticks: what the scheduler decides, held back until the tables have taken it.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use contracts::driver_assignment::MissingReason;
use dispatch::{At, Decision, DriverId, Input, OrderId, Seconds, Tick};

use super::{Book, Commitment};
use crate::facts::{About, Fact, release_reason};
use crate::order::{Held, Order};
use crate::units;

/// A tick that decided something.
#[derive(Clone, Debug, PartialEq)]
pub struct Ticked {
    pub tick: Tick,
    /// Requests that waited before it.
    pub pending_before: usize,
    /// Drivers who could have been asked.
    pub candidates: usize,
    /// Since when positions have been followed.
    pub listening_since: At,
    /// Decisions that the tables refused, because the driver belongs to another geo.
    pub refused: BTreeSet<OrderId>,
}

/// What a tick found, whether it decided anything or not.
#[derive(Clone, Debug, PartialEq)]
pub struct Pulse {
    pub due: usize,
    pub matched: usize,
    /// Of those that still wait, how many are due for a driver at the door, whether anybody is free or not.
    pub waiting: usize,
    /// For how long the oldest of those that still wait has been due for a driver at the door.
    pub oldest_due: Seconds,
    /// By what travel times were multiplied.
    pub travel_factor: f64,
    /// Whom each due order goes to.
    pub decided: Vec<(OrderId, DriverId)>,
    /// Whom each of those waits for that were left although somebody is free.
    pub held: Vec<(OrderId, DriverId)>,
}

impl Book {
    /// When the scheduler wants a tick; `None`: not before something happens.
    pub fn next_tick(&self) -> Option<At> {
        self.scheduler.next_due()
    }

    /// Lets the scheduler decide. What it decides stands once [`Book::conclude`] has heard of the tables.
    pub fn tick(&mut self, now: DateTime<Utc>) -> Pulse {
        let before = self.scheduler.gauges();
        let tick = self.scheduler.tick(units::at(now));
        for release in &tick.releases {
            let released = Some((release_reason(release.reason), None));
            self.put_down(release.order_id, tick.at, "released", released, now);
        }
        for missing in &tick.missing {
            let since = (MissingReason::Silent, missing.silent_since);
            self.miss(missing.order_id, since, None, now);
        }
        for failure in &tick.failures {
            let order_id = failure.order_id;
            let Some(order) = self.orders.get(&order_id) else {
                continue;
            };
            let (row_version, order_version) = (order.row_version, order.order_version);
            if let Some(open) = order.open() {
                let about = About {
                    geo: &self.geo,
                    order_id: order_id.0,
                    order_version,
                    attempt: failure.attempt,
                    now,
                };
                let record = about.failed(open.request_id, failure).into();
                self.facts.push(Fact {
                    partition: open.partition,
                    traceparent: open.traceparent.clone(),
                    record,
                });
            }
            // One that was abandoned is still in its driver's hands.
            self.put_down(order_id, tick.at, "released", None, now);
            self.close(order_id, row_version, order_version, None);
        }
        for decision in &tick.decisions {
            let Some(open) = self
                .orders
                .get_mut(&decision.order_id)
                .and_then(|order| order.open_mut())
            else {
                continue;
            };
            let (attempt, driver_id) = (decision.attempt, decision.driver_id.clone());
            open.held = Some(Held {
                row_version: 0,
                attempt,
                driver_id,
            });
        }
        let pulse = self.pulse(&tick);
        if tick.decided() {
            let (pending_before, candidates) = (before.pending, before.candidates);
            self.ticked = Some(Ticked {
                tick,
                pending_before,
                candidates,
                listening_since: self.scheduler.listening_since(),
                refused: BTreeSet::new(),
            });
        }
        pulse
    }

    /// Whether a tick has decided something that [`Book::conclude`] has not heard of yet.
    pub fn has_ticked(&self) -> bool {
        self.ticked.is_some()
    }

    /// Whether anything is to be stored or told.
    pub fn has_changes(&self) -> bool {
        self.has_ticked() || !self.facts.is_empty() || !self.touched.is_empty()
    }

    fn pulse(&self, tick: &Tick) -> Pulse {
        let decided = tick.decisions.iter();
        let held = tick.holds.iter();
        Pulse {
            due: tick.due,
            matched: tick.matched,
            waiting: self.scheduler.due_at_door(tick.at),
            oldest_due: self.scheduler.oldest_due(tick.at),
            travel_factor: tick.travel_factor,
            decided: decided
                .map(|it| (it.order_id, it.driver_id.clone()))
                .collect(),
            held: held.map(|it| (it.order_id, it.waits_for.clone())).collect(),
        }
    }

    /// The rows that this cycle's decisions put into `assignments`; nothing else may be published or stored before them.
    pub fn commitments(&self) -> Vec<Commitment<'_>> {
        let decisions = self.ticked.iter().flat_map(|ticked| &ticked.tick.decisions);
        let commitments = decisions.filter_map(|decision| {
            let assignment = self.scheduler.assignment_of(decision.order_id)?;
            let order_version = self.orders.get(&decision.order_id)?.order_version;
            let driver = self.drivers.get(&decision.driver_id);
            Some(Commitment {
                order_version,
                assignment,
                duty_at: driver.map(|driver| driver.duty_at),
            })
        });
        commitments.collect()
    }

    /// The tables took all commitments but these, whose drivers belong to other geos: those orders compete again.
    /// Makes the rest known.
    pub fn conclude(&mut self, refused: BTreeSet<OrderId>, now: DateTime<Utc>) -> Option<Ticked> {
        let mut ticked = self.ticked.take()?;
        let decisions = || ticked.tick.decisions.iter();
        // What stands comes first: a driver of whose trip a part was refused is not free in between.
        for decision in decisions().filter(|decision| !refused.contains(&decision.order_id)) {
            self.confirm(decision, now);
        }
        for decision in decisions().filter(|decision| refused.contains(&decision.order_id)) {
            self.revoke(decision, units::at(now));
        }
        ticked.refused = refused;
        Some(ticked)
    }

    /// A decision that the tables have: the fact, and the mirrors of the rows.
    fn confirm(&mut self, decision: &Decision, now: DateTime<Utc>) {
        let order_id = decision.order_id;
        let Some(order) = self.orders.get_mut(&order_id) else {
            return;
        };
        let order_version = order.order_version;
        let Some(open) = order.open_mut() else {
            return;
        };
        let about = About {
            geo: &self.geo,
            order_id: order_id.0,
            order_version,
            attempt: decision.attempt,
            now,
        };
        let record = about.assigned(open.request_id, decision, &self.scheduler);
        self.facts.extend(record.map(|record| Fact {
            partition: open.partition,
            traceparent: open.traceparent.clone(),
            record: record.into(),
        }));
        if let Some(held) = &mut open.held {
            held.row_version = 1;
        }
        if let Some(driver) = self.drivers.get_mut(&decision.driver_id) {
            driver.take_up(order_id, decision.trip.id);
            self.touched.drivers.insert(decision.driver_id.clone());
        }
    }

    /// A decision that the tables refused: nobody has heard of it, the order competes again.
    fn revoke(&mut self, decision: &Decision, at: At) {
        let (order_id, driver_id) = (decision.order_id, decision.driver_id.clone());
        let Some(open) = self.orders.get_mut(&order_id).and_then(Order::open_mut) else {
            return;
        };
        open.held = None;
        self.touched.orders.insert(order_id);
        self.scheduler.apply(Input::Declined {
            order_id,
            driver_id: driver_id.clone(),
            at,
        });
        self.scheduler.apply(Input::DriverLeft {
            driver_id: driver_id.clone(),
            at,
        });
        // Nothing was stored of him, but he has been without an order since now, as the scheduler sees it.
        if let Some(driver) = self.drivers.get_mut(&driver_id) {
            driver.put_down(order_id, at);
            self.touched.drivers.insert(driver_id);
        }
    }
}
