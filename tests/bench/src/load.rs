//! Producing as fast as the broker takes it: encoded once each, idempotent, counted when acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::Utc;
use contracts::streams::{DriverEvent, OrdersRequest};
use contracts::{CONTRACTS, Codec, GeoSpec, Message, Topic, headers};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use serde::Serialize;

use crate::say;

/// Writes to the topics of one geo.
pub struct Load {
    codec: Codec,
    geo: GeoSpec,
    producer: ThreadedProducer<Acknowledged>,
    began: Instant,
    run: u64,
}

/// Counts what the broker took.
#[derive(Clone, Default)]
struct Acknowledged {
    taken: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
}

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let counter = if result.is_ok() {
            &self.taken
        } else {
            &self.failed
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Serialize)]
pub struct Loaded {
    records: u64,
    seconds: f64,
}

impl Load {
    pub async fn open(brokers: &str, registry: &str, geo: &GeoSpec) -> Result<Self> {
        let codec = Codec::connect(registry, CONTRACTS).await?;
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", brokers)
            .set("client.id", "bench")
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "0");
        Ok(Self {
            codec,
            geo: geo.clone(),
            producer: config.create_with_context(Acknowledged::default())?,
            began: Instant::now(),
            run: Utc::now().timestamp_micros() as u64,
        })
    }

    /// Sets this run's orders apart from those of others.
    pub fn run(&self) -> u64 {
        self.run
    }

    pub fn drivers(&self, count: u32) -> Result<()> {
        for number in 0..count {
            let online = say::driver_online(&self.geo, number, Utc::now());
            self.send(&DriverEvent::from(online))?;
        }
        Ok(())
    }

    pub fn orders(&self, count: u32) -> Result<()> {
        (0..count).try_for_each(|number| self.order(number))
    }

    pub fn order(&self, number: u32) -> Result<()> {
        let placed = say::order_placed(&self.geo, self.run, number, Utc::now());
        self.send(&OrdersRequest::from(placed))
    }

    fn send<M: Message>(&self, message: &M) -> Result<()> {
        let mut value = Vec::with_capacity(512);
        message.encode_into(&self.codec, &mut value)?;
        let (topic, key) = (Topic::of::<M>(&self.geo.name).to_string(), message.key());
        let contract = message.contract();
        let (id, version) = (message.event_id().to_string(), contract.version.to_string());
        let trace = format!("00-{:032x}-{:016x}-01", message.event_id().as_u128() | 1, 1);
        let pairs = [
            (headers::EVENT_TYPE, contract.name),
            (headers::EVENT_ID, id.as_str()),
            (headers::SCHEMA_VERSION, version.as_str()),
            (headers::TRACEPARENT, trace.as_str()),
        ];
        let all = pairs.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
            all.insert(Header {
                key,
                value: Some(*value),
            })
        });
        let mut record = BaseRecord::<str, [u8]>::to(&topic)
            .key(key.as_str())
            .payload(value.as_slice())
            .headers(all);
        while let Err((error, back)) = self.producer.send(record) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error).context(topic);
            }
            // Whatever is left in the queue then, there is room again.
            let _ = self.producer.flush(Duration::from_millis(20));
            record = back;
        }
        Ok(())
    }

    /// Waits until the broker has taken everything.
    pub fn close(self) -> Result<Loaded> {
        self.producer.flush(Duration::from_secs(120))?;
        let counted = self.producer.context();
        let failed = counted.failed.load(Ordering::Relaxed);
        ensure!(failed == 0, "the broker refused {failed} records");
        Ok(Loaded {
            records: counted.taken.load(Ordering::Relaxed),
            seconds: self.began.elapsed().as_secs_f64(),
        })
    }
}
