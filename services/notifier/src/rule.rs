//! Rules: which event is told to whom, in which words, on which channel, and for how long it is worth telling.

use std::time::Duration;

use contracts::notifications::RecipientKind;
use contracts::streams::{DriverAssignmentEvent, OrdersEvent};
use contracts::{Contract, Message};
use runtime::ConfigError;
use serde::Deserialize;

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Name of a record of orders.events or driver_assignment.events.
    pub event: String,
    /// An event that names no such recipient sends nothing.
    pub recipient: Side,
    /// Name of the text.
    pub template: String,
    pub channel: Via,
    /// How long after the event it is worth sending, in seconds. Too short: messages are dropped in every delay.
    pub ttl_s: u32,
    /// Later events of the same stream about the same order that make it pointless. Default none.
    #[serde(default)]
    pub until: Vec<String>,
}

/// Which side of an order, or who runs the platform.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Customer,
    Restaurant,
    Driver,
    Operations,
}

/// How a message is to travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    Log,
    /// Nothing is sent to a recipient without a webhook.
    Webhook,
    /// The recipient's webhook, or the log for one without.
    Contact,
}

impl Side {
    pub fn kind(self) -> RecipientKind {
        match self {
            Self::Customer => RecipientKind::Customer,
            Self::Restaurant => RecipientKind::Restaurant,
            Self::Driver => RecipientKind::Driver,
            Self::Operations => RecipientKind::Operations,
        }
    }
}

impl Rule {
    pub fn ttl(&self) -> Duration {
        Duration::from_secs(self.ttl_s.into())
    }
}

/// A whole table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    rules: Vec<Rule>,
}

impl Rules {
    /// The table that is compiled in: rules.toml.
    pub fn standard() -> Self {
        toml::from_str(include_str!("rules.toml")).expect("a test reads it")
    }

    pub fn new(rules: Vec<Rule>) -> Result<Self, ConfigError> {
        let invalid = |field: &str, value: &str, problem: &str| {
            Err(ConfigError::invalid(
                format!("notifier.rules.{field}"),
                value,
                problem,
            ))
        };
        for (index, rule) in rules.iter().enumerate() {
            if !names(OrdersEvent::RECORDS, &rule.event)
                && !names(DriverAssignmentEvent::RECORDS, &rule.event)
            {
                return invalid(
                    "event",
                    &rule.event,
                    "must be a record of orders.events or driver_assignment.events",
                );
            }
            let records = [OrdersEvent::RECORDS, DriverAssignmentEvent::RECORDS]
                .into_iter()
                .find(|records| names(records, &rule.event))
                .unwrap_or_default();
            if let Some(unknown) = rule.until.iter().find(|it| !names(records, it)) {
                return invalid(
                    "until",
                    unknown,
                    "must be a record of the stream of its event",
                );
            }
            if rule.ttl_s == 0 {
                return invalid("ttl_s", "0", "must be at least 1");
            }
            let same =
                |other: &&Rule| (&other.event, other.recipient) == (&rule.event, rule.recipient);
            if rules[..index].iter().any(|other| same(&other)) {
                return invalid("event", &rule.event, "has two rules for one recipient");
            }
        }
        Ok(Self { rules })
    }

    pub fn of<'a>(&'a self, event: &'a str) -> impl Iterator<Item = &'a Rule> {
        self.rules.iter().filter(move |rule| rule.event == event)
    }

    /// Whether a message about `event` to `recipient` is pointless once `later` has happened to the order.
    pub fn overtakes(&self, later: &str, event: &str, recipient: RecipientKind) -> bool {
        self.of(event)
            .filter(|rule| rule.recipient.kind() == recipient)
            .any(|rule| rule.until.iter().any(|until| until == later))
    }

    /// Whether this event makes any message pointless.
    pub fn is_an_end(&self, event: &str) -> bool {
        self.rules
            .iter()
            .any(|rule| rule.until.iter().any(|until| until == event))
    }

