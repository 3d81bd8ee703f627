//! Orders that nothing has moved for too long: counted per lane for whoever watches, listed by the operator's tool.
//!
//! An order is stuck when neither it nor its kitchen's clock has moved for the configured time: one that waits for its food
//! to be ready is not. Nothing is done to it; what is wrong is outside. Cost: once a minute and lane, one scan of the open
//! orders by a partial index.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use metrics::Gauge;
use runtime::Lane;
use sqlx::{PgConnection, Row};

/// How many orders of a lane are stuck.
const STUCK: &str = "orders_stuck";
/// How often is looked.
pub const EVERY: TimeDelta = TimeDelta::minutes(1);

/// The lane's figure; falls to 0 when the lane moves to another process, which then shows it.
pub struct StuckGauge(Gauge);

impl StuckGauge {
    pub fn of(lane: &Arc<Lane>) -> Self {
        let gauge = metrics::gauge!(STUCK, "lane" => lane.id.as_str().to_owned());
        gauge.set(0.0);
        Self(gauge)
    }

    pub fn show(&self, found: &Stuck, lane: &str) {
        self.0.set(found.orders as f64);
        if let Some(since) = found.since {
            let orders = found.orders;
            tracing::warn!(lane, orders, %since, "orders are stuck; `swiftctl orders stuck` lists them");
        }
    }
}

impl Drop for StuckGauge {
    fn drop(&mut self) {
        self.0.set(0.0);
    }
}

/// The stuck orders of a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stuck {
    pub orders: u64,
    /// When the one that has stood still longest last moved.
    pub since: Option<DateTime<Utc>>,
}

/// The stuck orders of each of these (geo, partition) pairs.
pub async fn stuck(
    geos: &[&str],
    partitions: &[i32],
    after: Duration,
    now: DateTime<Utc>,
    tx: &mut PgConnection,
) -> Result<Vec<Stuck>, sqlx::Error> {
    let patience = TimeDelta::from_std(after).unwrap_or(TimeDelta::MAX);
    let rows = sqlx::query(
        "SELECT count(o.order_id) AS orders, min(o.updated_at) AS since \
         FROM UNNEST($1::text[], $2::int[]) WITH ORDINALITY AS lane (geo, partition, number) \
         LEFT JOIN orders o ON o.geo = lane.geo AND o.partition = lane.partition AND o.settled_at IS NULL \
             AND GREATEST(o.updated_at, o.ready_at) < $3 \
         GROUP BY number ORDER BY number",
    )
    .bind(geos)
    .bind(partitions)
    .bind(now.checked_sub_signed(patience).unwrap_or(DateTime::UNIX_EPOCH))
    .fetch_all(tx)
    .await?;
    let found = |row: &sqlx::postgres::PgRow| {
        Ok(Stuck {
            orders: u64::try_from(row.try_get::<i64, _>("orders")?).unwrap_or_default(),
            since: row.try_get("since")?,
        })
    };
    rows.iter().map(found).collect()
}
