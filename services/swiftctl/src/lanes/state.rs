//! A lane as both logs have it.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use rdkafka::consumer::Consumer;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::log::{Log, TIMEOUT};
use crate::progress::Progress;

/// Topic and partition.
pub type Source = (String, i32);

/// What PostgreSQL and Kafka say about a lane.
#[derive(Debug, Clone)]
pub struct LaneState {
    pub service: String,
    pub lane: String,
    pub version: i64,
    pub epoch: i64,
    pub seq: i64,
    pub refused: Option<String>,
    pub refused_at: Option<DateTime<Utc>>,
    /// Numbers of its outbox rows, ascending.
    pub outbox: Vec<i64>,
    pub sources: BTreeMap<Source, Position>,
}

/// How far a lane is in one of its sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Next offset to apply, by PostgreSQL.
    pub next: i64,
    /// What the group has committed, and the row number in it.
    pub committed: Option<(i64, Option<i64>)>,
    /// First offset still in the log, and the one after the last stable record.
    pub first: i64,
    pub end: i64,
}

impl LaneState {
    /// Number of the last published row, by Kafka.
    pub fn published(&self) -> Option<i64> {
        let committed = self.sources.values().filter_map(|source| source.committed);
        committed.filter_map(|(_, seq)| seq).max()
    }

    pub fn is_of(&self, geo: &str) -> bool {
        let topic = self
            .lane
            .rsplit_once('/')
            .map_or(self.lane.as_str(), |(topic, _)| topic);
        topic == geo || topic.rsplit('.').next() == Some(geo)
    }

    /// Sources that are applied and not applied to their end. One without a commit, while others have some, is telemetry that
    /// is only observed and has no position worth the name.
    pub fn late_sources(&self) -> impl Iterator<Item = &Source> {
        let any = self.published().is_some();
        let late = move |source: &Position| {
            source.next < source.end && (source.committed.is_some() || !any)
        };
        self.sources
            .iter()
            .filter(move |(_, position)| late(position))
            .map(|(source, _)| source)
    }

    /// Messages not applied, counted by offsets, which markers of transactions take some of.
    pub fn lag(&self, oldest: &Oldest) -> i64 {
        let lag = |source: &Source| self.sources[source].end - self.sources[source].next;
        let late = self
            .late_sources()
            .filter(|source| oldest.contains_key(*source));
        late.map(lag).sum()
    }
}

/// The schemas that hold a runtime's tables.
pub async fn services(db: &mut PgConnection) -> Result<Vec<String>> {
    let found = sqlx::query_scalar(
        "SELECT table_schema::text FROM information_schema.tables \
         WHERE table_name IN ('lanes', 'positions', 'outbox') GROUP BY 1 HAVING count(*) = 3 ORDER BY 1",
    );
    found
        .fetch_all(db)
        .await
        .context("PostgreSQL's schemas cannot be read")
}

/// Quotes a schema's name, which comes from the command line.
pub fn quoted(schema: &str) -> String {
    format!("\"{}\"", schema.replace('"', "\"\""))
}

/// All lanes of a service.
pub async fn read(
    db: &mut PgConnection,
    log: &Log,
    service: &str,
    group: &str,
) -> Result<Vec<LaneState>> {
    let mut lanes = of_postgres(db, service)
        .await
        .with_context(|| format!("the lanes of {service} cannot be read"))?;
    let all: Vec<Source> = lanes
        .values()
        .flat_map(|lane| lane.sources.keys().cloned())
        .collect();
    let offsets = of_kafka(log, group, &all)?;
    for lane in lanes.values_mut() {
        for (source, position) in &mut lane.sources {
            if let Some(kafka) = offsets.get(source) {
                *position = Position {
                    next: position.next,
                    ..*kafka
                };
            }
        }
    }
    Ok(lanes.into_values().collect())
}

