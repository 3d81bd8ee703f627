//! The smallest processor that uses all of the runtime: it counts keys, and publishes every count.
//!
//! The fault tests run it as a process of its own and kill, stop or cut it off. A message is a command: `add` counts its
//! key; `later <ms>` counts it when a timer fires; `doze <n>` when a timer has fired so often for nothing, `call` counts it when an outside call is answered; `reject` asks for a
//! dead letter; `break` makes PostgreSQL fail for good; anything else cannot be read. Each count is published to the
//! output as `<count>` under the key, on the partition it came from, so a reader sees 1, 2, 3, ... per key and partition,
//! and a gap, a repetition or a swap shows.
//!
//! Environment: `TOY_HALT=<Step>:<n>:<abort|stop>` aborts or stops (SIGSTOP) the process when it reaches a step for the
//! n-th time, after printing `halt` to stdout; with `:<Step>` behind it, when another thread stands at that step meanwhile.

mod halt;

use std::collections::{BTreeMap, HashMap};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use runtime::{
    ApplyError, Companions, Cycle, DecodeError, Lane, LaneCycle, LaneId, Loaded, Message, Observed,
    Processor, Record, Reject, Service, Settings, SourceKind, SourceTopic, TimerChanges, Topology,
    Trace, Verdict,
};
use serde::Deserialize;
use sqlx::{PgConnection, Row};

use halt::Halt;

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("examples/toy/migrations");

fn main() -> ExitCode {
    runtime::service::run("toy", &MIGRATIONS, service)
}

/// `[toy]`
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ToySettings {
    input: String,
    output: String,
    dead_letters: String,
    partitions: i32,
    /// When set, all partitions are one lane, owned through this (empty) topic of one partition.
    ownership: Option<String>,
    /// When set, a second input of as many partitions, and the topic whose partitions stand for those of both.
    companion: Option<String>,
    units: Option<String>,
    /// How long the messages of that second input wait for company, in milliseconds.
    #[serde(default)]
    companion_patience_ms: u64,
    /// A soft topic, read only with `ownership`; its last value is published with each count.
    soft: Option<String>,
}

async fn service(
    settings: &Settings,
) -> Result<Service<Toy>, Box<dyn std::error::Error + Send + Sync>> {
    let toy: ToySettings = settings.section("toy")?;
    let source = |topic: &str, kind| SourceTopic {
        topic: topic.into(),
        partitions: toy.partitions,
        dead_letters: toy.dead_letters.as_str().into(),
        kind,
        patience: Duration::ZERO,
    };
    let mut sources = vec![source(&toy.input, SourceKind::Durable)];
    if let Some(soft) = &toy.soft {
        sources.push(source(
            soft,
            SourceKind::Soft {
                window: Duration::from_secs(30),
            },
        ));
    }
    let companion = toy.companion.as_deref();
    sources.extend(companion.map(|topic| SourceTopic {
        patience: Duration::from_millis(toy.companion_patience_ms),
        ..source(topic, SourceKind::Durable)
    }));
    let topology = match (&toy.ownership, &toy.units) {
        (Some(topic), _) => Topology::group_lanes(topic, [(0, LaneId::new("all"), sources)]),
        (None, Some(units)) => Topology::companion_lanes([Companions {
            units: units.as_str().into(),
            partitions: toy.partitions,
            sources,
        }])?,
        (None, None) => Topology::partition_lanes(sources),
    };
    let mut service = Service::new(Toy { output: toy.output }, topology);
    if let Ok(halt) = std::env::var("TOY_HALT") {
        service.probe = Arc::new(Halt::parse(&halt)?);
    }
    Ok(service)
}

struct Toy {
    output: String,
}

#[derive(Clone)]
enum Command {
    Add,
    Later(TimeDelta),
    Doze(u32),
    Call,
    Reject,
    Break,
    Soft(String),
}

struct Event {
    key: String,
    command: Command,
}

#[derive(Default)]
struct Counts {
    counts: HashMap<String, i64>,
    pending: BTreeMap<String, String>,
    /// How often timers are yet to fire for nothing; what is not remembered fires for good.
    dozes: HashMap<String, u32>,
    soft: String,
}

