//! The tables of assignment, in sets: one statement per kind of change and cycle, over all lanes of the cycle.
//!
//! Every change is a compare-and-set on the row's version. The lane's owner is alone in writing its rows, so a miss means
//! that memory and tables differ: nothing of that cycle may become known. Rows come sorted, so that cycles of different
//! instances, which meet only in `active_trips` and the unique indexes of `assignments`, wait for each other in one order.

mod commitments;
mod drives;
mod load;
mod orders;

use chrono::{DateTime, Utc};
use dispatch::Shift;
use runtime::ApplyError;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{PgConnection, Postgres, Row};
use thiserror::Error;

use crate::book::{Changes, DriverRow, EndedRow};
use crate::metric;
use crate::units::stored;

pub use commitments::commit;
pub use load::{StoredLane, load, recall};
pub use orders::purge;

/// Why a change could not be stored.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Memory and tables differ: the lane must be loaded again.
    #[error("{rows} of {expected} rows of {table} were as expected")]
    Missed {
        table: &'static str,
        expected: usize,
        rows: usize,
    },
    /// The tables hold what no cycle writes.
    #[error("{table}: {problem}")]
    Corrupt {
        table: &'static str,
        problem: String,
    },
}

impl From<StoreError> for ApplyError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Database(error) => error.into(),
            StoreError::Missed { .. } => Self::Transient(Box::new(error)),
            StoreError::Corrupt { .. } => Self::permanent(error),
        }
    }
}

/// A lane's part of a set: the name of its geo, and its rows.
pub type OfGeo<'a, T> = (&'a str, T);

/// Stores the ends of assignments. To be called before [`commit`]: drivers who became free may be taken again.
pub async fn end(tx: &mut PgConnection, rows: &[OfGeo<'_, EndedRow>]) -> Result<(), StoreError> {
    let mut geos = Vec::new();
    let (mut orders, mut order_versions, mut attempts, mut versions) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut phases, mut instants) = (Vec::new(), Vec::new());
    for (geo, row) in rows {
        geos.push(*geo);
        orders.push(row.order_id.0);
        order_versions.push(row.order_version);
        attempts.push(row.attempt as i32);
        versions.push(row.version);
        phases.push(row.phase);
        instants.push(stored(row.at));
    }
    let statement = "UPDATE assignments a SET active = false, version = a.version + 1, phase = u.phase, phase_at = u.phase_at \
        FROM (SELECT UNNEST($1::text[]) AS geo, UNNEST($2::uuid[]) AS order_id, UNNEST($3::int[]) AS order_version, \
            UNNEST($4::int[]) AS attempt, UNNEST($5::int[]) AS version, UNNEST($6::text[]) AS phase, \
            UNNEST($7::timestamptz[]) AS phase_at) AS u \
        WHERE a.geo = u.geo AND a.order_id = u.order_id AND a.order_version = u.order_version \
            AND a.attempt = u.attempt AND a.version = u.version AND a.active RETURNING a.driver_id";
    let expected = geos.len();
    if expected == 0 {
        return Ok(());
    }
    let query = sqlx::query_scalar(statement)
        .bind(geos)
        .bind(orders)
        .bind(order_versions)
        .bind(attempts);
    let drivers: Vec<String> = query
        .bind(versions)
        .bind(phases)
        .bind(instants)
        .fetch_all(&mut *tx)
        .await?;
    exactly("assignments", expected, drivers.len() as u64)?;
    release(tx, &drivers).await
}

/// Lets go of drivers whose trips have no order left.
async fn release(tx: &mut PgConnection, drivers: &[impl AsRef<str>]) -> Result<(), StoreError> {
    let drivers: Vec<&str> = drivers.iter().map(AsRef::as_ref).collect();
    let statement = "DELETE FROM active_trips t WHERE t.driver_id = ANY($1) AND NOT EXISTS ( \
        SELECT FROM assignments a WHERE a.driver_id = t.driver_id AND a.trip_id = t.trip_id AND a.active)";
    sqlx::query(statement).bind(drivers).execute(tx).await?;
    Ok(())
}

