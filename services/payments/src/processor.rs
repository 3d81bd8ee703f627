//! The payments processor: requests in, one gateway call at a time per payment, facts out.
//!
//! Between cycles every open payment has exactly one of: a call under way, a place in the queue of its lane, or a timer.
//! All are in its row (`due_at`), so a take-over finds them again. A call found under way may have reached the gateway:
//! it is repeated with its key.
//! Costs per order on the main path: one insertion, one update, one row of audit; nothing is read back, because a lane
//! keeps its open payments in memory.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use contracts::payments::{PaymentRequested, RefundRequested};
use contracts::streams::{PaymentsEvent, PaymentsRequest};
use contracts::{Codec, Geo, Topic};
use runtime::{
    ApplyError, Cycle, DecodeError, Lane, LaneCycle, Loaded, Message, Processor, Received, Reject,
    Verdict,
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::decide::{self, Applied, Fact, RetryPolicy};
use crate::facts;
use crate::gateway::{Answer, Call, Gate, Outcome};
use crate::payment::{Payment, Step};
use crate::queue::{Queue, Turns};
use crate::store::{self, Changes, Owned};

pub struct Payments {
    codec: Codec,
    gate: Gate,
    turns: Turns,
    retries: RetryPolicy,
}

/// What a lane is woken for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The next turns at the gateway are given.
    Turns,
    /// The alarm of an order's payment.
    Payment(Uuid),
}

/// A lane's memory: the payments with something left to do.
pub struct LaneState {
    geo: Geo,
    /// Where its facts go: `payments.events.<geo>`, on the partition of the same number.
    facts: String,
    partition: i32,
    open: HashMap<Uuid, Payment>,
    /// Those of them that wait for their turn.
    queue: Queue,
    /// How often the gateway had come back when this lane last looked.
    closings: u64,
}

impl Payments {
    pub fn new(codec: Codec, gate: Gate, retries: RetryPolicy) -> Self {
        Self {
            codec,
            gate,
            turns: Turns::default(),
            retries,
        }
    }
}

impl Processor for Payments {
    type Event = PaymentsRequest;
    type State = LaneState;
    type Timer = Timer;
    type Call = Call;
    type Answer = Answer;

    async fn decode(&self, message: &Message) -> Result<PaymentsRequest, DecodeError> {
        binding::decode(&self.codec, message).await
    }

    async fn load(
        &self,
        lanes: &[Arc<Lane>],
        now: DateTime<Utc>,
        tx: &mut PgConnection,
    ) -> Result<Vec<Loaded<Self>>, ApplyError> {
        let mut loaded: HashMap<&str, Loaded<Self>> = HashMap::with_capacity(lanes.len());
        for lane in lanes {
            let state = LaneState::empty(lane, self.gate.closings())?;
            loaded.insert(
                lane.id.as_str(),
                Loaded {
                    state,
                    timers: Vec::new(),
                    calls: Vec::new(),
                },
            );
        }
        for Owned { lane, mut payment } in store::load_open(lanes, tx).await? {
            let lane = loaded
                .get_mut(lane.as_str())
                .expect("only payments of these lanes were selected");
            if payment.step == Step::InFlight {
                payment.exposed = true;
                lane.calls.extend(payment.call());
            }
            // Whether the gateway is back is not known here: it is asked.
            if decide::wake(&mut payment, &self.retries) {
                lane.state.queue.join(&payment);
                lane.timers.push((Timer::Turns, now));
            }
            let alarm = payment.alarm();
            lane.timers
                .extend(alarm.map(|at| (Timer::Payment(payment.order_id), at)));
            lane.state.open.insert(payment.order_id, payment);
        }
        Ok(lanes
            .iter()
            .filter_map(|lane| loaded.remove(lane.id.as_str()))
            .collect())
    }

