//! `swiftctl dlq` on a real broker: letters are seen as they are, and settled once, whoever is killed.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use chrono::{DateTime, Utc};
use contracts::kitchen::FoodReady;
use contracts::{CONTRACTS, Codec};
use harness::{Broker, Isolation, Received, Stack, unique, wait_for};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use serde_json::{Value, json};
use uuid::Uuid;

const DEADLINE: Duration = Duration::from_secs(60);
const PARTITIONS: i32 = 3;

/// A topic of a test's own, with its dead letters.
struct Post {
    stack: Stack,
    broker: Broker,
    topic: String,
    letters: String,
    geo: String,
}

impl Post {
    async fn new(test: &str) -> Self {
        let stack = Stack::from_env();
        let (broker, geo) = (stack.broker(), unique(test));
        let (topic, letters) = (
            format!("kitchen.events.{geo}"),
            format!("kitchen.events.dlq.{geo}"),
        );
        let topics = [(topic.as_str(), PARTITIONS), (&letters, 1)];
        broker.create_topics(&topics).await.unwrap();
        Post {
            stack,
            broker,
            topic,
            letters,
            geo,
        }
    }

    /// A letter as the runtime writes it, of a message that stood on partition `number % 3`.
    async fn bury(&self, number: i32, value: &[u8], more: &[(&str, &str)]) -> String {
        let (key, partition) = (format!("k{number}"), (number % PARTITIONS).to_string());
        let offset = number.to_string();
        let given = more
            .iter()
            .map(|(name, value)| (*name, Some(value.as_bytes())));
        let mut headers: Vec<(&str, Option<&[u8]>)> = vec![
            ("own", Some(b"\x00\xff")),
            ("event_type", Some(b"FoodReady")),
            ("schema_version", Some(b"0")),
            ("dlq.original.topic", Some(self.topic.as_bytes())),
            ("dlq.original.partition", Some(partition.as_bytes())),
            ("dlq.original.offset", Some(offset.as_bytes())),
            ("dlq.first_failed_at", Some(b"2026-01-02T03:04:05.000006Z")),
            ("dlq.error.message", Some(b"field = 3")),
        ];
        headers.extend(given);
        let produced = self.broker.produce(
            &self.letters,
            Some(0),
            Some(key.as_bytes()),
            Some(value),
            &headers,
        );
        let (partition, offset) = produced.await.unwrap();
        format!("{}/{partition}@{offset}", self.letters)
    }

