//! Notifications as rows: one insertion decides which of a cycle's messages are new, one update says what became of those
//! that webhooks took time for.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use contracts::notifications::{Recipient, RecipientKind};
use runtime::{ApplyError, Lane, Trace};
use sqlx::postgres::PgArguments;
use sqlx::query::QueryScalar;
use sqlx::{Connection, FromRow, PgConnection, Postgres};
use uuid::Uuid;

use crate::notification::{Notification, Route, Step};

/// The columns of a pending [`Notification`].
#[derive(FromRow)]
struct Row {
    notification_id: Uuid,
    lane: String,
    order_id: Uuid,
    order_version: i32,
    event_id: Uuid,
    event: String,
    overtaken_by: Option<String>,
    recipient_kind: String,
    recipient_id: String,
    template: String,
    attempts: i32,
    url: String,
    body: String,
    expires_at: DateTime<Utc>,
    due_at: Option<DateTime<Utc>>,
    traceparent: String,
}

/// A notification with the lane that sends it.
pub struct Owned {
    pub lane: String,
    pub notification: Notification,
}

/// All notifications of the lanes that wait for a webhook, the oldest first.
pub async fn load_pending(
    lanes: &[Arc<Lane>],
    tx: &mut PgConnection,
) -> Result<Vec<Owned>, ApplyError> {
    let lanes: Vec<&str> = lanes.iter().map(|lane| lane.id.as_str()).collect();
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT notification_id, lane, order_id, order_version, event_id, event, overtaken_by, recipient_kind,
            recipient_id, template, attempts, url, body, expires_at, due_at, traceparent
         FROM notifications WHERE lane = ANY($1) AND status = 'pending' ORDER BY created_at",
    )
    .bind(lanes)
    .fetch_all(tx)
    .await?;
    rows.into_iter().map(Row::into_notification).collect()
}

impl Row {
    fn into_notification(self) -> Result<Owned, ApplyError> {
        let kinds = [
            RecipientKind::Customer,
            RecipientKind::Restaurant,
            RecipientKind::Driver,
            RecipientKind::Operations,
        ];
        let Some(kind) = kinds
            .into_iter()
            .find(|kind| kind.symbol() == self.recipient_kind)
        else {
            let (id, kind) = (self.notification_id, self.recipient_kind);
            return Err(ApplyError::permanent(format!(
                "notification {id}: unknown recipient kind {kind}"
            )));
        };
        let notification = Notification {
            id: self.notification_id,
            source_event_id: self.event_id,
            event: self.event,
            order_id: self.order_id,
            order_version: self.order_version,
            recipient: Recipient {
                kind,
                id: self.recipient_id,
            },
            template: self.template,
            route: Route::Webhook {
                url: self.url,
                body: self.body,
            },
            expires_at: self.expires_at,
            attempts: self.attempts,
            overtaken_by: self.overtaken_by,
            // A call may have been under way; nobody will hear its answer.
            step: self.due_at.map_or(Step::Send, Step::Wait),
            trace: Trace::parse(&self.traceparent, None).unwrap_or_else(Trace::root),
        };
        Ok(Owned {
            lane: self.lane,
            notification,
        })
    }
}

/// New notifications by column.
#[derive(Default)]
pub struct Insertions {
    ids: Vec<Uuid>,
    geos: Vec<String>,
    lanes: Vec<String>,
    order_ids: Vec<Uuid>,
    order_versions: Vec<i32>,
    event_ids: Vec<Uuid>,
    events: Vec<String>,
    channels: Vec<&'static str>,
    recipient_kinds: Vec<&'static str>,
    recipient_ids: Vec<String>,
    templates: Vec<String>,
    urls: Vec<Option<String>>,
    bodies: Vec<Option<String>>,
    expiries: Vec<DateTime<Utc>>,
    traceparents: Vec<String>,
    state: States,
}

/// What becomes of notifications, by column.
#[derive(Default)]
struct States {
    statuses: Vec<&'static str>,
    reasons: Vec<Option<&'static str>>,
    details: Vec<Option<String>>,
    attempts: Vec<i32>,
    due: Vec<Option<DateTime<Utc>>>,
    overtaken_by: Vec<Option<String>>,
}

impl States {
    fn push(&mut self, notification: &Notification) {
        let (status, reason, detail, due) = match &notification.step {
            Step::Sent => ("sent", None, None, None),
            Step::Dropped { reason, detail } => {
                ("dropped", Some(reason.symbol()), detail.clone(), None)
            }
            Step::Wait(at) => ("pending", None, None, Some(*at)),
            Step::Send | Step::InFlight => ("pending", None, None, None),
        };
        self.statuses.push(status);
        self.reasons.push(reason);
        self.details.push(detail);
        self.attempts.push(notification.attempts);
        self.due.push(due);
        self.overtaken_by.push(notification.overtaken_by.clone());
    }
}

