//! A processor run over messages without Kafka: no group, no publishing, no calls. What rebuilds a service's state elsewhere.
//!
//! The caller brings the messages in an order of its choice, the instants, and the answers to calls; the processor's own code
//! decides and writes, in the caller's transaction and schema. Positions and outbox are not kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::lane::{Lane, LaneId};
use crate::message::{Headers, Message};
use crate::processor::{
    ApplyError, Cycle, DecodeError, Effects, LaneCycle, Loaded, Processor, Received, Verdict,
};
use crate::trace::Trace;

struct Rehearsed<P: Processor> {
    lane: Arc<Lane>,
    state: P::State,
    positions: Vec<i64>,
    timers: BTreeMap<P::Timer, DateTime<Utc>>,
}

/// See the module.
pub struct Rehearsal<P: Processor> {
    processor: Arc<P>,
    lanes: BTreeMap<LaneId, Rehearsed<P>>,
}

/// A message of a source, as the broker holds it.
pub struct Heard<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    pub timestamp_ms: i64,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: &'a [(String, Option<Vec<u8>>)],
}

/// A call that was asked for, and by which lane.
pub type Asked<P> = (LaneId, <P as Processor>::Call);

impl<P: Processor> Rehearsal<P> {
    /// Loads the lanes from their rows.
    pub async fn load(
        processor: P,
        lanes: &[Arc<Lane>],
        now: DateTime<Utc>,
        tx: &mut PgConnection,
    ) -> Result<Self, ApplyError> {
        let loaded = processor.load(lanes, now, tx).await?;
        let rehearsed = |(lane, loaded): (&Arc<Lane>, Loaded<P>)| {
            let rehearsed = Rehearsed {
                positions: vec![0; lane.sources.len()],
                state: loaded.state,
                timers: loaded.timers.into_iter().collect(),
                lane: lane.clone(),
            };
            (lane.id.clone(), rehearsed)
        };
        Ok(Self {
            lanes: lanes.iter().zip(loaded).map(rehearsed).collect(),
            processor: Arc::new(processor),
        })
    }

    /// Applies one message at `now`. `None`: it would be a dead letter, or no lane reads it.
    pub async fn hear(
        &mut self,
        heard: &Heard<'_>,
        now: DateTime<Utc>,
        tx: &mut PgConnection,
    ) -> Result<Option<Vec<Asked<P>>>, ApplyError> {
        let reads = |lane: &Rehearsed<P>| {
            lane.lane.sources.iter().position(|source| {
                &*source.source.topic == heard.topic && source.partition == heard.partition
            })
        };
        let mut lanes = self.lanes.values();
        let Some((id, place)) = lanes.find_map(|lane| Some((lane.lane.id.clone(), reads(lane)?)))
        else {
            return Ok(None);
        };
        let Some(lane) = self.lanes.get_mut(&id) else {
            return Ok(None);
        };
        let message = Message {
            source: lane.lane.sources[place].source.clone(),
            partition: heard.partition,
            offset: heard.offset,
            timestamp_ms: heard.timestamp_ms,
            key: heard.key.map(Bytes::copy_from_slice),
            value: heard.value.map(Bytes::copy_from_slice),
            headers: Headers::of(heard.headers),
        };
        lane.positions[place] = heard.offset + 1;
        let event = match self.processor.decode(&message).await {
            Ok(event) => event,
            Err(DecodeError::Reject(_)) => return Ok(None),
            Err(DecodeError::Retry(error)) => return Err(ApplyError::Transient(error)),
        };
        let received = Received {
            event,
            source: place,
            offset: heard.offset,
            timestamp_ms: heard.timestamp_ms,
            trace: Trace::of(&message.headers).map_or_else(Trace::root, |trace| trace.child()),
        };
        let (asked, rejected) = self
            .cycle(&id, vec![received], Vec::new(), Vec::new(), now, tx)
            .await?;
        Ok((!rejected).then_some(asked))
    }

    /// Forgets what lanes wanted to be woken for when they were loaded: they were empty, and time begins with the first message.
    pub fn forget_timers(&mut self) {
        self.lanes.values_mut().for_each(|lane| lane.timers.clear());
    }

    /// Applies the answer to a call.
    pub async fn answer(
        &mut self,
        lane: &LaneId,
        answer: P::Answer,
        now: DateTime<Utc>,
        tx: &mut PgConnection,
    ) -> Result<Vec<Asked<P>>, ApplyError> {
        let cycle = self.cycle(lane, Vec::new(), Vec::new(), vec![answer], now, tx);
        Ok(cycle.await?.0)
    }

    /// Lets the first timer fire that is due before `until`, at its instant; `None` when there is none.
    pub async fn fire(
        &mut self,
        until: DateTime<Utc>,
        tx: &mut PgConnection,
    ) -> Result<Option<Vec<Asked<P>>>, ApplyError> {
        let timers = self.lanes.iter().flat_map(|(id, lane)| {
            let timers = lane.timers.iter();
            timers.map(move |(timer, at)| (*at, id.clone(), timer.clone()))
        });
        let first = timers.min_by(|a, b| (a.0, &a.1, &a.2).cmp(&(b.0, &b.1, &b.2)));
        let Some((at, id, timer)) = first.filter(|(at, ..)| *at < until) else {
            return Ok(None);
        };
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.timers.remove(&timer);
        }
        let cycle = self.cycle(&id, Vec::new(), vec![timer], Vec::new(), at, tx);
        Ok(Some(cycle.await?.0))
    }

    /// A cycle of one lane; says what it asks for, and whether its message was rejected.
    async fn cycle(
        &mut self,
        id: &LaneId,
        messages: Vec<Received<P::Event>>,
        timers: Vec<P::Timer>,
        answers: Vec<P::Answer>,
        now: DateTime<Utc>,
        tx: &mut PgConnection,
    ) -> Result<(Vec<Asked<P>>, bool), ApplyError> {
        let Some(lane) = self.lanes.get_mut(id) else {
            return Ok((Vec::new(), false));
        };
        let effects = Effects::new(messages.len());
        let mut cycle = Cycle {
            now,
            lanes: vec![LaneCycle {
                lane: &lane.lane,
                state: &mut lane.state,
                messages,
                timers,
                answers,
                positions: lane.positions.clone(),
                effects,
            }],
        };
        self.processor.apply(&mut cycle, tx).await?;
        let effects = cycle.lanes.pop().map(|lane| lane.effects);
        let Some(effects) = effects else {
            return Ok((Vec::new(), false));
        };
        for (timer, at) in effects.timers {
            match at {
                Some(at) => lane.timers.insert(timer, at),
                None => lane.timers.remove(&timer),
            };
        }
        let rejected = effects.verdicts.iter().flatten();
        let rejected = rejected
            .into_iter()
            .any(|it| matches!(it, Verdict::Reject(_)));
        let calls = effects.calls.into_iter().map(|call| (id.clone(), call));
        Ok((calls.collect(), rejected))
    }
}
