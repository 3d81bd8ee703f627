//! Cities on the real topics: an idempotent producer, a read_committed consumer, and the clock on the wall.
//!
//! Everything a city says is handed to one producer in order, so what concerns one key stays in order; a record that
//! could not be delivered is counted and fails the run. Consuming starts at the ends of the topics as they are before the
//! first message goes out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::Utc;
use contracts::streams::{DriverAssignmentEvent, OrdersEvent};
use contracts::{CONTRACTS, Codec, Geo, Topic, headers};
use dispatch::At;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Headers, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientContext, Message, Offset, TopicPartitionList};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::{City, Clock, Emission, Plan, Progress, Seen, Trace, World};

/// How long a request to the broker may take.
const REQUEST: Duration = Duration::from_secs(30);
/// Between two lines of progress.
const REPORT: Duration = Duration::from_secs(1);

/// What to run, and where.
#[derive(Clone, Debug)]
pub struct Run {
    pub brokers: String,
    pub registry: String,
    /// One city each, with what goes wrong in it.
    pub plans: Vec<(Plan, World)>,
    pub speed: f64,
    pub seed: u64,
    /// Wall time after which the run is given up.
    pub deadline: Duration,
}

/// A line of progress.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Wall seconds since the start.
    pub elapsed_s: f64,
    /// Minutes of the city since its beginning.
    pub city_min: f64,
    #[serde(flatten)]
    pub progress: Progress,
    /// The last line of a run whose every order has ended.
    pub done: bool,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub progress: Progress,
    /// Every order placed has ended.
    pub complete: bool,
    /// Records that Kafka did not take.
    pub undelivered: u64,
}

/// Lets the cities live until every order has ended or the deadline has passed; `report` gets a line every second.
pub async fn run(run: Run, mut report: impl FnMut(&Line)) -> anyhow::Result<Outcome> {
    let codec = Codec::connect(&run.registry, CONTRACTS)
        .await
        .context("connecting to the schema registry")?;
    let geos: Vec<Geo> = run.plans.iter().map(|(plan, _)| plan.geo.clone()).collect();
    let mut ears = Ears::open(&run.brokers, &geos).await?;
    let mouth = Mouth::new(&run.brokers)?;
    let begin = Instant::now();
    let clock = Clock::new(wall_now(), run.speed);
    let cities = run
        .plans
        .into_iter()
        .map(|(plan, world)| City::new(plan, world, clock, run.seed));
    let mut cities = cities.collect::<Result<Vec<City>, _>>()?;
    let mut next_report = begin + REPORT;
    while !cities.iter().all(City::is_over) && begin.elapsed() < run.deadline {
        for city in &mut cities {
            let said = city.advance(wall_now());
            mouth.say(&codec, city, &said)?;
        }
        if Instant::now() >= next_report {
            next_report += REPORT;
            report(&line(&cities, &clock, begin, false));
        }
        let due = cities
            .iter()
            .filter_map(City::next_due)
            .min()
            .map_or(REPORT, |at| until(at).min(REPORT));
        let Ok(heard) = tokio::time::timeout(due, ears.heard.recv()).await else {
            continue;
        };
        let mut heard = heard.context("the consumer ended")?;
        loop {
            let city = cities
                .iter_mut()
                .find(|city| city.plan().geo == heard.topic.geo);
            if let (Some(city), Some(seen)) = (city, heard.decode(&codec).await?) {
                let said = city.observe(seen, heard.trace, wall_now());
                mouth.say(&codec, city, &said)?;
            }
            match ears.heard.try_recv() {
                Ok(next) => heard = next,
                Err(_) => break,
            }
        }
    }
    let complete = cities.iter().all(City::is_over);
    let last = line(&cities, &clock, begin, complete);
    report(&last);
    for city in &mut cities {
        let said = city.close(wall_now());
        mouth.say(&codec, city, &said)?;
    }
    let undelivered = tokio::task::spawn_blocking(move || mouth.close()).await??;
    Ok(Outcome {
        progress: last.progress,
        complete,
        undelivered,
    })
}

fn line(cities: &[City], clock: &Clock, begin: Instant, done: bool) -> Line {
    let each: Vec<Progress> = cities.iter().map(City::progress).collect();
    let tenths = |number: f64| (number * 10.0).round() / 10.0;
    Line {
        elapsed_s: tenths(begin.elapsed().as_secs_f64()),
        city_min: tenths(clock.city(wall_now()).0 / 60.0),
        progress: Progress::sum(&each),
        done,
    }
}

fn wall_now() -> At {
    At(Utc::now().timestamp_micros())
}

fn until(at: At) -> Duration {
    Duration::from_secs_f64(at.since(wall_now()).0.max(0.0))
}

/// The producer of everything the cities say.
struct Mouth {
    producer: ThreadedProducer<Deliveries>,
}

