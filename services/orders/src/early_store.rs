//! What was heard of orders before they were placed: kept in a table, so that no restart loses it.
//!
//! Nearly always empty: kitchens and customers hear of an order long after we do. One look per cycle is its cost.

use chrono::{DateTime, Utc};
use contracts::orders::Actor;
use runtime::ApplyError;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};
use uuid::Uuid;

use crate::fact::{Fact, Said};
use crate::working_set::{Early, WorkingSet};

const CANCEL_REQUESTED: &str = "cancel_requested";
const PREP_TIME_CHANGED: &str = "prep_time_changed";
const FOOD_READY: &str = "food_ready";
const KITCHEN_REJECTED: &str = "kitchen_rejected";

/// What waits for any of these orders, in the order of arrival.
pub async fn load(order_ids: &[Uuid], tx: &mut PgConnection) -> Result<Vec<Early>, ApplyError> {
    let rows = sqlx::query(
        "SELECT id, order_id, lane, geo, kind, event_id, occurred_at, restaurant_id, actor, ready_at, reason, \
         traceparent, received_at FROM early_events WHERE order_id = ANY($1) AND given_up IS NULL ORDER BY id FOR UPDATE",
    )
    .bind(order_ids)
    .fetch_all(tx)
    .await?;
    rows.iter().map(early).collect()
}

/// The orders that something on these lanes waits for: (lane, order).
pub async fn waiting(
    lanes: &[&str],
    tx: &mut PgConnection,
) -> Result<Vec<(String, Uuid)>, sqlx::Error> {
    sqlx::query_as("SELECT DISTINCT lane, order_id FROM early_events WHERE lane = ANY($1) AND given_up IS NULL")
        .bind(lanes)
        .fetch_all(tx)
        .await
}

/// Writes what a cycle kept, applied or gave up. Nothing of it happens in most cycles.
pub async fn save(set: &WorkingSet, tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    insert(&set.newly_kept(), tx).await?;
    if !set.settled().is_empty() {
        sqlx::query("DELETE FROM early_events WHERE id = ANY($1)")
            .bind(set.settled())
            .execute(&mut *tx)
            .await?;
    }
    if !set.given_up().is_empty() {
        let (ids, reasons): (Vec<i64>, Vec<&str>) = set
            .given_up()
            .iter()
            .map(|(id, why)| (*id, why.as_str()))
            .unzip();
        sqlx::query(
            "UPDATE early_events SET given_up = given.why FROM UNNEST($1::bigint[], $2::text[]) AS given (id, why) \
             WHERE early_events.id = given.id",
        )
        .bind(ids)
        .bind(reasons)
        .execute(tx)
        .await?;
    }
    Ok(())
}

async fn insert(kept: &[&Early], tx: &mut PgConnection) -> Result<(), sqlx::Error> {
    if kept.is_empty() {
        return Ok(());
    }
    let rows: Vec<Stored<'_>> = kept
        .iter()
        .map(|early| Stored::of(&early.fact.said))
        .collect();
    sqlx::query(
        "INSERT INTO early_events (order_id, lane, geo, kind, event_id, occurred_at, restaurant_id, actor, ready_at, \
         reason, traceparent, received_at) \
         SELECT * FROM UNNEST($1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::timestamptz[], \
         $7::text[], $8::text[], $9::timestamptz[], $10::text[], $11::text[], $12::timestamptz[])",
    )
    .bind(kept.iter().map(|e| e.fact.order_id).collect::<Vec<_>>())
    .bind(kept.iter().map(|e| e.lane.as_str()).collect::<Vec<_>>())
    .bind(kept.iter().map(|e| e.fact.geo.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.kind).collect::<Vec<_>>())
    .bind(kept.iter().map(|e| e.fact.event_id).collect::<Vec<_>>())
    .bind(kept.iter().map(|e| e.fact.occurred_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.restaurant_id).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.actor).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.ready_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.reason).collect::<Vec<_>>())
    .bind(kept.iter().map(|e| e.traceparent.as_str()).collect::<Vec<_>>())
    .bind(kept.iter().map(|e| e.received_at).collect::<Vec<_>>())
    .execute(tx)
    .await?;
    Ok(())
}

/// The columns that tell one kind from another.
#[derive(Default)]
struct Stored<'a> {
    kind: &'static str,
    restaurant_id: Option<&'a str>,
    actor: Option<&'static str>,
    ready_at: Option<DateTime<Utc>>,
    reason: Option<&'a str>,
}

impl<'a> Stored<'a> {
    fn of(said: &'a Said) -> Self {
        match said {
            Said::CancelRequested { by, reason } => Self {
                kind: CANCEL_REQUESTED,
                actor: Some(by.symbol()),
                reason: reason.as_deref(),
                ..Self::default()
            },
            Said::PrepTimeChanged {
                restaurant_id,
                ready_at,
            } => Self::kitchen(PREP_TIME_CHANGED, restaurant_id, Some(*ready_at), None),
            Said::FoodReady {
                restaurant_id,
                ready_at,
            } => Self::kitchen(FOOD_READY, restaurant_id, Some(*ready_at), None),
            Said::KitchenRejected {
                restaurant_id,
                reason,
            } => Self::kitchen(KITCHEN_REJECTED, restaurant_id, None, reason.as_deref()),
            // None of these is ever kept (Said::may_be_early); the CHECK on `kind` would refuse the row.
            _ => Self::default(),
        }
    }

    fn kitchen(
        kind: &'static str,
        restaurant_id: &'a str,
        ready_at: Option<DateTime<Utc>>,
        reason: Option<&'a str>,
    ) -> Self {
        Self {
            kind,
            restaurant_id: Some(restaurant_id),
            actor: None,
            ready_at,
            reason,
        }
    }
}

fn early(row: &PgRow) -> Result<Early, ApplyError> {
    Ok(Early {
        id: Some(row.try_get("id")?),
        lane: row.try_get("lane")?,
        fact: Fact {
            order_id: row.try_get("order_id")?,
            event_id: row.try_get("event_id")?,
            occurred_at: row.try_get("occurred_at")?,
            geo: row.try_get("geo")?,
            said: said(row)?,
        },
        traceparent: row.try_get("traceparent")?,
        received_at: row.try_get("received_at")?,
    })
}

fn said(row: &PgRow) -> Result<Said, ApplyError> {
    let kind: &str = row.try_get("kind")?;
    let reason = row.try_get("reason")?;
    Ok(match kind {
        CANCEL_REQUESTED => {
            let symbol: &str = row.try_get("actor")?;
            Said::CancelRequested {
                by: actor(symbol),
                reason,
            }
        }
        PREP_TIME_CHANGED => Said::PrepTimeChanged {
            restaurant_id: row.try_get("restaurant_id")?,
            ready_at: row.try_get("ready_at")?,
        },
        FOOD_READY => Said::FoodReady {
            restaurant_id: row.try_get("restaurant_id")?,
            ready_at: row.try_get("ready_at")?,
        },
        KITCHEN_REJECTED => Said::KitchenRejected {
            restaurant_id: row.try_get("restaurant_id")?,
            reason,
        },
        unknown => {
            return Err(ApplyError::permanent(format!(
                "early_events.kind = {unknown}"
            )));
        }
    })
}

/// The inverse of [`Actor::symbol`].
fn actor(symbol: &str) -> Actor {
    [
        Actor::Customer,
        Actor::Restaurant,
        Actor::Operator,
        Actor::System,
    ]
    .into_iter()
    .find(|actor| actor.symbol() == symbol)
    .unwrap_or_default()
}
