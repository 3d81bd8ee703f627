//! Commitments of drivers to orders: what goes into `assignments` and `active_trips`, or is refused.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use dispatch::OrderId;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryScalar;
use sqlx::{Connection, PgConnection, Postgres};
use uuid::Uuid;

use super::{OfGeo, StoreError, is_taken, release};
use crate::book::Commitment;
use crate::metric;
use crate::units::stored;

/// Stores commitments, and returns the orders whose drivers belong to another geo, by a trip or because they came on duty there
/// since: those are not stored.
///
/// `active_trips`, `drivers` and the unique indexes decide; a driver or order that is taken in its own geo is a miss.
pub async fn commit<'a>(
    tx: &mut PgConnection,
    commitments: &[OfGeo<'a, Commitment<'_>>],
) -> Result<BTreeSet<(&'a str, OrderId)>, StoreError> {
    let mut rows: Vec<_> = commitments.to_vec();
    rows.sort_by(|a, b| {
        a.1.assignment
            .driver_id
            .cmp(&b.1.assignment.driver_id)
            .then(a.0.cmp(b.0))
            .then(a.1.assignment.position.cmp(&b.1.assignment.position))
    });
    if rows.is_empty() {
        return Ok(BTreeSet::new());
    }
    let stored = insert(tx, &rows).await?;
    metric::checked("exclusive_in_tables", rows.len() as u64, 0);
    let is_taken = |(_, row): &&OfGeo<'_, Commitment<'_>>| {
        !stored.contains(&row.assignment.request.order_id.0)
    };
    let taken: Vec<_> = rows.iter().filter(is_taken).cloned().collect();
    if !taken.is_empty() {
        if contradicts(tx, &taken).await? {
            metric::checked("exclusive_in_tables", 0, 1);
            return Err(StoreError::Missed {
                table: "assignments",
                expected: rows.len(),
                rows: rows.len() - taken.len(),
            });
        }
        release(tx, &Commitments::of(&rows).drivers).await?;
    }
    let refused = taken.iter();
    Ok(refused
        .map(|(geo, row)| (*geo, row.assignment.request.order_id))
        .collect())
}

/// Whether any of those who could not be had is held in his own geo. Who holds him elsewhere may have let him go a moment
/// ago; who holds him here is a contradiction.
async fn contradicts(
    tx: &mut PgConnection,
    taken: &[OfGeo<'_, Commitment<'_>>],
) -> Result<bool, StoreError> {
    let statement = "SELECT EXISTS (SELECT FROM assignments a \
        JOIN UNNEST($1::text[], $2::text[], $3::uuid[], $4::smallint[], $5::uuid[]) \
            AS u(geo, driver_id, trip_id, trip_position, order_id) ON a.geo = u.geo \
        WHERE a.active AND (a.order_id = u.order_id OR a.driver_id = u.driver_id \
            AND (a.trip_id <> u.trip_id OR a.trip_position = u.trip_position)))";
    let taken = Commitments::of(taken);
    let query = sqlx::query_scalar(statement)
        .bind(taken.geos)
        .bind(taken.drivers)
        .bind(taken.trips)
        .bind(taken.positions)
        .bind(taken.orders);
    Ok(query.fetch_one(tx).await?)
}

