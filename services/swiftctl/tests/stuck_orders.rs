//! `swiftctl orders stuck` on a real database: what stands still is listed, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use harness::Stack;
use serde_json::Value;
use sqlx::Executor;

/// A database with the tables of orders, as the service makes them.
async fn database() -> (String, sqlx::PgPool) {
    let database = Stack::from_env().database().await.unwrap();
    let pool = database.pool().await.unwrap();
    let tables = [
        include_str!("../../../migrations/orders/0001_orders.sql"),
        include_str!("../../../migrations/orders/0002_settled.sql"),
        include_str!("../../../migrations/orders/0003_audit.sql"),
    ];
    let mut tx = pool.begin().await.unwrap();
    tx.execute("CREATE SCHEMA orders; SET LOCAL search_path = orders")
        .await
        .unwrap();
    for statements in tables {
        tx.execute(statements).await.unwrap();
    }
    tx.commit().await.unwrap();
    (database.url(), pool)
}

/// An order that was moved last, and whose food was ready, so many minutes ago.
async fn order(pool: &sqlx::PgPool, number: i32, status: &str, moved: i32, ready: i32) {
    let statement = "INSERT INTO orders.orders SELECT (json_populate_record(NULL::orders.orders, json_build_object( \
        'order_id', lpad($1::text, 32, '0')::uuid, 'geo', 'berlin-mitte', 'partition', 3, 'version', 4, 'status', $2, \
        'payment', 'captured', 'kitchen', 'ready', 'assignment_attempt', 1, 'assignment_phase', 'held', \
        'placed_event_id', gen_random_uuid(), 'customer_id', 'c', 'customer_lat', 52.5, 'customer_lon', 13.4, \
        'restaurant_id', 'r', 'restaurant_lat', 52.5, 'restaurant_lon', 13.4, 'items', '[]'::json, \
        'delivery_fee_minor', 0, 'tip_minor', 0, 'total_minor', 900, 'currency', 'EUR', 'payment_method', 't', \
        'placed_at', now(), 'ready_at', now() - $4 * interval '1 minute', 'prep_total_s', 600, 'driver_id', 'anna', \
        'traceparent', '-', 'created_at', now(), 'updated_at', now() - $3 * interval '1 minute', \
        'settled_at', CASE WHEN $2 = 'delivered' THEN now() END))).*";
    sqlx::query(statement)
        .bind(number)
        .bind(status)
        .bind(moved)
        .bind(ready)
        .execute(pool)
        .await
        .unwrap();
}

fn stuck(url: &str, arguments: &[&str]) -> Vec<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_swiftctl"))
        .args(["--postgres", url, "--format", "json", "orders", "stuck"])
        .args(arguments)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test]
async fn what_has_stood_still_longest_comes_first_and_what_moves_is_left_out() {
    let (url, pool) = database().await;
    order(&pool, 1, "picked_up", 50, 60).await;
    order(&pool, 2, "driver_assigned", 90, 80).await;
    // Its food is not ready yet.
    order(&pool, 3, "confirmed", 90, -20).await;
    order(&pool, 4, "confirmed", 5, 90).await;
    order(&pool, 5, "delivered", 90, 90).await;
    sqlx::query(
        "INSERT INTO orders.order_transitions SELECT geo, order_id, version, 'PickupConfirmed', NULL, 'assignment', \
         'driver_assigned', 'picked_up', 'captured', 'ready', NULL, now(), updated_at FROM orders.orders WHERE status = 'picked_up'",
    )
    .execute(&pool)
    .await
    .unwrap();
    let found = stuck(&url, &["--after-s", "1800"]);
    let numbers: Vec<&str> = found
        .iter()
        .map(|row| row["order_id"].as_str().unwrap())
        .collect();
    assert_eq!(
        numbers,
        [
            "00000000-0000-0000-0000-000000000002",
            "00000000-0000-0000-0000-000000000001"
        ]
    );
    assert_eq!(found[1]["last_event"], "PickupConfirmed");
    assert!(found[0]["still_s"].as_i64().unwrap() >= 80 * 60);
    assert_eq!(stuck(&url, &["--after-s", "4000"]).len(), 1);
    assert_eq!(stuck(&url, &["--after-s", "60", "--limit", "1"]).len(), 1);
    assert!(stuck(&url, &["--geo", "london-soho"]).is_empty());
}
