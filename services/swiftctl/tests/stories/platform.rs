//! A geo of a story's own with some of the services, and the operator in front of it.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use contracts::orders::{Customer, OrderItem, OrderPlaced, Restaurant};
use contracts::value::{Money, Point};
use contracts::{CONTRACTS, Catalogue, Codec, Message, Record, Topic};
use harness::{Broker, Database, Isolation, Stack, unique, wait_for};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use uuid::Uuid;

pub const DEADLINE: Duration = Duration::from_secs(90);

/// Services of one geo, with a database and groups of their own.
pub struct Platform {
    pub broker: Broker,
    pub codec: Codec,
    pub stack: Stack,
    pub geo: String,
    pub centre: Point,
    database: Database,
    /// Set apart from those of other tests by this.
    groups: String,
    processes: Processes,
}

/// Services as processes; they end with it.
pub struct Processes {
    environment: Vec<(String, String)>,
    groups: String,
    processes: Vec<Child>,
}

impl Drop for Processes {
    fn drop(&mut self) {
        for process in &mut self.processes {
            // Both fail only when it has ended already.
            _ = process.kill();
            _ = process.wait();
        }
    }
}

impl Platform {
    /// `geo`: of the catalogue, and used by no other test.
    pub async fn new(geo: &str) -> Self {
        let stack = Stack::from_env();
        let catalogue = Catalogue::embedded();
        let database = stack.database().await.unwrap();
        let mut platform = Platform {
            broker: stack.broker(),
            codec: Codec::with_ids([]),
            centre: catalogue.geo(geo).unwrap().centre.clone(),
            geo: geo.to_owned(),
            processes: Processes {
                environment: Vec::new(),
                groups: String::new(),
                processes: Vec::new(),
            },
            groups: unique("story"),
            database,
            stack,
        };
        platform.processes = platform.processes();
        assert!(platform.run(&["schemas", "register"]).status.success());
        // Another test may be creating what all geos share at the same moment, or have created it as it likes it.
        let apply = ["topics", "apply", "--allow-lower-retention", "--geos", geo];
        wait_for("the topics", DEADLINE, async || {
            platform.run(&apply).status.success()
        })
        .await;
        platform.empty().await;
        let codec = Codec::connect(&platform.stack.registry, CONTRACTS).await;
        platform.codec = codec.unwrap();
        platform
    }

    /// Deletes what an earlier run left in the geo's topics: services with new groups would live through it again.
    async fn empty(&self) {
        let geo = self.geo.parse().unwrap();
        let catalogue = Catalogue::embedded();
        let mut ends = TopicPartitionList::new();
        for topic in catalogue.topics(&[geo]).unwrap() {
            if topic.name != catalogue.ownership_topic() {
                let last = i32::try_from(topic.partitions).unwrap() - 1;
                ends.add_partition_range(&topic.name, 0, last);
            }
        }
        ends.set_all_offsets(Offset::End).unwrap();
        let admin: AdminClient<DefaultClientContext> = self.broker.config().create().unwrap();
        wait_for("the topics to be empty", DEADLINE, async || {
            let deleted = admin.delete_records(&ends, &AdminOptions::new()).await;
            deleted.is_ok_and(|deleted| deleted.elements().iter().all(|it| it.error().is_ok()))
        })
        .await;
    }

    /// The consumer group of a service.
    pub fn group(&self, service: &str) -> String {
        format!("{service}-{}", self.groups)
    }

    pub fn start(&mut self, service: &str, settings: &[(&str, &str)]) {
        self.processes.start(service, settings);
    }

