//! Loads and saves sets of orders: one statement per kind of change, however many orders a cycle touches.
//!
//! Rows that are loaded are locked in the order of their ids, and inserted in the same order, so that lanes of different
//! instances that touch the same orders wait for each other and never in a circle. An order that another instance has
//! inserted meanwhile fails the cycle as transient: when it is tried again, the order is there.
//! Costs: every column travels as one array; lines travel as JSON text. Arrays are unnested in the select list, which walks
//! them; in FROM each would be copied into a store of its own first.

use chrono::{DateTime, Utc};
use contracts::Geo;
use contracts::orders::{Customer, OrderItem, Restaurant};
use contracts::value::{Money, Point};
use lifecycle::{Assignment, Kitchen, Payment, Phase, State, Status};
use runtime::ApplyError;
use sqlx::postgres::{PgBindIterExt, PgRow};
use sqlx::{Decode, PgConnection, Postgres, Row, Type};
use thiserror::Error;
use uuid::Uuid;

use crate::order::Order;
use crate::working_set::{TransitionRecord, WorkingSet};

/// Why a set could not be loaded or saved.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// Retry: the next attempt finds it.
    #[error("an order was placed by another instance at the same time")]
    PlacedElsewhere,
    /// Fatal: a row that this version cannot read.
    #[error("order {order_id}: {column} = {value}")]
    Unreadable {
        order_id: Uuid,
        column: &'static str,
        value: String,
    },
}

impl From<StoreError> for ApplyError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Database(error) => error.into(),
            StoreError::PlacedElsewhere => Self::Transient(error.into()),
            StoreError::Unreadable { .. } => Self::Permanent(error.into()),
        }
    }
}

/// The orders of these ids that exist, locked until the transaction ends.
pub async fn load(ids: &[Uuid], tx: &mut PgConnection) -> Result<Vec<Order>, StoreError> {
    let rows = sqlx::query(
        "SELECT order_id, geo, partition, version, status, payment, kitchen, assignment_attempt, assignment_phase, \
         placed_event_id, customer_id, customer_name, customer_lat, customer_lon, customer_webhook_url, restaurant_id, \
         restaurant_name, restaurant_lat, restaurant_lon, restaurant_webhook_url, items::text AS items, \
         delivery_fee_minor, tip_minor, total_minor, currency::text AS currency, payment_method, placed_at, ready_at, \
         prep_total_s, kitchen_said_at, driver_id, expected_pickup_at, expected_delivery_at, picked_up_at, delivered_at, \
         assignment_due_at, refused_event_id, traceparent, created_at \
         FROM orders WHERE order_id = ANY($1) ORDER BY order_id FOR UPDATE",
    )
    .bind(ids)
    .fetch_all(tx)
    .await?;
    rows.iter().map(order).collect()
}

/// Writes what a cycle changed. The set's early events are [`crate::early_store`]'s.
pub async fn save(
    set: &WorkingSet,
    now: DateTime<Utc>,
    tx: &mut PgConnection,
) -> Result<(), StoreError> {
    insert(&set.inserted(), now, tx).await?;
    update(&set.updated(), now, tx).await?;
    audit(set.transitions(), now, tx).await
}

/// When a driver has to be asked for again, for the orders of these (geo, partition) pairs: (index of the pair, order, when).
pub async fn assignments_due(
    geos: &[&str],
    partitions: &[i32],
    tx: &mut PgConnection,
) -> Result<Vec<(usize, Uuid, DateTime<Utc>)>, sqlx::Error> {
    let rows = sqlx::query(
        "SELECT lane.number - 1 AS lane, order_id, assignment_due_at \
         FROM UNNEST($1::text[], $2::int[]) WITH ORDINALITY AS lane (geo, partition, number) \
         JOIN orders USING (geo, partition) WHERE assignment_due_at IS NOT NULL",
    )
    .bind(geos)
    .bind(partitions)
    .fetch_all(tx)
    .await?;
    let due = |row: &PgRow| {
        let lane: i64 = row.try_get("lane")?;
        let lane = usize::try_from(lane).map_err(|error| sqlx::Error::Decode(error.into()))?;
        Ok((
            lane,
            row.try_get("order_id")?,
            row.try_get("assignment_due_at")?,
        ))
    };
    rows.iter().map(due).collect()
}

