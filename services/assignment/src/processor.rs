//! Binds the book of each geo to the cycle: messages in, rows first, records after.
//!
//! Per cycle, over all lanes at once: one question about orders that are not in memory, then in memory every message and the
//! tick that is due, then the rows. A decision becomes a record only after the unique indexes have taken it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::streams::{DriverAssignmentEvent, DriverLocation};
use contracts::{Codec, EncodeError, Geo, Message as _};
use dispatch::{At, Input, OrderId};
use runtime::{
    ApplyError, Cycle, DecodeError, Effects, Lane, LaneCycle, Loaded, Message, Observed, Processor,
    TimerChanges, Trace, Verdict,
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::book::{Book, Origin, Ticked};
use crate::config::GeoRules;
use crate::event::Event;
use crate::facts::Fact;
use crate::metric::LaneMetrics;
use crate::replay::dispatch_tick;
use crate::store;
use crate::units;

/// Forgetting tombstones is not urgent.
const PURGE_EVERY: TimeDelta = TimeDelta::hours(1);

/// The processor; one per process.
pub struct Assignment {
    pub(crate) codec: Codec,
    pub(crate) geos: HashMap<String, Arc<GeoLane>>,
    pub(crate) pace: Pace,
}

/// What does not change about a geo.
pub struct GeoLane {
    pub(crate) geo: Geo,
    pub(crate) rules: GeoRules,
    /// Shortest pause between two ticks that no message asks for.
    pub(crate) pause: TimeDelta,
    /// Names of the topics that it writes.
    pub(crate) events: String,
    pub(crate) ticks: String,
}

/// The machine's times that no geo has for itself.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long a lane that was loaded waits at most for the positions of the last moments.
    pub warm_up: TimeDelta,
    /// How long tombstones are kept.
    pub tombstones: TimeDelta,
}

/// A lane's memory.
pub struct LaneState {
    lane: Arc<GeoLane>,
    book: Book,
    metrics: LaneMetrics,
    /// No decision before this instant: positions are still being read. Brought forward once they are.
    opens_at: DateTime<Utc>,
    last_tick: DateTime<Utc>,
}

/// What a lane wants to be woken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    Tick,
    Purge,
}

impl Processor for Assignment {
    type Event = Event;
    type State = LaneState;
    type Timer = Timer;
    type Call = std::convert::Infallible;
    type Answer = std::convert::Infallible;

    async fn decode(&self, message: &Message) -> Result<Event, DecodeError> {
        let topic: &str = &message.source.topic;
        if topic.starts_with("driver.locations.") {
            let DriverLocation::DriverLocation(location) =
                binding::decode(&self.codec, message).await?;
            Ok(Event::Location(location))
        } else if topic.starts_with("driver.events.") {
            binding::decode(&self.codec, message)
                .await
                .map(Event::Driver)
        } else if topic.starts_with("kitchen.events.") {
            binding::decode(&self.codec, message)
                .await
                .map(Event::Kitchen)
        } else {
            binding::decode(&self.codec, message)
                .await
                .map(Event::Request)
        }
    }

    async fn load(
        &self,
        lanes: &[Arc<Lane>],
        now: DateTime<Utc>,
        tx: &mut PgConnection,
    ) -> Result<Vec<Loaded<Self>>, ApplyError> {
        let geos: Vec<&str> = lanes.iter().map(|lane| lane.id.as_str()).collect();
        let mut stored = store::load(tx, &geos).await?;
        let mut loaded = Vec::with_capacity(lanes.len());
        for geo in geos {
            let lane = self
                .geos
                .get(geo)
                .ok_or_else(|| ApplyError::permanent(format!("no geo {geo}")))?
                .clone();
            let stored = stored.remove(geo).unwrap_or_default();
            let mut scheduler = lane.rules.scheduler(stored.snapshot);
            // Whoever was silent before we listened may have been heard by another.
            scheduler.apply(Input::Listening { at: units::at(now) });
            let state = LaneState {
                book: Book::new(lane.geo.clone(), scheduler, stored.orders, stored.drivers),
                metrics: LaneMetrics::new(geo),
                opens_at: now + self.pace.warm_up,
                last_tick: DateTime::UNIX_EPOCH,
                lane,
            };
            let timers = vec![
                (Timer::Tick, state.opens_at),
                (Timer::Purge, now + PURGE_EVERY),
            ];
            loaded.push(Loaded {
                state,
                timers,
                calls: Vec::new(),
            });
        }
        Ok(loaded)
    }

