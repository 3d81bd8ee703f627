//! An order as it is stored: what was placed, how far it got, and what has to be remembered on the way.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use contracts::Geo;
use contracts::orders::{Customer, OrderItem, OrderPlaced, Restaurant};
use contracts::value::{Contact, Money};
use lifecycle::State;
use uuid::Uuid;

use crate::limit;

/// ISO 4217's code for "no currency": stands for what a rejected order had instead of one.
const NO_CURRENCY: &str = "XXX";

#[derive(Clone, Debug, PartialEq)]
pub struct Order {
    pub id: Uuid,
    pub geo: Geo,
    /// Of every message about this order, in every topic.
    pub partition: i32,
    /// One more with each transition; 0 before the first.
    pub version: i32,
    pub state: State,
    pub placed_event_id: Uuid,
    pub customer: Customer,
    pub restaurant: Restaurant,
    pub items: Vec<OrderItem>,
    pub delivery_fee_minor: i64,
    pub tip_minor: i64,
    pub total: Money,
    pub payment_method: String,
    pub placed_at: DateTime<Utc>,
    pub ready_at: DateTime<Utc>,
    pub prep_total_s: i32,
    /// When the kitchen said the last thing about `ready_at`.
    pub kitchen_said_at: Option<DateTime<Utc>>,
    pub driver_id: Option<String>,
    pub expected_pickup_at: Option<DateTime<Utc>>,
    pub expected_delivery_at: Option<DateTime<Utc>>,
    pub picked_up_at: Option<DateTime<Utc>>,
    pub delivered_at: Option<DateTime<Utc>>,
    /// When to ask for a driver again.
    pub assignment_due_at: Option<DateTime<Utc>>,
    /// The last cancellation that was refused.
    pub refused_event_id: Option<Uuid>,
    /// Trace context of the placing.
    pub traceparent: String,
    pub created_at: DateTime<Utc>,
}

impl Order {
    /// An order that was just placed, of which nothing has been decided. What no valid order holds (it will be rejected)
    /// is cut to what PostgreSQL can store.
    pub fn placed(
        placed: OrderPlaced,
        geo: Geo,
        partition: i32,
        traceparent: String,
        now: DateTime<Utc>,
    ) -> Self {
        let OrderPlaced {
            mut customer,
            mut restaurant,
            mut items,
            mut total,
            ..
        } = placed;
        for (text, longest) in [
            (&mut customer.id, limit::ID),
            (&mut restaurant.id, limit::ID),
        ] {
            storable(text, longest);
        }
        for text in [&mut customer.name, &mut restaurant.name]
            .into_iter()
            .flatten()
        {
            storable(text, limit::NAME);
        }
        for text in [&mut customer.webhook_url, &mut restaurant.webhook_url]
            .into_iter()
            .flatten()
        {
            storable(text, limit::URL);
        }
        items.truncate(limit::LINES);
        for item in &mut items {
            storable(&mut item.id, limit::ID);
            storable(&mut item.name, limit::NAME);
        }
        if !(total.currency.len() == 3 && total.currency.bytes().all(|b| b.is_ascii_graphic())) {
            NO_CURRENCY.clone_into(&mut total.currency);
        }
        let mut payment_method = placed.payment_method;
        storable(&mut payment_method, limit::ID);
        Self {
            id: placed.order_id,
            geo,
            partition,
            version: 0,
            state: State::NEW,
            placed_event_id: placed.event_id,
            customer,
            restaurant,
            items,
            delivery_fee_minor: placed.delivery_fee_minor,
            tip_minor: placed.tip_minor,
            total,
            payment_method,
            placed_at: limit::nearest_instant(placed.placed_at),
            ready_at: limit::nearest_instant(placed.ready_at),
            prep_total_s: placed.prep_total_s,
            kitchen_said_at: None,
            driver_id: None,
            expected_pickup_at: None,
            expected_delivery_at: None,
            picked_up_at: None,
            delivered_at: None,
            assignment_due_at: None,
            refused_event_id: None,
            traceparent,
            created_at: now,
        }
    }

    /// Whether this is the order that was placed before: the same event, or another one that says the same.
    pub fn is(&self, placed: &OrderPlaced) -> bool {
        self.placed_event_id == placed.event_id
            || (self.customer == placed.customer
                && self.restaurant == placed.restaurant
                && self.items == placed.items
                && self.delivery_fee_minor == placed.delivery_fee_minor
                && self.tip_minor == placed.tip_minor
                && self.total == placed.total
                && self.payment_method == placed.payment_method
                && self.placed_at == placed.placed_at
                && self.prep_total_s == placed.prep_total_s)
    }

    pub fn customer_contact(&self) -> Contact {
        Contact {
            id: self.customer.id.clone(),
            webhook_url: self.customer.webhook_url.clone(),
        }
    }

    pub fn restaurant_contact(&self) -> Contact {
        Contact {
            id: self.restaurant.id.clone(),
            webhook_url: self.restaurant.webhook_url.clone(),
        }
    }
}

/// Makes a text one that PostgreSQL can store (it has no NUL) and that is no longer than `longest` bytes.
pub fn storable(text: &mut String, longest: usize) {
    if let Cow::Owned(cut) = limit::cut(text, longest) {
        *text = cut;
    }
    if text.contains('\0') {
        *text = text.replace('\0', "\u{fffd}");
    }
}
