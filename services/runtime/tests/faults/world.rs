//! Topics, a database and a group of a test's own; what was sent; and whether both logs tell the same story of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use harness::{Broker, Database, Isolation, Received, Stack, unique, wait_for};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Offset, TopicPartitionList};
use sqlx::{AssertSqlSafe, PgPool, Row};
use tokio::sync::{Mutex as AsyncMutex, MutexGuard};

use crate::toy::Start;

/// How long anything awaited may take before the test fails: far longer than it does on an idle machine.
pub const DEADLINE: Duration = Duration::from_secs(90);

/// The broker's fault listener serves one proxy at a time; the guard is the turn.
pub async fn fault_listener() -> MutexGuard<'static, ()> {
    static TURN: AsyncMutex<()> = AsyncMutex::const_new(());
    TURN.lock().await
}

/// What a test has to itself.
pub struct World {
    pub stack: Stack,
    pub broker: Broker,
    pub db: Database,
    pub pool: PgPool,
    pub group: String,
    pub input: String,
    pub output: String,
    pub dead_letters: String,
    pub partitions: i32,
    /// Of a lane that is a group of partitions: the topic it is owned by, and a soft one that it reads besides.
    pub grouped: Option<Grouped>,
    /// A second input, whose partitions are counted on behind those of the first: of two, its 0 is 2.
    companion: Option<String>,
    /// Configuration and logs of the processes.
    pub directory: PathBuf,
    sent: Mutex<Sent>,
    processes: AtomicU32,
}

/// Which lanes there are, and what they read.
#[derive(PartialEq)]
enum Shape {
    Plain,
    Grouped,
    Companions,
}

pub struct Grouped {
    pub ownership: String,
    pub soft: String,
}

/// What has been sent, and so what must come of it.
#[derive(Default)]
struct Sent {
    /// By key: the partition, and how often it must be counted.
    counts: BTreeMap<String, (i32, i64)>,
    /// Messages that must become dead letters, by partition and offset.
    dead: BTreeSet<(i32, i64)>,
    /// Offset after the last message, by partition.
    ends: BTreeMap<i32, i64>,
}

/// A message to the toy.
#[derive(Clone, Debug)]
pub struct Command {
    pub partition: i32,
    pub key: String,
    pub value: Vec<u8>,
    pub headers: Vec<(&'static str, Vec<u8>)>,
}

impl Command {
    pub fn new(partition: i32, key: &str, value: impl Into<Vec<u8>>) -> Self {
        Self {
            partition,
            key: key.to_owned(),
            value: value.into(),
            headers: Vec::new(),
        }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn is_counted(&self) -> bool {
        let verb = self.value.split(|byte| *byte == b' ').next();
        [&b"add"[..], b"later", b"doze", b"call"]
            .map(Some)
            .contains(&verb)
    }
}

impl World {
    /// Each partition is a lane.
    pub async fn new(name: &str, partitions: i32) -> Self {
        Self::create(name, partitions, Shape::Plain).await
    }

    /// All partitions are one lane.
    pub async fn grouped(name: &str, partitions: i32) -> Self {
        Self::create(name, partitions, Shape::Grouped).await
    }

    /// Each partition of two inputs is a lane, and those of one number have one owner.
    pub async fn companions(name: &str, partitions: i32) -> Self {
        Self::create(name, partitions, Shape::Companions).await
    }

    async fn create(name: &str, partitions: i32, shape: Shape) -> Self {
        let stack = Stack::from_env();
        let (broker, db) = (stack.broker(), stack.database().await.unwrap());
        let group = unique(name);
        let topic = |kind: &str| format!("{group}.{kind}");
        let companion = (shape == Shape::Companions).then(|| topic("companion"));
        let grouped = (shape == Shape::Grouped).then(|| Grouped {
            ownership: topic("ownership"),
            soft: topic("soft"),
        });
        let (input, output, dead_letters) = (topic("in"), topic("out"), topic("dlq"));
        let mut topics = vec![
            (input.as_str(), partitions),
            (&output, partitions),
            (&dead_letters, 1),
        ];
        if let Some(Grouped { ownership, soft }) = &grouped {
            topics.extend([(ownership.as_str(), 1), (soft, partitions)]);
        }
        let units = topic("units");
        if let Some(companion) = &companion {
            topics.extend([(companion.as_str(), partitions), (&units, partitions)]);
        }
        broker.create_topics(&topics).await.unwrap();
        let directory = std::env::temp_dir().join(&group);
        std::fs::create_dir_all(&directory).unwrap();
        let world = Self {
            pool: db.pool().await.unwrap(),
            stack,
            broker,
            db,
            group,
            input,
            output,
            dead_letters,
            partitions,
            grouped,
            companion,
            directory,
            sent: Mutex::default(),
            processes: AtomicU32::new(0),
        };
        std::fs::write(world.directory.join("toy.toml"), world.configuration()).unwrap();
        world
    }