/// The insertion, with what to do about a row that is there.
macro_rules! insert_notifications {
    ($repeated:literal) => {
        concat!(
            "INSERT INTO notifications (notification_id, geo, lane, order_id, order_version, event_id, channel, \
                recipient_kind, recipient_id, template, url, body, expires_at, traceparent, status, reason, detail, \
                attempts, due_at, overtaken_by, event, created_at, changed_at) \
             SELECT UNNEST($1::uuid[]), UNNEST($2::text[]), \
                 UNNEST($3::text[]), UNNEST($4::uuid[]), UNNEST($5::int[]), UNNEST($6::uuid[]), UNNEST($7::text[]), \
                 UNNEST($8::text[]), UNNEST($9::text[]), UNNEST($10::text[]), UNNEST($11::text[]), UNNEST($12::text[]), \
                 UNNEST($13::timestamptz[]), UNNEST($14::text[]), UNNEST($15::text[]), UNNEST($16::text[]), \
                 UNNEST($17::text[]), UNNEST($18::int[]), UNNEST($19::timestamptz[]), UNNEST($20::text[]), \
                 UNNEST($21::text[]), $22::timestamptz, $22::timestamptz ",
            $repeated,
            " RETURNING notification_id"
        )
    };
}

/// Fails where one is there. That is rare: an event has to come twice; and a row that need not look whether it is there costs
/// a quarter less.
const INSERT_ALL: &str = insert_notifications!("");
const INSERT_NEW: &str = insert_notifications!("ON CONFLICT (notification_id) DO NOTHING");
/// So many rows and more are tried as a whole first: with fewer it costs less to look than to set a savepoint.
const MANY: usize = 50;

impl Insertions {
    /// As it will be at the end of the cycle, if it turns out to be new.
    pub fn push(&mut self, geo: &str, lane: &str, notification: &Notification) {
        let (url, body) = match &notification.route {
            Route::Log => (None, None),
            Route::Webhook { url, body } => (Some(url.clone()), Some(body.clone())),
        };
        self.ids.push(notification.id);
        self.geos.push(geo.to_owned());
        self.lanes.push(lane.to_owned());
        self.order_ids.push(notification.order_id);
        self.order_versions.push(notification.order_version);
        self.event_ids.push(notification.source_event_id);
        self.events.push(notification.event.clone());
        self.channels.push(notification.route.channel().symbol());
        self.recipient_kinds
            .push(notification.recipient.kind.symbol());
        self.recipient_ids.push(notification.recipient.id.clone());
        self.templates.push(notification.template.clone());
        self.urls.push(url);
        self.bodies.push(body);
        self.expiries.push(notification.expires_at);
        self.traceparents.push(notification.trace.traceparent());
        self.state.push(notification);
    }

    /// Inserts those that are new and returns their ids.
    pub async fn save(
        self,
        now: DateTime<Utc>,
        tx: &mut PgConnection,
    ) -> Result<HashSet<Uuid>, ApplyError> {
        if self.ids.is_empty() {
            return Ok(HashSet::new());
        }
        if self.ids.len() >= MANY {
            let mut attempt = tx.begin().await?;
            match self.bind(INSERT_ALL, now).fetch_all(&mut *attempt).await {
                Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                    attempt.rollback().await?;
                }
                inserted => {
                    let all = inserted?;
                    attempt.commit().await?;
                    return Ok(all.into_iter().collect());
                }
            }
        }
        let new = self.bind(INSERT_NEW, now).fetch_all(tx).await?;
        Ok(new.into_iter().collect())
    }

    fn bind(
        &self,
        statement: &'static str,
        now: DateTime<Utc>,
    ) -> QueryScalar<'_, Postgres, Uuid, PgArguments> {
        let query = sqlx::query_scalar(statement)
            .bind(&self.ids)
            .bind(&self.geos)
            .bind(&self.lanes)
            .bind(&self.order_ids)
            .bind(&self.order_versions)
            .bind(&self.event_ids)
            .bind(&self.channels);
        let query = query
            .bind(&self.recipient_kinds)
            .bind(&self.recipient_ids)
            .bind(&self.templates)
            .bind(&self.urls)
            .bind(&self.bodies)
            .bind(&self.expiries)
            .bind(&self.traceparents);
        query
            .bind(&self.state.statuses)
            .bind(&self.state.reasons)
            .bind(&self.state.details)
            .bind(&self.state.attempts)
            .bind(&self.state.due)
            .bind(&self.state.overtaken_by)
            .bind(&self.events)
            .bind(now)
    }
}

/// Changes of notifications that wait for a webhook.
#[derive(Default)]
pub struct Updates {
    ids: Vec<Uuid>,
    state: States,
}

impl Updates {
    pub fn push(&mut self, notification: &Notification) {
        self.ids.push(notification.id);
        self.state.push(notification);
    }

    pub async fn save(self, now: DateTime<Utc>, tx: &mut PgConnection) -> Result<(), ApplyError> {
        if self.ids.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "UPDATE notifications SET status = c.status, reason = c.reason, detail = c.detail, attempts = c.attempts,
                due_at = c.due_at, overtaken_by = c.overtaken_by, changed_at = $8::timestamptz
             FROM (SELECT UNNEST($1::uuid[]) AS notification_id, UNNEST($2::text[]) AS status,
                 UNNEST($3::text[]) AS reason, UNNEST($4::text[]) AS detail, UNNEST($5::int[]) AS attempts,
                 UNNEST($6::timestamptz[]) AS due_at, UNNEST($7::text[]) AS overtaken_by) AS c
             WHERE notifications.notification_id = c.notification_id",
        )
        .bind(self.ids)
        .bind(self.state.statuses)
        .bind(self.state.reasons)
        .bind(self.state.details)
        .bind(self.state.attempts)
        .bind(self.state.due)
        .bind(self.state.overtaken_by)
        .bind(now)
        .execute(tx)
        .await?;
        Ok(())
    }
}
