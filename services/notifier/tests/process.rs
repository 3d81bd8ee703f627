//! The notifier as a process between real Kafka, PostgreSQL and webhooks: who is told what, once, and what is dropped.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../payments/tests/service/mod.rs"]
mod service;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use chrono::{DateTime, TimeDelta, Utc};
use contracts::Topic;
use contracts::notifications::{Channel, DropReason, RecipientKind};
use contracts::orders::{
    OrderAccepted, OrderConfirmed, OrderDelivered, OrderDriverAssigned, OrderItem, OrderPickedUp,
};
use contracts::streams::{DriverAssignmentEvent, NotificationsEvent, OrdersEvent};
use contracts::value::{Contact, Money};
use harness::wait_for_value;
use serde_json::Value;
use service::{Ground, SOON};
use uuid::Uuid;

const NOTIFIER: &str = env!("CARGO_BIN_EXE_notifier");

/// What a receiver got: path, id in the header, body.
type Posts = Arc<Mutex<Vec<(String, String, Value)>>>;

/// A receiver whose `/flaky/*` answers 500 the first time, `/gone/*` always 410, anything else 200.
async fn receiver() -> (SocketAddr, Posts) {
    async fn receive(
        State(posts): State<Posts>,
        Path(path): Path<String>,
        headers: HeaderMap,
        Json(body): Json<Value>,
    ) -> StatusCode {
        let mut posts = posts.lock().unwrap();
        let first = !posts.iter().any(|(known, ..)| *known == path);
        let id = headers["webhook-id"].to_str().unwrap().to_owned();
        posts.push((path.clone(), id, body));
        match path.split('/').next() {
            Some("flaky") if first => StatusCode::INTERNAL_SERVER_ERROR,
            Some("gone") => StatusCode::GONE,
            _ => StatusCode::OK,
        }
    }
    let posts = Posts::default();
    let router = Router::new()
        .route("/{*path}", post(receive))
        .with_state(posts.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, posts)
}

/// An order as its events tell of it.
struct Order {
    id: Uuid,
    customer: Contact,
    restaurant: Contact,
    geo: String,
}

impl Order {
    fn new(
        ground: &Ground,
        customer_webhook: Option<String>,
        restaurant_webhook: Option<String>,
    ) -> Self {
        let contact = |id: &str, webhook_url| Contact {
            id: id.to_owned(),
            webhook_url,
        };
        let (customer, restaurant) = (
            contact("c-1", customer_webhook),
            contact("r-1", restaurant_webhook),
        );
        Self {
            id: Uuid::new_v4(),
            customer,
            restaurant,
            geo: ground.geo.to_string(),
        }
    }

    fn accepted(&self) -> OrderAccepted {
        let OrderConfirmed {
            event_id,
            occurred_at,
            geo,
            correlation_id,
            order_id,
            customer,
            restaurant,
            items,
            total,
            placed_at,
            ready_at,
            ..
        } = self.confirmed();
        let order_version = 1;
        OrderAccepted {
            event_id,
            occurred_at,
            geo,
            correlation_id,
            order_id,
            order_version,
            customer,
            restaurant,
            items,
            total,
            placed_at,
            ready_at,
        }
    }

    fn confirmed(&self) -> OrderConfirmed {
        let now = Utc::now();
        let item = OrderItem {
            id: "sku".into(),
            name: "Margherita".into(),
            quantity: 2,
            unit_price_minor: 625,
        };
        OrderConfirmed {
            event_id: Uuid::new_v4(),
            occurred_at: now,
            geo: self.geo.clone(),
            correlation_id: Uuid::new_v4(),
            order_id: self.id,
            order_version: 2,
            customer: self.customer.clone(),
            restaurant: self.restaurant.clone(),
            items: vec![item],
            total: euros(1250),
            placed_at: now,
            ready_at: now,
        }
    }

    fn driver_assigned(&self) -> OrderDriverAssigned {
        OrderDriverAssigned {
            event_id: Uuid::new_v4(),
            occurred_at: Utc::now(),
            geo: self.geo.clone(),
            correlation_id: Uuid::new_v4(),
            order_id: self.id,
            order_version: 3,
            customer: self.customer.clone(),
            restaurant: self.restaurant.clone(),
            driver_id: "d-1".into(),
            expected_pickup_at: None,
            expected_delivery_at: None,
        }
    }

