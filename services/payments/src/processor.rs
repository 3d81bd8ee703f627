//! The payments processor: requests in, one gateway call at a time per payment, facts out.
//!
//! Between cycles every open payment has exactly one of: a call under way, or a timer. Both are in its row (`due_at`), so
//! a take-over finds them again. A call found under way may have reached the gateway: it is repeated with its key.
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
use crate::gateway::{Answer, Call, Gateway, Outcome};
use crate::payment::{Payment, Step};
use crate::store::{self, Changes, Owned};

pub struct Payments {
    codec: Codec,
    gateway: Arc<dyn Gateway>,
    retries: RetryPolicy,
}

/// A lane's memory: the payments with something left to do.
pub struct LaneState {
    geo: Geo,
    /// Where its facts go: `payments.events.<geo>`, on the partition of the same number.
    facts: String,
    partition: i32,
    open: HashMap<Uuid, Payment>,
}

impl Payments {
    pub fn new(codec: Codec, gateway: Arc<dyn Gateway>, retries: RetryPolicy) -> Self {
        Self {
            codec,
            gateway,
            retries,
        }
    }
}

impl Processor for Payments {
    type Event = PaymentsRequest;
    type State = LaneState;
    /// The order whose payment waits.
    type Timer = Uuid;
    type Call = Call;
    type Answer = Answer;

    async fn decode(&self, message: &Message) -> Result<PaymentsRequest, DecodeError> {
        binding::decode(&self.codec, message).await
    }

    async fn load(
        &self,
        lanes: &[Arc<Lane>],
        _now: DateTime<Utc>,
        tx: &mut PgConnection,
    ) -> Result<Vec<Loaded<Self>>, ApplyError> {
        let mut loaded: HashMap<&str, Loaded<Self>> = HashMap::with_capacity(lanes.len());
        for lane in lanes {
            let state = LaneState::empty(lane)?;
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
            match payment.step {
                Step::Wait(at) => lane.timers.push((payment.order_id, at)),
                Step::InFlight => {
                    payment.exposed = true;
                    lane.calls.extend(payment.call());
                }
                Step::Rest | Step::Call => {}
            }
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
        for lane in &mut cycle.lanes {
            Desk {
                processor: self,
                now,
                found: &found,
                touched: Touched::default(),
                changes: &mut changes,
            }
            .work(lane)?;
        }
        changes.save(now, tx).await
    }

    async fn call(self: &Arc<Self>, call: Call) -> Answer {
        let started = Instant::now();
        let outcome = self.gateway.perform(&call).await;
        let (order_id, operation) = (call.order_id(), call.operation());
        metrics::histogram!("payments_call_seconds", "operation" => operation.as_str(), "outcome" => outcome.label())
            .record(started.elapsed().as_secs_f64());
        if let Outcome::Failed { error, sent } = &outcome {
            tracing::warn!(%order_id, %operation, sent, error, "the gateway did not answer");
        }
        Answer {
            order_id,
            operation,
            outcome,
        }
    }
}

impl LaneState {
    fn empty(lane: &Lane) -> Result<Self, ApplyError> {
        let source = &lane.sources[0];
        let topic: Topic = source.source.topic.parse().map_err(ApplyError::permanent)?;
        let facts = Topic::of::<PaymentsEvent>(&topic.geo).to_string();
        Ok(Self {
            geo: topic.geo,
            facts,
            partition: source.partition,
            open: HashMap::new(),
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

/// Payments that this cycle changes, in the order of their first change, with the step they were in before; none for
/// those that are new.
#[derive(Default)]
struct Touched {
    known: HashSet<Uuid>,
    list: Vec<(Uuid, Option<Step>)>,
}

impl Touched {
    fn note(&mut self, order_id: Uuid, before: Option<Step>) {
        if self.known.insert(order_id) {
            self.list.push((order_id, before));
        }
    }
}

impl Desk<'_> {
    fn work(mut self, lane: &mut LaneCycle<'_, Payments>) -> Result<(), ApplyError> {
        for answer in std::mem::take(&mut lane.answers) {
            self.answer(lane, &answer)?;
        }
        for order_id in std::mem::take(&mut lane.timers) {
            self.due(lane, order_id)?;
        }
        for (index, message) in std::mem::take(&mut lane.messages).into_iter().enumerate() {
            let verdict = self.message(lane, message)?;
            lane.effects.answer(index, verdict);
        }
        self.finish(lane);
        Ok(())
    }

    fn answer(
        &mut self,
        lane: &mut LaneCycle<'_, Payments>,
        answer: &Answer,
    ) -> Result<(), ApplyError> {
        let Some(payment) = lane.state.open.get_mut(&answer.order_id) else {
            return Ok(());
        };
        let before = payment.step;
        let Some(Applied { attempt, fact }) =
            decide::answered(payment, answer, self.now, &self.processor.retries)
        else {
            return Ok(());
        };
        self.touched.note(answer.order_id, Some(before));
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
        let before = payment.step;
        let fact = decide::due(payment, self.now);
        self.touched.note(order_id, Some(before));
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
        let before = slot.as_ref().map(|payment| payment.step);
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
            PaymentsEvent::PaymentRefunded(it) => {
                binding::publish(codec, effects, topic, partition, &key, &it, trace)
            }
        }
        .map_err(ApplyError::permanent)
    }

    /// Writes what changed, and asks for the calls and timers of the steps that payments have come to.
    fn finish(self, lane: &mut LaneCycle<'_, Payments>) {
        for (order_id, before) in self.touched.list {
            let Some(payment) = lane.state.open.get_mut(&order_id) else {
                continue;
            };
            if let Some(call) = payment.start_call() {
                lane.effects.call(call);
            }
            match (before, payment.step) {
                (before, Step::Wait(at)) if before != Some(Step::Wait(at)) => {
                    lane.effects.set_timer(order_id, at)
                }
                (Some(Step::Wait(_)), Step::Rest | Step::Call | Step::InFlight) => {
                    lane.effects.cancel_timer(order_id)
                }
                _ => {}
            }
            match before {
                Some(_) => self.changes.update(payment),
                None => {
                    self.changes
                        .insert(lane.state.geo.as_str(), lane.lane.id.as_str(), payment)
                }
            }
            if payment.step == Step::Rest {
                lane.state.open.remove(&order_id);
            }
        }
    }
}

/// What the audit says beside the label; nothing is written about a call that was not even tried.
fn audit_detail(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Captured { reference, .. } | Outcome::Refunded { reference, .. } => {
            Some(reference.clone())
        }
        Outcome::Declined { code, .. } => Some(code.clone()),
        Outcome::Failed { error, .. } => Some(error.clone()),
        Outcome::Deferred { .. } => None,
    }
}
