//! The notifier: events in, messages out, each (event, channel, recipient) once.
//!
//! The one insertion of a cycle decides what is new. A new message for the log is logged within the cycle, before its
//! commit: it costs no second cycle, and a cycle that has to be repeated logs it again, with the same id. A webhook is
//! called after the cycle is published; the receiver drops what comes twice by the id as well. So both channels are
//! at-least-once with an id, while NotificationSent and NotificationDropped on the topic are exactly-once.
//!
//! What an order's later event makes pointless is dropped where it waits, also when both events are of one cycle.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::streams::{DriverAssignmentEvent, OrdersEvent};
use contracts::{Codec, Record};
use runtime::{
    ApplyError, Cycle, DecodeError, Lane, LaneCycle, Loaded, Message, Processor, Received, Reject,
    Verdict,
};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::config::NotifierSettings;
use crate::facts;
use crate::lane::LaneState;
use crate::line::Next;
use crate::notification::{Delivery, Notification, RetryPolicy, Route, Step};
use crate::occurrence::Occurrence;
use crate::rule::Rules;
use crate::store::{self, Insertions, Owned, Updates};
use crate::text::Texts;
use crate::webhook::{Body, Post, Tried, Webhooks};

pub struct Notifier {
    codec: Codec,
    rules: Rules,
    texts: Texts,
    webhooks: Webhooks,
    retries: RetryPolicy,
    operations_webhook: Option<String>,
}

/// What a lane is woken for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Timer {
    /// The receiver of this address need not be left alone any longer.
    Receiver(String),
    /// The alarm of a notification.
    Notification(Uuid),
}

/// What a webhook answered about a notification.
pub struct Answer {
    notification_id: Uuid,
    url: String,
    tried: Tried,
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
        settings: &NotifierSettings,
    ) -> Self {
        Self {
            codec,
            rules,
            texts,
            webhooks,
            retries: settings.retries(),
            operations_webhook: settings.operations_webhook.clone(),
        }
    }

    fn heed<M>(&self, event: &M) -> Heard
    where
        M: contracts::Message,
        for<'a> Occurrence: From<&'a M>,
    {
        if self.rules.concern(event.contract().name) {
            let occurrence = Occurrence::from(event);
            Heard::Concerning(occurrence.watched_by(self.operations_webhook.clone()))
        } else {
            Heard::Other {
                geo: event.geo().to_owned(),
            }
        }
    }
}

/// An event that came.
#[allow(
    clippy::large_enum_variant,
    reason = "boxing would cost an allocation per event"
)]
pub enum Heard {
    /// A rule names it.
    Concerning(Occurrence),
    /// None does, so there is nothing to tell.
    Other { geo: String },
}

impl Heard {
    fn geo(&self) -> &str {
        match self {
            Self::Concerning(occurrence) => &occurrence.geo,
            Self::Other { geo } => geo,
        }
    }
}

impl Processor for Notifier {
    type Event = Heard;
    type State = LaneState;
    type Timer = Timer;
    type Call = Post;
    type Answer = Answer;

    async fn decode(&self, message: &Message) -> Result<Heard, DecodeError> {
        Ok(if message.source.topic.starts_with("orders.") {
            self.heed(&binding::decode::<OrdersEvent>(&self.codec, message).await?)
        } else {
            self.heed(&binding::decode::<DriverAssignmentEvent>(&self.codec, message).await?)
        })
    }

    async fn load(
        &self,
        lanes: &[Arc<Lane>],
        now: DateTime<Utc>,
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
            let alarm = notification.alarm();
            lane.timers
                .extend(alarm.map(|at| (Timer::Notification(notification.id), at)));
            lane.state.keep(notification);
        }
        for lane in loaded.values_mut() {
            for url in lane.state.lines.all() {
                if let Some(notification) = lane.state.next_call(&url, now) {
                    lane.calls.extend(post(notification));
                }
            }
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
        let mut desk = Desk {
            processor: self,
            now,
            touched: vec![Touched::default(); cycle.lanes.len()],
            candidates: Vec::new(),
        };
        for (index, lane) in cycle.lanes.iter_mut().enumerate() {
            desk.hear(index, lane);
            for (message, received) in std::mem::take(&mut lane.messages).into_iter().enumerate() {
                let verdict = desk.message(index, lane, received)?;
                lane.effects.answer(message, verdict);
            }
        }
        let mut insertions = Insertions::default();
        for candidate in &mut desk.candidates {
            let (lane, notification) = (&cycle.lanes[candidate.lane], &mut candidate.notification);
            // Nothing can come between: it is in the log by the time the row is committed.
            if notification.route == Route::Log && notification.step == Step::Send {
                (notification.attempts, notification.step) = (1, Step::Sent);
            }
            insertions.push(lane.state.geo.as_str(), lane.lane.id.as_str(), notification);
        }
        let new = insertions.save(now, tx).await?;
        let updates = desk.finish(&mut cycle.lanes, new)?;
        updates.save(now, tx).await
    }

