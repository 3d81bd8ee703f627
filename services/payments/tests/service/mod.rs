//! A processor as a process of its own on the real stack, with a database and a group of its own.
//!
//! The topics are those of a geo of the catalogue, of which each test must have one to itself: another test's process, in a
//! group of its own, would do the same work again. What earlier runs left on them is other orders' business.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use contracts::{CONTRACTS, Catalogue, Codec, Geo, Message, Record, Topic};
use harness::{Database, Isolation, Received, Stack};
use rdkafka::producer::{FutureProducer, FutureRecord};
use uuid::Uuid;

/// How long anything may take that should happen at once.
pub const SOON: Duration = Duration::from_secs(60);

/// The stack with everything a processor needs on it.
pub struct Ground {
    pub stack: Stack,
    pub geo: Geo,
    pub codec: Codec,
    pub database: Database,
    producer: FutureProducer,
    group: String,
}

impl Ground {
    /// Registers the schemas and creates the topics that are missing.
    pub async fn prepare(geo: &str, topics: &[fn(&Geo) -> Topic]) -> Self {
        let stack = Stack::from_env();
        let geo: Geo = geo.parse().unwrap();
        let catalogue = Catalogue::embedded();
        for topic in topics.iter().map(|of| of(&geo)) {
            let partitions = catalogue.partitions(&topic).unwrap() as i32;
            for (name, partitions) in [(topic.to_string(), partitions), (topic.dead_letters(), 1)] {
                if let Err(error) = stack.broker().create_topics(&[(&name, partitions)]).await {
                    assert!(format!("{error:#}").contains("already exists"), "{error:#}");
                }
            }
        }
        for contract in CONTRACTS {
            let url = format!(
                "{}/subjects/{}/versions",
                stack.registry, contract.full_name
            );
            let body = serde_json::json!({ "schema": contract.schema, "schemaType": "AVRO" });
            let registered = reqwest::Client::new()
                .post(url)
                .json(&body)
                .send()
                .await
                .unwrap();
            assert!(
                registered.status().is_success(),
                "{}: {}",
                contract.full_name,
                registered.text().await.unwrap()
            );
        }
        let codec = Codec::connect(&stack.registry, CONTRACTS).await.unwrap();
        let database = stack.database().await.unwrap();
        let (producer, group) = (stack.broker().producer().unwrap(), harness::unique("group"));
        Self {
            stack,
            geo,
            codec,
            database,
            producer,
            group,
        }
    }

    /// Starts the processor; `settings` are those of its own section, by their names in the environment.
    pub fn start(&self, binary: &str, settings: &[(&str, &str)]) -> Running {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/swift-eats.toml");
        let shared = [
            ("KAFKA__BROKERS", self.stack.kafka.clone()),
            ("REGISTRY__URL", self.stack.registry.clone()),
            ("POSTGRES__URL", self.database.url()),
            ("RUNTIME__GROUP", self.group.clone()),
            ("RUNTIME__INSTANCE", self.group.clone()),
            ("CATALOGUE__GEOS", format!("[\"{}\"]", self.geo)),
        ];
        let own = settings
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let settings = shared.into_iter().chain(own);
        let child = Command::new(binary)
            .env("SWIFT_EATS_CONFIG", config)
            .envs(settings.map(|(name, value)| (format!("SWIFT_EATS__{name}"), value)))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Running(child)
    }

    /// Writes a record as another processor would.
    pub async fn write<M: Message, R: Record>(&self, partition: i32, order_id: Uuid, record: &R) {
        let mut value = Vec::new();
        self.codec.encode_into(record, &mut value).unwrap();
        let (topic, key) = (Topic::of::<M>(&self.geo).to_string(), order_id.to_string());
        let record = FutureRecord::to(&topic)
            .partition(partition)
            .key(&key)
            .payload(&value);
        self.producer.send(record, SOON).await.unwrap();
    }

    /// What stands on a stream about these orders, in order, as an outside consumer sees it.
    pub async fn read<M: Message>(&self, order_ids: &[Uuid]) -> Vec<(Received, M)> {
        let topic = Topic::of::<M>(&self.geo).to_string();
        let all = self
            .stack
            .broker()
            .read_all(&[&topic], Isolation::Committed)
            .await
            .unwrap();
        let keys: Vec<String> = order_ids.iter().map(Uuid::to_string).collect();
        let ours = all
            .into_iter()
            .filter(|it| keys.iter().any(|key| it.key_text() == Some(key)));
        ours.map(|it| {
            let record = self
                .codec
                .decode::<M>(it.value.as_deref().unwrap())
                .unwrap();
            (it, record)
        })
        .collect()
    }
}

/// A running processor; killed when dropped.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself, which the test's own assertions tell.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
