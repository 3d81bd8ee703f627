//! What the topics of a geo hold: what its lane heard, the ticks that recorded how far it had heard, and what it told.
//!
//! Reading starts so far before the span that state can be built from it, or where retention has cut; then it says so.

use std::collections::{HashMap, VecDeque};

use anyhow::{Context, Result};
use assignment::book::{caused_by, is_of_tick};
use assignment::event::Event;
use chrono::{DateTime, TimeDelta, Utc};
use contracts::driver_assignment::DispatchTick;
use contracts::streams::{
    DriverAssignmentEvent, DriverAssignmentRequest, DriverAssignmentTick, DriverEvent,
    DriverLocation, KitchenEvent,
};
use contracts::{Codec, CodecError, Geo, Message, Topic};
use rdkafka::Offset;
use uuid::Uuid;

use crate::log::{Log, Stored};
use crate::progress::Progress;
use crate::replay::cursor::{Cursor, Cursors, Start};

/// What is older says nothing about the state: as long as requests are kept, longer than any shift.
const HISTORY: TimeDelta = TimeDelta::hours(48);
/// Facts of a tick stand in its transaction, but on other partitions: no further from it in time than this.
const APART: TimeDelta = TimeDelta::seconds(10);

/// A message that the lane heard.
pub struct Heard {
    pub event: Event,
    /// Of the topics read, by number: [`Tape::limits`] goes by it.
    pub source: usize,
    pub partition: i32,
    pub offset: i64,
    pub at: DateTime<Utc>,
}

/// See the module.
pub struct Tape {
    codec: Codec,
    cursors: Cursors,
    /// Of the lane's sources.
    inputs: Vec<Cursor>,
    facts: Vec<Cursor>,
    ticks: Vec<Cursor>,
    /// Facts of ticks that were read and not asked for yet, by the instant of their tick.
    told: HashMap<i64, Vec<DriverAssignmentEvent>>,
    /// What was told beside ticks, and when.
    beside: VecDeque<(DateTime<Utc>, DriverAssignmentEvent)>,
    /// The messages that they answered, and when; of the time since the last tick.
    answered: HashMap<Uuid, DateTime<Utc>>,
    last_tick: DateTime<Utc>,
    /// What the topics do not hold any more.
    pub gaps: Vec<String>,
    pub progress: Progress,
}

impl Tape {
    /// `heard_from`: from when on positions are needed.
    pub async fn open(
        log: &Log,
        registry: &str,
        geo: &Geo,
        from: DateTime<Utc>,
        heard_from: DateTime<Utc>,
    ) -> Result<Tape> {
        let history = from - HISTORY;
        let mut gaps = Vec::new();
        let inputs = [
            (Topic::of::<DriverAssignmentRequest>(geo), history),
            (Topic::of::<KitchenEvent>(geo), history),
            (Topic::of::<DriverEvent>(geo), history),
            (Topic::of::<DriverLocation>(geo), heard_from),
        ];
        let mut starts = Vec::new();
        for (topic, since) in inputs {
            starts.extend(begin(log, &topic.to_string(), since, &mut gaps)?);
        }
        let inputs = starts.len();
        let facts = Topic::of::<DriverAssignmentEvent>(geo).to_string();
        starts.extend(begin(log, &facts, history, &mut gaps)?);
        let facts = starts.len();
        let ticks = Topic::of::<DriverAssignmentTick>(geo).to_string();
        starts.extend(begin(log, &ticks, history, &mut gaps)?);
        let (cursors, mut all) = Cursors::open(log, starts)?;
        let ticks = all.split_off(facts);
        let facts = all.split_off(inputs);
        Ok(Tape {
            // It writes nothing, so it needs no ids of its own.
            codec: Codec::connect(registry, &[]).await?,
            cursors,
            inputs: all,
            facts,
            ticks,
            told: HashMap::new(),
            beside: VecDeque::new(),
            answered: HashMap::new(),
            last_tick: DateTime::UNIX_EPOCH,
            gaps,
            progress: Progress::new("replaying"),
        })
    }

    /// The next recorded tick, with the instant at which the broker took it.
    pub async fn tick(&mut self) -> Result<Option<(DispatchTick, DateTime<Utc>)>> {
        let everything = vec![i64::MAX; self.ticks.len()];
        loop {
            let taken = self.cursors.take(&mut self.ticks, &everything, None)?;
            let Some((_, stored)) = taken else {
                return Ok(None);
            };
            self.progress.read();
            let read = self.decode::<DriverAssignmentTick>(&stored).await?;
            if let Some(DriverAssignmentTick::DispatchTick(tick)) = read {
                let since = self.last_tick - APART;
                self.answered.retain(|_, at| *at >= since);
                self.last_tick = tick.ticked_at;
                return Ok(Some((tick, stored.at)));
            }
        }
    }

    /// The positions of a tick as limits for [`Tape::hear`]; a partition that it does not name was not read then.
    pub fn limits(&self, tick: &DispatchTick) -> Vec<i64> {
        let named: HashMap<(&str, i32), i64> = tick
            .positions
            .iter()
            .map(|p| ((p.topic.as_str(), p.partition), p.offset))
            .collect();
        self.limits_of(|topic, partition| named.get(&(topic, partition)).copied().unwrap_or(0))
    }

    /// Limits by topic and partition.
    pub fn limits_of(&self, limit: impl Fn(&str, i32) -> i64) -> Vec<i64> {
        let starts = self.inputs.iter().map(|cursor| &cursor.start);
        starts.map(|it| limit(&it.topic, it.partition)).collect()
    }