/// Counts what Kafka did not take.
#[derive(Clone, Default)]
struct Deliveries {
    failed: Arc<AtomicU64>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, message)) = result {
            eprintln!("not delivered to {}: {error}", message.topic());
            self.failed.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Mouth {
    fn new(brokers: &str) -> anyhow::Result<Self> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", brokers)
            .set("client.id", "city")
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("compression.type", "lz4")
            .set("linger.ms", "5");
        Ok(Self {
            producer: config.create_with_context(Deliveries::default())?,
        })
    }

    fn say(&self, codec: &Codec, city: &City, said: &[Emission]) -> anyhow::Result<()> {
        for emission in said {
            let encoded = emission.encode(codec, &city.plan().geo)?;
            let mut all = OwnedHeaders::new_with_capacity(encoded.headers.len());
            for (key, value) in &encoded.headers {
                all = all.insert(Header {
                    key,
                    value: Some(value),
                });
            }
            let record: BaseRecord<'_, str, [u8]> = BaseRecord::to(&encoded.topic);
            let mut record = record
                .key(encoded.key.as_str())
                .payload(encoded.value.as_slice())
                .headers(all);
            while let Err((error, back)) = self.producer.send(record) {
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                    return Err(error).context(encoded.topic);
                }
                // The broker is slower than the city: wait until some of the queue is gone.
                let _ = self.producer.flush(Duration::from_millis(50));
                record = back;
            }
        }
        Ok(())
    }

    fn close(self) -> Result<u64, KafkaError> {
        self.producer.flush(REQUEST)?;
        Ok(self.producer.context().failed.load(Ordering::SeqCst))
    }
}

/// The consumer of what the cities hear; its thread ends when this is dropped.
struct Ears {
    heard: mpsc::Receiver<Heard>,
    closed: Arc<AtomicBool>,
}

/// A message as it was read.
struct Heard {
    topic: Topic,
    value: Vec<u8>,
    trace: Option<u128>,
}

impl Heard {
    async fn decode(&self, codec: &Codec) -> anyhow::Result<Option<Seen>> {
        codec
            .prepare(&self.value)
            .await
            .with_context(|| self.topic.to_string())?;
        let seen = match (self.topic.family.as_str(), self.topic.kind.as_str()) {
            ("orders", "events") => Some(Seen::Order(codec.decode(&self.value)?)),
            ("driver_assignment", "events") => Some(Seen::Assignment(codec.decode(&self.value)?)),
            _ => None,
        };
        Ok(seen)
    }
}

impl Ears {
    async fn open(brokers: &str, geos: &[Geo]) -> anyhow::Result<Self> {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", brokers)
            .set("client.id", "city")
            .set("group.id", "city")
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("fetch.wait.max.ms", "100");
        let topics: Vec<Topic> = geos
            .iter()
            .flat_map(|geo| {
                [
                    Topic::of::<OrdersEvent>(geo),
                    Topic::of::<DriverAssignmentEvent>(geo),
                ]
            })
            .collect();
        let consumer = tokio::task::spawn_blocking(move || at_the_ends(&config, &topics)).await??;
        let (sender, heard) = mpsc::channel(10_000);
        let closed = Arc::new(AtomicBool::new(false));
        let stop = closed.clone();
        std::thread::Builder::new()
            .name("city-ears".to_owned())
            .spawn(move || listen(&consumer, &sender, &stop))?;
        Ok(Self { heard, closed })
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
    }
}

fn at_the_ends(config: &ClientConfig, topics: &[Topic]) -> anyhow::Result<BaseConsumer> {
    let consumer: BaseConsumer = config.create()?;
    let mut assignment = TopicPartitionList::new();
    for topic in topics {
        let name = topic.to_string();
        let metadata = consumer.fetch_metadata(Some(&name), REQUEST)?;
        let partitions = metadata
            .topics()
            .first()
            .map_or(0, |topic| topic.partitions().len());
        anyhow::ensure!(partitions > 0, "topic {name} does not exist");
        for partition in 0..partitions as i32 {
            let (_, end) = consumer.fetch_watermarks(&name, partition, REQUEST)?;
            assignment.add_partition_offset(&name, partition, Offset::Offset(end))?;
        }
    }
    consumer.assign(&assignment)?;
    Ok(consumer)
}

fn listen(consumer: &BaseConsumer, sender: &mpsc::Sender<Heard>, closed: &AtomicBool) {
    while !closed.load(Ordering::SeqCst) {
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            // Connections come and go; librdkafka reads on by itself.
            Some(Err(error)) => eprintln!("reading: {error}"),
            Some(Ok(message)) => {
                let (Ok(topic), Some(value)) = (message.topic().parse(), message.payload()) else {
                    continue;
                };
                let trace = message
                    .headers()
                    .into_iter()
                    .flat_map(|headers| headers.iter());
                let trace = trace
                    .filter(|header| header.key == headers::TRACEPARENT)
                    .last();
                let trace = trace
                    .and_then(|header| std::str::from_utf8(header.value?).ok())
                    .and_then(Trace::id_of);
                if sender
                    .blocking_send(Heard {
                        topic,
                        value: value.to_vec(),
                        trace,
                    })
                    .is_err()
                {
                    return;
                }
            }
        }
    }
}
