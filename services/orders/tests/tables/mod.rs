//! The tables of orders in a database of their own, and what tests put into them.

use harness::Stack;
use lifecycle::State;
use orders::order::Order;
use orders::store::{self, StoreError};
use orders::working_set::WorkingSet;
use orders::{MIGRATIONS, early_store};
use sqlx::PgPool;
use uuid::Uuid;

use crate::sample::{Bench, at};

pub async fn database() -> PgPool {
    let pool = Stack::from_env()
        .database()
        .await
        .unwrap()
        .pool()
        .await
        .unwrap();
    MIGRATIONS.run(&pool).await.unwrap();
    pool
}

pub async fn save(set: &WorkingSet, pool: &PgPool) -> Result<(), StoreError> {
    let mut tx = pool.begin().await?;
    store::save(set, at(5), &mut tx).await?;
    early_store::save(set, &mut tx).await?;
    tx.commit().await?;
    Ok(())
}

pub async fn load(ids: &[Uuid], pool: &PgPool) -> Vec<Order> {
    let mut tx = pool.begin().await.unwrap();
    store::load(ids, &mut tx).await.unwrap()
}

/// An order in a given state, whatever way led there.
pub fn in_state(id: u128, state: State) -> Order {
    let mut bench = Bench::new();
    bench.order(Uuid::from_u128(id), []);
    let order = bench.set.order(Uuid::from_u128(id)).unwrap().clone();
    Order {
        state,
        driver_id: Some("d-1".into()),
        ..order
    }
}

pub async fn insert(order: Order, pool: &PgPool) -> Result<(), StoreError> {
    let mut set = WorkingSet::default();
    set.insert(order);
    save(&set, pool).await
}