/// The insertion of commitments, with what to do where a driver has a trip, and where an order or a place of a trip is taken.
macro_rules! insert_commitments {
    ($trip:literal, $order:literal) => {
        concat!(
            "WITH input AS ( \
            SELECT * FROM (SELECT UNNEST($1::text[]) AS geo, UNNEST($2::uuid[]) AS order_id, \
                UNNEST($3::int[]) AS order_version, UNNEST($4::int[]) AS attempt, UNNEST($5::text[]) AS driver_id, \
                UNNEST($6::timestamptz[]) AS decided_at, UNNEST($7::timestamptz[]) AS arrives_at, \
                UNNEST($8::uuid[]) AS trip_id, UNNEST($9::smallint[]) AS trip_position, \
                UNNEST($10::timestamptz[]) AS duty_at) AS u \
            WHERE NOT EXISTS (SELECT FROM drivers e WHERE e.driver_id = u.driver_id AND e.geo <> u.geo AND e.on_duty \
                AND e.duty_at > u.duty_at) \
        ), held AS ( \
            INSERT INTO active_trips AS t (driver_id, geo, trip_id) \
            SELECT DISTINCT ON (driver_id) driver_id, geo, trip_id FROM input ORDER BY driver_id, geo ",
            $trip,
            " RETURNING driver_id, trip_id \
        ) \
        INSERT INTO assignments (geo, order_id, order_version, attempt, driver_id, version, active, phase, \
            phase_at, decided_at, arrives_at, trip_id, trip_position) \
        SELECT u.geo, u.order_id, u.order_version, u.attempt, u.driver_id, 1, true, 'offered', \
            u.decided_at, u.decided_at, u.arrives_at, u.trip_id, u.trip_position \
        FROM input u JOIN held USING (driver_id, trip_id) ",
            $order,
            " RETURNING order_id"
        )
    };
}

/// Fails where anything is taken. That is rare, and a row that need not look whether it is costs a quarter less.
const INSERT_ALL: &str = insert_commitments!("", "");
const INSERT_POSSIBLE: &str = insert_commitments!(
    "ON CONFLICT (driver_id) DO UPDATE SET trip_id = t.trip_id WHERE t.trip_id = EXCLUDED.trip_id",
    "ON CONFLICT DO NOTHING"
);

/// So many rows and more are tried as a whole first: with fewer it costs less to look than to set a savepoint.
const MANY: usize = 50;

/// Inserts the orders of those drivers who can be had for their trips; returns the orders that went in.
async fn insert(
    tx: &mut PgConnection,
    rows: &[OfGeo<'_, Commitment<'_>>],
) -> Result<BTreeSet<Uuid>, StoreError> {
    let columns = Commitments::of(rows);
    if rows.len() >= MANY {
        let mut attempt = tx.begin().await?;
        match columns.bind(INSERT_ALL).fetch_all(&mut *attempt).await {
            Err(error) if is_taken(&error) => attempt.rollback().await?,
            inserted => {
                let orders = inserted?;
                attempt.commit().await?;
                return Ok(orders.into_iter().collect());
            }
        }
    }
    let orders = columns.bind(INSERT_POSSIBLE).fetch_all(tx).await?;
    Ok(orders.into_iter().collect())
}

/// Commitments by column.
#[derive(Default)]
struct Commitments<'a> {
    geos: Vec<&'a str>,
    orders: Vec<Uuid>,
    order_versions: Vec<i32>,
    attempts: Vec<i32>,
    drivers: Vec<&'a str>,
    decided: Vec<DateTime<Utc>>,
    arrives: Vec<DateTime<Utc>>,
    trips: Vec<Uuid>,
    positions: Vec<i16>,
    duties: Vec<Option<DateTime<Utc>>>,
}

impl<'a> Commitments<'a> {
    fn of(rows: &[OfGeo<'a, Commitment<'a>>]) -> Self {
        let mut columns = Self::default();
        for (geo, row) in rows {
            let assignment = row.assignment;
            columns.geos.push(geo);
            columns.orders.push(assignment.request.order_id.0);
            columns.order_versions.push(row.order_version);
            columns.attempts.push(assignment.request.attempt as i32);
            columns.drivers.push(assignment.driver_id.as_str());
            columns.decided.push(stored(assignment.decided_at));
            columns.arrives.push(stored(assignment.arrives_at));
            columns.trips.push(assignment.trip_id.0);
            columns.positions.push(i16::from(assignment.position));
            columns.duties.push(row.duty_at.map(stored));
        }
        columns
    }

    fn bind(&self, statement: &'static str) -> QueryScalar<'_, Postgres, Uuid, PgArguments> {
        let query = sqlx::query_scalar(statement)
            .bind(&self.geos)
            .bind(&self.orders)
            .bind(&self.order_versions)
            .bind(&self.attempts)
            .bind(&self.drivers);
        query
            .bind(&self.decided)
            .bind(&self.arrives)
            .bind(&self.trips)
            .bind(&self.positions)
            .bind(&self.duties)
    }
}