    /// Whether anybody is told of this event, or it makes any message pointless.
    pub fn concern(&self, event: &str) -> bool {
        self.of(event).next().is_some() || self.is_an_end(event)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// Whether any rule waits for an event of this stream.
    pub fn want<M: Message>(&self) -> bool {
        self.rules.iter().any(|rule| names(M::RECORDS, &rule.event))
    }
}

fn names(records: &[Contract], event: &str) -> bool {
    records.iter().any(|record| record.name == event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standard_table_passes_its_own_checks() {
        let rules = Rules::new(Rules::standard().rules).unwrap();
        assert!(rules.want::<OrdersEvent>());
        assert!(rules.want::<DriverAssignmentEvent>());
    }

    #[test]
    fn nobody_reads_a_stream_that_no_rule_waits_for() {
        let mut rules = Rules::standard().rules;
        rules.retain(|rule| rule.recipient != Side::Operations);
        let rules = Rules::new(rules).unwrap();
        assert!(rules.want::<OrdersEvent>());
        assert!(!rules.want::<DriverAssignmentEvent>());
    }

    #[test]
    fn a_driver_is_not_announced_for_a_meal_that_is_there() {
        let rules = Rules::standard();
        let customer = RecipientKind::Customer;
        assert!(rules.overtakes("OrderDelivered", "OrderDriverAssigned", customer));
        assert!(!rules.overtakes("OrderDriverAssigned", "OrderDelivered", customer));
        assert!(!rules.overtakes("OrderPickedUp", "OrderPickedUp", customer));
    }

    #[test]
    fn every_way_an_order_ends_is_told_to_the_customer() {
        let rules = Rules::standard();
        for end in [
            "OrderDelivered",
            "OrderRejected",
            "OrderPaymentFailed",
            "OrderCancelled",
            "OrderUndeliverable",
        ] {
            let told = rules.of(end).any(|rule| rule.recipient == Side::Customer);
            assert!(told, "{end}");
        }
    }

    #[test]
    fn up_to_the_driver_the_standard_table_sends_two_messages_and_a_webhook() {
        let rules = Rules::standard();
        assert_eq!(rules.of("OrderAccepted").count(), 0);
        assert!(
            rules
                .of("OrderConfirmed")
                .all(|rule| rule.channel == Via::Webhook)
        );
        let assigned: Vec<Side> = rules
            .of("OrderDriverAssigned")
            .map(|rule| rule.recipient)
            .collect();
        assert_eq!(assigned, [Side::Customer, Side::Driver]);
    }

    #[test]
    fn events_concern_nobody_unless_a_rule_begins_or_ends_with_them() {
        let rules = Rules::standard();
        for rule in rules.iter() {
            assert!(rules.concern(&rule.event));
            assert!(rule.until.iter().all(|end| rules.concern(end)));
        }
        assert!(!rules.concern("OrderAccepted") && !rules.concern("DriverAssigned"));
        let ends_only = Rules {
            rules: vec![Rule {
                until: vec!["PickupConfirmed".into()],
                ..Rules::standard().rules.remove(0)
            }],
        };
        assert!(
            ends_only.concern("PickupConfirmed") && ends_only.of("PickupConfirmed").count() == 0
        );
    }

    #[test]
    fn a_wrong_rule_is_named() {
        let rule = Rules::standard().rules.remove(0);
        let unknown = Rule {
            event: "OrderEaten".into(),
            ..rule.clone()
        };
        assert!(
            Rules::new(vec![unknown])
                .unwrap_err()
                .to_string()
                .contains("notifier.rules.event = OrderEaten")
        );
        let elsewhere = Rule {
            until: vec!["DeliveryConfirmed".into()],
            ..rule.clone()
        };
        assert!(
            Rules::new(vec![elsewhere])
                .unwrap_err()
                .to_string()
                .contains("notifier.rules.until = DeliveryConfirmed")
        );
        let short = Rule {
            ttl_s: 0,
            ..rule.clone()
        };
        assert!(
            Rules::new(vec![short])
                .unwrap_err()
                .to_string()
                .contains("notifier.rules.ttl_s = 0")
        );
        assert!(
            Rules::new(vec![rule.clone(), rule])
                .unwrap_err()
                .to_string()
                .contains("two rules")
        );
    }
}