    async fn apply(
        &self,
        cycle: &mut Cycle<'_, Self>,
        tx: &mut PgConnection,
    ) -> Result<(), ApplyError> {
        let now = cycle.now;
        recall(&mut cycle.lanes, tx).await?;
        for lane in &mut cycle.lanes {
            apply_messages(lane, now);
            lane.state.tick(now);
        }
        let ticked = commit(&mut cycle.lanes, now, tx).await?;
        self.save(&mut cycle.lanes, now, tx).await?;
        for (lane, ticked) in cycle.lanes.iter_mut().zip(ticked) {
            self.publish(lane, ticked, now)?;
            let LaneState { metrics, book, .. } = &mut *lane.state;
            metrics.stored(book);
            match lane.state.next_tick(now) {
                Some(at) => lane.effects.set_timer(Timer::Tick, at),
                None => lane.effects.cancel_timer(Timer::Tick),
            }
        }
        Ok(())
    }

    /// Most ticks decide nothing, and cost no transaction.
    fn fire(
        &self,
        state: &mut LaneState,
        timers: &[Timer],
        now: DateTime<Utc>,
    ) -> Option<TimerChanges<Self>> {
        if timers != [Timer::Tick] {
            return None;
        }
        state.tick(now);
        if state.book.has_changes() {
            return None;
        }
        state.metrics.stored(&mut state.book);
        Some(vec![(Timer::Tick, state.next_tick(now))])
    }

    fn observe(
        &self,
        state: &mut LaneState,
        events: Vec<Observed<Event>>,
        now: DateTime<Utc>,
    ) -> Vec<(Timer, DateTime<Utc>)> {
        let trace = Trace::root();
        for observed in events {
            // Positions have no partition that facts would go to, and cause none.
            let origin = Origin {
                partition: 0,
                timestamp_ms: observed.timestamp_ms,
                trace: &trace,
            };
            if let Verdict::Reject(reject) = state.book.apply(&observed.event, origin, now) {
                metrics::counter!("assignment_locations_rejected_total", "kind" => reject.kind)
                    .increment(1);
            }
        }
        // A position may make a request due that had nobody; otherwise the timer that is set stands.
        let due = state
            .book
            .next_tick()
            .is_some_and(|at| at <= units::at(now));
        let at = now
            .max(state.last_tick + state.lane.pause)
            .max(state.opens_at);
        if due {
            vec![(Timer::Tick, at)]
        } else {
            Vec::new()
        }
    }

    fn caught_up(&self, state: &mut LaneState, now: DateTime<Utc>) -> Vec<(Timer, DateTime<Utc>)> {
        state.opens_at = state.opens_at.min(now);
        vec![(Timer::Tick, state.opens_at)]
    }

    async fn call(self: &Arc<Self>, call: std::convert::Infallible) -> std::convert::Infallible {
        call
    }
}

impl LaneState {
    /// Lets the scheduler decide, if it has something to decide now and has not done so for this cycle.
    fn tick(&mut self, now: DateTime<Utc>) {
        let due = self.book.next_tick().is_some_and(|at| at <= units::at(now));
        if now < self.opens_at || !due || self.book.has_ticked() {
            return;
        }
        let begun = Instant::now();
        let pulse = self.book.tick(now);
        self.metrics.ticked(pulse, begun.elapsed());
        self.last_tick = now;
    }

    /// When to look again after this instant.
    fn next_tick(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let earliest = (now + self.lane.pause).max(self.opens_at);
        // A date beyond the calendar is no date.
        let wanted = self.book.next_tick().filter(|at| *at < At::MAX)?;
        Some(units::instant(wanted).max(earliest))
    }
}

