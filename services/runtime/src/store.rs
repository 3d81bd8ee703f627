//! The runtime's rows in PostgreSQL: lanes, positions and the outbox, always in the transaction of the service's state.
//!
//! All statements are set-based: a cycle costs the same few round trips whatever the number of its lanes and records.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Connection, PgConnection, Row};
use thiserror::Error;

use crate::config::PostgresSettings;
use crate::lane::{Lane, LaneId};

static MIGRATIONS: Migrator = sqlx::migrate!("../../migrations/runtime");

/// PostgreSQL could not be prepared for a service.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("postgres.url: {0}")]
    Url(#[source] sqlx::Error),
    #[error("PostgreSQL: {0}")]
    Connect(#[source] sqlx::Error),
    #[error("migrating schema {schema}: {error}")]
    Migrate { schema: String, error: MigrateError },
}

/// Whether the same statement may succeed later: by SQLSTATE, never by text.
pub(crate) fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| {
            // Connection, rollback (deadlock, serialisation), resources, operator intervention, system error; a lock that
            // was not to be had; a server that is (still) read-only.
            ["08", "40", "53", "57", "58"]
                .iter()
                .any(|class| code.starts_with(class))
                || code == "55P03"
                || code == "25006"
                || code == "25P03"
        }),
        _ => false,
    }
}

/// Connects, creates the service's schema, and brings the runtime's and the service's tables up to date.
pub async fn open(
    settings: &PostgresSettings,
    schema: &str,
    service: &Migrator,
) -> Result<PgPool, StoreError> {
    let options = PgConnectOptions::from_str(&settings.url)
        .map_err(StoreError::Url)?
        .application_name(schema)
        .options([
            ("search_path", schema.to_owned()),
            (
                "statement_timeout",
                settings.statement_timeout_ms.to_string(),
            ),
            ("lock_timeout", settings.lock_timeout_ms.to_string()),
            (
                "idle_in_transaction_session_timeout",
                settings.idle_in_transaction_session_timeout_ms.to_string(),
            ),
            ("synchronous_commit", "on".to_owned()),
            // A session plans each statement once and keeps the plan. Made while a table was small, it would read the whole
            // table for as long as the session lives, or until its statistics are next gathered; by keys it stays right.
            ("plan_cache_mode", "force_generic_plan".to_owned()),
            ("enable_seqscan", "off".to_owned()),
            // A table that has to be read whole counts as dear without measure, which would have it compiled.
            ("jit", "off".to_owned()),
            // Never a replica: a position read there could be old.
            ("default_transaction_read_only", "off".to_owned()),
        ]);
    let mut connection = PgConnection::connect_with(&options)
        .await
        .map_err(StoreError::Connect)?;
    let create = format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(schema));
    // Two instances starting together race for the schema; one of them finds it there.
    let created = sqlx::query(sqlx::AssertSqlSafe(create))
        .execute(&mut connection)
        .await;
    created.map(drop).or_else(|error| {
        is_duplicate(&error)
            .then_some(())
            .ok_or(StoreError::Connect(error))
    })?;
    migrate(&mut connection, schema, &MIGRATIONS, "_runtime_migrations").await?;
    migrate(&mut connection, schema, service, "_migrations").await?;
    connection.close().await.map_err(StoreError::Connect)?;
    // One connection works; the second is for the moment in which the first is being given up.
    let pool = PgPoolOptions::new()
        .max_connections(2)
        .test_before_acquire(false)
        .acquire_timeout(Duration::from_secs(5));
    Ok(pool.connect_lazy_with(options))
}

fn is_duplicate(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code == "23505" || code == "42P06")
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

async fn migrate(
    connection: &mut PgConnection,
    schema: &str,
    migrations: &Migrator,
    table: &'static str,
) -> Result<(), StoreError> {
    let mut migrations = Migrator::with_migrations(migrations.iter().cloned().collect());
    migrations.dangerous_set_table_name(table);
    let failed = |error| StoreError::Migrate {
        schema: schema.to_owned(),
        error,
    };
    migrations.run(connection).await.map_err(failed)
}

/// A lane's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LaneRow {
    pub(crate) version: i64,
    pub(crate) epoch: i64,
    pub(crate) seq: i64,
}

/// An outbox row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OutboxRow {
    pub(crate) seq: i64,
    pub(crate) records: Vec<u8>,
}