async fn of_postgres(
    db: &mut PgConnection,
    service: &str,
) -> sqlx::Result<BTreeMap<String, LaneState>> {
    let schema = quoted(service);
    let mut lanes = BTreeMap::new();
    let sql = format!("SELECT lane, version, epoch, seq, refused, refused_at FROM {schema}.lanes");
    for row in sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *db).await? {
        let lane: String = row.try_get(0)?;
        let state = LaneState {
            service: service.to_owned(),
            lane: lane.clone(),
            version: row.try_get(1)?,
            epoch: row.try_get(2)?,
            seq: row.try_get(3)?,
            refused: row.try_get(4)?,
            refused_at: row.try_get(5)?,
            outbox: Vec::new(),
            sources: BTreeMap::new(),
        };
        lanes.insert(lane, state);
    }
    let sql = format!("SELECT lane, topic, partition, next_offset FROM {schema}.positions");
    for row in sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *db).await? {
        if let Some(lane) = lanes.get_mut(row.try_get::<&str, _>(0)?) {
            let next = row.try_get(3)?;
            let position = Position {
                next,
                committed: None,
                first: 0,
                end: 0,
            };
            lane.sources
                .insert((row.try_get(1)?, row.try_get(2)?), position);
        }
    }
    let sql = format!("SELECT lane, seq FROM {schema}.outbox ORDER BY lane, seq");
    for row in sqlx::query(AssertSqlSafe(sql)).fetch_all(&mut *db).await? {
        if let Some(lane) = lanes.get_mut(row.try_get::<&str, _>(0)?) {
            lane.outbox.push(row.try_get(1)?);
        }
    }
    Ok(lanes)
}

/// What the group has committed, and the bounds of the logs.
fn of_kafka(log: &Log, group: &str, sources: &[Source]) -> Result<HashMap<Source, Position>> {
    if sources.is_empty() {
        return Ok(HashMap::new());
    }
    let list = |offset: Offset| {
        let mut list = TopicPartitionList::new();
        for (topic, partition) in sources {
            list.add_partition_offset(topic, *partition, offset)?;
        }
        anyhow::Ok(list)
    };
    let mut config: ClientConfig = log.config().clone();
    config.set("group.id", group);
    let consumer: rdkafka::consumer::BaseConsumer = config.create().context("a Kafka consumer")?;
    let committed = consumer.committed_offsets(list(Offset::Invalid)?, TIMEOUT);
    let committed = committed.with_context(|| format!("the offsets of group {group}"))?;
    // The broker takes "beginning" and "end" as times too; the end is the last stable record's.
    let first = consumer.offsets_for_times(list(Offset::Beginning)?, TIMEOUT)?;
    let end = consumer.offsets_for_times(list(Offset::End)?, TIMEOUT)?;
    let mut positions: HashMap<Source, Position> = HashMap::new();
    for element in committed.elements() {
        let commit = match element.offset() {
            Offset::Offset(offset) => Some((offset, number(element.metadata()))),
            _ => None,
        };
        let position = Position {
            next: 0,
            committed: commit,
            first: 0,
            end: 0,
        };
        positions.insert((element.topic().to_owned(), element.partition()), position);
    }
    for (bound, list) in [(true, &first), (false, &end)] {
        for element in list.elements() {
            let source = (element.topic().to_owned(), element.partition());
            if let (Some(position), Offset::Offset(offset)) =
                (positions.get_mut(&source), element.offset())
            {
                *(if bound {
                    &mut position.first
                } else {
                    &mut position.end
                }) = offset;
            }
        }
    }
    Ok(positions)
}

/// The row number in a commit's metadata, `seq=<number>`.
fn number(metadata: &str) -> Option<i64> {
    metadata.strip_prefix("seq=")?.parse().ok()
}

/// When the first record that is not applied was written, by source; none where only markers of transactions are left.
pub type Oldest = HashMap<Source, DateTime<Utc>>;

pub fn oldest(log: &Log, lanes: &[LaneState], progress: &Progress) -> Result<Oldest> {
    let mut by_topic: BTreeMap<&str, Vec<(i32, i64)>> = BTreeMap::new();
    for lane in lanes {
        for source in lane.late_sources() {
            let position = lane.sources[source];
            let next = position.next.max(position.first);
            by_topic
                .entry(&source.0)
                .or_default()
                .push((source.1, next));
        }
    }
    let mut oldest = Oldest::new();
    for (topic, from) in by_topic {
        log.first(topic, &from, |stored| {
            progress.read();
            oldest.insert((stored.topic, stored.partition), stored.at);
        })?;
    }
    Ok(oldest)
}
