//! How each service's state is built: assignment through its recorded ticks, the others by their processors over merged topics.
//!
//! Messages of different topics are merged by time. Live, a service may have read two topics the other way round; where that
//! matters to a row, the row differs, and the comparison shows it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use contracts::payments::DeclineReason;
use contracts::streams::PaymentsEvent;
use contracts::{Codec, Geo, Topic};
use payments::gateway::{Answer, Call, Operation, Outcome};
use rdkafka::Offset;
use runtime::rehearsal::Heard;
use runtime::{Lane, Processor, Rehearsal, Settings};
use sqlx::migrate::Migrator;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

use crate::endpoints::Endpoints;
use crate::log::Log;
use crate::progress::Progress;
use crate::replay::cursor::{Cursors, Start};
use crate::replay::lane;
use crate::replay::rebuild::{Position, Service};
use crate::replay::tape::Tape;

/// So many messages are applied in one transaction.
const BATCH: usize = 500;
/// What is older is not looked for.
const HISTORY: TimeDelta = TimeDelta::days(30);

/// Builds the tables in the schema that the connection stands in; returns what has to be known to judge by.
pub async fn build(
    service: Service,
    geo: &Geo,
    positions: &[Position],
    (log, endpoints): (&Log, &Endpoints),
    fresh: &mut PgConnection,
) -> Result<Vec<String>> {
    if service == Service::Assignment {
        migrate(&assignment::MIGRATIONS, fresh).await?;
        return assignment(geo, positions, (log, endpoints), fresh).await;
    }
    let mut settings = Settings::load().context("the settings of the services are needed")?;
    settings.registry.url = endpoints.registry()?;
    let site = Site {
        geo,
        positions,
        log,
    };
    match service {
        Service::Orders => {
            migrate(&orders::MIGRATIONS, fresh).await?;
            let service = orders::service(&settings).await?;
            site.build(service, fresh, |_| None).await
        }
        Service::Notifier => {
            migrate(&notifier::MIGRATIONS, fresh).await?;
            let service = notifier::service(&settings).await?;
            site.build(service, fresh, |_| None).await
        }
        Service::Payments | Service::Assignment => {
            migrate(&payments::MIGRATIONS, fresh).await?;
            let service = payments::service(&settings).await?;
            let answers = answers(log, &settings.registry.url, geo).await?;
            let answer = |call: &Call| {
                answers
                    .get(&(call.order_id(), call.operation() == Operation::Refund))
                    .cloned()
            };
            site.build(service, fresh, answer).await
        }
    }
}

async fn migrate(migrations: &Migrator, fresh: &mut PgConnection) -> Result<()> {
    for migration in migrations.iter() {
        let sql = AssertSqlSafe(migration.sql.as_str().to_owned());
        sqlx::raw_sql(sql).execute(&mut *fresh).await?;
    }
    Ok(())
}

/// Through the recorded ticks, repeated where positions are still in the topics, followed where they are not.
async fn assignment(
    geo: &Geo,
    positions: &[Position],
    (log, endpoints): (&Log, &Endpoints),
    fresh: &mut PgConnection,
) -> Result<Vec<String>> {
    let now = Utc::now();
    let history = now - HISTORY;
    let mut tape = Tape::open(log, &endpoints.registry()?, geo, now, history).await?;
    let (mut lane, mut differing, mut ticks) = (None, 0, 0);
    while let Some((tick, taken_at)) = tape.tick().await? {
        // Positions of telemetry are no more than where rejecting began.
        let read = |position: &Position| {
            if position.topic.starts_with("driver.locations.") {
                return true;
            }
            let told = tick
                .positions
                .iter()
                .find(|it| it.topic == position.topic && it.partition == position.partition);
            told.is_none_or(|told| told.offset <= position.next)
        };
        if !positions.iter().all(read) {
            break;
        }
        let told = tape.facts(&tick, taken_at).await?;
        let lane = match &mut lane {
            Some(lane) => lane,
            none => {
                let mut first = lane::Lane::new(geo.clone(), &tick)?;
                first.rerun.keep_writes();
                none.insert(first)
            }
        };
        if let Some(since) = lane.taken_over(&tick) {
            lane.take_over(&tick, since)?;
        }
        let limits = tape.limits(&tick);
        lane.hear(&mut tape, &limits, None, |_, _| {}).await?;
        differing += usize::from(!lane.repeat(&tick, &told).differs.is_empty());
        ticks += 1;
        store(lane, geo, fresh).await?;
    }
    let mut lane = lane.with_context(|| format!("no tick of {geo} is recorded"))?;
    let limits = tape.limits_of(|topic, partition| {
        let mut read = positions.iter();
        let read = read.find(|it| it.topic == topic && it.partition == partition);
        read.map_or(0, |it| it.next)
    });
    tape.read_facts(None).await?;
    lane.hear(&mut tape, &limits, None, |_, _| {}).await?;
    store(&mut lane, geo, fresh).await?;
    let mut notes = tape.gaps.clone();
    notes.push(format!(
        "{ticks} recorded ticks were repeated, {differing} of them told otherwise and were followed"
    ));
    Ok(notes)
}

