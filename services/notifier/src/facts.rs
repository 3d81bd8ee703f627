//! Ends as records: what the notifier tells everybody about its messages.

use chrono::{DateTime, Utc};
use contracts::notifications::{DropReason, NotificationDropped, NotificationSent};
use contracts::{Record, derived};
use uuid::Uuid;

use crate::notification::Notification;

/// Derived like the notification's own id, from which it follows: there is one end of each.
fn end_id(notification: &Notification, record: &str) -> Uuid {
    derived(&notification.id, record)
}

pub fn sent(notification: &Notification, geo: &str, now: DateTime<Utc>) -> NotificationSent {
    NotificationSent {
        event_id: end_id(notification, NotificationSent::NAME),
        occurred_at: now,
        geo: geo.to_owned(),
        order_id: notification.order_id,
        order_version: notification.order_version,
        notification_id: notification.id,
        source_event_id: notification.source_event_id,
        channel: notification.route.channel(),
        recipient: notification.recipient.clone(),
        template: notification.template.clone(),
        attempts: notification.attempts,
    }
}

pub fn dropped(
    notification: &Notification,
    geo: &str,
    now: DateTime<Utc>,
    reason: DropReason,
    detail: Option<String>,
) -> NotificationDropped {
    NotificationDropped {
        event_id: end_id(notification, NotificationDropped::NAME),
        occurred_at: now,
        geo: geo.to_owned(),
        order_id: notification.order_id,
        order_version: notification.order_version,
        notification_id: notification.id,
        source_event_id: notification.source_event_id,
        channel: notification.route.channel(),
        recipient: notification.recipient.clone(),
        template: notification.template.clone(),
        reason,
        detail,
    }
}
