//! What a message or a timer does to an order: the lifecycle's answer, carried out on a [`WorkingSet`].
//!
//! Pure: no I/O, no clock; the same set and inputs give the same orders, audit, records, timers and verdicts.
//! Whatever moves an order raises its version by one and leaves one row in the audit.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::Geo;
use contracts::orders::{OrderPlaced, RejectionReason};
use lifecycle::{Event, Outcome, Phase, Refusal, State, Status, Transition};
use runtime::{Reject, Trace, Verdict};
use uuid::Uuid;

use crate::emission::{Cause, Emission, Emitter};
use crate::fact::{Fact, Said};
use crate::fit::{belongs, same_driver};
use crate::limit;
use crate::order::Order;
use crate::round_robin::RoundRobin;
use crate::validate::validate;
use crate::working_set::{Early, TransitionRecord, WorkingSet};

/// What an order is looked at again for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// Something was heard of it before it was placed.
    Early(Uuid),
    /// A driver has to be asked for again.
    Assignment(Uuid),
    /// Orders of the lane may be stuck.
    Stuck,
}

impl Timer {
    /// The order it is about, if it is about one.
    pub fn order_id(self) -> Option<Uuid> {
        match self {
            Self::Early(id) | Self::Assignment(id) => Some(id),
            Self::Stuck => None,
        }
    }
}

/// What a decision asks for besides the change of the order.
#[derive(Debug, Default)]
pub struct Consequences {
    pub records: Vec<Emission>,
    pub timers: Vec<(Timer, DateTime<Utc>)>,
}

/// The choices that are configured.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How far from the restaurant a driver may be, in metres.
    pub search_radius_m: i32,
    /// For how long after acceptance the money is wanted.
    pub payment_expires: Duration,
    /// For how long nothing may move an order before it is shown as stuck.
    pub stuck_after: Duration,
    /// For how long something heard early waits for its order.
    pub early_max_age: Duration,
}

/// First and longest pause before an order that is not there yet is looked for again.
const EARLY_PAUSE: (TimeDelta, TimeDelta) = (TimeDelta::seconds(1), TimeDelta::seconds(60));
/// Longest pause before a driver is asked for again.
const ASSIGNMENT_PAUSE_S: i32 = 3_600;

pub struct Decider<'a> {
    pub policy: &'a Policy,
    pub now: DateTime<Utc>,
    pub dealer: &'a mut RoundRobin,
    pub set: &'a mut WorkingSet,
    pub then: Consequences,
}

