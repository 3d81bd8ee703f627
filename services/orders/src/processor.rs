//! The cycle of orders: load the orders that its messages are about, decide on them in memory, save them once, publish.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, SubsecRound, Utc};
use contracts::orders::OrderPlaced;
use contracts::streams::{
    DriverAssignmentEvent, KitchenEvent, OrdersEvent, OrdersRequest, PaymentsEvent,
};
use contracts::streams::{DriverAssignmentRequest, PaymentsRequest};
use contracts::{Codec, EncodeError, Geo, Record, Topic};
use foldhash::{HashMap, HashMapExt};
use runtime::{
    ApplyError, Cycle, DecodeError, Effects, Lane, LaneCycle, Loaded, Message, Processor,
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::decide::{Consequences, Decider, Policy, Timer};
use crate::emission::{Body, Emission};
use crate::fact::Fact;
use crate::round_robin::RoundRobin;
use crate::stuck::{self, StuckGauge};
use crate::topics::Topics;
use crate::working_set::WorkingSet;
use crate::{early_store, store};

/// Counter of transitions, by the status they led `to`.
const TRANSITIONS: &str = "orders_transitions_total";
/// Counter of events that waited for their order and were given up: each is a row for a person to look at.
const GIVEN_UP: &str = "orders_early_events_given_up_total";

pub struct Orders {
    codec: Codec,
    policy: Policy,
    topics: HashMap<Geo, Topics>,
    /// Locked between awaits only; cycles run one after the other.
    dealer: Mutex<RoundRobin>,
}

/// A message as orders reads it.
#[allow(
    clippy::large_enum_variant,
    reason = "boxing would cost an allocation per message"
)]
pub enum Event {
    Placed(OrderPlaced),
    Said(Fact),
}

impl Event {
    fn order_id(&self) -> Uuid {
        match self {
            Self::Placed(placed) => placed.order_id,
            Self::Said(fact) => fact.order_id,
        }
    }

    /// Whether something may have been heard of the order that has to come first.
    fn may_follow_early(&self) -> bool {
        match self {
            Self::Placed(_) => true,
            Self::Said(fact) => fact.said.may_be_early(),
        }
    }
}

impl Orders {
    /// `geos`: those that are served, with the number of partitions of their topics.
    pub fn new(codec: Codec, policy: Policy, geos: &[(Geo, i32)]) -> Self {
        let topics = geos
            .iter()
            .map(|(geo, _)| (geo.clone(), Topics::of(geo)))
            .collect();
        let dealer = Mutex::new(RoundRobin::new(geos.iter().cloned()));
        Self {
            codec,
            policy,
            topics,
            dealer,
        }
    }

    fn dealer(&self) -> std::sync::MutexGuard<'_, RoundRobin> {
        self.dealer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides on everything a lane has to say, in its order.
    fn apply_lane(
        &self,
        lane: &mut LaneCycle<'_, Self>,
        decider: &mut Decider<'_>,
    ) -> Result<(), ApplyError> {
        for (index, received) in std::mem::take(&mut lane.messages).into_iter().enumerate() {
            let verdict = match received.event {
                Event::Placed(placed) => decider.place(placed, &lane.state.geo, &received.trace),
                Event::Said(fact) => decider.hear(fact, lane.lane.id.as_str(), &received.trace),
            };
            lane.effects.answer(index, verdict);
            self.carry_out(&mut decider.then, &mut lane.effects)?;
        }
        for timer in std::mem::take(&mut lane.timers) {
            if timer == Timer::Stuck {
                lane.effects.set_timer(timer, decider.now + stuck::EVERY);
            }
            decider.due(timer);
            self.carry_out(&mut decider.then, &mut lane.effects)?;
        }
        Ok(())
    }

    /// Looks for stuck orders, on the lanes where it is time to.
    async fn watch(
        &self,
        cycle: &Cycle<'_, Self>,
        tx: &mut PgConnection,
    ) -> Result<(), ApplyError> {
        let due = |lane: &&LaneCycle<'_, Self>| lane.timers.contains(&Timer::Stuck);
        let lanes: Vec<_> = cycle.lanes.iter().filter(due).collect();
        if lanes.is_empty() {
            return Ok(());
        }
        let geos: Vec<&str> = lanes.iter().map(|lane| lane.state.geo.as_str()).collect();
        let partitions: Vec<i32> = lanes
            .iter()
            .map(|lane| lane.lane.sources[0].partition)
            .collect();
        let found =
            stuck::stuck(&geos, &partitions, self.policy.stuck_after, cycle.now, tx).await?;
        for (lane, found) in lanes.iter().zip(&found) {
            if let Some(gauge) = &lane.state.stuck {
                gauge.show(found, lane.lane.id.as_str());
            }
        }
        Ok(())
    }

