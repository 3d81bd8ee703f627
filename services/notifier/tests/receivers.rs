//! The notifier against receivers of webhooks as they are: one that is dead holds up nobody else, what an order has
//! overtaken is not sent, and every message is signed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../payments/tests/service/mod.rs"]
mod service;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use chrono::Utc;
use contracts::Topic;
use contracts::driver_assignment::{DriverMissing, MissingReason};
use contracts::notifications::{DropReason, Recipient, RecipientKind};
use contracts::orders::{OrderDelivered, OrderDriverAssigned, OrderPickedUp};
use contracts::streams::{DriverAssignmentEvent, NotificationsEvent, OrdersEvent};
use contracts::value::{Contact, Money};
use harness::{wait_for, wait_for_value};
use notifier::signature::Secret;
use service::{Ground, Running, SOON};
use uuid::Uuid;

const NOTIFIER: &str = env!("CARGO_BIN_EXE_notifier");
const PARTITIONS: i32 = 6;

/// What the receivers have seen.
#[derive(Default)]
struct Seen {
    /// Path, headers and body of each message.
    posts: Vec<(String, HeaderMap, String)>,
    /// Calls to `/dead` that nobody has given up yet, the most there were at once, and those that are over.
    hanging: usize,
    most_hanging: usize,
    given_up: usize,
}

type Shared = Arc<Mutex<Seen>>;

/// A call to `/dead`; the caller who hangs up ends it.
struct Hanging(Shared);

impl Hanging {
    fn begin(seen: Shared) -> Self {
        {
            let mut seen = seen.lock().unwrap();
            seen.hanging += 1;
            seen.most_hanging = seen.most_hanging.max(seen.hanging);
        }
        Self(seen)
    }
}

impl Drop for Hanging {
    fn drop(&mut self) {
        let mut seen = self.0.lock().unwrap();
        seen.hanging -= 1;
        seen.given_up += 1;
    }
}