/// A lane as recovery finds it.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) row: LaneRow,
    /// Positions on record, by topic and partition.
    pub(crate) positions: BTreeMap<(String, i32), i64>,
    /// Outbox rows, ascending.
    pub(crate) outbox: Vec<OutboxRow>,
}

/// Recovery: takes the lanes (creating what is new), which fences every other owner, and reads what they hold.
pub(crate) async fn take(
    tx: &mut PgConnection,
    lanes: &[LaneId],
) -> Result<BTreeMap<LaneId, Taken>, sqlx::Error> {
    let ids: Vec<&str> = lanes.iter().map(LaneId::as_str).collect();
    sqlx::query("INSERT INTO lanes (lane) SELECT * FROM UNNEST($1::text[]) ON CONFLICT DO NOTHING")
        .bind(&ids)
        .execute(&mut *tx)
        .await?;
    // In the order of their names, so that two instances that recover overlapping sets cannot deadlock.
    sqlx::query("SELECT 1 FROM lanes WHERE lane = ANY($1::text[]) ORDER BY lane FOR UPDATE")
        .bind(&ids)
        .execute(&mut *tx)
        .await?;
    let rows = sqlx::query(
        "UPDATE lanes SET epoch = epoch + 1, version = version + 1, refused = NULL, refused_at = NULL
         WHERE lane = ANY($1::text[])
         RETURNING lane, version, epoch, seq",
    )
    .bind(&ids)
    .fetch_all(&mut *tx)
    .await?;
    let mut taken = BTreeMap::new();
    for row in rows {
        let lane = LaneRow {
            version: row.try_get(1)?,
            epoch: row.try_get(2)?,
            seq: row.try_get(3)?,
        };
        let id = LaneId::new(row.try_get::<String, _>(0)?);
        taken.insert(
            id,
            Taken {
                row: lane,
                positions: BTreeMap::new(),
                outbox: Vec::new(),
            },
        );
    }
    let positions = sqlx::query(
        "SELECT lane, topic, partition, next_offset FROM positions WHERE lane = ANY($1::text[])",
    )
    .bind(&ids)
    .fetch_all(&mut *tx)
    .await?;
    for row in positions {
        if let Some(lane) = taken.get_mut(&LaneId::new(row.try_get::<String, _>(0)?)) {
            lane.positions
                .insert((row.try_get(1)?, row.try_get(2)?), row.try_get(3)?);
        }
    }
    let outbox = sqlx::query(
        "SELECT lane, seq, records FROM outbox WHERE lane = ANY($1::text[]) ORDER BY lane, seq",
    )
    .bind(&ids)
    .fetch_all(&mut *tx)
    .await?;
    for row in outbox {
        if let Some(lane) = taken.get_mut(&LaneId::new(row.try_get::<String, _>(0)?)) {
            lane.outbox.push(OutboxRow {
                seq: row.try_get(1)?,
                records: row.try_get(2)?,
            });
        }
    }
    Ok(taken)
}

/// Puts on record why a lane is not run, unless it has been taken since. Says whether it did.
pub(crate) async fn refuse(
    db: &PgPool,
    lane: &LaneId,
    epoch: i64,
    reason: &str,
) -> Result<bool, sqlx::Error> {
    let refused = sqlx::query(
        "UPDATE lanes SET refused = $3, refused_at = now() WHERE lane = $1 AND epoch = $2",
    );
    let refused = refused.bind(lane.as_str()).bind(epoch).bind(reason);
    Ok(refused.execute(db).await?.rows_affected() == 1)
}

/// Those of the lanes whose refusal has been cleared.
pub(crate) async fn unrefused(db: &PgPool, lanes: &[LaneId]) -> Result<Vec<LaneId>, sqlx::Error> {
    let ids: Vec<&str> = lanes.iter().map(LaneId::as_str).collect();
    let found: Vec<String> = sqlx::query_scalar(
        "SELECT lane FROM lanes WHERE lane = ANY($1::text[]) AND refused IS NULL",
    )
    .bind(ids)
    .fetch_all(db)
    .await?;
    Ok(found.into_iter().map(LaneId::new).collect())
}

/// Records the start positions of source partitions that a lane has never read.
pub(crate) async fn begin_positions(
    tx: &mut PgConnection,
    starts: &[(LaneId, Arc<str>, i32, i64)],
) -> Result<(), sqlx::Error> {
    if starts.is_empty() {
        return Ok(());
    }
    let (lanes, topics, partitions, offsets) = columns(starts);
    sqlx::query(
        "INSERT INTO positions (lane, topic, partition, next_offset)
         SELECT * FROM UNNEST($1::text[], $2::text[], $3::int[], $4::bigint[])",
    )
    .bind(lanes)
    .bind(topics)
    .bind(partitions)
    .bind(offsets)
    .execute(tx)
    .await
    .map(drop)
}

