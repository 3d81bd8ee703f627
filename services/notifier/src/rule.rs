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
}

/// Which side of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    Customer,
    Restaurant,
    Driver,
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
        assert!(
            !rules.want::<DriverAssignmentEvent>(),
            "nobody reads a stream that no rule waits for"
        );
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