impl Decider<'_> {
    /// An order was placed on a topic of `geo`.
    pub fn place(&mut self, placed: OrderPlaced, geo: &Geo, trace: &Trace) -> Verdict {
        let id = placed.order_id;
        if let Some(known) = self.set.order(id) {
            if known.is(&placed) {
                return Verdict::Skip("duplicate");
            }
            let message = format!("order_id = {id}: another order was placed under this id before");
            return Verdict::Reject(Reject::new("order_id_reused", message));
        }
        let reasons = validate(&placed, geo);
        let (event_id, occurred_at) = (placed.event_id, limit::nearest_instant(placed.occurred_at));
        let partition = self.dealer.next(geo);
        let order = Order::placed(
            placed,
            geo.clone(),
            partition,
            trace.traceparent(),
            self.now,
        );
        self.set.insert(order);
        if reasons.is_empty() {
            // What was heard early happened to an order nobody had accepted: a cancel among it costs no money.
            self.hear_early(id);
        }
        let event = if reasons.is_empty() {
            Event::Accepted
        } else {
            Event::Invalid
        };
        let cause = Cause {
            event_id,
            said: None,
            reasons: &reasons,
        };
        let audit = Audit {
            event: "OrderPlaced",
            event_id: Some(event_id),
            actor: "checkout",
            occurred_at,
            reason: summary(&reasons),
        };
        self.apply(id, event, &cause, audit, trace);
        self.hear_early(id);
        // Also when it was cancelled before it was accepted: it has been placed.
        Verdict::Done
    }

    /// Something was said of an order, on `lane`.
    pub fn hear(&mut self, fact: Fact, lane: &str, trace: &Trace) -> Verdict {
        let id = fact.order_id;
        if self.set.order(id).is_some() {
            self.hear_early(id);
            return self.hear_now(&fact, trace);
        }
        if !fact.said.may_be_early() {
            let message = format!("order_id = {id}: no such order");
            return Verdict::Reject(Reject::new("unknown_order", message));
        }
        let early = Early {
            id: None,
            lane: lane.to_owned(),
            fact,
            traceparent: trace.traceparent(),
            received_at: self.now,
        };
        self.set.keep(early);
        self.then
            .timers
            .push((Timer::Early(id), self.now + EARLY_PAUSE.0));
        Verdict::Done
    }

    pub fn due(&mut self, timer: Timer) {
        match timer {
            Timer::Early(id) => self.early_due(id),
            Timer::Assignment(id) => self.assignment_due(id),
            // Looked for in the tables, and nothing that changes an order.
            Timer::Stuck => {}
        }
    }

    /// Applies what was heard of an order before it was there.
    fn hear_early(&mut self, id: Uuid) {
        for early in self.set.take_early(id) {
            let trace = Trace::parse(&early.traceparent, None)
                .unwrap_or_else(Trace::root)
                .child();
            match self.hear_now(&early.fact, &trace) {
                Verdict::Done | Verdict::Skip(_) => self.set.settle(&early),
                Verdict::Reject(reject) => self.set.give_up(early, reject.to_string()),
            }
        }
    }

    /// Looks again for an order of which something was heard early.
    fn early_due(&mut self, id: Uuid) {
        if self.set.order(id).is_some() {
            self.hear_early(id);
            return;
        }
        let oldest = self
            .set
            .early(id)
            .iter()
            .map(|early| self.now - early.received_at)
            .max();
        let patience = TimeDelta::from_std(self.policy.early_max_age).unwrap_or(TimeDelta::MAX);
        for early in self.set.take_early(id) {
            if self.now - early.received_at < patience {
                self.set.keep(early);
            } else {
                self.set
                    .give_up(early, "unknown_order: it was never placed".to_owned());
            }
        }
        if !self.set.early(id).is_empty() {
            let pause = oldest
                .unwrap_or_default()
                .clamp(EARLY_PAUSE.0, EARLY_PAUSE.1);
            self.then.timers.push((Timer::Early(id), self.now + pause));
        }
    }

    fn assignment_due(&mut self, id: Uuid) {
        let Some(order) = self.set.order(id) else {
            return;
        };
        let Some(due_at) = order.assignment_due_at else {
            return;
        };
        if due_at > self.now {
            self.then.timers.push((Timer::Assignment(id), due_at));
            return;
        }
        let trace = Trace::parse(&order.traceparent, None)
            .unwrap_or_else(Trace::root)
            .child();
        let audit = Audit {
            event: "AssignmentDue",
            event_id: None,
            actor: "timer",
            occurred_at: due_at,
            reason: None,
        };
        // It only asks for a driver, which names no cause.
        let cause = Cause {
            event_id: Uuid::nil(),
            said: None,
            reasons: &[],
        };
        self.apply(id, Event::AssignmentDue, &cause, audit, &trace);
    }

    /// Applies a fact to an order that is there.
    fn hear_now(&mut self, fact: &Fact, trace: &Trace) -> Verdict {
        let Some(order) = self.set.order(fact.order_id) else {
            return Verdict::Skip("unknown_order");
        };
        if let Err(reject) = belongs(fact, order) {
            return Verdict::Reject(reject);
        }
        if let Said::PrepTimeChanged { .. } = fact.said
            && order
                .kitchen_said_at
                .is_some_and(|said_at| said_at >= fact.occurred_at)
        {
            return Verdict::Skip("overtaken");
        }
        let Some(event) = fact.said.event() else {
            return Verdict::Skip("informative");
        };
        let (name, actor) = fact.said.kind_and_actor();
        let audit = Audit {
            event: name,
            event_id: Some(fact.event_id),
            actor,
            occurred_at: fact.occurred_at,
            reason: fact.said.words().map(str::to_owned),
        };
        let cause = Cause {
            event_id: fact.event_id,
            said: Some(&fact.said),
            reasons: &[],
        };
        self.apply(fact.order_id, event, &cause, audit, trace)
    }

    /// Asks the lifecycle, and does what it says.
    fn apply(
        &mut self,
        id: Uuid,
        event: Event,
        cause: &Cause<'_>,
        audit: Audit,
        trace: &Trace,
    ) -> Verdict {
        let Some(order) = self.set.order(id) else {
            return Verdict::Skip("unknown_order");
        };
        let from = order.state;
        match lifecycle::apply(from, event) {
            Outcome::Stale(reason) => Verdict::Skip(reason.name()),
            Outcome::Refused(refusal) => self.refuse(id, refusal, cause, audit, trace),
            Outcome::Illegal(reason) => {
                let (status, payment) = (from.status.name(), from.payment.name());
                let message = format!(
                    "{}: {} for order {id}, which is {status}, its money {payment}",
                    audit.event,
                    reason.name()
                );
                Verdict::Reject(Reject::new(reason.name(), message))
            }
            Outcome::Transition(transition) => {
                if let Err(reject) = same_driver(cause.said, order) {
                    return Verdict::Reject(reject);
                }
                self.perform(id, from, transition, cause, audit, trace);
                Verdict::Done
            }
        }
    }

    /// Tells whoever asked that it is too late; once per request.
    fn refuse(
        &mut self,
        id: Uuid,
        refusal: Refusal,
        cause: &Cause<'_>,
        audit: Audit,
        trace: &Trace,
    ) -> Verdict {
        let Some(order) = self.set.order(id) else {
            return Verdict::Skip("unknown_order");
        };
        if order.refused_event_id == Some(cause.event_id) {
            return Verdict::Skip("duplicate");
        }
        let state = order.state;
        let Some(order) = self.set.change(id) else {
            return Verdict::Skip("unknown_order");
        };
        order.version += 1;
        order.refused_event_id = Some(cause.event_id);
        let emitter = Emitter {
            policy: self.policy,
            now: self.now,
            order,
            cause,
            trace,
        };
        self.then.records.push(emitter.refuse(refusal));
        let reason = Some(refusal.name().to_owned());
        let record = audit_row(order, state, Audit { reason, ..audit });
        self.set.record(record);
        Verdict::Done
    }

    fn perform(
        &mut self,
        id: Uuid,
        from: State,
        Transition { state, effects }: Transition,
        cause: &Cause<'_>,
        audit: Audit,
        trace: &Trace,
    ) {
        let Some(order) = self.set.change(id) else {
            return;
        };
        order.state = state;
        order.version += 1;
        remember(order, cause.said, audit.occurred_at, self.now);
        let emitter = Emitter {
            policy: self.policy,
            now: self.now,
            order,
            cause,
            trace,
        };
        self.then
            .records
            .extend(effects.iter().filter_map(|effect| emitter.emit(effect)));
        if let Some(due_at) = order.assignment_due_at {
            self.then.timers.push((Timer::Assignment(id), due_at));
        }
        // Only now: what was emitted names the driver who is released.
        if !matches!(
            state.status,
            Status::DriverAssigned | Status::PickedUp | Status::Delivered
        ) {
            order.driver_id = None;
        }
        let record = audit_row(order, from, audit);
        self.set.record(record);
    }
}