    fn carry_out(
        &self,
        then: &mut Consequences,
        effects: &mut Effects<Self>,
    ) -> Result<(), ApplyError> {
        for (timer, at) in then.timers.drain(..) {
            effects.set_timer(timer, at);
        }
        for emission in then.records.drain(..) {
            self.publish(&emission, effects)
                .map_err(ApplyError::permanent)?;
        }
        Ok(())
    }

    fn publish(&self, emission: &Emission, effects: &mut Effects<Self>) -> Result<(), EncodeError> {
        let topics = self
            .topics
            .get(&emission.geo)
            .expect("an order's geo is that of a lane, and lanes are of served geos");
        let mut to = Outlet {
            codec: &self.codec,
            emission,
            effects,
        };
        match &emission.body {
            Body::Orders(event) => {
                let topic = &topics.orders;
                match event {
                    OrdersEvent::OrderAccepted(record) => to.send(topic, record),
                    OrdersEvent::OrderRejected(record) => to.send(topic, record),
                    OrdersEvent::OrderConfirmed(record) => to.send(topic, record),
                    OrdersEvent::OrderPaymentFailed(record) => to.send(topic, record),
                    OrdersEvent::OrderDriverAssigned(record) => to.send(topic, record),
                    OrdersEvent::OrderPickedUp(record) => to.send(topic, record),
                    OrdersEvent::OrderDelivered(record) => to.send(topic, record),
                    OrdersEvent::OrderCancelled(record) => to.send(topic, record),
                    OrdersEvent::OrderUndeliverable(record) => to.send(topic, record),
                    OrdersEvent::OrderCancelRefused(record) => to.send(topic, record),
                }
            }
            Body::Payments(request) => match request {
                PaymentsRequest::PaymentRequested(record) => to.send(&topics.payments, record),
                PaymentsRequest::RefundRequested(record) => to.send(&topics.payments, record),
            },
            Body::Assignment(request) => match request {
                DriverAssignmentRequest::AssignmentRequested(record) => {
                    to.send(&topics.assignment, record)
                }
                DriverAssignmentRequest::AssignmentCancelled(record) => {
                    to.send(&topics.assignment, record)
                }
            },
        }
    }
}

/// What is known of a lane.
pub struct LaneState {
    /// The geo of its topic.
    geo: Geo,
    /// Of the lane that keeps the time of a partition's orders.
    stuck: Option<StuckGauge>,
}

/// An order's facts come on the partition it was dealt: that lane of assignment's topic keeps its time.
fn keeps_time(lane: &Lane) -> bool {
    let topic: &str = &lane.sources[0].source.topic;
    topic.starts_with("driver_assignment.")
}

/// Where the records of one emission go.
struct Outlet<'a> {
    codec: &'a Codec,
    emission: &'a Emission,
    effects: &'a mut Effects<Orders>,
}

impl Outlet<'_> {
    fn send<R: Record>(&mut self, topic: &str, record: &R) -> Result<(), EncodeError> {
        let mut key = [0; uuid::fmt::Hyphenated::LENGTH];
        let key = self.emission.order_id.hyphenated().encode_lower(&mut key);
        let partition = Some(self.emission.partition);
        binding::publish(
            self.codec,
            self.effects,
            topic,
            partition,
            key,
            record,
            &self.emission.trace,
        )
    }
}

impl Processor for Orders {
    type Event = Event;
    type State = LaneState;
    type Timer = Timer;
    type Call = Infallible;
    type Answer = Infallible;

    async fn decode(&self, message: &Message) -> Result<Event, DecodeError> {
        let codec = &self.codec;
        let topic: &str = &message.source.topic;
        let family = topic.split_once('.').map_or(topic, |(family, _)| family);
        Ok(match family {
            "payments" => Event::Said(
                binding::decode::<PaymentsEvent>(codec, message)
                    .await?
                    .into(),
            ),
            "driver_assignment" => Event::Said(
                binding::decode::<DriverAssignmentEvent>(codec, message)
                    .await?
                    .into(),
            ),
            "kitchen" => Event::Said(
                binding::decode::<KitchenEvent>(codec, message)
                    .await?
                    .into(),
            ),
            _ => match binding::decode::<OrdersRequest>(codec, message).await? {
                OrdersRequest::OrderPlaced(placed) => Event::Placed(placed),
                OrdersRequest::OrderCancelRequested(request) => Event::Said(request.into()),
            },
        })
    }