    async fn call(self: &Arc<Self>, post: Post) -> Answer {
        let tried = self.webhooks.try_deliver(&post).await;
        let outcome = match &tried.delivery {
            Delivery::Accepted => "accepted",
            Delivery::Refused(_) => "refused",
            Delivery::Failed(_) => "failed",
            Delivery::Held => "held",
        };
        metrics::counter!("notifier_webhook_calls_total", "outcome" => outcome).increment(1);
        Answer {
            notification_id: post.notification_id,
            url: post.url,
            tried,
        }
    }
}

/// What a cycle changes in one lane.
#[derive(Clone, Default)]
struct Touched {
    /// Notifications, in the order of their first change.
    notifications: Vec<Uuid>,
    known: HashSet<Uuid>,
    /// Addresses whose lines may go on.
    receivers: Vec<String>,
}

impl Touched {
    fn note(&mut self, id: Uuid) {
        if self.known.insert(id) {
            self.notifications.push(id);
        }
    }
}

/// A cycle at work, lane by lane.
struct Desk<'a> {
    processor: &'a Notifier,
    now: DateTime<Utc>,
    /// By lane.
    touched: Vec<Touched>,
    candidates: Vec<Candidate>,
}

impl Desk<'_> {
    /// Applies answers and timers to what waits for webhooks.
    fn hear(&mut self, index: usize, lane: &mut LaneCycle<'_, Notifier>) {
        let (now, touched) = (self.now, &mut self.touched[index]);
        for answer in std::mem::take(&mut lane.answers) {
            let wait = answer
                .tried
                .wait
                .and_then(|it| TimeDelta::from_std(it).ok());
            let not_before = wait.map(|wait| now + wait);
            lane.state.lines.answered(&answer.url, not_before);
            if let Some(notification) = lane.state.pending.get_mut(&answer.notification_id) {
                notification.answered(answer.tried.delivery, &self.processor.retries, now);
                touched.note(notification.id);
                if notification.step == Step::Send {
                    lane.state.lines.join(&answer.url, notification.id);
                }
            }
            touched.receivers.push(answer.url);
        }
        for timer in std::mem::take(&mut lane.timers) {
            match timer {
                Timer::Receiver(url) => touched.receivers.push(url),
                Timer::Notification(id) => {
                    if let Some(notification) = lane.state.pending.get_mut(&id) {
                        let waited = matches!(notification.step, Step::Wait(_));
                        notification.due(now);
                        touched.note(id);
                        if let (true, Step::Send, Some(url)) =
                            (waited, &notification.step, notification.url())
                        {
                            lane.state.lines.join(url, id);
                            touched.receivers.push(url.to_owned());
                        }
                    }
                }
            }
        }
    }

    /// Applies an event: what it makes pointless, and what the rules make of it.
    fn message(
        &mut self,
        index: usize,
        lane: &mut LaneCycle<'_, Notifier>,
        received: Received<Heard>,
    ) -> Result<Verdict, ApplyError> {
        let Received { event, trace, .. } = received;
        let (geo, expected) = (event.geo(), lane.state.geo.as_str());
        if geo != expected {
            let message = format!("geo = {geo:?}: this topic is of {expected:?}");
            return Ok(Verdict::Reject(Reject::new("wrong_geo", message)));
        }
        let Heard::Concerning(occurrence) = event else {
            return Ok(Verdict::Skip("nobody_to_tell"));
        };
        self.overtake(index, lane, &occurrence);
        let before = self.candidates.len();
        for rule in self.processor.rules.of(occurrence.event) {
            let plan = Notification::plan(rule, &occurrence, &trace, self.now);
            let Some(mut notification) = plan else {
                continue;
            };
            let text = self
                .processor
                .texts
                .render(&rule.template, &occurrence.words)
                .map_err(ApplyError::permanent)?;
            if let Route::Webhook { body, .. } = &mut notification.route {
                let (id, recipient) = (notification.id, &notification.recipient);
                let posted = Body::new(id, &occurrence, recipient, &text);
                *body = serde_json::to_string(&posted).map_err(ApplyError::permanent)?;
            }
            self.candidates.push(Candidate {
                lane: index,
                notification,
                text,
            });
        }
        Ok(if self.candidates.len() == before {
            Verdict::Skip("nobody_to_tell")
        } else {
            Verdict::Done
        })
    }

    fn overtake(&mut self, index: usize, lane: &mut LaneCycle<'_, Notifier>, later: &Occurrence) {
        let rules = &self.processor.rules;
        if !rules.is_an_end(later.event) {
            return;
        }
        let pointless = |it: &Notification| {
            it.order_id == later.order_id
                && it.source_event_id != later.event_id
                && rules.overtakes(later.event, &it.event, it.recipient.kind)
        };
        let LaneState {
            pending, by_order, ..
        } = &mut *lane.state;
        for id in by_order.get(&later.order_id).into_iter().flatten() {
            if let Some(notification) = pending.get_mut(id).filter(|it| pointless(it)) {
                notification.overtaken(later.event);
                self.touched[index].note(*id);
            }
        }
        let candidates = self.candidates.iter_mut().rev();
        for candidate in candidates.take_while(|it| it.lane == index) {
            if pointless(&candidate.notification) {
                candidate.notification.overtaken(later.event);
            }
        }
    }

    /// Does what the steps that notifications have come to ask for, and lets the lines go on.
    fn finish(
        mut self,
        lanes: &mut [LaneCycle<'_, Notifier>],
        mut new: HashSet<Uuid>,
    ) -> Result<Updates, ApplyError> {
        let mut updates = Updates::default();
        for (lane, touched) in lanes.iter_mut().zip(&self.touched) {
            for id in &touched.notifications {
                let Some(notification) = lane.state.forget(*id) else {
                    continue;
                };
                updates.push(&notification);
                self.processor.follow(lane, notification, self.now)?;
            }
        }
        for Candidate {
            lane: index,
            notification,
            text,
        } in std::mem::take(&mut self.candidates)
        {
            // Taken out: the same message twice in one cycle is new once.
            if new.remove(&notification.id) {
                log(&notification, &text);
                if let (Step::Send, Some(url)) = (&notification.step, notification.url()) {
                    self.touched[index].receivers.push(url.to_owned());
                    let id = notification.id;
                    lanes[index].state.lines.join(url, id);
                }
                self.processor
                    .follow(&mut lanes[index], notification, self.now)?;
            } else {
                metrics::counter!("notifier_duplicates_total").increment(1);
            }
        }
        for (lane, touched) in lanes.iter_mut().zip(self.touched) {
            for url in touched.receivers {
                match lane.state.next(&url, self.now) {
                    Next::Call(id) => {
                        if let Some(notification) = lane.state.start(id) {
                            let call = post(notification);
                            lane.effects.cancel_timer(Timer::Notification(id));
                            lane.effects
                                .call(call.expect("only webhooks stand in lines"));
                        }
                    }
                    Next::Wait(at) => lane.effects.set_timer(Timer::Receiver(url), at),
                    Next::Rest => {}
                }
            }
        }
        Ok(updates)
    }
}

