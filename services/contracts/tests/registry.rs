//! The codec and a registry: tomorrow's writers, unknown ids, a registry that is away, many asking at once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Json, Router, routing};
use contracts::streams::KitchenEvent;
use contracts::{CONTRACTS, Codec, CodecError, ConnectError, Contract, RejectKind};
use serde_json::{Value as JsonValue, json};

/// A registry of the test's making, over real HTTP.
#[derive(Clone, Default)]
struct Registry(Arc<Inner>);

#[derive(Default)]
struct Inner {
    schemas: Mutex<HashMap<u32, String>>,
    /// Answers this status to everything while set.
    broken: Mutex<Option<StatusCode>>,
    fetches: AtomicUsize,
}

type Answer = (StatusCode, Json<JsonValue>);

impl Registry {
    async fn start() -> (Self, String) {
        let registry = Registry::default();
        let routes = Router::new()
            .route("/schemas/ids/{id}", routing::get(by_id))
            .route("/subjects/{subject}", routing::post(lookup))
            .with_state(registry.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (registry, url)
    }

    fn put(&self, id: u32, schema: impl Into<String>) {
        self.0.schemas.lock().unwrap().insert(id, schema.into());
    }

    fn break_with(&self, status: Option<StatusCode>) {
        *self.0.broken.lock().unwrap() = status;
    }

    fn fetches(&self) -> usize {
        self.0.fetches.load(Ordering::SeqCst)
    }

    fn answer(&self, found: Option<JsonValue>) -> Answer {
        if let Some(status) = *self.0.broken.lock().unwrap() {
            return (status, Json(json!("no error of a registry")));
        }
        match found {
            Some(found) => (StatusCode::OK, Json(found)),
            None => (
                StatusCode::NOT_FOUND,
                Json(json!({"error_code": 40403, "message": "not found"})),
            ),
        }
    }
}

async fn by_id(State(registry): State<Registry>, Path(id): Path<u32>) -> Answer {
    registry.0.fetches.fetch_add(1, Ordering::SeqCst);
    // Long enough for others to ask meanwhile.
    tokio::task::yield_now().await;
    let schema = registry.0.schemas.lock().unwrap().get(&id).cloned();
    registry.answer(schema.map(|schema| json!({"schema": schema})))
}

async fn lookup(State(registry): State<Registry>, Json(body): Json<JsonValue>) -> Answer {
    let schemas = registry.0.schemas.lock().unwrap().clone();
    let found = schemas
        .iter()
        .find(|(_, schema)| body["schema"] == **schema);
    registry.answer(found.map(|(id, schema)| json!({"id": id, "schema": schema, "version": 1})))
}

fn food_ready() -> &'static Contract {
    CONTRACTS
        .iter()
        .find(|c| c.full_name == "swifteats.kitchen.FoodReady")
        .unwrap()
}

async fn connected() -> (Registry, Codec) {
    let (registry, url) = Registry::start().await;
    registry.put(7, food_ready().schema);
    let codec = Codec::connect(&url, &[*food_ready()]).await.unwrap();
    (registry, codec)
}