    async fn load(
        &self,
        lanes: &[Arc<Lane>],
        now: DateTime<Utc>,
        tx: &mut PgConnection,
    ) -> Result<Vec<Loaded<Self>>, ApplyError> {
        let mut loaded: Vec<Loaded<Self>> = Vec::with_capacity(lanes.len());
        let mut places = HashMap::with_capacity(lanes.len());
        for (index, lane) in lanes.iter().enumerate() {
            let stuck = keeps_time(lane).then(|| StuckGauge::of(lane));
            let watched = stuck.iter().map(|_| (Timer::Stuck, now + stuck::EVERY));
            let timers = watched.collect();
            let geo = geo_of(lane)?;
            loaded.push(Loaded {
                state: LaneState { geo, stuck },
                timers,
                calls: Vec::new(),
            });
            places.insert(lane.id.as_str(), index);
        }
        let names: Vec<&str> = lanes.iter().map(|lane| lane.id.as_str()).collect();
        for (lane, order_id) in early_store::waiting(&names, tx).await? {
            if let Some(place) = places.get(lane.as_str()) {
                loaded[*place].timers.push((Timer::Early(order_id), now));
            }
        }
        let keepers: Vec<(usize, String, i32)> = lanes
            .iter()
            .enumerate()
            .filter(|(_, lane)| keeps_time(lane))
            .map(|(index, lane)| {
                (
                    index,
                    loaded[index].state.geo.to_string(),
                    lane.sources[0].partition,
                )
            })
            .collect();
        let geos: Vec<&str> = keepers.iter().map(|(_, geo, _)| geo.as_str()).collect();
        let partitions: Vec<i32> = keepers.iter().map(|(.., partition)| *partition).collect();
        for (keeper, order_id, due_at) in store::assignments_due(&geos, &partitions, tx).await? {
            loaded[keepers[keeper].0]
                .timers
                .push((Timer::Assignment(order_id), due_at));
        }
        Ok(loaded)
    }

    async fn apply(
        &self,
        cycle: &mut Cycle<'_, Self>,
        tx: &mut PgConnection,
    ) -> Result<(), ApplyError> {
        self.watch(cycle, tx).await?;
        // As PostgreSQL and Avro keep it, so that what is in memory is what was stored.
        let now = cycle.now.trunc_subsecs(6);
        let (ids, early_ids) = order_ids(cycle);
        let orders = store::load(&ids, tx).await?;
        let early = if early_ids.is_empty() {
            Vec::new()
        } else {
            early_store::load(&early_ids, tx).await?
        };
        let mut set = WorkingSet::new(orders, early);
        let mut dealer = self.dealer().clone();
        let then = Consequences::default();
        let mut decider = Decider {
            policy: &self.policy,
            now,
            dealer: &mut dealer,
            set: &mut set,
            then,
        };
        for lane in &mut cycle.lanes {
            self.apply_lane(lane, &mut decider)?;
        }
        store::save(&set, now, tx).await?;
        early_store::save(&set, tx).await?;
        *self.dealer() = dealer;
        count(&set);
        Ok(())
    }

    async fn call(self: &Arc<Self>, call: Infallible) -> Infallible {
        match call {}
    }
}

/// The orders that a cycle is about, and those of them of which something may have been heard early; each sorted.
fn order_ids(cycle: &Cycle<'_, Orders>) -> (Vec<Uuid>, Vec<Uuid>) {
    let (mut all, mut early) = (Vec::new(), Vec::new());
    for lane in &cycle.lanes {
        for received in &lane.messages {
            all.push(received.event.order_id());
            if received.event.may_follow_early() {
                early.push(received.event.order_id());
            }
        }
        for timer in &lane.timers {
            all.extend(timer.order_id());
            if let Timer::Early(id) = timer {
                early.push(*id);
            }
        }
    }
    for ids in [&mut all, &mut early] {
        ids.sort_unstable();
        ids.dedup();
    }
    (all, early)
}

fn geo_of(lane: &Lane) -> Result<Geo, ApplyError> {
    let topic: Result<Topic, _> = lane.sources[0].source.topic.parse();
    topic.map(|topic| topic.geo).map_err(ApplyError::permanent)
}

fn count(set: &WorkingSet) {
    let mut led_to: BTreeMap<&'static str, u64> = BTreeMap::new();
    for transition in set.transitions() {
        if transition.from.status != transition.to.status {
            *led_to.entry(transition.to.status.name()).or_default() += 1;
        }
    }
    for (status, transitions) in led_to {
        metrics::counter!(TRANSITIONS, "to" => status).increment(transitions);
    }
    for (id, why) in set.given_up() {
        tracing::warn!(early_event = id, why, "given up waiting for an order");
        metrics::counter!(GIVEN_UP).increment(1);
    }
}
