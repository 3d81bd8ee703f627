//! This process as its operator knows it: a row in the service's schema, through which it can be asked to hand its lanes over.
//!
//! Through the database, since an operator reaches it anyway and it asks who he is: an HTTP endpoint beside the metrics would
//! let everybody in the network stop a processor. It costs a query a second, and that second.

use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use tokio::sync::Notify;

/// How often it is looked whether a drain is asked for.
const LOOK: Duration = Duration::from_secs(1);

/// The row of a running process.
pub(crate) struct Instance {
    db: PgPool,
    slot: String,
}

impl Instance {
    /// Enters this process; what an earlier one in the same slot was asked does not concern it.
    pub(crate) async fn enter(db: PgPool, slot: &str) -> Result<Self, sqlx::Error> {
        sqlx::query(
            "INSERT INTO instances (instance, started_at) VALUES ($1, now())
             ON CONFLICT (instance) DO UPDATE SET started_at = now(), drain_asked_at = NULL",
        )
        .bind(slot)
        .execute(&db)
        .await?;
        let slot = slot.to_owned();
        Ok(Self { db, slot })
    }

    /// Notifies once a drain is asked for.
    pub(crate) fn watch(&self, drain: Arc<Notify>) {
        let (db, slot) = (self.db.clone(), self.slot.clone());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                let asked: Result<Option<bool>, sqlx::Error> = sqlx::query_scalar(
                    "SELECT drain_asked_at IS NOT NULL FROM instances WHERE instance = $1",
                )
                .bind(&slot)
                .fetch_optional(&db)
                .await;
                match asked {
                    Ok(Some(true)) => {
                        tracing::info!("an operator asks for a drain");
                        return drain.notify_one();
                    }
                    Ok(_) => {}
                    // The lanes have their own ways to sit an outage out.
                    Err(error) => tracing::debug!(%error, "looking for a drain"),
                }
            }
        });
    }

    /// The lanes are handed over.
    pub(crate) async fn leave(self) {
        let left = sqlx::query("DELETE FROM instances WHERE instance = $1").bind(&self.slot);
        if let Err(error) = left.execute(&self.db).await {
            tracing::warn!(%error, "this instance stays on the list");
        }
    }
}
