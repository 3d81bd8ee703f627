//! A notification: one message about one event to one recipient on one channel; and what happens to it. Pure.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::derived;
use contracts::notifications::{Channel, DropReason, Recipient};
use contracts::value::Contact;
use runtime::Trace;
use uuid::{Builder, Uuid};

use crate::occurrence::Occurrence;
use crate::rule::{Rule, Via};

#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// Derived from event, channel and recipient: who has one id twice has the same message twice. Later events have larger ids.
    pub id: Uuid,
    pub source_event_id: Uuid,
    /// Name of the record it tells of.
    pub event: String,
    pub order_id: Uuid,
    pub order_version: i32,
    pub recipient: Recipient,
    pub template: String,
    pub route: Route,
    /// After this instant it is not worth sending any more.
    pub expires_at: DateTime<Utc>,
    /// Tries so far.
    pub attempts: i32,
    /// The event that made it pointless while its webhook was being called.
    pub overtaken_by: Option<String>,
    pub step: Step,
    pub trace: Trace,
}

/// How it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    Log,
    Webhook { url: String, body: String },
}

/// What happens next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// It is to be sent: a line in the log at the end of this cycle, a webhook as soon as it is its turn.
    Send,
    /// The webhook has been called; its answer is to come.
    InFlight,
    /// Its turn may come from this instant on.
    Wait(DateTime<Utc>),
    Sent,
    Dropped {
        reason: DropReason,
        detail: Option<String>,
    },
}

/// What a webhook answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Delivery {
    Accepted,
    /// It will not take this message, however often it is sent.
    Refused(String),
    Failed(String),
    /// The receiver is to be left alone: it was not even tried.
    Held,
}

/// When a webhook that failed is called again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Pauses after the first failures; the last one is also the pause after every further one.
    pub pauses: Vec<Duration>,
}

impl Route {
    pub fn channel(&self) -> Channel {
        match self {
            Self::Log => Channel::Log,
            Self::Webhook { .. } => Channel::Webhook,
        }
    }

    fn choose(via: Via, contact: &Contact) -> Option<Self> {
        let webhook = || {
            contact.webhook_url.clone().map(|url| Self::Webhook {
                url,
                body: String::new(),
            })
        };
        match via {
            Via::Log => Some(Self::Log),
            Via::Webhook => webhook(),
            Via::Contact => Some(webhook().unwrap_or(Self::Log)),
        }
    }
}

/// A UUIDv8 (RFC 9562, section 5.8): the event's milliseconds since the epoch where UUIDv7 has them, so that an index of many
/// messages grows at one end, and for the rest the UUIDv5 of event, channel and recipient.
fn identity(occurrence: &Occurrence, name: &str) -> Uuid {
    let mut bytes = derived(&occurrence.event_id, name).into_bytes();
    let milliseconds = occurrence.occurred_at.timestamp_millis().to_be_bytes();
    bytes[..6].copy_from_slice(&milliseconds[2..]);
    Builder::from_custom_bytes(bytes).into_uuid()
}

impl Notification {
    /// What a rule makes of an event; nothing when the event has no such recipient, or one that cannot be reached the
    /// way the rule wants it. The body of a webhook is still to be written.
    pub fn plan(
        rule: &Rule,
        occurrence: &Occurrence,
        trace: &Trace,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let contact = occurrence.contact(rule.recipient)?;
        let route = Route::choose(rule.channel, contact)?;
        let recipient = Recipient {
            kind: rule.recipient.kind(),
            id: contact.id.clone(),
        };
        let expires_at = occurrence.occurred_at + rule.ttl();
        let name = format!(
            "{}/{}/{}",
            route.channel().symbol(),
            recipient.kind.symbol(),
            recipient.id
        );
        let step = match &route {
            _ if expires_at <= now => stale(None),
            Route::Webhook { url, .. }
                if !url.starts_with("http://") && !url.starts_with("https://") =>
            {
                Step::Dropped {
                    reason: DropReason::NoChannel,
                    detail: Some(format!("webhook_url = {url:?}")),
                }
            }
            _ => Step::Send,
        };
        Some(Self {
            id: identity(occurrence, &name),
            source_event_id: occurrence.event_id,
            event: occurrence.event.to_owned(),
            order_id: occurrence.order_id,
            order_version: occurrence.order_version,
            recipient,
            template: rule.template.clone(),
            route,
            expires_at,
            attempts: 0,
            overtaken_by: None,
            step,
            trace: trace.clone(),
        })
    }

