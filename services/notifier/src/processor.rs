//! The notifier: events in, messages out, each (event, channel, recipient) once.
//!
//! The one insertion of a cycle decides what is new. A new message for the log is logged within the cycle, before its
//! commit: it costs no second cycle, and a cycle that has to be repeated logs it again, with the same id. A webhook is
//! called after the cycle is published; the receiver drops what comes twice by the id as well. So both channels are
//! at-least-once with an id, while NotificationSent and NotificationDropped on the topic are exactly-once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use contracts::streams::{DriverAssignmentEvent, NotificationsEvent, OrdersEvent};
use contracts::{Codec, Geo, Record, Topic};
use runtime::{
    ApplyError, Cycle, DecodeError, Lane, LaneCycle, Loaded, Message, Processor, Received, Reject,
    Verdict,
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::facts;
use crate::notification::{Delivery, Notification, RetryPolicy, Route, Step};
use crate::occurrence::Occurrence;
use crate::rule::Rules;
use crate::store::{self, Insertions, Owned, Updates};
use crate::text::Texts;
use crate::webhook::{Body, Post, Webhooks};

pub struct Notifier {
    codec: Codec,
    rules: Rules,
    texts: Texts,
    webhooks: Webhooks,
    retries: RetryPolicy,
}

/// A lane's memory: the notifications that wait for a webhook.
pub struct LaneState {
    geo: Geo,
    /// Where it tells what became of them: `notifications.events.<geo>`, on the partition of the same number.
    topic: String,
    partition: i32,
    pending: HashMap<Uuid, Notification>,
}

/// What a webhook answered about a notification.
pub struct Answer {
    notification_id: Uuid,
    delivery: Delivery,
}

/// A message that a rule made of an event of this cycle; whether it is new is not known yet.
struct Candidate {
    lane: usize,
    notification: Notification,
    text: String,
}

impl Notifier {
    pub fn new(
        codec: Codec,
        rules: Rules,
        texts: Texts,
        webhooks: Webhooks,
        retries: RetryPolicy,
    ) -> Self {
        Self {
            codec,
            rules,
            texts,
            webhooks,
            retries,
        }
    }
}

impl Processor for Notifier {
    type Event = Occurrence;
    type State = LaneState;
    /// The notification whose webhook is called again.
    type Timer = Uuid;
    type Call = Post;
    type Answer = Answer;

    async fn decode(&self, message: &Message) -> Result<Occurrence, DecodeError> {
        if message.source.topic.starts_with("orders.") {
            Ok((&binding::decode::<OrdersEvent>(&self.codec, message).await?).into())
        } else {
            Ok((&binding::decode::<DriverAssignmentEvent>(&self.codec, message).await?).into())
        }
    }

    async fn load(
        &self,
        lanes: &[Arc<Lane>],
        _now: DateTime<Utc>,
        tx: &mut PgConnection,
    ) -> Result<Vec<Loaded<Self>>, ApplyError> {
        let mut loaded: HashMap<&str, Loaded<Self>> = HashMap::with_capacity(lanes.len());
        for lane in lanes {
            let state = LaneState::empty(lane)?;
            loaded.insert(
                lane.id.as_str(),
                Loaded {
                    state,
                    timers: Vec::new(),
                    calls: Vec::new(),
                },
            );
        }
        for Owned { lane, notification } in store::load_pending(lanes, tx).await? {
            let lane = loaded
                .get_mut(lane.as_str())
                .expect("only notifications of these lanes were selected");
            match notification.step {
                Step::Wait(at) => lane.timers.push((notification.id, at)),
                _ => lane.calls.extend(post(&notification)),
            }
            lane.state.pending.insert(notification.id, notification);
        }
        Ok(lanes
            .iter()
            .filter_map(|lane| loaded.remove(lane.id.as_str()))
            .collect())
    }

    async fn apply(
        &self,
        cycle: &mut Cycle<'_, Self>,
        tx: &mut PgConnection,
    ) -> Result<(), ApplyError> {
        let now = cycle.now;
        let mut updates = Updates::default();
        let mut insertions = Insertions::default();
        let mut candidates = Vec::new();
        for (index, lane) in cycle.lanes.iter_mut().enumerate() {
            self.go_on(lane, now, &mut updates)?;
            for (message, received) in std::mem::take(&mut lane.messages).into_iter().enumerate() {
                let planned = self.plan(lane, received, now)?;
                let verdict = match planned {
                    Ok(planned) if planned.is_empty() => Verdict::Skip("nobody_to_tell"),
                    Ok(planned) => {
                        for (notification, text) in planned {
                            insertions.push(
                                lane.state.geo.as_str(),
                                lane.lane.id.as_str(),
                                &notification,
                            );
                            candidates.push(Candidate {
                                lane: index,
                                notification,
                                text,
                            });
                        }
                        Verdict::Done
                    }
                    Err(reject) => Verdict::Reject(reject),
                };
                lane.effects.answer(message, verdict);
            }
        }
        let mut new = insertions.save(now, tx).await?;
        for Candidate {
            lane,
            notification,
            text,
        } in candidates
        {
            // Taken out: the same message twice in one cycle is new once.
            if new.remove(&notification.id) {
                self.send(&mut cycle.lanes[lane], notification, &text, now)?;
            } else {
                metrics::counter!("notifier_duplicates_total").increment(1);
            }
        }
        updates.save(now, tx).await
    }

    async fn call(self: &Arc<Self>, post: Post) -> Answer {
        let delivery = self.webhooks.deliver(&post).await;
        let outcome = match &delivery {
            Delivery::Accepted => "accepted",
            Delivery::Refused(_) => "refused",
            Delivery::Failed(_) => "failed",
        };
        metrics::counter!("notifier_webhook_calls_total", "outcome" => outcome).increment(1);
        Answer {
            notification_id: post.notification_id,
            delivery,
        }
    }
}

impl Notifier {
    /// Applies answers and timers to what waits for webhooks.
    fn go_on(
        &self,
        lane: &mut LaneCycle<'_, Self>,
        now: DateTime<Utc>,
        updates: &mut Updates,
    ) -> Result<(), ApplyError> {
        let mut touched = Vec::new();
        let mut known = HashSet::new();
        for Answer {
            notification_id,
            delivery,
        } in std::mem::take(&mut lane.answers)
        {
            if let Some(notification) = lane.state.pending.get_mut(&notification_id) {
                notification.answered(delivery, &self.retries, now);
                touched.extend(known.insert(notification_id).then_some(notification_id));
            }
        }
        for notification_id in std::mem::take(&mut lane.timers) {
            if let Some(notification) = lane.state.pending.get_mut(&notification_id) {
                notification.due(now);
                touched.extend(known.insert(notification_id).then_some(notification_id));
            }
        }
        for id in touched {
            let Some(mut notification) = lane.state.pending.remove(&id) else {
                continue;
            };
            self.step(lane, &mut notification, now)?;
            updates.push(&notification);
            if !notification.is_over() {
                lane.state.pending.insert(id, notification);
            }
        }
        Ok(())
    }

    /// What the rules make of an event, with the texts; nothing has been sent yet.
    fn plan(
        &self,
        lane: &LaneCycle<'_, Self>,
        received: Received<Occurrence>,
        now: DateTime<Utc>,
    ) -> Result<Result<Vec<(Notification, String)>, Reject>, ApplyError> {
        let Received {
            event: occurrence,
            trace,
            ..
        } = received;
        let expected = lane.state.geo.as_str();
        if occurrence.geo != expected {
            let message = format!("geo = {:?}: this topic is of {expected:?}", occurrence.geo);
            return Ok(Err(Reject::new("wrong_geo", message)));
        }
        let mut planned = Vec::new();
        for rule in self.rules.of(occurrence.event) {
            let Some(mut notification) = Notification::plan(rule, &occurrence, &trace, now) else {
                continue;
            };
            let text = self
                .texts
                .render(&rule.template, &occurrence.words)
                .map_err(ApplyError::permanent)?;
            match &mut notification.route {
                Route::Webhook { body, .. } => {
                    let posted =
                        Body::new(notification.id, &occurrence, &notification.recipient, &text);
                    *body = serde_json::to_string(&posted).map_err(ApplyError::permanent)?;
                }
                // Nothing can come between: it is sent by the time the row is committed.
                Route::Log if notification.step == Step::Send => {
                    (notification.attempts, notification.step) = (1, Step::Sent);
                }
                Route::Log => {}
            }
            planned.push((notification, text));
        }
        Ok(Ok(planned))
    }

    /// Sends a message that has turned out to be new.
    fn send(
        &self,
        lane: &mut LaneCycle<'_, Self>,
        mut notification: Notification,
        text: &str,
        now: DateTime<Utc>,
    ) -> Result<(), ApplyError> {
        if notification.route == Route::Log && notification.step == Step::Sent {
            tracing::info!(
                target: "notification",
                id = %notification.id, order_id = %notification.order_id, template = notification.template,
                recipient_kind = notification.recipient.kind.symbol(), recipient = notification.recipient.id, text
            );
        }
        self.step(lane, &mut notification, now)?;
        if !notification.is_over() {
            lane.state.pending.insert(notification.id, notification);
        }
        Ok(())
    }

    /// Does what the step that a notification has come to asks for.
    fn step(
        &self,
        lane: &mut LaneCycle<'_, Self>,
        notification: &mut Notification,
        now: DateTime<Utc>,
    ) -> Result<(), ApplyError> {
        match &notification.step {
            Step::Send => {
                lane.effects
                    .call(post(notification).expect("only webhooks are sent by a call"));
                notification.step = Step::InFlight;
            }
            Step::Wait(at) => lane.effects.set_timer(notification.id, *at),
            Step::InFlight => {}
            Step::Sent => self.publish(
                lane,
                notification,
                &facts::sent(notification, lane.state.geo.as_str(), now),
            )?,
            Step::Dropped { reason, detail } => {
                let record = facts::dropped(
                    notification,
                    lane.state.geo.as_str(),
                    now,
                    *reason,
                    detail.clone(),
                );
                self.publish(lane, notification, &record)?;
            }
        }
        Ok(())
    }

    fn publish<R: Record>(
        &self,
        lane: &mut LaneCycle<'_, Self>,
        notification: &Notification,
        record: &R,
    ) -> Result<(), ApplyError> {
        let (partition, key) = (
            Some(lane.state.partition),
            notification.order_id.to_string(),
        );
        let (effects, topic, trace) = (
            &mut lane.effects,
            lane.state.topic.as_str(),
            &notification.trace,
        );
        binding::publish(&self.codec, effects, topic, partition, &key, record, trace)
            .map_err(ApplyError::permanent)
    }
}

impl LaneState {
    fn empty(lane: &Lane) -> Result<Self, ApplyError> {
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
        })
    }
}

/// The call that sends a webhook.
fn post(notification: &Notification) -> Option<Post> {
    match &notification.route {
        Route::Log => None,
        Route::Webhook { url, body } => Some(Post {
            notification_id: notification.id,
            url: url.clone(),
            body: body.clone(),
            traceparent: notification.trace.traceparent(),
        }),
    }
}
