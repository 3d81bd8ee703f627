//! The processor as a process, on the real stack: messages in by their topics, records out on theirs.
//!
//! The tests own their geos: no other test may use them, since two orders services on one topic would both answer.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod sample;

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use contracts::driver_assignment::{DeliveryConfirmed, DriverAssigned, PickupConfirmed};
use contracts::kitchen::KitchenRejected;
use contracts::orders::OrderPlaced;
use contracts::payments::PaymentCaptured;
use contracts::streams::{
    DriverAssignmentEvent, KitchenEvent, OrdersEvent, OrdersRequest, PaymentsEvent,
};
use contracts::value::Place;
use contracts::{CONTRACTS, Catalogue, Codec, Geo, Message, Record, Topic};
use harness::{Broker, Isolation, Received, Stack, unique, wait_for_value};
use sample::{at, placed, total};
use sqlx::PgPool;
use uuid::Uuid;

const DEADLINE: Duration = Duration::from_secs(60);

/// A running orders service of one geo, with a database and a group of its own.
struct Service {
    stack: Stack,
    broker: Broker,
    codec: Codec,
    geo: Geo,
    pool: PgPool,
    database: String,
    group: String,
    process: Child,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Service {
    async fn start(geo: &str) -> Self {
        let stack = Stack::from_env();
        register(&stack.registry).await;
        let codec = Codec::connect(&stack.registry, CONTRACTS).await.unwrap();
        let (broker, geo) = (stack.broker(), geo.parse::<Geo>().unwrap());
        for topic in Catalogue::embedded()
            .topics(std::slice::from_ref(&geo))
            .unwrap()
        {
            let partitions = i32::try_from(topic.partitions).unwrap();
            if let Err(error) = broker.create_topics(&[(&topic.name, partitions)]).await {
                assert!(error.to_string().contains("exists"), "{error:#}");
            }
        }
        let database = stack.database().await.unwrap();
        let (pool, group) = (database.pool().await.unwrap(), unique("orders"));
        let process = spawn(&stack, &geo, &database.url(), &group);
        Self {
            stack,
            broker,
            codec,
            geo,
            pool,
            database: database.url(),
            group,
            process,
        }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn restart(&mut self) {
        self.kill();
        self.process = spawn(&self.stack, &self.geo, &self.database, &self.group);
    }

    async fn send<M: Message, R: Record>(
        &self,
        partition: Option<i32>,
        order_id: Uuid,
        record: &R,
    ) {
        let mut bytes = Vec::new();
        self.codec.encode_into(record, &mut bytes).unwrap();
        let (topic, key) = (Topic::of::<M>(&self.geo).to_string(), order_id.to_string());
        let trace = (
            "traceparent",
            Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".as_bytes()),
        );
        self.broker
            .produce(
                &topic,
                partition,
                Some(key.as_bytes()),
                Some(&bytes),
                &[trace],
            )
            .await
            .unwrap();
    }

    /// Everything published so far about an order, on its three topics.
    async fn records(&self, order_id: Uuid) -> Vec<Received> {
        let topics = [
            "orders.events",
            "payments.requests",
            "driver_assignment.requests",
        ];
        let topics = topics.map(|topic| format!("{topic}.{}", self.geo));
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let mut all = self
            .broker
            .read_all(&topics, Isolation::Committed)
            .await
            .unwrap();
        all.retain(|record| record.key_text() == Some(&order_id.to_string()));
        all
    }

    /// Waits for a record about an order, and returns it.
    async fn wait_for(&self, order_id: Uuid, record: &str) -> Received {
        let found = async || {
            let all = self.records(order_id).await;
            all.into_iter()
                .find(|r| r.header("event_type") == Some(record))
        };
        wait_for_value(&format!("{record} of {order_id}"), DEADLINE, found).await
    }

    fn placed(&self, order_id: Uuid) -> OrderPlaced {
        OrderPlaced {
            geo: self.geo.to_string(),
            ..placed(order_id)
        }
    }
}

fn spawn(stack: &Stack, geo: &Geo, database: &str, group: &str) -> Child {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
    Command::new(env!("CARGO_BIN_EXE_orders"))
        .env("SWIFT_EATS_CONFIG", format!("{root}deploy/swift-eats.toml"))
        .env("SWIFT_EATS__KAFKA__BROKERS", &stack.kafka)
        .env("SWIFT_EATS__REGISTRY__URL", &stack.registry)
        .env("SWIFT_EATS__POSTGRES__URL", database)
        .env("SWIFT_EATS__CATALOGUE__GEOS", format!("[\"{geo}\"]"))
        .env("SWIFT_EATS__RUNTIME__GROUP", group)
        .env("SWIFT_EATS__RUNTIME__INSTANCE", group)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Brings the registry to the schemas of this tree, as `swiftctl schemas register` does.
async fn register(registry: &str) {
    let client = reqwest::Client::new();
    for contract in CONTRACTS {
        let url = format!("{registry}/subjects/{}/versions", contract.full_name);
        let body = serde_json::json!({"schema": contract.schema, "schemaType": "AVRO"});
        client
            .post(url)
            .json(&body)
            .send()
            .await
            .unwrap()
            .error_for_status()
            .unwrap();
    }
}

fn captured(service: &Service, order_id: Uuid) -> PaymentCaptured {
    PaymentCaptured {
        event_id: Uuid::new_v4(),
        occurred_at: at(20),
        geo: service.geo.to_string(),
        correlation_id: Uuid::new_v4(),
        order_id,
        order_version: 1,
        amount: total(),
        gateway_reference: "g-1".into(),
        captured_at: at(20),
    }
}

fn assigned(service: &Service, order_id: Uuid) -> DriverAssigned {
    let order = placed(order_id);
    DriverAssigned {
        event_id: Uuid::new_v4(),
        occurred_at: at(30),
        geo: service.geo.to_string(),
        correlation_id: Uuid::new_v4(),
        order_id,
        order_version: 2,
        attempt: 1,
        driver_id: "d-1".into(),
        restaurant: Place {
            id: order.restaurant.id,
            location: order.restaurant.location,
        },
        customer_location: order.customer.location,
        driver_eta_to_restaurant_s: 60,
        restaurant_to_customer_s: 120,
        slack_s: 0,
        due_at: at(30),
        released_at: at(30),
        score: 1.0,
        policy_name: "slack-greedy".into(),
        policy_version: "1".into(),
        expected_pickup_at: None,
        expected_delivery_at: None,
        offer_expires_at: None,
        trip_id: None,
        trip_position: 0,
    }
}

async fn pick_up_and_deliver(service: &Service, order_id: Uuid, partition: i32) {
    let (geo, driver_id) = (service.geo.to_string(), "d-1".to_owned());
    let picked_up = PickupConfirmed {
        event_id: Uuid::new_v4(),
        occurred_at: at(40),
        geo: geo.clone(),
        correlation_id: Uuid::new_v4(),
        order_id,
        order_version: 3,
        driver_id: driver_id.clone(),
        picked_up_at: at(40),
    };
    service
        .send::<DriverAssignmentEvent, _>(Some(partition), order_id, &picked_up)
        .await;
    let delivered = DeliveryConfirmed {
        event_id: Uuid::new_v4(),
        occurred_at: at(50),
        geo,
        correlation_id: Uuid::new_v4(),
        order_id,
        order_version: 3,
        driver_id,
        delivered_at: at(50),
    };
    service
        .send::<DriverAssignmentEvent, _>(Some(partition), order_id, &delivered)
        .await;
}

#[tokio::test]
async fn an_order_goes_through_its_topics_to_the_door_on_one_partition_and_in_one_trace() {
    let mut service = Service::start("wellington-te-aro").await;
    let id = Uuid::new_v4();
    service
        .send::<OrdersRequest, _>(None, id, &service.placed(id))
        .await;
    let partition = service.wait_for(id, "PaymentRequested").await.partition;
    service
        .send::<PaymentsEvent, _>(Some(partition), id, &captured(&service, id))
        .await;
    service.wait_for(id, "AssignmentRequested").await;
    service.restart();
    service
        .send::<DriverAssignmentEvent, _>(Some(partition), id, &assigned(&service, id))
        .await;
    pick_up_and_deliver(&service, id, partition).await;
    service.wait_for(id, "OrderDelivered").await;
    let records = service.records(id).await;
    let names: Vec<_> = records
        .iter()
        .filter_map(|record| record.header("event_type"))
        .collect();
    assert_eq!(
        names,
        [
            "AssignmentRequested",
            "OrderAccepted",
            "OrderConfirmed",
            "OrderDriverAssigned",
            "OrderPickedUp",
            "OrderDelivered",
            "PaymentRequested",
        ]
    );
    for record in &records {
        assert_eq!(record.partition, partition);
        assert!(
            record
                .header("traceparent")
                .unwrap()
                .starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-")
        );
    }
    let payload = records[5].value.as_deref().unwrap();
    let OrdersEvent::OrderDelivered(delivered) = service.codec.decode(payload).unwrap() else {
        panic!()
    };
    assert_eq!(
        (delivered.order_version, delivered.delivered_at),
        (5, at(50))
    );
    assert_eq!(
        delivered.event_id.to_string(),
        records[5].header("event_id").unwrap()
    );
}

#[tokio::test]
async fn what_cannot_be_is_rejected_and_what_cannot_be_read_is_a_dead_letter() {
    let service = Service::start("sydney-cbd").await;
    let (invalid, unknown) = (Uuid::new_v4(), Uuid::new_v4());
    let requests = Topic::of::<OrdersRequest>(&service.geo);
    let garbage = Uuid::new_v4().to_string();
    service
        .broker
        .produce(
            &requests.to_string(),
            Some(0),
            None,
            Some(garbage.as_bytes()),
            &[],
        )
        .await
        .unwrap();
    service
        .send::<PaymentsEvent, _>(Some(0), unknown, &captured(&service, unknown))
        .await;
    let order = OrderPlaced {
        items: vec![],
        ..service.placed(invalid)
    };
    service
        .send::<OrdersRequest, _>(Some(0), invalid, &order)
        .await;
    let rejected = service.wait_for(invalid, "OrderRejected").await;
    let OrdersEvent::OrderRejected(rejected) = service
        .codec
        .decode(rejected.value.as_deref().unwrap())
        .unwrap()
    else {
        panic!()
    };
    assert_eq!(rejected.reasons[0].field, "items");
    let dead = [
        requests.dead_letters(),
        Topic::of::<PaymentsEvent>(&service.geo).dead_letters(),
    ];
    let kinds = async || {
        let dead: Vec<&str> = dead.iter().map(String::as_str).collect();
        let all = service
            .broker
            .read_all(&dead, Isolation::Committed)
            .await
            .unwrap();
        let mine = |letter: &&Received| {
            letter.value.as_deref() == Some(garbage.as_bytes())
                || letter.key_text() == Some(&unknown.to_string())
        };
        let kinds: Vec<String> = all
            .iter()
            .filter(mine)
            .filter_map(|r| r.header("dlq.error.kind"))
            .map(str::to_owned)
            .collect();
        (kinds.len() >= 2).then_some(kinds)
    };
    let kinds = wait_for_value("two dead letters", DEADLINE, kinds).await;
    assert_eq!(kinds, ["not_avro_envelope", "unknown_order"]);
}

#[tokio::test]
async fn what_a_kitchen_said_before_the_order_came_survives_a_kill_and_is_applied() {
    let mut service = Service::start("dublin-docklands").await;
    let id = Uuid::new_v4();
    let rejected = KitchenRejected {
        event_id: Uuid::new_v4(),
        occurred_at: at(1),
        geo: service.geo.to_string(),
        order_id: id,
        order_version: 0,
        restaurant_id: "r-1".into(),
        reason: Some("closed".into()),
    };
    service.send::<KitchenEvent, _>(None, id, &rejected).await;
    let kept = async || {
        let count = sqlx::query_scalar::<_, i64>(
            "SELECT count(*) FROM orders.early_events WHERE order_id = $1",
        )
        .bind(id)
        .fetch_one(&service.pool);
        count.await.ok().filter(|count| *count == 1)
    };
    wait_for_value("the kitchen's event is kept", DEADLINE, kept).await;
    service.restart();
    service
        .send::<OrdersRequest, _>(None, id, &service.placed(id))
        .await;
    service.wait_for(id, "OrderCancelled").await;
    let names: Vec<_> = service
        .records(id)
        .await
        .iter()
        .filter_map(|r| r.header("event_type").map(str::to_owned))
        .collect();
    assert_eq!(names, ["OrderCancelled"]);
}