    /// Processes that come and go by themselves, in the same groups and on the same database.
    pub fn processes(&self) -> Processes {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../");
        let environment = [
            ("SWIFT_EATS_CONFIG", format!("{root}deploy/swift-eats.toml")),
            ("SWIFT_EATS__KAFKA__BROKERS", self.stack.kafka.clone()),
            ("SWIFT_EATS__REGISTRY__URL", self.stack.registry.clone()),
            ("SWIFT_EATS__POSTGRES__URL", self.database.url()),
            ("SWIFT_EATS__CATALOGUE__GEOS", format!("[\"{}\"]", self.geo)),
            ("SWIFT_EATS__TELEMETRY__LOG", "error".to_owned()),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value));
        Processes {
            environment: environment.to_vec(),
            groups: self.groups.clone(),
            processes: Vec::new(),
        }
    }

    /// What no operator should do.
    pub async fn sql(&self, statement: &'static str) {
        let pool = self.database.pool().await.unwrap();
        sqlx::query(statement).execute(&pool).await.unwrap();
    }

    /// How many records a topic holds.
    pub async fn held(&self, topic: &str) -> usize {
        let topics = [topic];
        let read = self.broker.read_all(&topics, Isolation::Committed);
        read.await.unwrap().len()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_swiftctl"));
        command
            .envs(self.processes.environment.clone())
            .env("SWIFT_EATS_KAFKA", &self.stack.kafka)
            .env("SWIFT_EATS_REGISTRY", &self.stack.registry)
            .env("SWIFT_EATS_POSTGRES", self.database.url())
            .env("USER", "ann")
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What the operator sees.
    pub fn sees(&self, arguments: &[&str]) -> String {
        self.sees_with("", arguments)
    }

    /// With an editor at hand.
    pub fn sees_with(&self, editor: &str, arguments: &[&str]) -> String {
        let output = self
            .command(arguments)
            .env("VISUAL", editor)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        let seen = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{arguments:?}: {errors}\n{seen}");
        let shown = |argument: &&str| match argument.contains(' ') {
            true => format!("'{argument}'"),
            false => (*argument).to_owned(),
        };
        let typed: Vec<String> = arguments.iter().map(shown).collect();
        println!("$ swiftctl {}\n{seen}", typed.join(" "));
        seen
    }

    /// The same for a program.
    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[&["--format", "json"], arguments].concat());
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// `None` when the command fails.
    pub fn try_json(&self, arguments: &[&str]) -> Option<Value> {
        let output = self.run(&[&["--format", "json"], arguments].concat());
        output
            .status
            .success()
            .then(|| serde_json::from_slice(&output.stdout).unwrap())
    }

    pub fn encode<R: Record>(&self, record: &R) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.codec.encode_into(record, &mut bytes).unwrap();
        bytes
    }

    /// Sends as those do who are no services: hashed by key, with a trace.
    pub async fn send<M: Message, R: Record>(&self, key: &str, record: &R) {
        let topic = Topic::of::<M>(&self.geo.parse().unwrap()).to_string();
        let trace = Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".as_bytes());
        let headers = [
            ("traceparent", trace),
            ("event_type", Some(R::NAME.as_bytes())),
        ];
        let bytes = self.encode(record);
        let key = Some(key.as_bytes());
        let sent = self
            .broker
            .produce(&topic, None, key, Some(&bytes), &headers);
        sent.await.unwrap();
    }

    /// A place so many metres north of the centre.
    pub fn north(&self, metres: f64) -> Point {
        Point {
            lat: self.centre.lat + metres / 111_000.0,
            lon: self.centre.lon,
        }
    }

    /// A valid order: 2 x 9.50 + 1 x 3.00 + 2.99 + 1.01 = 26.00, ready in ten minutes.
    pub fn placed(&self, order_id: Uuid) -> OrderPlaced {
        let item = |id: &str, quantity, unit_price_minor| OrderItem {
            id: id.into(),
            name: format!("dish {id}"),
            quantity,
            unit_price_minor,
        };
        OrderPlaced {
            event_id: Uuid::new_v5(&order_id, b"placed"),
            occurred_at: now(),
            geo: self.geo.clone(),
            order_id,
            order_version: 1,
            customer: Customer {
                id: "c-1".into(),
                name: Some("Ada".into()),
                location: self.north(900.0),
                webhook_url: None,
            },
            restaurant: Restaurant {
                id: "r-1".into(),
                name: None,
                location: self.centre.clone(),
                webhook_url: None,
            },
            items: vec![item("a", 2, 950), item("b", 1, 300)],
            delivery_fee_minor: 299,
            tip_minor: 101,
            total: Money {
                amount_minor: 2_600,
                currency: "USD".into(),
            },
            payment_method: "pm-1".into(),
            placed_at: now(),
            ready_at: now() + TimeDelta::minutes(10),
            prep_total_s: 600,
        }
    }
}

impl Processes {
    /// Returns the number by which it can be killed.
    pub fn start(&mut self, service: &str, settings: &[(&str, &str)]) -> usize {
        let settings = settings
            .iter()
            .map(|(name, value)| (format!("SWIFT_EATS__{name}"), value));
        let group = format!("{service}-{}", self.groups);
        let process = Command::new(program(service))
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env("SWIFT_EATS__RUNTIME__GROUP", group)
            .envs(settings)
            .stdout(Stdio::null())
            .spawn();
        self.processes.push(process.unwrap());
        self.processes.len() - 1
    }

    /// On the spot, as a power cut would.
    pub fn kill(&mut self, number: usize) {
        self.processes[number].kill().unwrap();
        self.processes[number].wait().unwrap();
    }
}

/// To the microsecond, as the records have it.
pub fn now() -> DateTime<Utc> {
    let now = Utc::now();
    DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap()
}

/// Built beside this test by `cargo test --workspace`.
fn program(service: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join(service);
    assert!(
        program.exists(),
        "no {service}: `cargo build -p {service}` builds it"
    );
    program
}