/// One column of a set of orders, to bind as an array.
macro_rules! column {
    ($rows:ident, $row:ident => $value:expr) => {
        $rows.iter().map(|$row| $value).bind_iter()
    };
}

async fn insert(
    orders: &[&Order],
    now: DateTime<Utc>,
    tx: &mut PgConnection,
) -> Result<(), StoreError> {
    if orders.is_empty() {
        return Ok(());
    }
    let inserted = sqlx::query(
        "INSERT INTO orders (order_id, geo, partition, version, status, payment, kitchen, assignment_attempt, \
         assignment_phase, placed_event_id, customer_id, customer_name, customer_lat, customer_lon, customer_webhook_url, \
         restaurant_id, restaurant_name, restaurant_lat, restaurant_lon, restaurant_webhook_url, items, \
         delivery_fee_minor, tip_minor, total_minor, currency, payment_method, placed_at, ready_at, prep_total_s, \
         kitchen_said_at, driver_id, expected_pickup_at, expected_delivery_at, picked_up_at, delivered_at, \
         assignment_due_at, refused_event_id, traceparent, created_at, settled_at, updated_at) \
         SELECT UNNEST($1::uuid[]), UNNEST($2::text[]), UNNEST($3::int[]), \
             UNNEST($4::int[]), UNNEST($5::text[]), UNNEST($6::text[]), UNNEST($7::text[]), UNNEST($8::int[]), \
             UNNEST($9::text[]), UNNEST($10::uuid[]), UNNEST($11::text[]), UNNEST($12::text[]), UNNEST($13::float8[]), \
             UNNEST($14::float8[]), UNNEST($15::text[]), UNNEST($16::text[]), UNNEST($17::text[]), \
             UNNEST($18::float8[]), UNNEST($19::float8[]), UNNEST($20::text[]), UNNEST($21::text[]::json[]), \
             UNNEST($22::bigint[]), UNNEST($23::bigint[]), UNNEST($24::bigint[]), UNNEST($25::text[]), \
             UNNEST($26::text[]), UNNEST($27::timestamptz[]), UNNEST($28::timestamptz[]), UNNEST($29::int[]), \
             UNNEST($30::timestamptz[]), UNNEST($31::text[]), UNNEST($32::timestamptz[]), UNNEST($33::timestamptz[]), \
             UNNEST($34::timestamptz[]), UNNEST($35::timestamptz[]), UNNEST($36::timestamptz[]), UNNEST($37::uuid[]), \
             UNNEST($38::text[]), UNNEST($39::timestamptz[]), UNNEST($40::timestamptz[]), $41",
    )
    .bind(column!(orders, o => o.id))
    .bind(column!(orders, o => o.geo.as_str()))
    .bind(column!(orders, o => o.partition))
    .bind(column!(orders, o => o.version))
    .bind(column!(orders, o => o.state.status.name()))
    .bind(column!(orders, o => o.state.payment.name()))
    .bind(column!(orders, o => o.state.kitchen.name()))
    .bind(column!(orders, o => attempt(o)))
    .bind(column!(orders, o => o.state.assignment.phase.name()))
    .bind(column!(orders, o => o.placed_event_id))
    .bind(column!(orders, o => o.customer.id.as_str()))
    .bind(column!(orders, o => o.customer.name.as_deref()))
    .bind(column!(orders, o => o.customer.location.lat))
    .bind(column!(orders, o => o.customer.location.lon))
    .bind(column!(orders, o => o.customer.webhook_url.as_deref()))
    .bind(column!(orders, o => o.restaurant.id.as_str()))
    .bind(column!(orders, o => o.restaurant.name.as_deref()))
    .bind(column!(orders, o => o.restaurant.location.lat))
    .bind(column!(orders, o => o.restaurant.location.lon))
    .bind(column!(orders, o => o.restaurant.webhook_url.as_deref()))
    .bind(column!(orders, o => lines(&o.items)))
    .bind(column!(orders, o => o.delivery_fee_minor))
    .bind(column!(orders, o => o.tip_minor))
    .bind(column!(orders, o => o.total.amount_minor))
    .bind(column!(orders, o => o.total.currency.as_str()))
    .bind(column!(orders, o => o.payment_method.as_str()))
    .bind(column!(orders, o => o.placed_at))
    .bind(column!(orders, o => o.ready_at))
    .bind(column!(orders, o => o.prep_total_s))
    .bind(column!(orders, o => o.kitchen_said_at))
    .bind(column!(orders, o => o.driver_id.as_deref()))
    .bind(column!(orders, o => o.expected_pickup_at))
    .bind(column!(orders, o => o.expected_delivery_at))
    .bind(column!(orders, o => o.picked_up_at))
    .bind(column!(orders, o => o.delivered_at))
    .bind(column!(orders, o => o.assignment_due_at))
    .bind(column!(orders, o => o.refused_event_id))
    .bind(column!(orders, o => o.traceparent.as_str()))
    .bind(column!(orders, o => o.created_at))
    .bind(column!(orders, o => o.state.is_settled().then_some(now)))
    .bind(now)
    .execute(tx)
    .await;
    match inserted {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            Err(StoreError::PlacedElsewhere)
        }
        inserted => Ok(inserted.map(drop)?),
    }
}