/// The channel `log`.
fn log(notification: &Notification, text: &str) {
    if notification.route == Route::Log && notification.step == Step::Sent {
        tracing::info!(
            target: "notification",
            id = %notification.id, order_id = %notification.order_id, template = notification.template,
            recipient_kind = notification.recipient.kind.symbol(), recipient = notification.recipient.id, text
        );
    }
}

impl Notifier {
    /// Tells what became of a notification if it has ended, and otherwise keeps it with its alarm.
    fn follow(
        &self,
        lane: &mut LaneCycle<'_, Self>,
        notification: Notification,
        now: DateTime<Utc>,
    ) -> Result<(), ApplyError> {
        let timer = Timer::Notification(notification.id);
        match notification.alarm() {
            Some(at) => lane.effects.set_timer(timer, at),
            None => lane.effects.cancel_timer(timer),
        }
        let geo = lane.state.geo.as_str();
        match &notification.step {
            Step::Send | Step::Wait(_) | Step::InFlight => lane.state.remember(notification),
            Step::Sent => {
                let record = facts::sent(&notification, geo, now);
                self.publish(lane, &notification, &record)?;
            }
            Step::Dropped { reason, detail } => {
                let record = facts::dropped(&notification, geo, now, *reason, detail.clone());
                self.publish(lane, &notification, &record)?;
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

/// The call that sends a webhook.
fn post(notification: &Notification) -> Option<Post> {
    match &notification.route {
        Route::Log => None,
        Route::Webhook { url, body } => Some(Post {
            notification_id: notification.id,
            recipient: notification.recipient.clone(),
            url: url.clone(),
            body: body.clone(),
            traceparent: notification.trace.traceparent(),
        }),
    }
}
