//! What a lane remembers: the notifications that wait for a webhook, by id, by order and by receiver.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use chrono::{DateTime, Utc};
use contracts::streams::NotificationsEvent;
use contracts::{Geo, Topic};
use runtime::{ApplyError, Lane};
use uuid::Uuid;

use crate::line::{Lines, Next};
use crate::notification::{Notification, Step};

/// A lane's memory: the notifications that wait for a webhook.
pub struct LaneState {
    pub(crate) geo: Geo,
    /// Where it tells what became of them: `notifications.events.<geo>`, on the partition of the same number.
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) pending: HashMap<Uuid, Notification>,
    pub(crate) by_order: HashMap<Uuid, Vec<Uuid>>,
    pub(crate) lines: Lines,
}

impl LaneState {
    pub(crate) fn empty(lane: &Lane) -> Result<Self, ApplyError> {
        let source = &lane.sources[0];
        let geo = source
            .source
            .topic
            .parse::<Topic>()
            .map_err(ApplyError::permanent)?
            .geo;
        let topic = Topic::of::<NotificationsEvent>(&geo).to_string();
        Ok(Self {
            geo,
            topic,
            partition: source.partition,
            pending: HashMap::new(),
            by_order: HashMap::new(),
            lines: Lines::default(),
        })
    }

    /// Takes over a notification that waits.
    pub(crate) fn keep(&mut self, notification: Notification) {
        if let (Step::Send, Some(url)) = (&notification.step, notification.url()) {
            self.lines.join(url, notification.id);
        }
        self.remember(notification);
    }

    pub(crate) fn remember(&mut self, notification: Notification) {
        let (id, order_id) = (notification.id, notification.order_id);
        self.by_order.entry(order_id).or_default().push(id);
        self.pending.insert(id, notification);
    }

    pub(crate) fn forget(&mut self, id: Uuid) -> Option<Notification> {
        let notification = self.pending.remove(&id)?;
        if let Entry::Occupied(mut ids) = self.by_order.entry(notification.order_id) {
            ids.get_mut().retain(|known| *known != id);
            if ids.get().is_empty() {
                ids.remove();
            }
        }
        Some(notification)
    }

    /// What is next for a receiver: only what still waits for its turn.
    pub(crate) fn next(&mut self, url: &str, now: DateTime<Utc>) -> Next {
        let pending = &self.pending;
        let is_ready = |id| pending.get(&id).is_some_and(|it| it.step == Step::Send);
        self.lines.next(url, now, is_ready)
    }

    pub(crate) fn start(&mut self, id: Uuid) -> Option<&Notification> {
        let notification = self.pending.get_mut(&id)?;
        notification.step = Step::InFlight;
        Some(notification)
    }

    /// The first call to a receiver after a take-over.
    pub(crate) fn next_call(&mut self, url: &str, now: DateTime<Utc>) -> Option<&Notification> {
        match self.next(url, now) {
            Next::Call(id) => self.start(id),
            Next::Wait(_) | Next::Rest => None,
        }
    }
}