impl Processor for Toy {
    type Event = Event;
    type State = Counts;
    type Timer = String;
    type Call = String;
    type Answer = String;

    async fn decode(&self, message: &Message) -> Result<Event, DecodeError> {
        let text = |part: &Option<bytes::Bytes>| {
            part.as_deref()
                .and_then(|part| std::str::from_utf8(part).ok())
                .map(str::to_owned)
        };
        let unreadable = || {
            DecodeError::Reject(Reject::new(
                "unreadable",
                format!("value = {:?}", message.value),
            ))
        };
        let (key, value) = (
            text(&message.key).unwrap_or_default(),
            text(&message.value).ok_or_else(unreadable)?,
        );
        let command = match value.split(' ').collect::<Vec<_>>()[..] {
            ["add"] => Command::Add,
            ["call"] => Command::Call,
            ["reject"] => Command::Reject,
            ["break"] => Command::Break,
            ["soft", value] => Command::Soft(value.to_owned()),
            ["later", ms] => Command::Later(TimeDelta::milliseconds(
                ms.parse().map_err(|_| unreadable())?,
            )),
            ["doze", times] => Command::Doze(times.parse().map_err(|_| unreadable())?),
            _ => return Err(unreadable()),
        };
        Ok(Event { key, command })
    }

    async fn load(
        &self,
        lanes: &[Arc<Lane>],
        now: DateTime<Utc>,
        tx: &mut PgConnection,
    ) -> Result<Vec<Loaded<Self>>, ApplyError> {
        let mut loaded = Vec::new();
        for lane in lanes {
            let mut state = Counts::default();
            for row in sqlx::query("SELECT key, count FROM counters WHERE lane = $1")
                .bind(lane.id.as_str())
                .fetch_all(&mut *tx)
                .await?
            {
                state.counts.insert(row.try_get(0)?, row.try_get(1)?);
            }
            let (mut timers, mut calls) = (Vec::new(), Vec::new());
            let pending = sqlx::query("SELECT id, key, due FROM pending WHERE lane = $1")
                .bind(lane.id.as_str());
            for row in pending.fetch_all(&mut *tx).await? {
                let id: String = row.try_get(0)?;
                state.pending.insert(id.clone(), row.try_get(1)?);
                match row.try_get::<Option<DateTime<Utc>>, _>(2)? {
                    Some(due) => timers.push((id, due.max(now))),
                    None => calls.push(id),
                }
            }
            loaded.push(Loaded {
                state,
                timers,
                calls,
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
        for lane in &mut cycle.lanes {
            let messages = std::mem::take(&mut lane.messages);
            let mut changed = BTreeMap::new();
            for (index, message) in messages.into_iter().enumerate() {
                let id = format!("{}-{}", message.source, message.offset);
                let key = message.event.key;
                let verdict = match message.event.command {
                    Command::Add => {
                        self.count(lane, &key, message.source, &message.trace, &mut changed);
                        Verdict::Done
                    }
                    Command::Later(wait) => {
                        remember(lane, &id, &key, Some(now + wait), tx).await?;
                        lane.effects.set_timer(id, now + wait);
                        Verdict::Done
                    }
                    Command::Doze(times) => {
                        remember(lane, &id, &key, Some(now), tx).await?;
                        lane.state.dozes.insert(id.clone(), times);
                        lane.effects.set_timer(id, now);
                        Verdict::Done
                    }
                    Command::Call => {
                        remember(lane, &id, &key, None, tx).await?;
                        lane.effects.call(id);
                        Verdict::Done
                    }
                    Command::Break => {
                        sqlx::query("SELECT 1 / 0").execute(&mut *tx).await?;
                        Verdict::Done
                    }
                    Command::Reject => {
                        Verdict::Reject(Reject::new("asked_for", format!("key = {key}")))
                    }
                    Command::Soft(_) => Verdict::Skip("soft_on_durable_topic"),
                };
                lane.effects.answer(index, verdict);
            }
            let due: Vec<String> = lane
                .timers
                .drain(..)
                .chain(lane.answers.drain(..))
                .collect();
            for id in due {
                if let Some(key) = lane.state.pending.remove(&id) {
                    sqlx::query("DELETE FROM pending WHERE lane = $1 AND id = $2")
                        .bind(lane.lane.id.as_str())
                        .bind(&id)
                        .execute(&mut *tx)
                        .await?;
                    let source = id
                        .split('-')
                        .next()
                        .and_then(|source| source.parse().ok())
                        .unwrap_or(0);
                    self.count(lane, &key, source, &Trace::root(), &mut changed);
                }
            }
            save(lane, &changed, tx).await?;
        }
        Ok(())
    }

    fn fire(
        &self,
        state: &mut Counts,
        timers: &[String],
        now: DateTime<Utc>,
    ) -> Option<TimerChanges<Self>> {
        let dozing = |id: &String| state.dozes.get(id).is_some_and(|left| *left > 0);
        if !timers.iter().all(dozing) {
            return None;
        }
        metrics::counter!("toy_dozed_total").increment(timers.len() as u64);
        for id in timers {
            state.dozes.entry(id.clone()).and_modify(|left| *left -= 1);
        }
        let soon = Some(now + TimeDelta::milliseconds(1));
        Some(timers.iter().map(|id| (id.clone(), soon)).collect())
    }

    fn observe(
        &self,
        state: &mut Counts,
        events: Vec<Observed<Event>>,
        _now: DateTime<Utc>,
    ) -> Vec<(String, DateTime<Utc>)> {
        for event in events {
            if let Command::Soft(value) = event.event.command {
                state.soft = value;
            }
        }
        Vec::new()
    }

    /// Says what was known of the soft topic by then.
    fn caught_up(&self, state: &mut Counts, _now: DateTime<Utc>) -> Vec<(String, DateTime<Utc>)> {
        metrics::counter!("toy_caught_up_total", "soft" => state.soft.clone()).increment(1);
        Vec::new()
    }

    async fn call(self: &Arc<Self>, call: String) -> String {
        call
    }
}

impl Toy {
    /// Counts a key in memory and publishes the count.
    fn count(
        &self,
        lane: &mut LaneCycle<'_, Self>,
        key: &str,
        source: usize,
        trace: &Trace,
        changed: &mut BTreeMap<String, i64>,
    ) {
        let count = lane.state.counts.entry(key.to_owned()).or_default();
        *count += 1;
        changed.insert(key.to_owned(), *count);
        let value = format!("{count}{}", lane.state.soft);
        let record = Record {
            topic: &self.output,
            partition: Some(lane.lane.sources[source].partition),
            key: Some(key.as_bytes()),
            value: Some(value.as_bytes()),
            headers: &[],
        };
        lane.effects.publish(record, trace);
    }
}

async fn remember(
    lane: &mut LaneCycle<'_, Toy>,
    id: &str,
    key: &str,
    due: Option<DateTime<Utc>>,
    tx: &mut PgConnection,
) -> Result<(), ApplyError> {
    lane.state.pending.insert(id.to_owned(), key.to_owned());
    sqlx::query("INSERT INTO pending (lane, id, key, due) VALUES ($1, $2, $3, $4)")
        .bind(lane.lane.id.as_str())
        .bind(id)
        .bind(key)
        .bind(due)
        .execute(tx)
        .await?;
    Ok(())
}

async fn save(
    lane: &LaneCycle<'_, Toy>,
    changed: &BTreeMap<String, i64>,
    tx: &mut PgConnection,
) -> Result<(), ApplyError> {
    let keys: Vec<&str> = changed.keys().map(String::as_str).collect();
    let counts: Vec<i64> = changed.values().copied().collect();
    sqlx::query(
        "INSERT INTO counters (lane, key, count) SELECT $1, * FROM UNNEST($2::text[], $3::bigint[])
         ON CONFLICT (lane, key) DO UPDATE SET count = EXCLUDED.count",
    )
    .bind(lane.lane.id.as_str())
    .bind(keys)
    .bind(counts)
    .execute(tx)
    .await?;
    Ok(())
}