async fn update(
    orders: &[&Order],
    now: DateTime<Utc>,
    tx: &mut PgConnection,
) -> Result<(), StoreError> {
    if orders.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "UPDATE orders SET version = given.version, status = given.status, payment = given.payment, kitchen = given.kitchen, \
         assignment_attempt = given.attempt, assignment_phase = given.phase, ready_at = given.ready_at, \
         kitchen_said_at = given.kitchen_said_at, driver_id = given.driver_id, expected_pickup_at = given.expected_pickup_at, \
         expected_delivery_at = given.expected_delivery_at, picked_up_at = given.picked_up_at, \
         delivered_at = given.delivered_at, assignment_due_at = given.assignment_due_at, \
         refused_event_id = given.refused_event_id, updated_at = $18, \
         settled_at = CASE WHEN given.settled THEN COALESCE(orders.settled_at, $18) END \
         FROM (SELECT UNNEST($1::uuid[]) AS order_id, UNNEST($2::int[]) AS version, UNNEST($3::text[]) AS status, \
             UNNEST($4::text[]) AS payment, UNNEST($5::text[]) AS kitchen, UNNEST($6::int[]) AS attempt, \
             UNNEST($7::text[]) AS phase, UNNEST($8::timestamptz[]) AS ready_at, \
             UNNEST($9::timestamptz[]) AS kitchen_said_at, UNNEST($10::text[]) AS driver_id, \
             UNNEST($11::timestamptz[]) AS expected_pickup_at, UNNEST($12::timestamptz[]) AS expected_delivery_at, \
             UNNEST($13::timestamptz[]) AS picked_up_at, UNNEST($14::timestamptz[]) AS delivered_at, \
             UNNEST($15::timestamptz[]) AS assignment_due_at, UNNEST($16::uuid[]) AS refused_event_id, \
             UNNEST($17::bool[]) AS settled) AS given \
         WHERE orders.order_id = given.order_id",
    )
    .bind(column!(orders, o => o.id))
    .bind(column!(orders, o => o.version))
    .bind(column!(orders, o => o.state.status.name()))
    .bind(column!(orders, o => o.state.payment.name()))
    .bind(column!(orders, o => o.state.kitchen.name()))
    .bind(column!(orders, o => attempt(o)))
    .bind(column!(orders, o => o.state.assignment.phase.name()))
    .bind(column!(orders, o => o.ready_at))
    .bind(column!(orders, o => o.kitchen_said_at))
    .bind(column!(orders, o => o.driver_id.as_deref()))
    .bind(column!(orders, o => o.expected_pickup_at))
    .bind(column!(orders, o => o.expected_delivery_at))
    .bind(column!(orders, o => o.picked_up_at))
    .bind(column!(orders, o => o.delivered_at))
    .bind(column!(orders, o => o.assignment_due_at))
    .bind(column!(orders, o => o.refused_event_id))
    .bind(column!(orders, o => o.state.is_settled()))
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

