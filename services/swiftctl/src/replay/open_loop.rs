//! Open loop: what another policy would have decided at each moment of what really happened.
//!
//! The state is always the real one, so each difference stands for itself: what a different decision would have led to is not
//! followed (the closed loop does). The other policy is asked at every recorded tick, and in between as often as a live scheduler
//! thinks again while orders wait; its answers are noted and thrown away.

use std::collections::HashMap;

use assignment::config::GeoRules;
use assignment::rerun::Memo;
use assignment::units;
use chrono::{DateTime, Utc};
use contracts::driver_assignment::{DispatchTick, DriverAssigned};
use contracts::streams::DriverAssignmentEvent;
use dispatch::{At, Decision, DriverId, OrderId, Point, Request, Tick};
use serde::Serialize;
use uuid::Uuid;

/// In words, for whoever reads the figures.
pub const MEANING: &str = "The state follows what really happened; at every moment the other policy is asked what it would do. \
same: it gives the order to the same driver at the same moment. other_driver: to another one. earlier: it would have given it away \
before, by more than the pause between two ticks. later: it would still have waited. never_given: it would have sent a driver to an order that then never got one. Each difference \
stands for itself: its consequences are not followed.";

/// A live scheduler looks again after `dispatch.tick_s` while orders wait, and decides within so many seconds: what is earlier by
/// less is no difference between policies.
const DELAY_S: f64 = 0.1;

/// How a recorded decision compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Same,
    OtherDriver,
    Earlier,
    Later,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Same => "same",
            Kind::OtherDriver => "other driver",
            Kind::Earlier => "earlier",
            Kind::Later => "later",
        }
    }
}

/// A driver for an order, as recorded or as the other policy has it. Seconds of the world.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pick {
    pub at: DateTime<Utc>,
    pub driver_id: String,
    /// To the restaurant.
    pub eta_s: f64,
    pub slack_s: f64,
    /// Where he was: latitude, longitude.
    pub from: Option<(f64, f64)>,
}

/// A recorded decision, and what the other policy makes of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Compared {
    pub order_id: Uuid,
    pub attempt: i32,
    pub kind: Kind,
    pub recorded: Pick,
    /// `None`: it would not have given the order to anybody yet.
    pub new: Option<Pick>,
    /// How long before the recorded decision, seconds of the world.
    pub earlier_s: Option<f64>,
    pub why: String,
    /// Latitude, longitude.
    pub restaurant: (f64, f64),
    pub customer: (f64, f64),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub same: u64,
    pub other_driver: u64,
    pub earlier: u64,
    pub later: u64,
    pub never_given: u64,
}

struct Early {
    attempt: u32,
    pick: Pick,
}

/// See the module.
pub struct OpenLoop {
    rules: GeoRules,
    time_scale: f64,
    /// Orders that the other policy would have given away already.
    early: HashMap<OrderId, Early>,
    pub counts: Counts,
}

impl OpenLoop {
    pub fn new(rules: GeoRules, time_scale: f64) -> OpenLoop {
        OpenLoop {
            rules,
            time_scale,
            early: HashMap::new(),
            counts: Counts::default(),
        }
    }

    /// Asks the other policy, and notes what it would give away.
    pub fn moment(&mut self, memo: &Memo, at: At) -> Tick {
        let pending = &memo.snapshot.pending;
        let tick = memo.scheduler(&self.rules).tick(at);
        self.forget(pending);
        // One that this tick has taken back from its driver is not waiting yet, as things really were.
        let waits = |order: &OrderId| pending.iter().any(|request| request.order_id == *order);
        for decision in tick.decisions.iter().filter(|it| waits(&it.order_id)) {
            let pick = self.pick(memo, decision);
            let attempt = decision.attempt;
            let early = self.early.entry(decision.order_id);
            let known = early.or_insert_with(|| Early {
                attempt,
                pick: pick.clone(),
            });
            if known.attempt != attempt {
                *known = Early { attempt, pick };
            }
        }
        tick
    }

    /// Orders that wait no more although nobody was recorded for them.
    fn forget(&mut self, pending: &[Request]) {
        let before = self.early.len();
        let mut waiting: Vec<OrderId> = pending.iter().map(|request| request.order_id).collect();
        waiting.sort();
        self.early
            .retain(|order, _| waiting.binary_search(order).is_ok());
        self.counts.never_given += (before - self.early.len()) as u64;
    }

    /// Compares what a tick told with what the other policy makes of the same moment.
    pub fn compare(
        &mut self,
        memo: &Memo,
        tick: &DispatchTick,
        told: &[DriverAssignmentEvent],
    ) -> Vec<Compared> {
        let at = units::at(tick.ticked_at);
        let asked = self.moment(memo, at);
        let mut told: Vec<&DriverAssigned> = told
            .iter()
            .filter_map(|fact| match fact {
                DriverAssignmentEvent::DriverAssigned(assigned) => Some(assigned),
                _ => None,
            })
            .collect();
        told.sort_by_key(|assigned| assigned.order_id);
        let compared = told.into_iter();
        let compared = compared.map(|it| self.one(memo, at, &asked, it)).collect();
        for compared in &compared as &Vec<Compared> {
            let count = match compared.kind {
                Kind::Same => &mut self.counts.same,
                Kind::OtherDriver => &mut self.counts.other_driver,
                Kind::Earlier => &mut self.counts.earlier,
                Kind::Later => &mut self.counts.later,
            };
            *count += 1;
        }
        compared
    }