/// Receivers by path: `/dead` never answers, `/down` always with 503, any other with 200.
async fn receivers() -> (SocketAddr, Shared) {
    async fn receive(
        State(seen): State<Shared>,
        Path(path): Path<String>,
        headers: HeaderMap,
        body: String,
    ) -> StatusCode {
        seen.lock()
            .unwrap()
            .posts
            .push((path.clone(), headers, body));
        match path.split('/').next() {
            Some("dead") => {
                let _hanging = Hanging::begin(seen);
                std::future::pending().await
            }
            Some("down") => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::OK,
        }
    }
    let seen = Shared::default();
    let router = Router::new()
        .route("/{*path}", post(receive))
        .with_state(seen.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (address, seen)
}

fn posts(seen: &Shared, path: &str) -> usize {
    let seen = seen.lock().unwrap();
    seen.posts
        .iter()
        .filter(|(it, ..)| it.starts_with(path))
        .count()
}

async fn ground(geo: &str) -> Ground {
    let topics: [fn(&contracts::Geo) -> Topic; 3] = [
        Topic::of::<OrdersEvent>,
        Topic::of::<DriverAssignmentEvent>,
        Topic::of::<NotificationsEvent>,
    ];
    Ground::prepare(geo, &topics).await
}

fn contact(id: &str, webhook_url: Option<&str>) -> Contact {
    Contact {
        id: id.to_owned(),
        webhook_url: webhook_url.map(str::to_owned),
    }
}

fn picked_up(ground: &Ground, customer_webhook: &str) -> OrderPickedUp {
    OrderPickedUp {
        event_id: Uuid::new_v4(),
        occurred_at: Utc::now(),
        geo: ground.geo.to_string(),
        correlation_id: Uuid::new_v4(),
        order_id: Uuid::new_v4(),
        order_version: 4,
        customer: contact("c-1", Some(customer_webhook)),
        restaurant: contact("r-1", None),
        driver_id: "d-1".into(),
        picked_up_at: Utc::now(),
        expected_delivery_at: None,
    }
}

fn driver_assigned(of: &OrderPickedUp) -> OrderDriverAssigned {
    OrderDriverAssigned {
        event_id: Uuid::new_v4(),
        occurred_at: Utc::now(),
        geo: of.geo.clone(),
        correlation_id: Uuid::new_v4(),
        order_id: of.order_id,
        order_version: 3,
        customer: of.customer.clone(),
        restaurant: of.restaurant.clone(),
        driver_id: "d-1".into(),
        expected_pickup_at: None,
        expected_delivery_at: None,
    }
}

fn delivered(of: &OrderPickedUp) -> OrderDelivered {
    let now = Utc::now();
    OrderDelivered {
        event_id: Uuid::new_v4(),
        occurred_at: now,
        geo: of.geo.clone(),
        correlation_id: Uuid::new_v4(),
        order_id: of.order_id,
        order_version: 5,
        customer: contact("c-1", None),
        restaurant: of.restaurant.clone(),
        driver_id: "d-1".into(),
        total: Money {
            amount_minor: 1250,
            currency: "EUR".into(),
        },
        placed_at: now,
        ready_at: now,
        picked_up_at: None,
        delivered_at: now,
    }
}

/// Starts the notifier and waits until it has told of something.
async fn start(ground: &Ground, address: SocketAddr, settings: &[(&str, &str)]) -> Running {
    let running = ground.start(NOTIFIER, settings);
    let first = picked_up(ground, &format!("http://{address}/first"));
    ground
        .write::<OrdersEvent, _>(0, first.order_id, &first)
        .await;
    wait_for("the notifier to be at work", SOON, async || {
        !ends(ground, &[first.order_id]).await.is_empty()
    })
    .await;
    running
}

async fn ends(ground: &Ground, ids: &[Uuid]) -> Vec<NotificationsEvent> {
    let events = ground.read::<NotificationsEvent>(ids).await;
    events.into_iter().map(|(_, event)| event).collect()
}

#[tokio::test]
async fn a_dead_receiver_with_a_pile_of_messages_delays_nobody_else() {
    let ground = ground("amsterdam-centrum").await;
    let (address, seen) = receivers().await;
    // So long that whoever waits for a call to the dead one is late.
    let settings = [("NOTIFIER__WEBHOOK_TIMEOUT_MS", "60000")];
    let _running = start(&ground, address, &settings).await;
    let dead = format!("http://{address}/dead");
    for number in 0..200 {
        let order = picked_up(&ground, &dead);
        ground
            .write::<OrdersEvent, _>(number % PARTITIONS, order.order_id, &order)
            .await;
    }
    wait_for("the dead one to be called", SOON, async || {
        posts(&seen, "dead") > 0
    })
    .await;
    let mut others = Vec::new();
    for number in 0..100 {
        let url = format!("http://{address}/alive/{}", number % 10);
        let order = picked_up(&ground, &url);
        ground
            .write::<OrdersEvent, _>(number % PARTITIONS, order.order_id, &order)
            .await;
        others.push(order.order_id);
    }
    wait_for("the others to have theirs", SOON, async || {
        posts(&seen, "alive") >= others.len()
    })
    .await;
    {
        let seen = seen.lock().unwrap();
        assert_eq!(seen.given_up, 0, "nobody waited for the dead one");
        assert!(seen.hanging > 0, "it is dead");
        assert!(
            seen.most_hanging <= 4,
            "{} calls at once to the dead one",
            seen.most_hanging
        );
    }
    let sent = wait_for_value("their ends", SOON, async || {
        let ends = ends(&ground, &others).await;
        (ends.len() >= others.len()).then_some(ends)
    })
    .await;
    let is_sent = |it: &NotificationsEvent| matches!(it, NotificationsEvent::NotificationSent(_));
    assert!(sent.len() == others.len() && sent.iter().all(is_sent));
}

#[tokio::test]
async fn a_receiver_that_fails_is_tried_with_one_message_at_a_time_however_many_wait() {
    let ground = ground("new-york-midtown").await;
    let (address, seen) = receivers().await;
    let settings = [("NOTIFIER__WEBHOOK_RETRY_MS", "[1000]")];
    let _running = start(&ground, address, &settings).await;
    let url = format!("http://{address}/down");
    let begun = std::time::Instant::now();
    for number in 0..120 {
        let order = picked_up(&ground, &url);
        ground
            .write::<OrdersEvent, _>(number % PARTITIONS, order.order_id, &order)
            .await;
    }
    wait_for("a third probe", SOON, async || posts(&seen, "down") > 6).await;
    // Four at once before it is known to fail, then one per pause.
    let most = 4 + begun.elapsed().as_millis() / 800 + 1;
    let calls = posts(&seen, "down");
    assert!(calls as u128 <= most, "{calls} calls, {most} at most");
}

#[tokio::test]
async fn what_the_order_has_overtaken_is_dropped_as_stale_and_not_sent_again() {
    let ground = ground("madrid-centro").await;
    let (address, seen) = receivers().await;
    let settings = [("NOTIFIER__WEBHOOK_RETRY_MS", "[300]")];
    let running = start(&ground, address, &settings).await;
    let order = picked_up(&ground, &format!("http://{address}/down"));
    let (id, assigned) = (order.order_id, driver_assigned(&order));
    ground.write::<OrdersEvent, _>(1, id, &assigned).await;
    wait_for("a try", SOON, async || posts(&seen, "down") > 0).await;
    ground
        .write::<OrdersEvent, _>(1, id, &delivered(&order))
        .await;
    let events = wait_for_value("all ends", SOON, async || {
        let events = ends(&ground, &[id]).await;
        (events.len() >= 3).then_some(events)
    })
    .await;
    let dropped = events.iter().find_map(|event| match event {
        NotificationsEvent::NotificationDropped(it) => Some(it),
        NotificationsEvent::NotificationSent(_) => None,
    });
    let dropped = dropped.unwrap();
    assert_eq!(dropped.template, "driver_on_the_way");
    assert_eq!(dropped.reason, DropReason::Stale);
    assert_eq!(dropped.detail.as_deref(), Some("OrderDelivered"));

    // Also when both come at once, and on the channel that needs no call.
    let order = picked_up(&ground, "http://127.0.0.1:1/");
    let assigned = OrderDriverAssigned {
        customer: contact("c-2", None),
        ..driver_assigned(&order)
    };
    drop(running);
    ground
        .write::<OrdersEvent, _>(2, order.order_id, &assigned)
        .await;
    ground
        .write::<OrdersEvent, _>(2, order.order_id, &delivered(&order))
        .await;
    let _running = ground.start(NOTIFIER, &settings);
    let events = wait_for_value("all ends", SOON, async || {
        let events = ends(&ground, &[order.order_id]).await;
        (events.len() >= 3).then_some(events)
    })
    .await;
    let mut stale: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            NotificationsEvent::NotificationDropped(it) => Some((it.template.as_str(), it.reason)),
            NotificationsEvent::NotificationSent(_) => None,
        })
        .collect();
    stale.sort_by_key(|(template, _)| *template);
    assert_eq!(
        stale,
        [
            ("driver_on_the_way", DropReason::Stale),
            ("new_assignment", DropReason::Stale)
        ]
    );
}