async fn audit(
    transitions: &[TransitionRecord],
    now: DateTime<Utc>,
    tx: &mut PgConnection,
) -> Result<(), StoreError> {
    if transitions.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO order_transitions (order_id, geo, version, event, event_id, actor, from_status, to_status, payment, \
         kitchen, reason, occurred_at, recorded_at) \
         SELECT UNNEST($1::uuid[]), UNNEST($2::text[]), UNNEST($3::int[]), \
             UNNEST($4::text[]), UNNEST($5::uuid[]), UNNEST($6::text[]), UNNEST($7::text[]), UNNEST($8::text[]), \
             UNNEST($9::text[]), UNNEST($10::text[]), UNNEST($11::text[]), UNNEST($12::timestamptz[]), $13",
    )
    .bind(column!(transitions, t => t.order_id))
    .bind(column!(transitions, t => t.geo.as_str()))
    .bind(column!(transitions, t => t.version))
    .bind(column!(transitions, t => t.event))
    .bind(column!(transitions, t => t.event_id))
    .bind(column!(transitions, t => t.actor))
    .bind(column!(transitions, t => t.from.status.name()))
    .bind(column!(transitions, t => t.to.status.name()))
    .bind(column!(transitions, t => t.to.payment.name()))
    .bind(column!(transitions, t => t.to.kitchen.name()))
    .bind(column!(transitions, t => t.reason.as_deref()))
    .bind(column!(transitions, t => t.occurred_at))
    .bind(now)
    .execute(tx)
    .await?;
    Ok(())
}

fn attempt(order: &Order) -> i32 {
    i32::try_from(order.state.assignment.attempt).unwrap_or(i32::MAX)
}

fn lines(items: &[OrderItem]) -> String {
    serde_json::to_string(items).expect("texts and integers always serialise")
}

/// A row read in the order of its columns: looking each up by its name took a twelfth of the processor's time.
struct Cursor<'r> {
    row: &'r PgRow,
    column: usize,
}

impl<'r> Cursor<'r> {
    fn take<T: Decode<'r, Postgres> + Type<Postgres>>(&mut self) -> Result<T, sqlx::Error> {
        self.column += 1;
        self.row.try_get(self.column - 1)
    }
}

/// Takes the columns of [`load`], in their order.
fn order(row: &PgRow) -> Result<Order, StoreError> {
    let row = &mut Cursor { row, column: 0 };
    let id: Uuid = row.take()?;
    let unreadable = |column, value: String| StoreError::Unreadable {
        order_id: id,
        column,
        value,
    };
    let geo: &str = row.take()?;
    let geo: Geo = geo.parse().map_err(|_| unreadable("geo", geo.to_owned()))?;
    Ok(Order {
        id,
        geo,
        partition: row.take()?,
        version: row.take()?,
        state: state(row, id)?,
        placed_event_id: row.take()?,
        customer: Customer {
            id: row.take()?,
            name: row.take()?,
            location: Point {
                lat: row.take()?,
                lon: row.take()?,
            },
            webhook_url: row.take()?,
        },
        restaurant: Restaurant {
            id: row.take()?,
            name: row.take()?,
            location: Point {
                lat: row.take()?,
                lon: row.take()?,
            },
            webhook_url: row.take()?,
        },
        items: {
            let items: &str = row.take()?;
            serde_json::from_str(items).map_err(|error| unreadable("items", error.to_string()))?
        },
        delivery_fee_minor: row.take()?,
        tip_minor: row.take()?,
        total: Money {
            amount_minor: row.take()?,
            currency: row.take()?,
        },
        payment_method: row.take()?,
        placed_at: row.take()?,
        ready_at: row.take()?,
        prep_total_s: row.take()?,
        kitchen_said_at: row.take()?,
        driver_id: row.take()?,
        expected_pickup_at: row.take()?,
        expected_delivery_at: row.take()?,
        picked_up_at: row.take()?,
        delivered_at: row.take()?,
        assignment_due_at: row.take()?,
        refused_event_id: row.take()?,
        traceparent: row.take()?,
        created_at: row.take()?,
    })
}

fn state(row: &mut Cursor<'_>, order_id: Uuid) -> Result<State, StoreError> {
    fn named<T>(
        row: &mut Cursor<'_>,
        order_id: Uuid,
        column: &'static str,
        of_name: fn(&str) -> Option<T>,
    ) -> Result<T, StoreError> {
        let name: &str = row.take()?;
        of_name(name).ok_or_else(|| StoreError::Unreadable {
            order_id,
            column,
            value: name.to_owned(),
        })
    }
    Ok(State {
        status: named(row, order_id, "status", Status::of_name)?,
        payment: named(row, order_id, "payment", Payment::of_name)?,
        kitchen: named(row, order_id, "kitchen", Kitchen::of_name)?,
        assignment: Assignment {
            attempt: u32::try_from(row.take::<i32>()?).unwrap_or_default(),
            phase: named(row, order_id, "assignment_phase", Phase::of_name)?,
        },
    })
}