    fn configuration(&self) -> String {
        let grouped = self.grouped.as_ref().map(|grouped| {
            format!(
                "ownership = '{}'\nsoft = '{}'\n",
                grouped.ownership, grouped.soft
            )
        });
        let companion = self.companion.as_ref();
        let companion = companion
            .map(|topic| format!("companion = '{topic}'\nunits = '{}.units'\n", self.group));
        format!(
            "[kafka]\nbrokers = '{brokers}'\n\
             properties = {{ 'reconnect.backoff.ms' = '20', 'reconnect.backoff.max.ms' = '200' }}\n\
             [registry]\nurl = '{registry}'\n\
             [postgres]\nurl = '{postgres}'\nidle_in_transaction_session_timeout_ms = 2000\nlock_timeout_ms = 1000\n\
             [runtime]\ngroup = '{group}'\nsession_timeout_ms = 6000\ntransaction_timeout_ms = 5000\nidle_ms = 100\n\
             [toy]\ninput = '{input}'\noutput = '{output}'\ndead_letters = '{dead_letters}'\npartitions = {partitions}\n{grouped}{companion}",
            brokers = self.stack.kafka,
            registry = self.stack.registry,
            postgres = self.db.url(),
            group = self.group,
            input = self.input,
            output = self.output,
            dead_letters = self.dead_letters,
            partitions = self.partitions,
            grouped = grouped.unwrap_or_default(),
            companion = companion.unwrap_or_default(),
        )
    }

    /// A process in an instance slot.
    pub fn toy(&self, instance: &str) -> Start<'_> {
        Start::new(self, instance)
    }

    pub fn process_name(&self, instance: &str) -> String {
        let number = self.processes.fetch_add(1, Ordering::SeqCst);
        format!("{instance}-{number}")
    }

    /// The topic, and the partition of it, that a partition of ours is.
    fn place(&self, partition: i32) -> (&str, i32) {
        match &self.companion {
            Some(companion) if partition >= self.partitions => {
                (companion, partition - self.partitions)
            }
            _ => (&self.input, partition),
        }
    }

    /// Sends so many messages that count, spread over partitions and two keys of each.
    pub async fn feed(&self, count: i32) {
        let inputs = if self.companion.is_some() { 2 } else { 1 };
        let partitions = inputs * self.partitions;
        let commands = (0..count).map(|index| {
            let partition = index % partitions;
            let key = format!("k{}", index % (2 * partitions));
            Command::new(partition, &key, "add")
        });
        self.send(commands).await;
    }

    /// The same to one partition.
    pub async fn feed_partition(&self, partition: i32, count: i32) {
        let key = format!("k{partition}");
        self.send((0..count).map(|_| Command::new(partition, &key, "add")))
            .await;
    }

    /// Sends commands in order and returns their offsets once all are acknowledged.
    pub async fn send(&self, commands: impl IntoIterator<Item = Command>) -> Vec<i64> {
        let producer: FutureProducer = self.broker.producer().unwrap();
        let commands: Vec<Command> = commands.into_iter().collect();
        let queue = |command: &Command| {
            let headers =
                command
                    .headers
                    .iter()
                    .fold(OwnedHeaders::new(), |headers, (key, value)| {
                        let value = Some(value);
                        headers.insert(Header { key, value })
                    });
            let (topic, partition) = self.place(command.partition);
            let record = FutureRecord::to(topic)
                .partition(partition)
                .key(&command.key)
                .payload(&command.value)
                .headers(headers);
            producer.send_result(record).unwrap()
        };
        let queued: Vec<_> = commands.iter().map(queue).collect();
        let mut offsets = Vec::new();
        for (command, delivery) in commands.into_iter().zip(queued) {
            let offset = delivery.await.unwrap().unwrap().offset;
            self.note(command, offset);
            offsets.push(offset);
        }
        offsets
    }

    fn note(&self, command: Command, offset: i64) {
        let mut sent = self.sent.lock().unwrap();
        sent.ends.insert(command.partition, offset + 1);
        if command.is_counted() {
            let count = sent
                .counts
                .entry(command.key)
                .or_insert((command.partition, 0));
            count.1 += 1;
        } else {
            sent.dead.insert((command.partition, offset));
        }
    }

    /// Forgets that anything was sent to a partition: its lane is lost to a fault on purpose.
    pub fn give_up(&self, partition: i32) {
        let mut sent = self.sent.lock().unwrap();
        sent.counts.retain(|_, (of, _)| *of != partition);
        sent.dead.retain(|(of, _)| *of != partition);
        sent.ends.remove(&partition);
    }

    /// Waits until everything sent is applied and published and the outbox is empty, then compares both logs with it.
    pub async fn settle(&self) {
        let ends = self.sent.lock().unwrap().ends.clone();
        wait_for("both logs to settle", DEADLINE, async || {
            self.is_settled(&ends).await
        })
        .await;
        let published = [self.output.as_str(), self.dead_letters.as_str()];
        wait_for("what is published to be visible", DEADLINE, async || {
            self.broker.is_decided(&published).await.unwrap()
        })
        .await;
        self.check().await;
    }