#[tokio::test]
async fn every_webhook_is_signed_for_its_receiver_and_operations_hears_of_missing_drivers() {
    let ground = ground("san-francisco-soma").await;
    let (address, seen) = receivers().await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let operations = format!("http://{address}/operations");
    let settings = [
        ("NOTIFIER__WEBHOOK_SECRETS", &*format!("[\"{secret}\"]")),
        ("NOTIFIER__OPERATIONS_WEBHOOK", &operations),
    ];
    let _running = start(&ground, address, &settings).await;
    let order_id = Uuid::new_v4();
    let missing = DriverMissing {
        event_id: Uuid::new_v4(),
        occurred_at: Utc::now(),
        geo: ground.geo.to_string(),
        correlation_id: None,
        order_id,
        order_version: 4,
        attempt: 1,
        driver_id: "d-7".into(),
        reason: MissingReason::WentOffline,
        since: Utc::now(),
    };
    ground
        .write::<DriverAssignmentEvent, _>(3, order_id, &missing)
        .await;
    // What earlier runs left on the topic is told as well.
    let alert = wait_for_value("the alert", SOON, async || {
        let seen = seen.lock().unwrap();
        let alerts = seen.posts.iter().filter(|(path, ..)| path == "operations");
        let mut bodies = alerts.map(|(.., body)| body);
        bodies
            .find(|it| it.contains(&order_id.to_string()))
            .cloned()
    })
    .await;
    let seen = seen.lock().unwrap();
    for (path, headers, body) in &seen.posts {
        let header = |name: &str| headers[name].to_str().unwrap();
        let (kind, id) = match path.as_str() {
            "first" => (RecipientKind::Customer, "c-1"),
            _ => (RecipientKind::Operations, "operations"),
        };
        let (timestamp, id) = (header("webhook-timestamp").parse().unwrap(), id.to_owned());
        let recipient = Recipient { kind, id };
        let ours = Secret::parse(secret).unwrap().of(&recipient);
        let expected = ours.sign(header("webhook-id"), timestamp, body);
        assert_eq!(header("webhook-signature"), expected, "{path}");
        assert!((Utc::now().timestamp() - timestamp).abs() < 300);
    }
    assert!(
        alert.contains("d-7") && alert.contains("offline"),
        "{alert}"
    );
}