    /// When it has to be looked at again, whatever else happens: to be sent, or because it is not worth it any more.
    pub fn alarm(&self) -> Option<DateTime<Utc>> {
        match self.step {
            Step::Send => Some(self.expires_at),
            Step::Wait(at) => Some(at.min(self.expires_at)),
            Step::InFlight | Step::Sent | Step::Dropped { .. } => None,
        }
    }

    /// The time of one that waits has come, by its [`Notification::alarm`].
    pub fn due(&mut self, now: DateTime<Utc>) {
        match self.step {
            // Its turn did not come, or the process was down, for longer than the message is worth.
            Step::Wait(_) | Step::Send if self.expires_at <= now => self.step = stale(None),
            Step::Wait(at) if at <= now => self.step = Step::Send,
            Step::Wait(_) | Step::Send => {}
            Step::InFlight | Step::Sent | Step::Dropped { .. } => {}
        }
    }

    /// The order has moved on to where the message is pointless.
    pub fn overtaken(&mut self, by: &str) {
        match self.step {
            Step::Send | Step::Wait(_) => self.step = stale(Some(by.to_owned())),
            // It may have arrived; if not, it is not sent again.
            Step::InFlight => self.overtaken_by = Some(by.to_owned()),
            Step::Sent | Step::Dropped { .. } => {}
        }
    }

    /// A webhook has answered.
    pub fn answered(&mut self, delivery: Delivery, policy: &RetryPolicy, now: DateTime<Utc>) {
        if self.step != Step::InFlight {
            return;
        }
        self.attempts += i32::from(delivery != Delivery::Held);
        self.step = match (delivery, self.overtaken_by.take()) {
            (Delivery::Accepted, _) => Step::Sent,
            (Delivery::Refused(detail), _) => Step::Dropped {
                reason: DropReason::Refused,
                detail: Some(detail),
            },
            (Delivery::Failed(_) | Delivery::Held, Some(event)) => stale(Some(event)),
            (Delivery::Held, None) if self.expires_at <= now => stale(None),
            (Delivery::Held, None) => Step::Send,
            (Delivery::Failed(detail), None) => {
                let at = now + policy.pause(self.attempts);
                if at < self.expires_at {
                    Step::Wait(at)
                } else {
                    Step::Dropped {
                        reason: DropReason::Exhausted,
                        detail: Some(detail),
                    }
                }
            }
        };
    }

    /// Where its webhook is.
    pub fn url(&self) -> Option<&str> {
        match &self.route {
            Route::Log => None,
            Route::Webhook { url, .. } => Some(url),
        }
    }

    /// Whether nothing is left to do.
    pub fn is_over(&self) -> bool {
        matches!(self.step, Step::Sent | Step::Dropped { .. })
    }
}

/// `detail`: the event that made it so, if it was not time alone.
fn stale(detail: Option<String>) -> Step {
    Step::Dropped {
        reason: DropReason::Stale,
        detail,
    }
}