/// Asks the tables about orders that messages speak of and that are not in memory.
async fn recall(
    lanes: &mut [LaneCycle<'_, Assignment>],
    tx: &mut PgConnection,
) -> Result<(), ApplyError> {
    let mut unknown: BTreeSet<(usize, Uuid)> = BTreeSet::new();
    for (index, lane) in lanes.iter().enumerate() {
        let orders = lane
            .messages
            .iter()
            .filter_map(|received| received.event.order_id());
        unknown.extend(
            orders
                .filter(|order| !lane.state.book.knows(OrderId(*order)))
                .map(|order| (index, order)),
        );
    }
    let (indexes, orders): (Vec<usize>, Vec<Uuid>) = unknown.into_iter().unzip();
    let geos: Vec<&str> = indexes
        .iter()
        .map(|index| lanes[*index].lane.id.as_str())
        .collect();
    for (found, order) in store::recall(tx, &geos, &orders).await? {
        lanes[indexes[found]]
            .state
            .book
            .recall(OrderId(orders[found]), order);
    }
    Ok(())
}

fn apply_messages(lane: &mut LaneCycle<'_, Assignment>, now: DateTime<Utc>) {
    for (index, received) in lane.messages.iter().enumerate() {
        let origin = Origin {
            partition: lane.lane.sources[received.source].partition,
            timestamp_ms: received.timestamp_ms,
            trace: &received.trace,
        };
        lane.effects
            .answer(index, lane.state.book.apply(&received.event, origin, now));
    }
}

/// Stores who holds what, ends first, and hears which commitments stand.
async fn commit(
    lanes: &mut [LaneCycle<'_, Assignment>],
    now: DateTime<Utc>,
    tx: &mut PgConnection,
) -> Result<Vec<Option<Ticked>>, ApplyError> {
    let mut ended = Vec::new();
    for lane in lanes.iter_mut() {
        ended.extend(
            lane.state
                .book
                .take_ended()
                .into_iter()
                .map(|row| (lane.lane.id.as_str(), row)),
        );
    }
    store::end(tx, &ended).await?;
    let mut commitments = Vec::new();
    for lane in lanes.iter() {
        commitments.extend(
            lane.state
                .book
                .commitments()
                .into_iter()
                .map(|row| (lane.lane.id.as_str(), row)),
        );
    }
    let refused = store::commit(tx, &commitments).await?;
    let mut refused_by_geo: BTreeMap<&str, BTreeSet<OrderId>> = BTreeMap::new();
    for (geo, order_id) in refused {
        metrics::counter!("assignment_refused_elsewhere_total", "geo" => geo.to_owned())
            .increment(1);
        refused_by_geo.entry(geo).or_default().insert(order_id);
    }
    let conclude = |lane: &mut LaneCycle<'_, Assignment>| {
        let refused = refused_by_geo
            .remove(lane.lane.id.as_str())
            .unwrap_or_default();
        lane.state.book.conclude(refused, now)
    };
    Ok(lanes.iter_mut().map(conclude).collect())
}

impl Assignment {
    async fn save(
        &self,
        lanes: &mut [LaneCycle<'_, Self>],
        now: DateTime<Utc>,
        tx: &mut PgConnection,
    ) -> Result<(), ApplyError> {
        let mut changes = Vec::with_capacity(lanes.len());
        let mut purged = Vec::new();
        for lane in lanes.iter_mut() {
            let geo = lane.lane.id.as_str();
            changes.push((geo, lane.state.book.take_changes()));
            if lane.timers.contains(&Timer::Purge) {
                purged.push(geo);
                lane.effects.set_timer(Timer::Purge, now + PURGE_EVERY);
            }
        }
        store::save(tx, &changes, now).await?;
        if !purged.is_empty() {
            store::purge(tx, &purged, now - self.pace.tombstones).await?;
        }
        Ok(())
    }

    fn publish(
        &self,
        lane: &mut LaneCycle<'_, Self>,
        ticked: Option<Ticked>,
        now: DateTime<Utc>,
    ) -> Result<(), ApplyError> {
        let geo_lane = lane.state.lane.clone();
        for fact in lane.state.book.take_facts() {
            self.tell(&geo_lane.events, &fact, &mut lane.effects)
                .map_err(ApplyError::permanent)?;
        }
        if let Some(ticked) = ticked {
            for decision in &ticked.tick.decisions {
                if !ticked.refused.contains(&decision.order_id) {
                    lane.state.metrics.decided(decision);
                }
            }
            let record = dispatch_tick(
                &geo_lane.geo,
                &geo_lane.rules,
                lane.lane,
                &lane.positions,
                &ticked,
                now,
            );
            let (topic, key) = (&geo_lane.ticks, geo_lane.geo.as_str());
            binding::publish(
                &self.codec,
                &mut lane.effects,
                topic,
                Some(0),
                key,
                &record,
                &Trace::root(),
            )
            .map_err(ApplyError::permanent)?;
        }
        Ok(())
    }

    fn tell(
        &self,
        topic: &str,
        fact: &Fact,
        effects: &mut Effects<Self>,
    ) -> Result<(), EncodeError> {
        let trace =
            Trace::parse(&fact.traceparent, None).map_or_else(Trace::root, |order| order.child());
        let (partition, key) = (Some(fact.partition), fact.record.key());
        macro_rules! publish {
            ($record:expr) => {
                binding::publish(
                    &self.codec,
                    effects,
                    topic,
                    partition,
                    &key,
                    $record,
                    &trace,
                )
            };
        }
        match &fact.record {
            DriverAssignmentEvent::DriverAssigned(record) => publish!(record),
            DriverAssignmentEvent::AssignmentReleased(record) => publish!(record),
            DriverAssignmentEvent::AssignmentFailed(record) => publish!(record),
            DriverAssignmentEvent::DriverAtRestaurant(record) => publish!(record),
            DriverAssignmentEvent::PickupConfirmed(record) => publish!(record),
            DriverAssignmentEvent::DeliveryConfirmed(record) => publish!(record),
            DriverAssignmentEvent::DriverMissing(record) => publish!(record),
        }
    }
}