    /// No limit but what there was when the replay began.
    pub fn ends(&self) -> Vec<i64> {
        self.inputs.iter().map(|cursor| cursor.start.end).collect()
    }

    /// The next message that the lane heard, by time, below the limits and before `until`. What nobody can read, the lane could
    /// not either.
    pub async fn hear(
        &mut self,
        limits: &[i64],
        until: Option<DateTime<Utc>>,
    ) -> Result<Option<Heard>> {
        loop {
            let taken = self.cursors.take(&mut self.inputs, limits, until)?;
            let Some((source, stored)) = taken else {
                return Ok(None);
            };
            self.progress.read();
            if let Some(event) = self.event(&stored).await? {
                return Ok(Some(Heard {
                    event,
                    source,
                    partition: stored.partition,
                    offset: stored.offset,
                    at: stored.at,
                }));
            }
        }
    }

    async fn event(&self, stored: &Stored) -> Result<Option<Event>> {
        let topic = stored.topic.as_str();
        Ok(if topic.starts_with("driver.locations.") {
            let read = self.decode::<DriverLocation>(stored).await?;
            read.map(|DriverLocation::DriverLocation(location)| Event::Location(location))
        } else if topic.starts_with("driver.events.") {
            self.decode(stored).await?.map(Event::Driver)
        } else if topic.starts_with("kitchen.events.") {
            self.decode(stored).await?.map(Event::Kitchen)
        } else {
            self.decode(stored).await?.map(Event::Request)
        })
    }

    /// What the tick told, in no particular order over orders.
    pub async fn facts(
        &mut self,
        tick: &DispatchTick,
        taken_at: DateTime<Utc>,
    ) -> Result<Vec<DriverAssignmentEvent>> {
        self.read_facts(Some(taken_at + APART)).await?;
        let told = self.told.remove(&tick.ticked_at.timestamp_micros());
        Ok(told.unwrap_or_default())
    }

    /// What was told beside ticks before `until`, as far as it was read.
    pub fn beside(&mut self, until: DateTime<Utc>) -> Vec<DriverAssignmentEvent> {
        let early = self.beside.partition_point(|(at, _)| *at < until);
        self.beside.drain(..early).map(|(_, fact)| fact).collect()
    }

    /// Whether a message heard since the last tick was told of, as far as facts were read.
    pub fn is_answered(&self, message: Uuid) -> bool {
        self.answered.contains_key(&message)
    }

    /// Facts of ticks of this span that no tick has asked for: decisions without a recorded tick.
    pub fn untold(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> usize {
        let span = from.timestamp_micros()..to.timestamp_micros();
        let told = self.told.iter().filter(|(at, _)| span.contains(at));
        told.map(|(_, facts)| facts.len()).sum()
    }

    /// Reads what was told before `until`, or all.
    pub async fn read_facts(&mut self, until: Option<DateTime<Utc>>) -> Result<()> {
        let everything = vec![i64::MAX; self.facts.len()];
        while let Some((_, stored)) = self.cursors.take(&mut self.facts, &everything, until)? {
            self.progress.read();
            let Some(fact) = self.decode::<DriverAssignmentEvent>(&stored).await? else {
                continue;
            };
            if is_of_tick(&fact) {
                let at = fact.occurred_at().timestamp_micros();
                self.told.entry(at).or_default().push(fact);
            } else {
                self.answered
                    .extend(caused_by(&fact).map(|cause| (cause, fact.occurred_at())));
                self.beside.push_back((stored.at, fact));
            }
        }
        Ok(())
    }

    /// `None`: nobody can read it.
    async fn decode<M: Message>(&self, stored: &Stored) -> Result<Option<M>> {
        let Some(payload) = stored.value.as_deref() else {
            return Ok(None);
        };
        let decoded = match self.codec.decode(payload) {
            Err(CodecError::Unprepared { .. }) => match self.codec.prepare(payload).await {
                Ok(()) => self.codec.decode(payload),
                Err(error) => Err(error),
            },
            decoded => decoded,
        };
        match decoded {
            Ok(record) => Ok(Some(record)),
            Err(CodecError::Reject(_)) => Ok(None),
            Err(error) => Err(error).with_context(|| {
                let Stored {
                    topic,
                    partition,
                    offset,
                    ..
                } = stored;
                format!("{topic}/{partition}@{offset} cannot be read")
            }),
        }
    }
}

/// Where the partitions of a topic are read from; notes where that is later than `since` because the log was cut.
fn begin(
    log: &Log,
    topic: &str,
    since: DateTime<Utc>,
    gaps: &mut Vec<String>,
) -> Result<Vec<Start>> {
    let topics = log.topics()?;
    let partitions = topics.get(topic).copied();
    let partitions = partitions.with_context(|| format!("there is no topic {topic}"))?;
    let low = log.offsets(topic, partitions, Offset::Beginning)?;
    let ends = log.offsets(topic, partitions, Offset::End)?;
    let at = Offset::Offset(since.timestamp_millis());
    let found = log.offsets(topic, partitions, at)?;
    let mut starts = Vec::new();
    let mut cut = 0;
    for partition in 0..partitions {
        let end = ends.get(&partition).copied().unwrap_or(0);
        let low = low.get(&partition).copied().unwrap_or(end);
        let offset = found.get(&partition).copied().unwrap_or(end).max(low);
        if low > 0 && offset == low {
            cut += 1;
        }
        starts.push(Start {
            topic: topic.to_owned(),
            partition,
            offset,
            end,
        });
    }
    if cut > 0 {
        let since = crate::output::second(since);
        gaps.push(format!(
            "{topic}: of {cut} of {partitions} partitions retention has deleted what they held since {since}"
        ));
    }
    Ok(starts)
}