    async fn apply(
        &self,
        cycle: &mut Cycle<'_, Self>,
        tx: &mut PgConnection,
    ) -> Result<(), ApplyError> {
        let now = cycle.now;
        let unknown: HashSet<Uuid> = cycle.lanes.iter().flat_map(unknown_orders).collect();
        let mut found = HashMap::with_capacity(unknown.len());
        if !unknown.is_empty() {
            let mut ids: Vec<Uuid> = unknown.into_iter().collect();
            ids.sort_unstable();
            let payments = store::load(&ids, tx).await?;
            found.extend(
                payments
                    .into_iter()
                    .map(|owned| (owned.payment.order_id, owned)),
            );
        }
        let mut changes = Changes::default();
        let mut common = false;
        let mut touched = Vec::with_capacity(cycle.lanes.len());
        for lane in &mut cycle.lanes {
            common |= lane.timers.contains(&Timer::Turns);
            let desk = Desk {
                processor: self,
                now,
                found: &found,
                touched: Touched::default(),
                changes: &mut changes,
            };
            touched.push(desk.work(lane)?);
        }
        self.give_turns(&mut cycle.lanes, &mut touched, common, now);
        for (lane, touched) in cycle.lanes.iter_mut().zip(touched) {
            self.finish(lane, touched, &mut changes, now);
        }
        changes.save(now, tx).await
    }

    async fn call(self: &Arc<Self>, call: Call) -> Answer {
        let started = Instant::now();
        let outcome = self.gate.perform(&call).await;
        let (order_id, operation) = (call.order_id(), call.operation());
        metrics::histogram!("payments_call_seconds", "operation" => operation.as_str(), "outcome" => outcome.label())
            .record(started.elapsed().as_secs_f64());
        if let Outcome::Failed { error, .. } | Outcome::Unclear { error } = &outcome {
            let outcome = outcome.label();
            tracing::warn!(%order_id, %operation, outcome, error, "the gateway's answer settles nothing");
        }
        Answer {
            order_id,
            operation,
            outcome,
        }
    }
}

impl Payments {
    /// Starts the calls of the payments whose turn it is.
    fn give_turns(
        &self,
        lanes: &mut [LaneCycle<'_, Self>],
        touched: &mut [Touched],
        common: bool,
        now: DateTime<Utc>,
    ) {
        let queues: Vec<&Queue> = lanes.iter().map(|lane| &lane.state.queue).collect();
        for (index, order_id) in self.turns.give(&self.gate, &queues, common, now) {
            let LaneCycle { state, effects, .. } = &mut lanes[index];
            let Some(payment) = state.open.get_mut(&order_id) else {
                continue;
            };
            touched[index].note(order_id, Before::Known(payment.alarm()));
            state.queue.leave(payment);
            if let Some(call) = payment.start_call() {
                effects.call(call);
            }
        }
    }

    /// Writes what changed, and asks for the timers of what payments have come to.
    fn finish(
        &self,
        lane: &mut LaneCycle<'_, Self>,
        touched: Touched,
        changes: &mut Changes,
        now: DateTime<Utc>,
    ) {
        for (order_id, before) in touched.list {
            let Some(payment) = lane.state.open.get(&order_id) else {
                continue;
            };
            let (timer, alarm) = (Timer::Payment(order_id), payment.alarm());
            match (before, alarm) {
                (Before::Known(before), alarm) if before == alarm => {}
                (_, Some(at)) => lane.effects.set_timer(timer, at),
                (Before::Known(Some(_)), None) => lane.effects.cancel_timer(timer),
                (Before::Known(None) | Before::New, None) => {}
            }
            match before {
                Before::Known(_) => changes.update(payment),
                Before::New => {
                    changes.insert(lane.state.geo.as_str(), lane.lane.id.as_str(), payment)
                }
            }
            if payment.step == Step::Rest {
                lane.state.open.remove(&order_id);
            }
        }
        lane.state.queue.count();
        if !lane.state.queue.is_empty() {
            lane.effects
                .set_timer(Timer::Turns, self.turns.next(&self.gate, now));
        }
    }
}

impl LaneState {
    fn empty(lane: &Lane, closings: u64) -> Result<Self, ApplyError> {
        let source = &lane.sources[0];
        let topic: Topic = source.source.topic.parse().map_err(ApplyError::permanent)?;
        let facts = Topic::of::<PaymentsEvent>(&topic.geo).to_string();
        Ok(Self {
            geo: topic.geo,
            facts,
            partition: source.partition,
            open: HashMap::new(),
            queue: Queue::default(),
            closings,
        })
    }
}

fn order_id(request: &PaymentsRequest) -> Uuid {
    match request {
        PaymentsRequest::PaymentRequested(PaymentRequested { order_id, .. })
        | PaymentsRequest::RefundRequested(RefundRequested { order_id, .. }) => *order_id,
    }
}

/// Orders that messages are about and that memory does not know: new ones, and those whose payment is over.
fn unknown_orders(lane: &LaneCycle<'_, Payments>) -> impl Iterator<Item = Uuid> {
    let ids = lane.messages.iter().map(|message| order_id(&message.event));
    ids.filter(|id| !lane.state.open.contains_key(id))
}

/// One lane's part of a cycle.
struct Desk<'a> {
    processor: &'a Payments,
    now: DateTime<Utc>,
    found: &'a HashMap<Uuid, Owned>,
    touched: Touched,
    changes: &'a mut Changes,
}

