//! Occurrences: what there is to tell about an event, whichever record it came as.

use chrono::{DateTime, Timelike, Utc};
use contracts::Message;
use contracts::orders::{Actor, OrderItem};
use contracts::streams::{DriverAssignmentEvent, OrdersEvent};
use contracts::value::{Contact, Money};
use serde::Serialize;
use uuid::Uuid;

use crate::rule::Side;

/// An event as rules and texts see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Occurrence {
    /// Name of the record.
    pub event: &'static str,
    pub event_id: Uuid,
    pub occurred_at: DateTime<Utc>,
    pub geo: String,
    pub order_id: Uuid,
    pub order_version: i32,
    pub customer: Option<Contact>,
    pub restaurant: Option<Contact>,
    pub driver: Option<Contact>,
    /// Those who run the platform: in no event, whoever reads it knows them.
    pub operations: Option<Contact>,
    pub words: Words,
}

/// Id of those who run the platform.
pub const OPERATIONS: &str = "operations";

/// What a text may refer to; absent where the event does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Words {
    pub order: String,
    pub event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub customer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restaurant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// `2 x Margherita, 1 x Cola`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<String>,
    /// `12.50 EUR`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refund: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who cancelled: `customer`, `restaurant`, `operator` or `system`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// `18:05`, UTC, as all times here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_at: Option<String>,
    /// Since when a driver is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_pickup_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_delivery_at: Option<String>,
}

impl Words {
    /// The names that a text may use.
    pub const NAMES: [&str; 14] = [
        "order",
        "event",
        "customer",
        "restaurant",
        "driver",
        "items",
        "amount",
        "refund",
        "reason",
        "by",
        "ready_at",
        "since",
        "expected_pickup_at",
        "expected_delivery_at",
    ];
}

impl Occurrence {
    pub fn contact(&self, side: Side) -> Option<&Contact> {
        match side {
            Side::Operations => self.operations.as_ref(),
            Side::Customer => self.customer.as_ref(),
            Side::Restaurant => self.restaurant.as_ref(),
            Side::Driver => self.driver.as_ref(),
        }
    }

    fn new<M: Message>(message: &M, order_id: Uuid, order_version: i32) -> Self {
        let event = message.contract().name;
        Self {
            event,
            event_id: message.event_id(),
            occurred_at: message.occurred_at(),
            geo: message.geo().to_owned(),
            order_id,
            order_version,
            customer: None,
            restaurant: None,
            driver: None,
            operations: None,
            words: Words {
                order: order_id.to_string(),
                event,
                ..Words::default()
            },
        }
    }

    fn between(mut self, customer: &Contact, restaurant: &Contact) -> Self {
        self.words.customer = Some(customer.id.clone());
        self.words.restaurant = Some(restaurant.id.clone());
        (self.customer, self.restaurant) = (Some(customer.clone()), Some(restaurant.clone()));
        self
    }

    /// Adds those who run the platform.
    pub fn watched_by(mut self, webhook_url: Option<String>) -> Self {
        let id = OPERATIONS.to_owned();
        self.operations = Some(Contact { id, webhook_url });
        self
    }

    /// Drivers have no webhook: their phones read the topics through the dispatcher's gateway.
    fn with_driver(mut self, id: &str) -> Self {
        self.words.driver = Some(id.to_owned());
        self.driver = Some(Contact {
            id: id.to_owned(),
            webhook_url: None,
        });
        self
    }

    fn with(mut self, say: impl FnOnce(&mut Words)) -> Self {
        say(&mut self.words);
        self
    }
}

impl From<&OrdersEvent> for Occurrence {
    fn from(event: &OrdersEvent) -> Self {
        use OrdersEvent as E;
        let of = |order_id, order_version| Self::new(event, order_id, order_version);
        match event {
            E::OrderAccepted(it) => of(it.order_id, it.order_version)
                .between(&it.customer, &it.restaurant)
                .with(|say| {
                    (say.items, say.amount) = (Some(items(&it.items)), Some(money(&it.total)));
                    say.ready_at = Some(clock(it.ready_at));
                }),
            E::OrderConfirmed(it) => of(it.order_id, it.order_version)
                .between(&it.customer, &it.restaurant)
                .with(|say| {
                    (say.items, say.amount) = (Some(items(&it.items)), Some(money(&it.total)));
                    say.ready_at = Some(clock(it.ready_at));
                }),
            E::OrderRejected(it) => of(it.order_id, it.order_version)
                .between(&it.customer, &it.restaurant)
                .with(|say| {
                    let reasons = it
                        .reasons
                        .iter()
                        .map(|reason| format!("{}: {}", reason.field, reason.message));
                    say.reason = Some(reasons.collect::<Vec<_>>().join("; "));
                }),
            E::OrderPaymentFailed(it) => of(it.order_id, it.order_version)
                .between(&it.customer, &it.restaurant)
                .with(|say| {
                    (say.amount, say.reason) = (
                        Some(money(&it.total)),
                        Some(it.reason.symbol().to_lowercase()),
                    );
                }),
            E::OrderDriverAssigned(it) => of(it.order_id, it.order_version)
                .between(&it.customer, &it.restaurant)
                .with_driver(&it.driver_id)
                .with(|say| {
                    say.expected_pickup_at = it.expected_pickup_at.map(clock);
                    say.expected_delivery_at = it.expected_delivery_at.map(clock);
                }),
            E::OrderPickedUp(it) => of(it.order_id, it.order_version)
                .between(&it.customer, &it.restaurant)
                .with_driver(&it.driver_id)
                .with(|say| say.expected_delivery_at = it.expected_delivery_at.map(clock)),
            E::OrderDelivered(it) => of(it.order_id, it.order_version)
                .between(&it.customer, &it.restaurant)
                .with_driver(&it.driver_id)
                .with(|say| say.amount = Some(money(&it.total))),
            E::OrderCancelled(it) => {
                let told = of(it.order_id, it.order_version)
                    .between(&it.customer, &it.restaurant)
                    .with(|say| {
                        (say.refund, say.reason) =
                            (it.refund.as_ref().map(money), it.reason.clone());
                        say.by = Some(it.cancelled_by.symbol().to_lowercase());
                    });
                match &it.driver_id {
                    Some(driver) => told.with_driver(driver),
                    None => told,
                }
            }
            E::OrderCancelRefused(it) => {
                let mut told = of(it.order_id, it.order_version)
                    .between(&it.customer, &it.restaurant)
                    .with(|say| say.reason = Some(it.reason.symbol().to_lowercase()));
                // It concerns who asked.
                told.customer = told.customer.filter(|_| it.requested_by == Actor::Customer);
                told.restaurant = told
                    .restaurant
                    .filter(|_| it.requested_by == Actor::Restaurant);
                told
            }
            E::OrderUndeliverable(it) => of(it.order_id, it.order_version)
                .between(&it.customer, &it.restaurant)
                .with(|say| {
                    (say.refund, say.reason) = (
                        it.refund.as_ref().map(money),
                        Some(it.reason.symbol().to_lowercase()),
                    );
                }),
        }
    }
}

