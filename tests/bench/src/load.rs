//! Producing as fast as the broker takes it: encoded once each, idempotent, counted when acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use chrono::{TimeDelta, Utc};
use contracts::streams::{DriverAssignmentRequest, DriverEvent, DriverLocation, OrdersRequest};
use contracts::{CONTRACTS, Codec, GeoSpec, Message, Topic, headers};
use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use serde::Serialize;

use crate::say::{self, OrderIds};

/// Writes to the topics of some geos, which take turns.
pub struct Load {
    codec: Codec,
    geos: Vec<GeoSpec>,
    producer: ThreadedProducer<Acknowledged>,
    began: Instant,
    ids: OrderIds,
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
    pub async fn open(
        brokers: &str,
        registry: &str,
        geos: &[GeoSpec],
        scattered: bool,
    ) -> Result<Self> {
        ensure!(!geos.is_empty(), "no geo is named");
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
            geos: geos.to_vec(),
            producer: config.create_with_context(Acknowledged::default())?,
            began: Instant::now(),
            ids: OrderIds {
                run: Utc::now().timestamp_micros() as u64,
                scattered,
            },
        })
    }

    /// What this run's orders are called.
    pub fn ids(&self) -> OrderIds {
        self.ids
    }

    fn geo(&self, number: u32) -> &GeoSpec {
        &self.geos[number as usize % self.geos.len()]
    }

    pub fn drivers(&self, count: u32) -> Result<()> {
        for number in 0..count {
            let geo = self.geo(number);
            let online = say::driver_online(geo, number, Utc::now());
            self.send(geo, &DriverEvent::from(online))?;
        }
        Ok(())
    }

    pub fn orders(&self, count: u32) -> Result<()> {
        (0..count).try_for_each(|number| self.order(number))
    }

    pub fn order(&self, number: u32) -> Result<()> {
        let geo = self.geo(number);
        let placed = say::order_placed(geo, self.ids, number, Utc::now());
        self.send(geo, &OrdersRequest::from(placed))
    }

    /// Asks for drivers; the food is ready between `ready_in` and `ready_in + over` from now, evenly.
    pub fn requests(&self, count: u32, ready_in: TimeDelta, over: TimeDelta) -> Result<()> {
        for number in 0..count {
            let (geo, at) = (self.geo(number), Utc::now());
            let share = f64::from(number) / f64::from(count);
            let later = TimeDelta::milliseconds((over.num_milliseconds() as f64 * share) as i64);
            let ready_at = at + ready_in + later;
            let asked = say::assignment_requested(geo, self.ids, number, at, ready_at);
            self.send(geo, &DriverAssignmentRequest::from(asked))?;
        }
        Ok(())
    }

    /// Pings of `drivers` drivers in turn, `rate` per second, or as fast as the broker takes them.
    pub fn pings(&self, drivers: u32, count: u32, rate: Option<f64>) -> Result<()> {
        let start = Instant::now();
        for number in 0..count {
            if let Some(rate) = rate {
                let due = Duration::from_secs_f64(f64::from(number) / rate);
                std::thread::sleep(due.saturating_sub(start.elapsed())); // waits: the pace of the pings
            }
            let driver = number % drivers;
            let geo = self.geo(driver);
            let ping = say::driver_location(geo, driver, number / drivers, Utc::now());
            self.send(geo, &DriverLocation::from(ping))?;
        }
        Ok(())
    }

    fn send<M: Message>(&self, geo: &GeoSpec, message: &M) -> Result<()> {
        let mut value = Vec::with_capacity(512);
        message.encode_into(&self.codec, &mut value)?;
        let (topic, key) = (Topic::of::<M>(&geo.name).to_string(), message.key());
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