async fn store(lane: &mut lane::Lane, geo: &Geo, fresh: &mut PgConnection) -> Result<()> {
    let mut tx = fresh.begin().await?;
    for writes in lane.rerun.take_writes() {
        let all = writes.store(geo.as_str(), &mut tx).await?;
        ensure!(all, "a driver would hold two orders at {}", writes.now);
    }
    Ok(tx.commit().await?)
}

/// What was read of a geo, and where from.
struct Site<'a> {
    geo: &'a Geo,
    positions: &'a [Position],
    log: &'a Log,
}

impl Site<'_> {
    /// By the processor, over everything that its lanes had read.
    async fn build<P: Processor>(
        &self,
        service: runtime::Service<P>,
        fresh: &mut PgConnection,
        answer: impl Fn(&P::Call) -> Option<P::Answer>,
    ) -> Result<Vec<String>> {
        let ours = |lane: &&Arc<Lane>| {
            let topic = &lane.sources[0].source.topic;
            topic.rsplit('.').next() == Some(self.geo.as_str())
        };
        let lanes: Vec<Arc<Lane>> = service.topology.lanes().filter(ours).cloned().collect();
        ensure!(!lanes.is_empty(), "the settings do not serve {}", self.geo);
        let (starts, notes) = self.starts()?;
        let limits: Vec<i64> = starts.iter().map(|start| start.end).collect();
        let (cursors, mut all) = Cursors::open(self.log, starts)?;
        let progress = Progress::new("replaying");
        let mut tx = fresh.begin().await?;
        let begin = DateTime::UNIX_EPOCH;
        let mut rehearsal = Rehearsal::load(service.processor, &lanes, begin, &mut tx).await?;
        let mut applied = 0;
        while let Some((_, stored)) = cursors.take(&mut all, &limits, None)? {
            progress.read();
            // Timers of the beginning count from the first message on.
            if applied > 0 {
                fire(&mut rehearsal, stored.at, &answer, &mut tx).await?;
            } else {
                rehearsal.forget_timers();
            }
            let heard = Heard {
                topic: &stored.topic,
                partition: stored.partition,
                offset: stored.offset,
                timestamp_ms: stored.at.timestamp_millis(),
                key: stored.key.as_deref(),
                value: stored.value.as_deref(),
                headers: &stored.headers,
            };
            let asked = rehearsal.hear(&heard, stored.at, &mut tx).await?;
            reply(
                &mut rehearsal,
                asked.unwrap_or_default(),
                stored.at,
                &answer,
                &mut tx,
            )
            .await?;
            applied += 1;
            if applied % BATCH == 0 {
                tx.commit().await?;
                tx = fresh.begin().await?;
            }
        }
        fire(&mut rehearsal, Utc::now(), &answer, &mut tx).await?;
        tx.commit().await?;
        Ok(notes)
    }

    /// From the beginning of the topics to the positions.
    fn starts(&self) -> Result<(Vec<Start>, Vec<String>)> {
        let (mut starts, mut cut) = (Vec::new(), BTreeMap::<&str, usize>::new());
        let topics = self.log.topics()?;
        for Position {
            topic,
            partition,
            next,
        } in self.positions
        {
            let partitions = topics.get(topic).copied();
            let partitions = partitions.with_context(|| format!("there is no topic {topic}"))?;
            let low = self.log.offsets(topic, partitions, Offset::Beginning)?;
            let low = low.get(partition).copied().unwrap_or(0);
            if low > 0 {
                *cut.entry(topic.as_str()).or_default() += 1;
            }
            starts.push(Start {
                topic: topic.clone(),
                partition: *partition,
                offset: low.min(*next),
                end: *next,
            });
        }
        let cut = cut.into_iter().map(|(topic, partitions)| {
            format!("{topic}: retention has deleted the beginning of {partitions} partitions; what was made from it is only live")
        });
        Ok((starts, cut.collect()))
    }
}