impl From<&DriverAssignmentEvent> for Occurrence {
    fn from(event: &DriverAssignmentEvent) -> Self {
        use DriverAssignmentEvent as E;
        let of = |order_id, order_version| Self::new(event, order_id, order_version);
        match event {
            E::DriverAssigned(it) => of(it.order_id, it.order_version)
                .with_driver(&it.driver_id)
                .with(|say| {
                    say.restaurant = Some(it.restaurant.id.clone());
                    say.expected_pickup_at = it.expected_pickup_at.map(clock);
                    say.expected_delivery_at = it.expected_delivery_at.map(clock);
                }),
            E::AssignmentReleased(it) => of(it.order_id, it.order_version)
                .with_driver(&it.driver_id)
                .with(|say| say.reason = Some(it.reason.symbol().to_lowercase())),
            E::AssignmentFailed(it) => of(it.order_id, it.order_version)
                .with(|say| say.reason = Some(it.reason.symbol().to_lowercase())),
            E::DriverAtRestaurant(it) => {
                of(it.order_id, it.order_version).with_driver(&it.driver_id)
            }
            E::DriverMissing(it) => of(it.order_id, it.order_version)
                .with_driver(&it.driver_id)
                .with(|say| {
                    say.reason = Some(it.reason.symbol().to_lowercase());
                    say.since = Some(clock(it.since));
                }),
            E::PickupConfirmed(it) => of(it.order_id, it.order_version).with_driver(&it.driver_id),
            E::DeliveryConfirmed(it) => {
                of(it.order_id, it.order_version).with_driver(&it.driver_id)
            }
        }
    }
}

fn items(items: &[OrderItem]) -> String {
    let lines = items
        .iter()
        .map(|item| format!("{} x {}", item.quantity, item.name));
    lines.collect::<Vec<_>>().join(", ")
}

fn clock(at: DateTime<Utc>) -> String {
    format!("{:02}:{:02}", at.hour(), at.minute())
}

/// Currencies whose minor unit is not a hundredth, per ISO 4217.
fn decimals(currency: &str) -> usize {
    match currency {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX"
        | "VND" | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        _ => 2,
    }
}

fn money(money: &Money) -> String {
    let decimals = decimals(&money.currency);
    let digits = format!(
        "{:0width$}",
        money.amount_minor.unsigned_abs(),
        width = decimals + 1
    );
    let (whole, part) = digits.split_at(digits.len() - decimals);
    let (sign, point) = (
        if money.amount_minor < 0 { "-" } else { "" },
        if decimals == 0 { "" } else { "." },
    );
    format!("{sign}{whole}{point}{part} {}", money.currency)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_reads_as_people_write_it() {
        let text = |amount_minor, currency: &str| {
            money(&Money {
                amount_minor,
                currency: currency.to_owned(),
            })
        };
        assert_eq!(text(1250, "EUR"), "12.50 EUR");
        assert_eq!(text(5, "EUR"), "0.05 EUR");
        assert_eq!(text(1250, "JPY"), "1250 JPY");
        assert_eq!(text(1250, "KWD"), "1.250 KWD");
        assert_eq!(text(-199, "USD"), "-1.99 USD");
    }

    #[test]
    fn the_names_that_texts_may_use_are_those_that_there_are() {
        let some = || Some(String::new());
        let all = Words {
            customer: some(),
            restaurant: some(),
            driver: some(),
            items: some(),
            amount: some(),
            refund: some(),
            reason: some(),
            by: some(),
            since: some(),
            ready_at: some(),
            expected_pickup_at: some(),
            expected_delivery_at: some(),
            ..Words::default()
        };
        let words = serde_json::to_value(all).unwrap();
        let mut names: Vec<&str> = words
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        let mut expected = Words::NAMES;
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected);
    }
}
