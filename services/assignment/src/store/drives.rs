//! The table `drives`: what travel times are corrected by.

use chrono::{DateTime, Utc};
use dispatch::{OrderId, SeenDrive};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{OfGeo, StoreError, column, exactly};
use crate::book::{Changes, DriveRow};
use crate::units::{at, stored};

const TABLE: &str = "drives";

const INSERT: &str = "INSERT INTO drives (geo, hour, arrived_at, order_id, ratio) \
    SELECT geo, hour, arrived_at, order_id, ratio \
    FROM UNNEST($1::text[], $2::smallint[], $3::timestamptz[], $4::uuid[], $5::float8[]) \
        AS u(geo, hour, arrived_at, order_id, ratio) \
    ON CONFLICT DO NOTHING";

const DELETE: &str = "DELETE FROM drives d \
    USING UNNEST($1::text[], $2::smallint[], $3::timestamptz[], $4::uuid[], $5::float8[]) \
        AS u(geo, hour, arrived_at, order_id, ratio) \
    WHERE d.geo = u.geo AND d.hour = u.hour AND d.arrived_at = u.arrived_at AND d.order_id = u.order_id";

/// Stores which drives were seen and which have been forgotten.
pub(super) async fn save(
    tx: &mut PgConnection,
    lanes: &[OfGeo<'_, Changes>],
) -> Result<(), StoreError> {
    for (statement, forgotten) in [(INSERT, false), (DELETE, true)] {
        let rows = lanes
            .iter()
            .flat_map(|(geo, changes)| changes.drives.iter().map(move |row| (*geo, row)));
        let rows: Vec<(&str, &DriveRow)> = rows
            .filter(|(_, row)| row.is_forgotten == forgotten)
            .collect();
        if rows.is_empty() {
            continue;
        }
        let (mut geos, mut hours, mut instants) = (Vec::new(), Vec::new(), Vec::new());
        let (mut orders, mut ratios) = (Vec::new(), Vec::new());
        for (geo, DriveRow { drive, .. }) in &rows {
            geos.push(*geo);
            hours.push(i16::from(drive.hour));
            instants.push(stored(drive.arrived_at));
            orders.push(drive.order_id.0);
            ratios.push(drive.ratio);
        }
        let query = sqlx::query(statement)
            .bind(geos)
            .bind(hours)
            .bind(instants)
            .bind(orders)
            .bind(ratios);
        let done = query.execute(&mut *tx).await?;
        exactly(TABLE, rows.len(), done.rows_affected())?;
    }
    Ok(())
}

/// All that is remembered in these geos, with the geo of each.
pub(super) async fn load(
    tx: &mut PgConnection,
    geos: &[&str],
) -> Result<Vec<(String, SeenDrive)>, StoreError> {
    let statement = "SELECT geo, hour, arrived_at, order_id, ratio FROM drives WHERE geo = ANY($1)";
    let rows = sqlx::query(statement).bind(geos).fetch_all(tx).await?;
    let drive = |row: &sqlx::postgres::PgRow| {
        let seen = SeenDrive {
            hour: column::<i16>(row, TABLE, "hour")? as u8,
            arrived_at: at(column::<DateTime<Utc>>(row, TABLE, "arrived_at")?),
            order_id: OrderId(column::<Uuid>(row, TABLE, "order_id")?),
            ratio: column(row, TABLE, "ratio")?,
        };
        Ok((column(row, TABLE, "geo")?, seen))
    };
    rows.iter().map(drive).collect()
}