/// Lets every timer fire that is due before `until`.
async fn fire<P: Processor>(
    rehearsal: &mut Rehearsal<P>,
    until: DateTime<Utc>,
    answer: &impl Fn(&P::Call) -> Option<P::Answer>,
    tx: &mut PgConnection,
) -> Result<()> {
    while let Some(asked) = rehearsal.fire(until, tx).await? {
        reply(rehearsal, asked, until, answer, tx).await?;
    }
    Ok(())
}

/// Answers calls as far as answers are known, and those that follow from the answers.
async fn reply<P: Processor>(
    rehearsal: &mut Rehearsal<P>,
    mut asked: Vec<runtime::rehearsal::Asked<P>>,
    now: DateTime<Utc>,
    answer: &impl Fn(&P::Call) -> Option<P::Answer>,
    tx: &mut PgConnection,
) -> Result<()> {
    while let Some((lane, call)) = asked.pop() {
        if let Some(answer) = answer(&call) {
            asked.extend(rehearsal.answer(&lane, answer, now, tx).await?);
        }
    }
    Ok(())
}

/// What the gateway said, as payments told it: by order, and whether it is about the refund.
async fn answers(log: &Log, registry: &str, geo: &Geo) -> Result<HashMap<(Uuid, bool), Answer>> {
    let topic = Topic::of::<PaymentsEvent>(geo).to_string();
    let partitions = log.topics()?.get(&topic).copied();
    let partitions = partitions.with_context(|| format!("there is no topic {topic}"))?;
    let mut payloads = Vec::new();
    let progress = Progress::new("reading answers of the gateway");
    log.read(&topic, partitions, None, &progress, |stored| {
        payloads.extend(stored.value);
    })?;
    let codec = Codec::connect(registry, &[]).await?;
    let mut answers = HashMap::new();
    for payload in payloads {
        if codec.prepare(&payload).await.is_err() {
            continue;
        }
        let Ok(event) = codec.decode::<PaymentsEvent>(&payload) else {
            continue;
        };
        let (order_id, operation, outcome) = match event {
            PaymentsEvent::PaymentCaptured(it) => {
                let (reference, at) = (it.gateway_reference, it.captured_at);
                (
                    it.order_id,
                    Operation::Capture,
                    Outcome::Captured { reference, at },
                )
            }
            // Given up without the gateway's word: its own timer says so again.
            PaymentsEvent::PaymentDeclined(it) if it.reason == DeclineReason::Expired => continue,
            PaymentsEvent::PaymentDeclined(it) => {
                let outcome = Outcome::Declined {
                    invalid: it.reason == DeclineReason::Invalid,
                    code: it.code.unwrap_or_default(),
                    message: it.message,
                };
                (it.order_id, Operation::Capture, outcome)
            }
            PaymentsEvent::PaymentRefunded(it) => {
                let (reference, at) = (it.gateway_reference, it.refunded_at);
                (
                    it.order_id,
                    Operation::Refund,
                    Outcome::Refunded { reference, at },
                )
            }
            PaymentsEvent::PaymentDelayed(_) => continue,
        };
        let answer = Answer {
            order_id,
            operation,
            outcome,
        };
        answers.insert((order_id, operation == Operation::Refund), answer);
    }
    Ok(answers)
}