/// Today's fields of FoodReady, as a dynamic value.
fn fields() -> Vec<(String, Value)> {
    let text = |s: &str| Value::String(s.into());
    let instant = Value::TimestampMicros(1_700_000_000_000_000);
    [
        ("event_id", Value::Uuid(uuid::Uuid::from_u128(1))),
        ("occurred_at", instant.clone()),
        ("geo", text("berlin-mitte")),
        ("order_id", Value::Uuid(uuid::Uuid::from_u128(2))),
        ("order_version", Value::Int(3)),
        ("restaurant_id", text("r-1")),
        ("ready_at", instant),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// A payload of FoodReady written with `schema` under `id`.
fn payload(id: u32, schema: &JsonValue, fields: Vec<(String, Value)>) -> Vec<u8> {
    let schema = apache_avro::Schema::parse(schema).unwrap();
    let writer = GenericDatumWriter::builder(&schema).build().unwrap();
    let datum = writer.write_value_to_vec(Value::Record(fields)).unwrap();
    [&[0], &id.to_be_bytes()[..], &datum].concat()
}

fn today() -> JsonValue {
    serde_json::from_str(food_ready().schema).unwrap()
}

/// Tomorrow's schema: a new field of every kind, in front of and behind today's, and a wider number.
fn tomorrow() -> (JsonValue, Vec<(String, Value)>) {
    let point = json!({"type": "record", "name": "Shelf", "fields": [{"name": "row", "type": "int"}, {"name": "label", "type": "string"}]});
    let added = [
        (
            "n_enum",
            json!({"type": "enum", "name": "Heat", "symbols": ["COLD", "HOT"]}),
            Value::Enum(1, "HOT".into()),
        ),
        (
            "n_record",
            point,
            Value::Record(vec![
                ("row".into(), Value::Int(4)),
                ("label".into(), Value::String("b".into())),
            ]),
        ),
        (
            "n_array",
            json!({"type": "array", "items": {"type": "array", "items": "string"}}),
            Value::Array(vec![
                Value::Array(vec![Value::String("x".into())]),
                Value::Array(vec![]),
            ]),
        ),
        (
            "n_map",
            json!({"type": "map", "values": "double"}),
            Value::Map(HashMap::from([("k".into(), Value::Double(0.5))])),
        ),
        (
            "n_union",
            json!(["null", "string", "Shelf"]),
            Value::Union(1, Box::new(Value::String("u".into()))),
        ),
        ("n_bytes", json!("bytes"), Value::Bytes(vec![1, 2, 3])),
        (
            "n_fixed",
            json!({"type": "fixed", "name": "Mac", "size": 2}),
            Value::Fixed(2, vec![9, 9]),
        ),
        ("n_bool", json!("boolean"), Value::Boolean(true)),
        ("n_double", json!("double"), Value::Double(1.5)),
        ("n_string", json!("string"), Value::String("s".into())),
    ];
    let mut schema = today();
    let mut values = fields();
    let list = schema["fields"].as_array_mut().unwrap();
    let version = list
        .iter_mut()
        .find(|f| f["name"] == "order_version")
        .unwrap();
    version["type"] = json!("long");
    values
        .iter_mut()
        .find(|(n, _)| n == "order_version")
        .unwrap()
        .1 = Value::Long(3);
    for (place, (name, ty, value)) in added.into_iter().enumerate() {
        // The union refers to the record, so the fields keep their order; half of them go to the front.
        let at = if place < 5 { place } else { list.len() };
        list.insert(at, json!({"name": name, "type": ty}));
        values.insert(at, (name.to_owned(), value));
    }
    (schema, values)
}

#[tokio::test]
async fn yesterdays_types_read_a_new_field_of_every_kind_and_a_wider_number() {
    let (registry, codec) = connected().await;
    let (schema, values) = tomorrow();
    registry.put(8, schema.to_string());
    let old = payload(7, &today(), fields());
    let new = payload(8, &schema, values);
    codec.prepare(&new).await.unwrap();
    let (old, new) = (
        codec.decode::<KitchenEvent>(&old),
        codec.decode::<KitchenEvent>(&new),
    );
    assert_eq!(new.unwrap(), old.unwrap());
}

#[tokio::test]
async fn a_float_that_became_a_double_is_read_with_yesterdays_type() {
    let location = CONTRACTS
        .iter()
        .find(|c| c.full_name == "swifteats.driver.DriverLocation")
        .unwrap();
    let (registry, url) = Registry::start().await;
    registry.put(1, location.schema);
    registry.put(2, location.schema.replace("\"float\"", "\"double\""));
    let codec = Codec::connect(&url, &[*location]).await.unwrap();
    let schema =
        apache_avro::Schema::parse_str(&location.schema.replace("\"float\"", "\"double\""))
            .unwrap();
    let optional = |v: f64| Value::Union(1, Box::new(Value::Double(v)));
    let point = Value::Record(vec![
        ("lat".into(), Value::Double(52.5)),
        ("lon".into(), Value::Double(13.4)),
    ]);
    let ping = Value::Record(vec![
        ("event_id".into(), Value::Uuid(uuid::Uuid::from_u128(1))),
        ("occurred_at".into(), Value::TimestampMicros(5)),
        ("geo".into(), Value::String("berlin-mitte".into())),
        ("driver_id".into(), Value::String("d-1".into())),
        ("location".into(), point),
        ("heading_deg".into(), optional(90.5)),
        ("speed_mps".into(), optional(4.25)),
        ("accuracy_m".into(), Value::Union(0, Box::new(Value::Null))),
    ]);
    let datum = GenericDatumWriter::builder(&schema)
        .build()
        .unwrap()
        .write_value_to_vec(ping)
        .unwrap();
    let bytes = [&[0, 0, 0, 0, 2], &datum[..]].concat();
    codec.prepare(&bytes).await.unwrap();
    let contracts::streams::DriverLocation::DriverLocation(ping) = codec.decode(&bytes).unwrap();
    assert_eq!(
        (ping.heading_deg, ping.speed_mps, ping.accuracy_m),
        (Some(90.5), Some(4.25), None)
    );
}

#[tokio::test]
async fn an_enum_symbol_of_tomorrow_reads_as_unknown() {
    let cancel = CONTRACTS
        .iter()
        .find(|c| c.full_name == "swifteats.orders.OrderCancelRequested")
        .unwrap();
    let (registry, url) = Registry::start().await;
    let schema = cancel
        .schema
        .replace("\"SYSTEM\"", "\"SYSTEM\",\"COURIER\"");
    assert_ne!(schema, cancel.schema);
    registry.put(1, cancel.schema);
    registry.put(2, schema.clone());
    let codec = Codec::connect(&url, &[*cancel]).await.unwrap();
    let schema = apache_avro::Schema::parse_str(&schema).unwrap();
    let request = Value::Record(vec![
        ("event_id".into(), Value::Uuid(uuid::Uuid::from_u128(1))),
        ("occurred_at".into(), Value::TimestampMicros(5)),
        ("geo".into(), Value::String("berlin-mitte".into())),
        ("order_id".into(), Value::Uuid(uuid::Uuid::from_u128(2))),
        ("order_version".into(), Value::Int(1)),
        ("requested_by".into(), Value::Enum(5, "COURIER".into())),
        ("reason".into(), Value::Union(0, Box::new(Value::Null))),
    ]);
    let datum = GenericDatumWriter::builder(&schema)
        .build()
        .unwrap()
        .write_value_to_vec(request)
        .unwrap();
    let bytes = [&[0, 0, 0, 0, 2], &datum[..]].concat();
    codec.prepare(&bytes).await.unwrap();
    match codec.decode(&bytes).unwrap() {
        contracts::streams::OrdersRequest::OrderCancelRequested(request) => {
            assert_eq!(request.requested_by, contracts::orders::Actor::Unknown);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_older_writer_without_an_optional_field_is_read() {
    let (registry, url) = Registry::start().await;
    let rejected = CONTRACTS
        .iter()
        .find(|c| c.full_name == "swifteats.kitchen.KitchenRejected")
        .unwrap();
    let mut older: JsonValue = serde_json::from_str(rejected.schema).unwrap();
    older["fields"]
        .as_array_mut()
        .unwrap()
        .retain(|f| f["name"] != "reason");
    registry.put(1, rejected.schema);
    registry.put(2, older.to_string());
    let codec = Codec::connect(&url, &[*rejected]).await.unwrap();
    let mut values = fields();
    values.retain(|(name, _)| name != "ready_at");
    let bytes = payload(2, &older, values);
    codec.prepare(&bytes).await.unwrap();
    match codec.decode(&bytes).unwrap() {
        KitchenEvent::KitchenRejected(record) => assert_eq!(record.reason, None),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_unknown_id_is_rejected_and_not_asked_for_again_at_once() {
    let (registry, codec) = connected().await;
    let bytes = payload(99, &today(), fields());
    for _ in 0..20 {
        match codec.prepare(&bytes).await {
            Err(CodecError::Reject(rejection)) => {
                assert_eq!(rejection.kind, RejectKind::UnknownSchema)
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(registry.fetches(), 1);
}

#[tokio::test]
async fn a_registry_in_trouble_asks_for_a_retry_and_is_never_remembered() {
    let (registry, codec) = connected().await;
    registry.put(8, food_ready().schema);
    let bytes = payload(8, &today(), fields());
    // A 404 that is not the registry's own (a proxy, a wrong path) is trouble too, not a verdict.
    for status in [
        StatusCode::INTERNAL_SERVER_ERROR,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::NOT_FOUND,
    ] {
        registry.break_with(Some(status));
        let prepared = codec.prepare(&bytes).await;
        assert!(
            matches!(prepared, Err(CodecError::Retry { id: 8, .. })),
            "{status}: {prepared:?}"
        );
    }
    registry.break_with(None);
    codec.prepare(&bytes).await.unwrap();
    codec.decode::<KitchenEvent>(&bytes).unwrap();
    registry.break_with(Some(StatusCode::INTERNAL_SERVER_ERROR));
    codec
        .prepare(&bytes)
        .await
        .expect("what is known needs no registry");
}

#[tokio::test]
async fn many_who_ask_for_a_new_id_at_once_cause_one_request() {
    let (registry, codec) = connected().await;
    registry.put(8, food_ready().schema);
    let bytes = payload(8, &today(), fields());
    let asked = futures::future::join_all((0..50).map(|_| codec.prepare(&bytes))).await;
    assert!(asked.iter().all(Result::is_ok));
    assert_eq!(registry.fetches(), 1);
}

#[tokio::test]
async fn a_schema_that_is_no_record_of_ours_is_rejected_by_name() {
    let (registry, codec) = connected().await;
    registry.put(
        8,
        r#"{"type":"record","name":"Stranger","namespace":"a.b","fields":[]}"#,
    );
    registry.put(9, r#""int""#);
    registry.put(10, "rubbish");
    let frame = |id: u32| [&[0], &id.to_be_bytes()[..]].concat();
    codec.prepare(&frame(8)).await.unwrap();
    match codec.decode::<KitchenEvent>(&frame(8)) {
        Err(CodecError::Reject(r)) => assert!(
            r.kind == RejectKind::UnexpectedRecord && r.message.contains("a.b.Stranger"),
            "{r}"
        ),
        other => panic!("{other:?}"),
    }
    for id in [9, 10] {
        match codec.prepare(&frame(id)).await {
            Err(CodecError::Reject(r)) => assert_eq!(r.kind, RejectKind::UnreadableSchema),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn connecting_names_the_record_that_is_not_registered_and_the_command() {
    let (_registry, url) = Registry::start().await;
    match Codec::connect(&url, &[*food_ready()]).await.err() {
        Some(error @ ConnectError::Unregistered { .. }) => {
            let text = error.to_string();
            assert!(
                text.contains("swifteats.kitchen.FoodReady")
                    && text.contains("swiftctl schemas register"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
    let nobody = Codec::connect("http://127.0.0.1:1/", &[*food_ready()])
        .await
        .err();
    assert!(
        matches!(nobody, Some(ConnectError::Registry { .. })),
        "{nobody:?}"
    );
}
