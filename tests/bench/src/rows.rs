//! What PostgreSQL alone allows: the rows of one processor, written again in batches by one bare client.
//!
//! The rows that the orders processor left (`orders` and their `order_transitions`) are read into memory, which is not
//! timed, and copied by COPY into tables of the same columns, constraints, indexes and fill factors, a transaction per
//! batch. Then every row is updated twice by UNNEST, as the rest of an order's way does it, also a transaction per batch.
//! No positions, no outbox, no versions of lanes: less than what a cycle writes.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use contracts::GeoSpec;
use futures::TryStreamExt;
use serde::Serialize;
use sqlx::postgres::{PgConnection, PgPoolCopyExt, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, Executor, PgPool};
use uuid::Uuid;

#[derive(Serialize)]
pub struct Written {
    pub orders: u64,
    pub transitions: u64,
    /// Of the inserts: what the processor does for a placed order.
    pub insert_seconds: f64,
    /// Of two updates of every order.
    pub update_seconds: f64,
}

/// Lines of COPY's text format.
type Lines = Vec<Vec<u8>>;

pub async fn rows(url: &str, geo: &GeoSpec, batch: usize) -> Result<Written> {
    let pool = PgPoolOptions::new().max_connections(1).connect(url).await?;
    let geo = geo.name.as_str();
    let orders = lines(&pool, "orders", "order_id", geo).await?;
    let transitions = lines(&pool, "order_transitions", "order_id, version", geo).await?;
    ensure!(
        !orders.is_empty(),
        "the orders processor has stored nothing of {geo}"
    );
    let ids: Vec<Uuid> =
        sqlx::query_scalar("SELECT order_id FROM orders.orders WHERE geo = $1 ORDER BY order_id")
            .bind(geo)
            .fetch_all(&pool)
            .await?;
    pool.execute(
        "DROP SCHEMA IF EXISTS bench CASCADE; CREATE SCHEMA bench;
         CREATE TABLE bench.orders (LIKE orders.orders INCLUDING ALL) WITH (fillfactor = 60);
         CREATE TABLE bench.order_transitions (LIKE orders.order_transitions INCLUDING ALL);
         CHECKPOINT",
    )
    .await?;
    drop(pool);
    let mut connection = PgConnection::connect(url).await?;
    let began = Instant::now();
    insert(&mut connection, &orders, &transitions, batch).await?;
    let insert_seconds = began.elapsed().as_secs_f64();
    let began = Instant::now();
    for (status, payment) in [("confirmed", "captured"), ("driver_assigned", "captured")] {
        update(&mut connection, &ids, status, payment, batch).await?;
    }
    let update_seconds = began.elapsed().as_secs_f64();
    connection.execute("DROP SCHEMA bench CASCADE").await?;
    Ok(Written {
        orders: orders.len() as u64,
        transitions: transitions.len() as u64,
        insert_seconds,
        update_seconds,
    })
}

/// A geo's rows of a table of the orders processor.
async fn lines(pool: &PgPool, table: &str, order: &str, geo: &str) -> Result<Lines> {
    // The names are ours, the geo's is of [a-z0-9-].
    let statement = format!(
        "COPY (SELECT * FROM orders.{table} WHERE geo = '{geo}' ORDER BY {order}) TO STDOUT"
    );
    let chunks: Vec<_> = pool.copy_out_raw(&statement).await?.try_collect().await?;
    let whole = chunks.concat();
    // Line feeds within values are escaped.
    Ok(whole
        .split_inclusive(|byte| *byte == b'\n')
        .map(<[u8]>::to_vec)
        .collect())
}

/// As many transactions as batches of orders; each takes its share of the transitions.
async fn insert(
    connection: &mut PgConnection,
    orders: &Lines,
    transitions: &Lines,
    batch: usize,
) -> Result<()> {
    let batches = orders.len().div_ceil(batch);
    let mut transitions = transitions.chunks(transitions.len().div_ceil(batches).max(1));
    for orders in orders.chunks(batch) {
        let mut tx = connection.begin().await?;
        for (table, rows) in [
            ("orders", Some(orders)),
            ("order_transitions", transitions.next()),
        ] {
            let statement = format!("COPY bench.{table} FROM STDIN");
            let mut copy = tx.copy_in_raw(&statement).await.context(statement)?;
            copy.send(rows.unwrap_or_default().concat()).await?;
            copy.finish().await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

async fn update(
    connection: &mut PgConnection,
    ids: &[Uuid],
    status: &str,
    payment: &str,
    batch: usize,
) -> Result<()> {
    for ids in ids.chunks(batch) {
        let mut tx = connection.begin().await?;
        let statement = "UPDATE bench.orders SET version = version + 1, status = given.status, payment = given.payment, \
            driver_id = 'driver-000001', updated_at = now() \
            FROM UNNEST($1::uuid[], $2::text[], $3::text[]) AS given (order_id, status, payment) \
            WHERE orders.order_id = given.order_id";
        let done = sqlx::query(AssertSqlSafe(statement))
            .bind(ids)
            .bind(vec![status; ids.len()])
            .bind(vec![payment; ids.len()])
            .execute(&mut *tx)
            .await?;
        ensure!(
            done.rows_affected() == ids.len() as u64,
            "{} rows updated",
            done.rows_affected()
        );
        tx.commit().await?;
    }
    Ok(())
}