    async fn bury_all(&self, count: i32) {
        let letters = (0..count).map(|number| self.bury(number, b"value", &[]));
        futures::future::join_all(letters).await;
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_swiftctl"));
        command
            .args([
                "--brokers",
                &self.stack.kafka,
                "--registry",
                &self.stack.registry,
            ])
            .args(["--format", "json", "dlq"])
            .args(arguments)
            .env("USER", "ann")
            .stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What it printed; it must have ended with that exit code.
    fn prints(&self, arguments: &[&str], code: i32) -> Vec<Value> {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn list(&self, arguments: &[&str]) -> Vec<Value> {
        self.prints(&[&["list", "--geo", &self.geo], arguments].concat(), 0)
    }

    async fn read(&self, topic: &str) -> Vec<Received> {
        self.broker
            .read_all(&[topic], Isolation::Committed)
            .await
            .unwrap()
    }

    /// What stands on the topic again, by key: how often.
    async fn redriven(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for record in self.read(&self.topic).await {
            *counts
                .entry(record.key_text().unwrap().to_owned())
                .or_default() += 1;
        }
        counts
    }

    async fn each_is_back_once(&self, numbers: std::ops::Range<i32>) {
        let expected = numbers.map(|number| (format!("k{number}"), 1)).collect();
        assert_eq!(self.redriven().await, expected);
        assert!(self.list(&[]).is_empty());
    }
}

fn food_ready(order_id: Uuid) -> FoodReady {
    FoodReady {
        event_id: Uuid::from_u128(1),
        occurred_at: DateTime::<Utc>::from_timestamp(1_790_000_000, 0).unwrap(),
        geo: "here".into(),
        order_id,
        order_version: 1,
        restaurant_id: "r-1".into(),
        ready_at: DateTime::from_timestamp(1_790_000_600, 0).unwrap(),
    }
}

/// A payload as the services write it.
async fn payload(stack: &Stack, record: &FoodReady) -> Vec<u8> {
    let registered = Command::new(env!("CARGO_BIN_EXE_swiftctl"))
        .args(["--registry", &stack.registry, "schemas", "register"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&registered.stderr);
    assert!(registered.status.success(), "{said}");
    let codec = Codec::connect(&stack.registry, CONTRACTS).await.unwrap();
    let mut bytes = Vec::new();
    codec.encode_into(record, &mut bytes).unwrap();
    bytes
}

#[tokio::test]
async fn a_letter_shows_its_record_or_its_bytes_beside_the_error() {
    let post = Post::new("shown").await;
    let order = Uuid::new_v4();
    let good = payload(&post.stack, &food_ready(order)).await;
    let decodable = post.bury(1, &good, &[("dlq.error.kind", "stale")]).await;
    let rubbish = post
        .bury(2, b"\xffno", &[("dlq.error.kind", "not_avro_envelope")])
        .await;
    let (first, second) = (decodable.as_str(), rubbish.as_str());
    let names = |rows: Vec<Value>| -> Vec<String> {
        rows.iter()
            .map(|row| row["letter"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(post.list(&[])), [first, second]);
    assert_eq!(names(post.list(&["--reason", "stale"])), [first]);
    assert_eq!(names(post.list(&["--order", &order.to_string()])), [first]);
    assert_eq!(
        names(post.list(&["--topic", &post.topic, &rubbish])),
        [second]
    );
    assert!(
        post.list(&["--until", "1h"]).is_empty()
            && post.list(&["--topic", "orders.requests"]).is_empty()
    );
    let counts = post.list(&["--count"]);
    assert_eq!((counts.len(), &counts[0]["letters"]), (2, &json!(1)));
    let show = |letter: &str| -> Value {
        let output = post.run(&["show", letter]);
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let shown = show(&decodable);
    assert_eq!(shown["record"], "swifteats.kitchen.FoodReady");
    assert_eq!(shown["value"]["order_id"], order.to_string());
    assert_eq!(shown["value"]["ready_at"], "2026-09-21T14:23:20.000000Z");
    assert_eq!(
        (&shown["state"], &shown["message"]),
        (&json!("open"), &json!("field = 3"))
    );
    assert_eq!(shown["headers"]["own"], json!({"hex": "00ff"}));
    let shown = show(&rubbish);
    assert_eq!(
        (&shown["value"], &shown["value_hex"]),
        (&Value::Null, &json!("ff6e6f"))
    );
    assert_eq!(shown["undecodable"], "not in Confluent's wire format");
}

#[tokio::test]
async fn a_letter_goes_back_as_it_was_to_where_it_was_and_is_settled_by_somebody() {
    let post = Post::new("back").await;
    post.bury(
        4,
        b"\xffvalue",
        &[("dlq.error.kind", "bad"), ("dlq.replay_count", "1")],
    )
    .await;
    assert_eq!(
        post.run(&["redrive"]).status.code(),
        Some(1),
        "nobody means all by saying nothing"
    );
    let planned = post.prints(&["redrive", "--geo", &post.geo, "--dry-run"], 0);
    assert_eq!(planned[0]["to"], format!("{}/1", post.topic));
    assert!(post.read(&post.topic).await.is_empty() && post.list(&[]).len() == 1);
    post.prints(
        &["redrive", "--geo", &post.geo, "--note", "fixed in 1.2"],
        0,
    );
    let records = post.read(&post.topic).await;
    let [record] = &records[..] else {
        panic!("{records:?}")
    };
    assert_eq!(
        (record.partition, record.key_text(), record.value.as_deref()),
        (1, Some("k4"), Some(&b"\xffvalue"[..]))
    );
    let headers: Vec<(&str, &[u8])> = record
        .headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_deref().unwrap()))
        .collect();
    let expected: [(&str, &[u8]); 5] = [
        ("own", b"\x00\xff"),
        ("event_type", b"FoodReady"),
        ("schema_version", b"0"),
        ("dlq.first_failed_at", b"2026-01-02T03:04:05.000006Z"),
        ("dlq.replay_count", b"2"),
    ];
    assert_eq!(headers, expected);
    let settled = post.list(&["--settled"]);
    assert_eq!(settled.len(), 1);
    let audit = &settled[0]["settlement"];
    assert_eq!(
        (&audit["action"], &audit["by"], &audit["note"]),
        (&json!("redriven"), &json!("ann"), &json!("fixed in 1.2"))
    );
    assert!(post.prints(&["redrive", "--geo", &post.geo], 0).is_empty());
    post.each_is_back_once(4..5).await;
}

#[tokio::test]
async fn what_died_too_often_is_refused_and_nothing_else_moves() {
    let post = Post::new("often").await;
    post.bury(0, b"a", &[]).await;
    let stubborn = post.bury(1, b"b", &[("dlq.replay_count", "3")]).await;
    let rows = post.prints(&["redrive", "--geo", &post.geo], 3);
    let refused: Vec<&Value> = rows.iter().filter(|row| row["plan"] == "refused").collect();
    assert_eq!(
        (refused.len(), &refused[0]["letter"]),
        (1, &json!(stubborn))
    );
    assert!(post.read(&post.topic).await.is_empty());
    post.prints(&["redrive", "--geo", &post.geo, "--max-replays", "4"], 0);
    post.each_is_back_once(0..2).await;
}

#[tokio::test]
async fn a_redrive_killed_at_any_moment_loses_nothing_and_repeats_nothing() {
    let post = Post::new("killed").await;
    post.bury_all(60).await;
    let mut kills = 0;
    // Each round is killed when some more records are to be seen, committed or not.
    for seen in [1, 10, 11, 25, 45] {
        let arguments = ["redrive", "--geo", &post.geo, "--rate", "10"];
        let mut redrive = post
            .command(&arguments)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        wait_for("some records to be back", DEADLINE, async || {
            let topic = [post.topic.as_str()];
            let back = post
                .broker
                .read_all(&topic, Isolation::Uncommitted)
                .await
                .unwrap();
            back.len() >= seen || is_over(&mut redrive)
        })
        .await;
        kills += usize::from(!is_over(&mut redrive));
        redrive.kill().unwrap();
        redrive.wait().unwrap();
    }
    let back = post.redriven().await;
    assert!(
        kills >= 3 && (1..60).contains(&back.len()),
        "{kills} kills, {} back",
        back.len()
    );
    post.prints(&["redrive", "--geo", &post.geo, "--rate", "1000"], 0);
    post.each_is_back_once(0..60).await;
}

fn is_over(process: &mut Child) -> bool {
    process.try_wait().unwrap().is_some()
}

#[tokio::test]
async fn of_two_operators_at_once_one_ends_and_each_letter_is_settled_once() {
    let post = Post::new("both").await;
    post.bury_all(60).await;
    let arguments = ["redrive", "--geo", &post.geo, "--rate", "5"];
    let first = post
        .command(&arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the first to have begun", DEADLINE, async || {
        !post.redriven().await.is_empty()
    })
    .await;
    post.prints(&["redrive", "--geo", &post.geo, "--rate", "1000"], 0);
    let first = tokio::task::spawn_blocking(|| first.wait_with_output().unwrap())
        .await
        .unwrap();
    let errors = String::from_utf8_lossy(&first.stderr).into_owned();
    assert_eq!(first.status.code(), Some(1), "{errors}");
    assert!(errors.contains("another swiftctl has taken"), "{errors}");
    post.each_is_back_once(0..60).await;
}

/// A service that is just burying another letter holds back what readers see of everything behind it.
#[tokio::test]
async fn a_letter_whose_settlement_cannot_be_seen_yet_is_not_settled_again() {
    let post = Post::new("hidden").await;
    post.bury(0, b"value", &[]).await;
    let mut config = post.broker.config();
    config
        .set("transactional.id", &post.geo)
        .set("transaction.timeout.ms", "4000");
    let service: FutureProducer = config.create().unwrap();
    service.init_transactions(DEADLINE).unwrap();
    service.begin_transaction().unwrap();
    let open = FutureRecord::<str, str>::to(&post.letters).payload("open");
    service.send_result(open).unwrap().await.unwrap().unwrap();
    let settlement: [(&str, Option<&[u8]>); 2] = [
        ("dlq.settled", Some(b"redriven")),
        ("dlq.settled.offset", Some(b"0")),
    ];
    let settled = post
        .broker
        .produce(&post.letters, Some(0), None, None, &settlement);
    settled.await.unwrap();
    assert_eq!(post.list(&[]).len(), 1, "the settlement is hidden");
    // The plan still holds the letter; by the time it is carried out the broker has ended the transaction.
    assert_eq!(post.prints(&["redrive", "--geo", &post.geo], 0).len(), 1);
    assert!(post.read(&post.topic).await.is_empty());
}

#[tokio::test]
async fn a_correction_is_written_by_the_schema_or_refused_by_its_place() {
    let post = Post::new("edited").await;
    let order = Uuid::new_v4();
    let good = payload(&post.stack, &food_ready(order)).await;
    let letter = post.bury(0, &good, &[]).await;
    let edit = |script: &str| {
        let mut command = post.command(&["redrive", &letter, "--edit"]);
        command
            .env("VISUAL", format!("sed -i {script}"))
            .output()
            .unwrap()
    };
    let misspelt = edit("s/restaurant_id/restaurantid/");
    let errors = String::from_utf8_lossy(&misspelt.stderr).into_owned();
    assert!(
        !misspelt.status.success() && errors.contains("no field restaurantid"),
        "{errors}"
    );
    let kept: PathBuf = errors
        .split("your correction is in ")
        .nth(1)
        .unwrap()
        .split(": ")
        .next()
        .unwrap()
        .into();
    assert!(fs::read_to_string(&kept).unwrap().contains("restaurantid"));
    fs::remove_file(kept).unwrap();
    let untouched = edit("s/nothing/else/");
    assert!(String::from_utf8_lossy(&untouched.stderr).contains("nothing was changed"));
    assert!(post.read(&post.topic).await.is_empty());
    assert!(edit("s/r-1/r-2/").status.success());
    let corrected = FoodReady {
        restaurant_id: "r-2".into(),
        ..food_ready(order)
    };
    let records = post.read(&post.topic).await;
    assert_eq!(
        records[0].value,
        Some(payload(&post.stack, &corrected).await)
    );
    let contract = CONTRACTS
        .iter()
        .find(|contract| contract.name == "FoodReady")
        .unwrap();
    assert_eq!(
        records[0].header("schema_version"),
        Some(contract.version.to_string().as_str())
    );
    assert_eq!(post.list(&["--settled"])[0]["settlement"]["edited"], true);
}

#[tokio::test]
async fn an_edited_export_goes_back_as_a_whole() {
    let post = Post::new("bulk").await;
    let orders: Vec<Uuid> = (0..5).map(|_| Uuid::new_v4()).collect();
    for (number, order) in orders.iter().enumerate() {
        let value = payload(&post.stack, &food_ready(*order)).await;
        post.bury(number as i32, &value, &[]).await;
    }
    let exported = post.run(&["export", "--geo", &post.geo]);
    let corrected = String::from_utf8(exported.stdout)
        .unwrap()
        .replace("\"r-1\"", "\"r-9\"");
    assert_eq!(corrected.lines().count(), 5);
    let file = std::env::temp_dir().join(format!("{}.jsonl", post.geo));
    fs::write(&file, corrected).unwrap();
    let rows = post.prints(&["redrive", "--edit-file", file.to_str().unwrap()], 0);
    assert!(rows.iter().all(|row| row["edited"] == true));
    fs::remove_file(&file).unwrap();
    post.each_is_back_once(0..5).await;
    let values: BTreeSet<_> = post
        .read(&post.topic)
        .await
        .into_iter()
        .map(|r| r.value.unwrap())
        .collect();
    for order in orders {
        let corrected = FoodReady {
            restaurant_id: "r-9".into(),
            ..food_ready(order)
        };
        assert!(values.contains(&payload(&post.stack, &corrected).await));
    }
}

#[tokio::test]
async fn a_discarded_letter_stays_readable_and_does_not_go_back() {
    let post = Post::new("away").await;
    let letter = post.bury(0, b"value", &[]).await;
    assert_eq!(
        post.run(&["discard", &letter]).status.code(),
        Some(2),
        "without a reason"
    );
    post.prints(&["discard", &letter, "--note", "a test order"], 0);
    assert!(post.list(&[]).is_empty());
    let rows = post.prints(&["redrive", &letter], 3);
    assert!(
        rows[0]["problem"]
            .as_str()
            .unwrap()
            .contains("discarded by ann: a test order")
    );
    let shown = post.run(&["show", &letter]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert_eq!(
        (&shown["state"], &shown["value_hex"]),
        (&json!("discarded"), &json!("76616c7565"))
    );
    assert!(post.read(&post.topic).await.is_empty());
}