/// Payments that this cycle changes, in the order of their first change.
#[derive(Default)]
struct Touched {
    known: HashSet<Uuid>,
    list: Vec<(Uuid, Before)>,
}

/// What a payment was before this cycle.
#[derive(Clone, Copy)]
enum Before {
    New,
    /// With its alarm.
    Known(Option<DateTime<Utc>>),
}

impl Touched {
    fn note(&mut self, order_id: Uuid, before: Before) {
        if self.known.insert(order_id) {
            self.list.push((order_id, before));
        }
    }
}

impl Desk<'_> {
    fn work(mut self, lane: &mut LaneCycle<'_, Payments>) -> Result<Touched, ApplyError> {
        self.wake(lane);
        for answer in std::mem::take(&mut lane.answers) {
            self.answer(lane, &answer)?;
        }
        for timer in std::mem::take(&mut lane.timers) {
            if let Timer::Payment(order_id) = timer {
                self.due(lane, order_id)?;
            }
        }
        for (index, message) in std::mem::take(&mut lane.messages).into_iter().enumerate() {
            let verdict = self.message(lane, message)?;
            lane.effects.answer(index, verdict);
        }
        for (order_id, _) in &self.touched.list {
            if let Some(payment) = lane.state.open.get(order_id) {
                match payment.step {
                    Step::Call => lane.state.queue.join(payment),
                    Step::Rest | Step::InFlight | Step::Wait(_) => lane.state.queue.leave(payment),
                }
            }
        }
        Ok(self.touched)
    }

    /// The gateway has come back: what was put off need not wait.
    fn wake(&mut self, lane: &mut LaneCycle<'_, Payments>) {
        let closings = self.processor.gate.closings();
        if std::mem::replace(&mut lane.state.closings, closings) == closings {
            return;
        }
        for (order_id, payment) in &mut lane.state.open {
            let before = payment.alarm();
            if decide::wake(payment, &self.processor.retries) {
                self.touched.note(*order_id, Before::Known(before));
            }
        }
    }

    fn answer(
        &mut self,
        lane: &mut LaneCycle<'_, Payments>,
        answer: &Answer,
    ) -> Result<(), ApplyError> {
        let Some(payment) = lane.state.open.get_mut(&answer.order_id) else {
            return Ok(());
        };
        let before = payment.alarm();
        let Some(Applied { attempt, fact }) =
            decide::answered(payment, answer, self.now, &self.processor.retries)
        else {
            return Ok(());
        };
        self.touched.note(answer.order_id, Before::Known(before));
        if let Some(detail) = audit_detail(&answer.outcome) {
            let (geo, outcome) = (lane.state.geo.as_str(), answer.outcome.label());
            self.changes.attempt(
                geo,
                answer.order_id,
                answer.operation,
                attempt,
                outcome,
                detail,
            );
        }
        self.publish(lane, answer.order_id, fact)
    }

    fn due(
        &mut self,
        lane: &mut LaneCycle<'_, Payments>,
        order_id: Uuid,
    ) -> Result<(), ApplyError> {
        let Some(payment) = lane.state.open.get_mut(&order_id) else {
            return Ok(());
        };
        self.touched.note(order_id, Before::Known(payment.alarm()));
        let fact = decide::due(payment, self.now);
        self.publish(lane, order_id, fact)
    }

    fn message(
        &mut self,
        lane: &mut LaneCycle<'_, Payments>,
        message: Received<PaymentsRequest>,
    ) -> Result<Verdict, ApplyError> {
        let Received { event, trace, .. } = message;
        let order_id = order_id(&event);
        if let Err(reject) = self.check_place(lane, &event, order_id) {
            return Ok(Verdict::Reject(reject));
        }
        let mut slot = lane.state.open.remove(&order_id);
        let was_open = slot.is_some();
        if !was_open {
            slot = self.found.get(&order_id).map(|owned| owned.payment.clone());
        }
        let before = slot
            .as_ref()
            .map_or(Before::New, |payment| Before::Known(payment.alarm()));
        let (verdict, fact) = match event {
            PaymentsRequest::PaymentRequested(request) => {
                decide::requested(&mut slot, request, &trace, self.now)
            }
            PaymentsRequest::RefundRequested(request) => {
                decide::refund_requested(&mut slot, request, &trace, self.now)
            }
        };
        if verdict == Verdict::Done {
            self.touched.note(order_id, before);
        }
        if let Some(payment) = slot
            && (was_open || verdict == Verdict::Done)
        {
            lane.state.open.insert(order_id, payment);
        }
        self.publish(lane, order_id, fact)?;
        Ok(verdict)
    }

    /// The geo must be the topic's, and an order must stay on its partition: its payment belongs to one lane.
    fn check_place(
        &self,
        lane: &LaneCycle<'_, Payments>,
        event: &PaymentsRequest,
        order_id: Uuid,
    ) -> Result<(), Reject> {
        let (geo, expected) = (contracts::Message::geo(event), lane.state.geo.as_str());
        if geo != expected {
            return Err(Reject::new(
                "wrong_geo",
                format!("geo = {geo:?}: this topic is of {expected:?}"),
            ));
        }
        match self.found.get(&order_id) {
            Some(owned) if owned.lane != lane.lane.id.as_str() => {
                let message = format!(
                    "order_id = {order_id}: its payment belongs to {}",
                    owned.lane
                );
                Err(Reject::new("wrong_partition", message))
            }
            _ => Ok(()),
        }
    }

    fn publish(
        &self,
        lane: &mut LaneCycle<'_, Payments>,
        order_id: Uuid,
        fact: Option<Fact>,
    ) -> Result<(), ApplyError> {
        let (Some(fact), Some(payment)) = (fact, lane.state.open.get(&order_id)) else {
            return Ok(());
        };
        let (codec, effects, topic) = (
            &self.processor.codec,
            &mut lane.effects,
            lane.state.facts.as_str(),
        );
        let (partition, key, trace) = (
            Some(lane.state.partition),
            order_id.to_string(),
            &payment.trace,
        );
        match facts::record(payment, fact, lane.state.geo.as_str(), self.now) {
            PaymentsEvent::PaymentCaptured(it) => {
                binding::publish(codec, effects, topic, partition, &key, &it, trace)
            }
            PaymentsEvent::PaymentDeclined(it) => {
                binding::publish(codec, effects, topic, partition, &key, &it, trace)
            }
            PaymentsEvent::PaymentDelayed(it) => {
                binding::publish(codec, effects, topic, partition, &key, &it, trace)
            }
            PaymentsEvent::PaymentRefunded(it) => {
                binding::publish(codec, effects, topic, partition, &key, &it, trace)
            }
        }
        .map_err(ApplyError::permanent)
    }
}

/// What the audit says beside the label; nothing is written about a call that was not even tried.
fn audit_detail(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Captured { reference, .. } | Outcome::Refunded { reference, .. } => {
            Some(reference.clone())
        }
        Outcome::Declined { code, .. } => Some(code.clone()),
        Outcome::Failed { error, .. } | Outcome::Unclear { error } => Some(error.clone()),
        Outcome::Deferred => None,
    }
}