    async fn is_settled(&self, ends: &BTreeMap<i32, i64>) -> bool {
        let rows = sqlx::query(
            "SELECT partition, next_offset, (SELECT count(*) FROM toy.pending), (SELECT count(*) FROM toy.outbox WHERE lane = p.lane), topic
             FROM toy.positions AS p",
        );
        // Before the first process has migrated there is nothing to read.
        let Ok(rows) = rows.fetch_all(&self.pool).await else {
            return false;
        };
        let mut settled = BTreeMap::new();
        for row in rows {
            let (partition, position, pending, outbox, topic): (i32, i64, i64, i64, String) =
                (row.get(0), row.get(1), row.get(2), row.get(3), row.get(4));
            if pending == 0 && outbox == 0 {
                settled.insert((topic, partition), position);
            }
        }
        ends.iter().all(|(partition, end)| {
            let (topic, partition) = self.place(*partition);
            settled.get(&(topic.to_owned(), partition)) == Some(end)
        })
    }

    /// Compares what was sent with PostgreSQL, the output and the dead letters.
    async fn check(&self) {
        let (output, letters, counters) = (
            self.read(&self.output).await,
            self.read(&self.dead_letters).await,
            self.counters().await,
        );
        let sent = self.sent.lock().unwrap();
        let mut published: BTreeMap<(String, i32), Vec<i64>> = BTreeMap::new();
        for record in &output {
            let key = (record.key_text().unwrap().to_owned(), record.partition);
            published.entry(key).or_default().push(count_of(record));
        }
        for (key, (partition, count)) in &sent.counts {
            let one_by_one: Vec<i64> = (1..=*count).collect();
            let found = published.remove(&(key.clone(), self.place(*partition).1));
            assert_eq!(
                found.unwrap_or_default(),
                one_by_one,
                "published for {key} on {partition}"
            );
            assert_eq!(counters.get(key), Some(count), "counted for {key}");
        }
        let all = sent.counts.len() == counters.len();
        assert!(
            !all || published.is_empty(),
            "published for nobody: {published:?}"
        );
        let died: Vec<(i32, i64)> = letters
            .iter()
            .map(origin)
            .filter(|(partition, _)| sent.ends.contains_key(partition))
            .collect();
        assert_eq!(
            died.iter().copied().collect::<BTreeSet<_>>(),
            sent.dead,
            "dead letters"
        );
        assert_eq!(died.len(), sent.dead.len(), "dead letters, each once");
    }

    pub async fn read(&self, topic: &str) -> Vec<Received> {
        (self.broker.read_all(&[topic], Isolation::Committed).await).unwrap()
    }

    async fn counters(&self) -> BTreeMap<String, i64> {
        let rows = sqlx::query("SELECT key, count FROM toy.counters").fetch_all(&self.pool);
        let rows = rows.await.unwrap();
        rows.into_iter()
            .map(|row| (row.get(0), row.get(1)))
            .collect()
    }

    /// One number out of the database.
    pub async fn number(&self, sql: &str) -> i64 {
        let row = sqlx::query(AssertSqlSafe(sql)).fetch_one(&self.pool).await;
        row.unwrap().get(0)
    }

    pub async fn execute(&self, sql: &str) {
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pool).await;
        done.unwrap();
    }

    /// What the group has committed for the input, by partition: offset and metadata.
    pub async fn committed(&self) -> BTreeMap<i32, (i64, String)> {
        let mut config: ClientConfig = self.broker.config();
        config.set("group.id", &self.group);
        let (input, partitions) = (self.input.clone(), self.partitions);
        // Dropping a consumer polls it, which must not happen on a runtime's thread.
        let read = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = config.create().unwrap();
            let mut list = TopicPartitionList::new();
            list.add_partition_range(&input, 0, partitions - 1);
            consumer.committed_offsets(list, DEADLINE).unwrap()
        });
        let list = read.await.unwrap();
        let committed = list.elements().into_iter().filter_map(|it| {
            let Offset::Offset(offset) = it.offset() else {
                return None;
            };
            Some((it.partition(), (offset, it.metadata().to_owned())))
        });
        committed.collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // A failed test can be looked at.
        if !std::thread::panicking() {
            _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}

/// The count in an output record; soft values may follow it.
pub fn count_of(record: &Received) -> i64 {
    let value = std::str::from_utf8(record.value.as_deref().unwrap()).unwrap();
    let digits = value.find(|c: char| !c.is_ascii_digit());
    value[..digits.unwrap_or(value.len())].parse().unwrap()
}

/// Partition and offset that a dead letter says it came from.
fn origin(letter: &Received) -> (i32, i64) {
    let number = |header: &str| letter.header(header).unwrap().parse::<i64>().unwrap();
    let partition = number("dlq.original.partition");
    (partition.try_into().unwrap(), number("dlq.original.offset"))
}