type PositionColumns<'a> = (Vec<&'a str>, Vec<&'a str>, Vec<i32>, Vec<i64>);

fn columns(positions: &[(LaneId, Arc<str>, i32, i64)]) -> PositionColumns<'_> {
    let mut columns = PositionColumns::default();
    for (lane, topic, partition, offset) in positions {
        columns.0.push(lane.as_str());
        columns.1.push(topic);
        columns.2.push(*partition);
        columns.3.push(*offset);
    }
    columns
}

/// First statement of every cycle: moves the lanes' versions. Returns how many were where they were believed to be; fewer
/// than asked for means that some lane has another owner, and that nothing may be written.
pub(crate) async fn fence(
    tx: &mut PgConnection,
    lanes: &[(&Arc<Lane>, i64, i64)],
) -> Result<u64, sqlx::Error> {
    let ids: Vec<&str> = lanes.iter().map(|(lane, ..)| lane.id.as_str()).collect();
    let versions: Vec<i64> = lanes.iter().map(|(_, version, _)| *version).collect();
    let epochs: Vec<i64> = lanes.iter().map(|(.., epoch)| *epoch).collect();
    let moved = sqlx::query(
        "UPDATE lanes SET version = lanes.version + 1
         FROM UNNEST($1::text[], $2::bigint[], $3::bigint[]) AS held (lane, version, epoch)
         WHERE lanes.lane = held.lane AND lanes.version = held.version AND lanes.epoch = held.epoch",
    )
    .bind(ids).bind(versions).bind(epochs).execute(tx).await?;
    Ok(moved.rows_affected())
}

/// What a cycle leaves behind, for all of its lanes.
#[derive(Debug, Default)]
pub(crate) struct Settlement {
    pub(crate) positions: Vec<(LaneId, Arc<str>, i32, i64)>,
    /// New rows.
    pub(crate) rows: Vec<(LaneId, i64, Arc<Vec<u8>>)>,
    /// Rows up to these numbers are known to be published.
    pub(crate) published: Vec<(LaneId, i64)>,
}

/// Last statement of every cycle: positions, new rows and their numbers, and the deletion of published ones.
pub(crate) async fn settle(
    tx: &mut PgConnection,
    settlement: &Settlement,
) -> Result<(), sqlx::Error> {
    let (lanes, topics, partitions, offsets) = columns(&settlement.positions);
    let row_lanes: Vec<&str> = settlement
        .rows
        .iter()
        .map(|(lane, ..)| lane.as_str())
        .collect();
    let row_seqs: Vec<i64> = settlement.rows.iter().map(|(_, seq, _)| *seq).collect();
    let rows: Vec<&[u8]> = settlement
        .rows
        .iter()
        .map(|(.., row)| row.as_slice())
        .collect();
    let done_lanes: Vec<&str> = settlement
        .published
        .iter()
        .map(|(lane, _)| lane.as_str())
        .collect();
    let done_seqs: Vec<i64> = settlement.published.iter().map(|(_, seq)| *seq).collect();
    sqlx::query(
        "WITH moved AS (
             UPDATE positions SET next_offset = at.next_offset
             FROM UNNEST($1::text[], $2::text[], $3::int[], $4::bigint[]) AS at (lane, topic, partition, next_offset)
             WHERE positions.lane = at.lane AND positions.topic = at.topic AND positions.partition = at.partition
         ), emitted AS (
             INSERT INTO outbox (lane, seq, records) SELECT * FROM UNNEST($5::text[], $6::bigint[], $7::bytea[])
         ), numbered AS (
             UPDATE lanes SET seq = row.seq FROM UNNEST($5::text[], $6::bigint[]) AS row (lane, seq)
             WHERE lanes.lane = row.lane
         )
         DELETE FROM outbox USING UNNEST($8::text[], $9::bigint[]) AS done (lane, seq)
         WHERE outbox.lane = done.lane AND outbox.seq <= done.seq",
    )
    .bind(lanes).bind(topics).bind(partitions).bind(offsets)
    .bind(row_lanes).bind(row_seqs).bind(rows)
    .bind(done_lanes).bind(done_seqs)
    .execute(tx).await.map(drop)
}