    fn one(&mut self, memo: &Memo, at: At, asked: &Tick, recorded: &DriverAssigned) -> Compared {
        let order_id = OrderId(recorded.order_id);
        let driver_id = DriverId::new(&*recorded.driver_id);
        let early = self.early.remove(&order_id);
        let now = asked.decisions.iter().find(|d| d.order_id == order_id);
        let (kind, new) = match (early, now) {
            (Some(early), _)
                if at.since(units::at(early.pick.at)).0 > self.rules.dispatch.tick_s + DELAY_S =>
            {
                (Kind::Earlier, Some(early.pick))
            }
            (_, Some(now)) if now.driver_id == driver_id => {
                (Kind::Same, Some(self.pick(memo, now)))
            }
            (_, Some(now)) => (Kind::OtherDriver, Some(self.pick(memo, now))),
            (_, None) => (Kind::Later, None),
        };
        let was = Pick {
            at: recorded.released_at,
            driver_id: recorded.driver_id.clone(),
            eta_s: f64::from(recorded.driver_eta_to_restaurant_s) * self.time_scale,
            slack_s: f64::from(recorded.slack_s) * self.time_scale,
            from: place_of(memo, &driver_id),
        };
        let earlier_s = new
            .as_ref()
            .filter(|_| kind == Kind::Earlier)
            .map(|new| at.since(units::at(new.at)).0 * self.time_scale);
        let why = self.why(kind, (memo, asked), order_id, &was, new.as_ref());
        Compared {
            order_id: recorded.order_id,
            attempt: recorded.attempt,
            kind,
            new,
            earlier_s,
            why,
            restaurant: (
                recorded.restaurant.location.lat,
                recorded.restaurant.location.lon,
            ),
            customer: (
                recorded.customer_location.lat,
                recorded.customer_location.lon,
            ),
            recorded: was,
        }
    }

    fn why(
        &self,
        kind: Kind,
        (memo, asked): (&Memo, &Tick),
        order_id: OrderId,
        was: &Pick,
        new: Option<&Pick>,
    ) -> String {
        let tolerance = self
            .rules
            .policy
            .tolerance(dispatch::Seconds(self.rules.dispatch.tolerance_s));
        let tolerance = tolerance.0 * self.time_scale;
        let other = |driver: &str| {
            let taken = asked.decisions.iter();
            let taken = taken.filter(|d| d.order_id != order_id && d.driver_id.as_str() == driver);
            taken.map(|d| d.order_id).next()
        };
        match (kind, new) {
            (Kind::Same, _) => String::new(),
            (Kind::Earlier, Some(new)) => {
                let whom = match new.driver_id == was.driver_id {
                    true => "the same driver".to_owned(),
                    false => format!("{} instead of {}", new.driver_id, was.driver_id),
                };
                format!(
                    "its slack was down to {:.0} s, within {tolerance:.0} s, with {whom}",
                    new.slack_s
                )
            }
            (_, Some(new)) => {
                let mut why = format!(
                    "{} is {:.0} s away, {} was {:.0} s",
                    new.driver_id, new.eta_s, was.driver_id, was.eta_s
                );
                if let Some(order) = other(&was.driver_id) {
                    why += &format!("; {} goes to order {order}", was.driver_id);
                }
                why
            }
            (_, None) => {
                let held = asked.holds.iter().find(|hold| hold.order_id == order_id);
                if let Some(hold) = held {
                    let pickup = units::instant(hold.pickup_at).format("%H:%M:%S");
                    return format!(
                        "it waits for {}, who should have the food at {pickup}",
                        hold.waits_for
                    );
                }
                if let Some(order) = other(&was.driver_id) {
                    return format!("{} goes to order {order}", was.driver_id);
                }
                match self.nearest(memo, order_id, asked.at) {
                    Some((driver, slack)) if slack * self.time_scale > tolerance => format!(
                        "with {driver}, the nearest free driver, its slack is {:.1} s, above {tolerance:.0} s: not due yet",
                        slack * self.time_scale
                    ),
                    _ => format!("{} is kept for another order", was.driver_id),
                }
            }
        }
    }

    /// The nearest driver who could be asked, and the order's slack with him.
    fn nearest(&self, memo: &Memo, order_id: OrderId, at: At) -> Option<(DriverId, f64)> {
        let mut pending = memo.snapshot.pending.iter();
        let request = pending.find(|request| request.order_id == order_id)?;
        let travel = &self.rules.travel;
        let ttl = self.rules.dispatch.location_ttl_s;
        let restaurant = travel.place(request.restaurant);
        let legs = &memo.snapshot.assignments;
        let free = memo.snapshot.drivers.iter().filter(|driver| {
            let heard = driver.seen_at.is_some_and(|seen| at.since(seen).0 <= ttl);
            let cooled = request.cooled.get(&driver.driver_id);
            driver.online
                && heard
                && cooled.is_none_or(|until| *until <= at)
                && legs.iter().all(|leg| leg.driver_id != driver.driver_id)
        });
        let etas = free.filter_map(|driver| {
            let eta = travel.eta(travel.place(driver.position?), restaurant, at);
            Some((driver.driver_id.clone(), eta))
        });
        let nearest = etas.min_by(|(_, a), (_, b)| a.total_cmp(b))?;
        Some((nearest.0, request.slack(at, nearest.1).0))
    }

    fn pick(&self, memo: &Memo, decision: &Decision) -> Pick {
        Pick {
            at: units::instant(decision.released_at),
            driver_id: decision.driver_id.to_string(),
            eta_s: decision.driver_eta_to_restaurant_s * self.time_scale,
            slack_s: decision.slack_s * self.time_scale,
            from: place_of(memo, &decision.driver_id),
        }
    }
}

fn place_of(memo: &Memo, driver_id: &DriverId) -> Option<(f64, f64)> {
    let mut drivers = memo.snapshot.drivers.iter();
    let driver = drivers.find(|driver| driver.driver_id == *driver_id)?;
    driver
        .position
        .map(|point: Point| (point.lat(), point.lon()))
}