    fn picked_up(&self) -> OrderPickedUp {
        OrderPickedUp {
            event_id: Uuid::new_v4(),
            occurred_at: Utc::now(),
            geo: self.geo.clone(),
            correlation_id: Uuid::new_v4(),
            order_id: self.id,
            order_version: 4,
            customer: self.customer.clone(),
            restaurant: self.restaurant.clone(),
            driver_id: "d-1".into(),
            picked_up_at: Utc::now(),
            expected_delivery_at: None,
        }
    }

    fn delivered(&self, at: DateTime<Utc>) -> OrderDelivered {
        OrderDelivered {
            event_id: Uuid::new_v4(),
            occurred_at: at,
            geo: self.geo.clone(),
            correlation_id: Uuid::new_v4(),
            order_id: self.id,
            order_version: 5,
            customer: self.customer.clone(),
            restaurant: self.restaurant.clone(),
            driver_id: "d-1".into(),
            total: euros(1250),
            placed_at: at,
            ready_at: at,
            picked_up_at: None,
            delivered_at: at,
        }
    }
}

fn euros(amount_minor: i64) -> Money {
    Money {
        amount_minor,
        currency: "EUR".into(),
    }
}

async fn ground(geo: &str) -> Ground {
    Ground::prepare(
        geo,
        &[
            Topic::of::<OrdersEvent>,
            Topic::of::<DriverAssignmentEvent>,
            Topic::of::<NotificationsEvent>,
        ],
    )
    .await
}