/// Stores everything but commitments and ends.
pub async fn save(
    tx: &mut PgConnection,
    lanes: &[OfGeo<'_, Changes>],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    advance(tx, lanes).await?;
    let drivers = |new: bool| {
        let rows = lanes
            .iter()
            .flat_map(|(geo, changes)| changes.drivers.iter().map(move |row| (*geo, row)));
        rows.filter(|(_, row)| (row.driver.row_version == 0) == new)
            .collect::<Vec<_>>()
    };
    save_drivers(tx, &drivers(true), INSERT_DRIVERS).await?;
    save_drivers(tx, &drivers(false), UPDATE_DRIVERS).await?;
    drives::save(tx, lanes).await?;
    orders::save(tx, lanes, now).await
}

async fn advance(tx: &mut PgConnection, lanes: &[OfGeo<'_, Changes>]) -> Result<(), StoreError> {
    let mut geos = Vec::new();
    let (mut orders, mut order_versions, mut attempts, mut versions) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut phases, mut instants, mut reported) = (Vec::new(), Vec::new(), Vec::new());
    for (geo, row) in lanes
        .iter()
        .flat_map(|(geo, changes)| changes.phases.iter().map(move |row| (*geo, row)))
    {
        geos.push(geo);
        orders.push(row.order_id.0);
        order_versions.push(row.order_version);
        attempts.push(row.attempt as i32);
        versions.push(row.version);
        phases.push(row.phase);
        instants.push(stored(row.at));
        reported.push(row.reported);
    }
    let statement = "UPDATE assignments a SET version = a.version + 1, phase = u.phase, phase_at = u.phase_at, \
            reported = u.reported \
        FROM (SELECT UNNEST($1::text[]) AS geo, UNNEST($2::uuid[]) AS order_id, UNNEST($3::int[]) AS order_version, \
            UNNEST($4::int[]) AS attempt, UNNEST($5::int[]) AS version, UNNEST($6::text[]) AS phase, \
            UNNEST($7::timestamptz[]) AS phase_at, UNNEST($8::bool[]) AS reported) AS u \
        WHERE a.geo = u.geo AND a.order_id = u.order_id AND a.order_version = u.order_version \
            AND a.attempt = u.attempt AND a.version = u.version AND a.active";
    let expected = geos.len();
    if expected == 0 {
        return Ok(());
    }
    let query = sqlx::query(statement)
        .bind(geos)
        .bind(orders)
        .bind(order_versions)
        .bind(attempts);
    let query = query
        .bind(versions)
        .bind(phases)
        .bind(instants)
        .bind(reported);
    change(tx, "assignments", expected, query).await
}

/// The bound columns of drivers as rows, for insertion and update alike.
macro_rules! given_drivers {
    () => {
        "(SELECT UNNEST($1::text[]) AS geo, UNNEST($2::text[]) AS driver_id, UNNEST($3::int[]) AS version, \
        UNNEST($4::text[]) AS status, UNNEST($5::bool[]) AS on_duty, UNNEST($6::timestamptz[]) AS duty_at, \
        UNNEST($7::timestamptz[]) AS shift_ends_at, UNNEST($8::timestamptz[]) AS free_since, \
        UNNEST($9::uuid[]) AS active_trip, UNNEST($10::float8[]) AS lat, UNNEST($11::float8[]) AS lon, \
        UNNEST($12::timestamptz[]) AS seen_at, UNNEST($13::timestamptz[]) AS last_drop_at, \
        UNNEST($14::float8[]) AS last_drop_lat, UNNEST($15::float8[]) AS last_drop_lon, \
        UNNEST($16::timestamptz[]) AS next_shift_starts_at, UNNEST($17::timestamptz[]) AS next_shift_ends_at, \
        UNNEST($18::float8[]) AS next_shift_lat, UNNEST($19::float8[]) AS next_shift_lon) AS u"
    };
}

const INSERT_DRIVERS: &str = concat!(
    "INSERT INTO drivers (geo, driver_id, version, status, on_duty, duty_at, shift_ends_at, \
        free_since, active_trip, lat, lon, seen_at, last_drop_at, last_drop_lat, last_drop_lon, \
        next_shift_starts_at, next_shift_ends_at, next_shift_lat, next_shift_lon) \
    SELECT geo, driver_id, version + 1, status, on_duty, duty_at, shift_ends_at, free_since, active_trip, lat, lon, seen_at, \
        last_drop_at, last_drop_lat, last_drop_lon, next_shift_starts_at, next_shift_ends_at, next_shift_lat, next_shift_lon \
    FROM ",
    given_drivers!(),
);

const UPDATE_DRIVERS: &str = concat!(
    "UPDATE drivers d SET version = d.version + 1, status = u.status, on_duty = u.on_duty, \
        duty_at = u.duty_at, shift_ends_at = u.shift_ends_at, free_since = u.free_since, \
        active_trip = u.active_trip, lat = u.lat, lon = u.lon, seen_at = u.seen_at, \
        last_drop_at = u.last_drop_at, last_drop_lat = u.last_drop_lat, last_drop_lon = u.last_drop_lon, \
        next_shift_starts_at = u.next_shift_starts_at, next_shift_ends_at = u.next_shift_ends_at, \
        next_shift_lat = u.next_shift_lat, next_shift_lon = u.next_shift_lon \
    FROM ",
    given_drivers!(),
    " WHERE d.geo = u.geo AND d.driver_id = u.driver_id AND d.version = u.version"
);

async fn save_drivers(
    tx: &mut PgConnection,
    rows: &[OfGeo<'_, &DriverRow>],
    statement: &'static str,
) -> Result<(), StoreError> {
    if rows.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&DriverRow) -> DateTime<Utc>| {
        rows.iter().map(|(_, row)| of(row)).collect::<Vec<_>>()
    };
    let seen = |of: fn(&dispatch::Point) -> f64| {
        rows.iter()
            .map(|(_, row)| row.driver.seen.map(|(point, _)| of(&point)))
            .collect::<Vec<_>>()
    };
    let dropped = |of: fn(&dispatch::Point) -> f64| {
        rows.iter()
            .map(|(_, row)| row.driver.last_drop.as_ref().map(|drop| of(&drop.customer)))
            .collect::<Vec<_>>()
    };
    let shift = |of: fn(&Shift) -> DateTime<Utc>| {
        rows.iter()
            .map(|(_, row)| row.driver.next_shift.as_deref().map(of))
            .collect::<Vec<_>>()
    };
    let begins = |of: fn(&dispatch::Point) -> f64| {
        rows.iter()
            .map(|(_, row)| row.driver.next_shift.as_ref().map(|shift| of(&shift.start)))
            .collect::<Vec<_>>()
    };
    let query = sqlx::query(statement)
        .bind(rows.iter().map(|(geo, _)| *geo).collect::<Vec<_>>())
        .bind(
            rows.iter()
                .map(|(_, row)| row.driver_id.as_str())
                .collect::<Vec<_>>(),
        )
        .bind(
            rows.iter()
                .map(|(_, row)| row.driver.row_version)
                .collect::<Vec<_>>(),
        )
        .bind(
            rows.iter()
                .map(|(_, row)| row.driver.status())
                .collect::<Vec<_>>(),
        )
        .bind(
            rows.iter()
                .map(|(_, row)| row.driver.on_duty)
                .collect::<Vec<_>>(),
        )
        .bind(column(|row| stored(row.driver.duty_at)))
        .bind(
            rows.iter()
                .map(|(_, row)| row.driver.shift_end.map(stored))
                .collect::<Vec<_>>(),
        )
        .bind(column(|row| stored(row.driver.free_since)))
        .bind(
            rows.iter()
                .map(|(_, row)| row.driver.active_trip.map(|trip| trip.0))
                .collect::<Vec<_>>(),
        )
        .bind(seen(|point| point.lat()))
        .bind(seen(|point| point.lon()))
        .bind(
            rows.iter()
                .map(|(_, row)| row.driver.seen.map(|(_, at)| stored(at)))
                .collect::<Vec<_>>(),
        )
        .bind(
            rows.iter()
                .map(|(_, row)| row.driver.last_drop.as_ref().map(|drop| stored(drop.at)))
                .collect::<Vec<_>>(),
        )
        .bind(dropped(|point| point.lat()))
        .bind(dropped(|point| point.lon()))
        .bind(shift(|shift| stored(shift.begins)))
        .bind(shift(|shift| stored(shift.ends)))
        .bind(begins(|point| point.lat()))
        .bind(begins(|point| point.lon()));
    change(tx, "drivers", rows.len(), query).await
}

/// Changes rows by one statement: all that memory says there are to be changed or inserted, or a miss.
async fn change(
    tx: &mut PgConnection,
    table: &'static str,
    expected: usize,
    statement: Query<'_, Postgres, PgArguments>,
) -> Result<(), StoreError> {
    match statement.execute(tx).await {
        Err(error) if is_taken(&error) => exactly(table, expected, 0),
        done => exactly(table, expected, done?.rows_affected()),
    }
}

/// Whether an insertion failed because a row of it is there already.
fn is_taken(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.is_unique_violation())
}

/// Compare-and-set: all rows or a miss.
fn exactly(table: &'static str, expected: usize, rows: u64) -> Result<(), StoreError> {
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    metric::checked(
        "compare_and_set",
        expected as u64,
        expected.abs_diff(rows) as u64,
    );
    if rows == expected {
        Ok(())
    } else {
        Err(StoreError::Missed {
            table,
            expected,
            rows,
        })
    }
}

/// Reads a column, naming the table when it is not what the table's definition says.
fn column<'r, T>(
    row: &'r sqlx::postgres::PgRow,
    table: &'static str,
    name: &str,
) -> Result<T, StoreError>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(name).map_err(|error| StoreError::Corrupt {
        table,
        problem: error.to_string(),
    })
}