/// The row of the audit for an order that has just moved.
fn audit_row(order: &Order, from: State, audit: Audit) -> TransitionRecord {
    TransitionRecord {
        order_id: order.id,
        geo: order.geo.clone(),
        version: order.version,
        event: audit.event,
        event_id: audit.event_id,
        actor: audit.actor,
        from,
        to: order.state,
        reason: audit.reason,
        occurred_at: audit.occurred_at,
    }
}

/// What the audit says of a transition besides the states.
struct Audit {
    event: &'static str,
    event_id: Option<Uuid>,
    actor: &'static str,
    occurred_at: DateTime<Utc>,
    reason: Option<String>,
}

/// Takes over the details of what was said, once it moved the order.
fn remember(
    order: &mut Order,
    said: Option<&Said>,
    occurred_at: DateTime<Utc>,
    now: DateTime<Utc>,
) {
    let waiting =
        order.state.assignment.phase == Phase::Waiting && order.state.assignment.was_asked();
    if !waiting || order.state.status.is_final() {
        order.assignment_due_at = None;
    }
    match said {
        Some(Said::PrepTimeChanged { ready_at, .. } | Said::FoodReady { ready_at, .. }) => {
            order.ready_at = *ready_at;
            order.kitchen_said_at = Some(occurred_at);
        }
        Some(Said::DriverAssigned {
            driver_id,
            expected_pickup_at,
            expected_delivery_at,
            ..
        }) => {
            order.driver_id = Some(driver_id.clone());
            order.expected_pickup_at = *expected_pickup_at;
            order.expected_delivery_at = *expected_delivery_at;
        }
        Some(Said::AssignmentReleased { .. }) => {
            order.expected_pickup_at = None;
            order.expected_delivery_at = None;
        }
        Some(Said::AssignmentFailed { retry_after_s, .. }) if waiting => {
            let pause =
                TimeDelta::seconds(i64::from((*retry_after_s).clamp(0, ASSIGNMENT_PAUSE_S)));
            order.assignment_due_at = Some((occurred_at + pause).clamp(now, now + pause));
        }
        Some(Said::PickupConfirmed {
            driver_id,
            picked_up_at,
        }) => {
            order.driver_id = Some(driver_id.clone());
            order.picked_up_at = Some(*picked_up_at);
        }
        Some(Said::DeliveryConfirmed {
            driver_id,
            delivered_at,
        }) => {
            order.driver_id = Some(driver_id.clone());
            order.delivered_at = Some(*delivered_at);
        }
        _ => {}
    }
}

/// What is wrong with a rejected order, on one line.
fn summary(reasons: &[RejectionReason]) -> Option<String> {
    let each = |r: &RejectionReason| format!("{} = {}: {}", r.field, r.value, r.message);
    let all = reasons.iter().map(each).collect::<Vec<_>>().join("; ");
    (!reasons.is_empty()).then(|| limit::cut(&all, limit::WORDS).replace('\0', "\u{fffd}"))
}