/// What became of a message, by template and recipient.
type Ends = BTreeMap<(String, &'static str), Vec<String>>;

fn ends(events: &[(harness::Received, NotificationsEvent)]) -> Ends {
    let mut ends = Ends::new();
    for (_, event) in events {
        let (template, kind, end) = match event {
            NotificationsEvent::NotificationSent(it) => (
                &it.template,
                it.recipient.kind,
                format!("{} after {}", it.channel.symbol(), it.attempts),
            ),
            NotificationsEvent::NotificationDropped(it) => (
                &it.template,
                it.recipient.kind,
                it.reason.symbol().to_owned(),
            ),
        };
        ends.entry((template.clone(), kind.symbol()))
            .or_default()
            .push(end);
    }
    ends
}

#[tokio::test]
async fn each_message_is_sent_once_to_whom_the_table_says() {
    let ground = ground("milano-duomo").await;
    let (address, posts) = receiver().await;
    let restaurant = format!("http://{address}/kitchen/{}", Uuid::new_v4());
    let order = Order::new(&ground, None, Some(restaurant));
    let assigned = order.driver_assigned();
    ground
        .write::<OrdersEvent, _>(2, order.id, &order.accepted())
        .await;
    ground
        .write::<OrdersEvent, _>(2, order.id, &order.confirmed())
        .await;
    ground.write::<OrdersEvent, _>(2, order.id, &assigned).await;
    ground.write::<OrdersEvent, _>(2, order.id, &assigned).await;
    // Of another order: this one would be overtaken by it.
    let late = Order::new(&ground, None, None);
    let stale = late.delivered(Utc::now() - TimeDelta::days(1));
    ground.write::<OrdersEvent, _>(2, late.id, &stale).await;
    let _running = ground.start(NOTIFIER, &[]);
    let events = wait_for_value("four ends", SOON, async || {
        let ids = [order.id, late.id];
        let events = ground.read::<NotificationsEvent>(&ids).await;
        (events.len() >= 4).then_some(events)
    })
    .await;
    let expected = [
        ("delivered", "CUSTOMER", "STALE"),
        ("driver_on_the_way", "CUSTOMER", "LOG after 1"),
        ("new_assignment", "DRIVER", "LOG after 1"),
        ("new_order", "RESTAURANT", "WEBHOOK after 1"),
    ];
    let expected =
        expected.map(|(template, kind, end)| ((template.to_owned(), kind), vec![end.to_owned()]));
    assert_eq!(ends(&events), Ends::from(expected));
    assert!(
        events.iter().all(|(received, _)| received.partition == 2),
        "on the order's partition"
    );
    let posts = posts.lock().unwrap();
    let [(_, id, body)] = &posts[..] else {
        panic!("{posts:?}")
    };
    assert_eq!(body["notification_id"].as_str(), Some(id.as_str()));
    assert_eq!(
        body["order_id"].as_str(),
        Some(order.id.to_string().as_str())
    );
    assert!(
        body["text"].as_str().unwrap().contains("2 x Margherita"),
        "{body}"
    );
}

#[tokio::test]
async fn a_webhook_that_fails_is_tried_again_with_the_same_id_and_one_that_refuses_is_not() {
    let ground = ground("athina-plaka").await;
    let (address, posts) = receiver().await;
    let at = |kind: &str| Some(format!("http://{address}/{kind}/{}", Uuid::new_v4()));
    let flaky = Order::new(&ground, at("flaky"), None);
    let gone = Order::new(&ground, at("gone"), None);
    let nowhere = Order::new(&ground, Some("mailto:c-1@example.org".into()), None);
    for order in [&flaky, &gone, &nowhere] {
        ground
            .write::<OrdersEvent, _>(3, order.id, &order.picked_up())
            .await;
    }
    let _running = ground.start(NOTIFIER, &[("NOTIFIER__WEBHOOK_RETRY_MS", "[50]")]);
    let ids = [flaky.id, gone.id, nowhere.id];
    let events = wait_for_value("three ends", SOON, async || {
        let events = ground.read::<NotificationsEvent>(&ids).await;
        (events.len() >= 3).then_some(events)
    })
    .await;
    assert_eq!(events.len(), 3);
    for (received, event) in &events {
        match event {
            NotificationsEvent::NotificationSent(it) => {
                assert_eq!(
                    (it.order_id, it.channel, it.attempts),
                    (flaky.id, Channel::Webhook, 2)
                );
                assert_eq!(it.recipient.kind, RecipientKind::Customer);
            }
            NotificationsEvent::NotificationDropped(it) if it.order_id == gone.id => {
                assert_eq!(it.reason, DropReason::Refused, "{received:?}");
            }
            NotificationsEvent::NotificationDropped(it) => {
                assert_eq!(it.reason, DropReason::NoChannel)
            }
        }
    }
    let posts = posts.lock().unwrap();
    let of = |kind: &str| {
        posts
            .iter()
            .filter(|(path, ..)| path.starts_with(kind))
            .map(|(_, id, _)| id)
            .collect::<Vec<_>>()
    };
    assert_eq!(of("gone").len(), 1);
    let [first, second] = of("flaky")[..] else {
        panic!("{posts:?}")
    };
    assert_eq!(first, second, "the receiver can tell a repetition");
}

#[tokio::test]
async fn a_kill_loses_no_message_and_ends_none_twice() {
    let ground = ground("lisboa-baixa").await;
    let (address, posts) = receiver().await;
    let orders: Vec<Order> = (0..200)
        .map(|number| {
            let webhook =
                (number % 2 == 0).then(|| format!("http://{address}/flaky/{}", Uuid::new_v4()));
            Order::new(&ground, webhook, None)
        })
        .collect();
    for (number, order) in orders.iter().enumerate() {
        ground
            .write::<OrdersEvent, _>(number as i32 % 6, order.id, &order.picked_up())
            .await;
    }
    let settings = [("NOTIFIER__WEBHOOK_RETRY_MS", "[20]")];
    let running = ground.start(NOTIFIER, &settings);
    harness::wait_for("the first webhooks", SOON, async || {
        !posts.lock().unwrap().is_empty()
    })
    .await;
    drop(running);
    let _running = ground.start(NOTIFIER, &settings);
    let ids: Vec<Uuid> = orders.iter().map(|order| order.id).collect();
    let events = wait_for_value("all ends", SOON, async || {
        let events = ground.read::<NotificationsEvent>(&ids).await;
        (events.len() >= orders.len()).then_some(events)
    })
    .await;
    assert_eq!(events.len(), orders.len());
    let distinct: std::collections::BTreeSet<_> = events
        .iter()
        .map(|(received, _)| received.key.clone())
        .collect();
    assert_eq!(distinct.len(), orders.len(), "one end each");
}