impl RetryPolicy {
    fn pause(&self, attempts: i32) -> TimeDelta {
        let index = usize::try_from(attempts - 1).unwrap_or_default();
        let pause = self
            .pauses
            .get(index)
            .or(self.pauses.last())
            .copied()
            .unwrap_or_default();
        TimeDelta::from_std(pause).unwrap_or(TimeDelta::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::occurrence::Words;
    use crate::rule::{Rules, Side};

    fn occurrence(now: DateTime<Utc>, webhook_url: Option<&str>) -> Occurrence {
        let contact = |id: &str, url: Option<&str>| Contact {
            id: id.into(),
            webhook_url: url.map(str::to_owned),
        };
        Occurrence {
            event: "OrderDriverAssigned",
            event_id: Uuid::from_u128(1),
            occurred_at: now,
            geo: "berlin-mitte".into(),
            order_id: Uuid::from_u128(2),
            order_version: 5,
            customer: Some(contact("c-1", webhook_url)),
            restaurant: None,
            driver: Some(contact("d-1", None)),
            operations: None,
            words: Words::default(),
        }
    }

    fn rule(recipient: Side, channel: Via) -> Rule {
        Rule {
            recipient,
            channel,
            ..Rules::standard()
                .of("OrderDriverAssigned")
                .next()
                .unwrap()
                .clone()
        }
    }

    fn planned(now: DateTime<Utc>, webhook_url: Option<&str>, rule: &Rule) -> Option<Notification> {
        Notification::plan(rule, &occurrence(now, webhook_url), &Trace::root(), now)
    }

    fn policy() -> RetryPolicy {
        RetryPolicy {
            pauses: [1, 5].map(Duration::from_secs).to_vec(),
        }
    }

    #[test]
    fn a_contact_with_a_webhook_gets_it_there_and_one_without_in_the_log() {
        let now = Utc::now();
        let channel =
            |via, url| planned(now, url, &rule(Side::Customer, via)).map(|it| it.route.channel());
        assert_eq!(
            channel(Via::Contact, Some("http://c")),
            Some(Channel::Webhook)
        );
        assert_eq!(channel(Via::Contact, None), Some(Channel::Log));
        assert_eq!(channel(Via::Log, Some("http://c")), Some(Channel::Log));
        assert_eq!(channel(Via::Webhook, None), None);
        assert_eq!(
            planned(now, None, &rule(Side::Restaurant, Via::Contact)),
            None,
            "the event names no restaurant"
        );
    }

    #[test]
    fn the_id_is_that_of_event_channel_and_recipient() {
        let now = Utc::now();
        let id = |url, side, via| planned(now, url, &rule(side, via)).unwrap().id;
        let log = id(None, Side::Customer, Via::Contact);
        assert_eq!(
            log,
            id(None, Side::Customer, Via::Log),
            "the same however it came about"
        );
        assert_ne!(log, id(Some("http://c"), Side::Customer, Via::Contact));
        assert_ne!(log, id(None, Side::Driver, Via::Log));
        let other = Occurrence {
            event_id: Uuid::from_u128(9),
            ..occurrence(now, None)
        };
        assert_ne!(
            log,
            Notification::plan(&rule(Side::Customer, Via::Log), &other, &Trace::root(), now)
                .unwrap()
                .id
        );
    }

    #[test]
    fn messages_about_later_events_have_larger_ids() {
        let now = Utc::now();
        let id = |at| {
            planned(at, None, &rule(Side::Customer, Via::Log))
                .unwrap()
                .id
        };
        let ids: Vec<Uuid> = (0..100)
            .map(|n| id(now + TimeDelta::milliseconds(n * n)))
            .collect();
        assert!(
            ids.is_sorted_by(|earlier, later| earlier < later),
            "{ids:?}"
        );
        assert_eq!(ids[0].get_version_num(), 8);
    }

    #[test]
    fn what_comes_too_late_is_dropped_as_stale() {
        let now = Utc::now();
        let rule = rule(Side::Customer, Via::Log);
        let late = now + rule.ttl();
        let step = |at| {
            Notification::plan(&rule, &occurrence(now, None), &Trace::root(), at)
                .unwrap()
                .step
        };
        assert_eq!(step(late), stale(None));
        assert_eq!(step(late - TimeDelta::seconds(1)), Step::Send);
    }

    #[test]
    fn an_address_that_is_none_is_dropped_naming_it() {
        let dropped = planned(
            Utc::now(),
            Some("ftp://c"),
            &rule(Side::Customer, Via::Webhook),
        )
        .unwrap();
        let detail = Some("webhook_url = \"ftp://c\"".to_owned());
        assert_eq!(
            dropped.step,
            Step::Dropped {
                reason: DropReason::NoChannel,
                detail
            }
        );
    }

    #[test]
    fn a_webhook_that_fails_is_called_again_until_the_message_is_not_worth_it() {
        let start = Utc::now();
        let mut now = start;
        let mut it = planned(now, Some("http://c"), &rule(Side::Customer, Via::Webhook)).unwrap();
        let mut pauses = Vec::new();
        while !it.is_over() {
            it.step = Step::InFlight;
            it.answered(Delivery::Failed("timeout".into()), &policy(), now);
            if let Step::Wait(at) = it.step {
                pauses.push((at - now).num_seconds());
                it.due(at - TimeDelta::milliseconds(1));
                assert_eq!(it.step, Step::Wait(at), "not before its time");
                it.due(at);
                assert_eq!(it.step, Step::Send);
                now = at;
            }
        }
        assert_eq!(pauses[..4], [1, 5, 5, 5]);
        assert!(now < it.expires_at && now >= it.expires_at - TimeDelta::seconds(5));
        assert_eq!(
            it.step,
            Step::Dropped {
                reason: DropReason::Exhausted,
                detail: Some("timeout".into())
            }
        );
        assert_eq!(it.attempts as usize, pauses.len() + 1);
    }

    #[test]
    fn a_webhook_whose_time_came_too_late_is_not_called() {
        let now = Utc::now();
        let mut it = planned(now, Some("http://c"), &rule(Side::Customer, Via::Webhook)).unwrap();
        it.step = Step::InFlight;
        it.answered(Delivery::Failed("timeout".into()), &policy(), now);
        it.due(it.expires_at);
        assert_eq!(it.step, stale(None));
    }

    #[test]
    fn one_that_the_order_has_overtaken_is_not_sent_and_one_on_its_way_not_again() {
        let now = Utc::now();
        let webhook =
            || planned(now, Some("http://c"), &rule(Side::Customer, Via::Webhook)).unwrap();
        let pointless = stale(Some("OrderDelivered".into()));
        let mut waiting = webhook();
        waiting.overtaken("OrderDelivered");
        assert_eq!(waiting.step, pointless);
        for (delivery, end) in [
            (Delivery::Failed("timeout".into()), pointless.clone()),
            (Delivery::Held, pointless),
            (Delivery::Accepted, Step::Sent),
        ] {
            let mut it = webhook();
            it.step = Step::InFlight;
            it.overtaken("OrderDelivered");
            assert_eq!(it.step, Step::InFlight, "it may have arrived");
            it.answered(delivery, &policy(), now);
            assert_eq!(it.step, end);
        }
    }

    #[test]
    fn one_whose_turn_does_not_come_in_time_is_dropped_and_has_not_been_tried() {
        let now = Utc::now();
        let mut it = planned(now, Some("http://c"), &rule(Side::Customer, Via::Webhook)).unwrap();
        it.step = Step::InFlight;
        it.answered(Delivery::Held, &policy(), now);
        assert_eq!((&it.step, it.attempts), (&Step::Send, 0));
        let alarm = it.alarm().unwrap();
        it.due(alarm - TimeDelta::milliseconds(1));
        assert_eq!(it.step, Step::Send);
        it.due(alarm);
        assert_eq!(it.step, stale(None));
    }

    #[test]
    fn a_webhook_that_refuses_is_not_called_again() {
        let now = Utc::now();
        let mut it = planned(now, Some("http://c"), &rule(Side::Customer, Via::Webhook)).unwrap();
        it.step = Step::InFlight;
        it.answered(Delivery::Refused("status 410".into()), &policy(), now);
        assert!(it.is_over());
        it.answered(Delivery::Accepted, &policy(), now);
        assert!(
            matches!(
                it.step,
                Step::Dropped {
                    reason: DropReason::Refused,
                    ..
                }
            ),
            "an end is an end"
        );
    }
}
