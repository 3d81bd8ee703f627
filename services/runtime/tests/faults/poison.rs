//! Messages that can never be applied: each becomes one dead letter, byte for byte, and the messages behind it go on.

use std::collections::BTreeMap;

use harness::{Received, wait_for};

use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::world::{Command, DEADLINE, World};

const UNREADABLE: &[u8] = b"\xff\xfe\x00 not text";

/// A poisonous message and what its dead letter must say.
struct Poison {
    command: Command,
    kind: &'static str,
    stage: &'static str,
    message: &'static str,
}

fn poison(
    key: &str,
    value: &[u8],
    kind: &'static str,
    stage: &'static str,
    message: &'static str,
) -> Poison {
    let command = Command::new(1, key, value)
        .header("own", &b"\x00\xffbytes"[..])
        .header("own", &b"twice"[..]);
    Poison {
        command,
        kind,
        stage,
        message,
    }
}

fn poisons() -> [Poison; 3] {
    [
        poison(
            "rejected",
            b"reject",
            "asked_for",
            "apply",
            "key = rejected",
        ),
        poison("unreadable", UNREADABLE, "unreadable", "decode", "value = "),
        poison(
            "broken",
            b"break",
            "unprocessable",
            "apply",
            "division by zero",
        ),
    ]
}

#[tokio::test]
async fn poison_in_the_middle_and_at_the_end_is_buried_once_and_the_position_moves_on() {
    let world = World::new("poison", 3).await;
    world.feed(30).await;
    let mut expected = Vec::new();
    // In the middle of partition 1, and each of them as the last message while the toy is at rest.
    for poison in poisons() {
        let offsets = world.send([poison.command.clone()]).await;
        expected.push((offsets[0], poison));
        world.feed(30).await;
    }
    let toy = world.toy("a").start();
    world.settle().await;
    for poison in poisons() {
        let offsets = world.send([poison.command.clone()]).await;
        expected.push((offsets[0], poison));
        world.settle().await;
    }
    let letters = world.read(&world.dead_letters).await;
    let originals: BTreeMap<i64, Received> = world
        .read(&world.input)
        .await
        .into_iter()
        .filter(|record| record.partition == 1)
        .map(|record| (record.offset, record))
        .collect();
    assert_eq!(letters.len(), expected.len());
    for (offset, poison) in &expected {
        let letter = letters
            .iter()
            .find(|letter| letter.header("dlq.original.offset") == Some(&offset.to_string()));
        is_buried(&world, poison, &originals[offset], letter.unwrap());
    }
    toy.has_violated_nothing().await;
}

/// Key, value and headers as they were, and every header of the letter itself true.
fn is_buried(world: &World, poison: &Poison, original: &Received, letter: &Received) {
    assert_eq!(
        (&letter.key, &letter.value),
        (&original.key, &original.value)
    );
    let (own, added): (Vec<_>, Vec<_>) = letter
        .headers
        .iter()
        .cloned()
        .partition(|(name, _)| !name.starts_with("dlq."));
    assert_eq!(own, original.headers);
    let (offset, timestamp) = (
        original.offset.to_string(),
        original.timestamp_ms.to_string(),
    );
    for (name, value) in [
        ("dlq.original.topic", world.input.as_str()),
        ("dlq.original.partition", "1"),
        ("dlq.original.offset", &offset),
        ("dlq.original.timestamp", &timestamp),
        ("dlq.consumer.group", &world.group),
        ("dlq.error.kind", poison.kind),
        ("dlq.error.stage", poison.stage),
        ("dlq.service", "toy"),
        ("dlq.service_version", env!("CARGO_PKG_VERSION")),
        ("dlq.replay_count", "0"),
    ] {
        assert_eq!(letter.header(name), Some(value), "{name}");
    }
    let message = letter.header("dlq.error.message").unwrap();
    assert!(message.contains(poison.message), "{message}");
    let died = chrono::DateTime::parse_from_rfc3339(letter.header("dlq.first_failed_at").unwrap());
    assert!(died.unwrap().timestamp_millis() >= original.timestamp_ms);
    assert_eq!(added.len(), 12, "each header once, and no others");
}

#[tokio::test]
async fn a_letter_that_dies_again_says_so_without_growing() {
    let world = World::new("again", 2).await;
    let before = [
        ("dlq.error.kind", "earlier"),
        ("dlq.first_failed_at", "2026-01-02T03:04:05.000006Z"),
        ("dlq.replay_count", "3"),
        ("dlq.original.topic", "elsewhere"),
    ];
    let command = before.into_iter().fold(
        Command::new(0, "again", "reject"),
        |command, (name, value)| command.header(name, value),
    );
    world.send([command]).await;
    let _toy = world.toy("a").start();
    world.settle().await;
    let letters = world.read(&world.dead_letters).await;
    let [letter] = &letters[..] else {
        panic!("{letters:?}")
    };
    for (name, value) in [
        ("dlq.error.kind", "asked_for"),
        ("dlq.first_failed_at", "2026-01-02T03:04:05.000006Z"),
        ("dlq.replay_count", "3"),
        ("dlq.original.topic", &world.input),
    ] {
        assert_eq!(letter.header(name), Some(value), "{name}");
    }
    assert_eq!(letter.headers.len(), 12);
}

/// The dead-letter topic must take more than the source does: a letter is its message and a dozen headers.
#[tokio::test]
async fn a_message_of_the_largest_size_is_buried_whole() {
    let world = World::new("largest", 1).await;
    let admin: AdminClient<DefaultClientContext> = world.broker.config().create().unwrap();
    let topic = ResourceSpecifier::Topic(&world.dead_letters);
    let larger = AlterConfig::new(topic).set("max.message.bytes", "2000000");
    let altered = admin.alter_configs(&[larger], &AdminOptions::new()).await;
    altered.unwrap()[0].as_ref().unwrap();
    let noise: Vec<u8> = (0..1_048_000).map(|_| rand::random()).collect();
    let mut config = world.broker.config();
    config.set("message.max.bytes", "2000000");
    let producer: FutureProducer = config.create().unwrap();
    let record = FutureRecord::to(&world.input)
        .partition(0)
        .key("")
        .payload(&noise);
    producer
        .send_result(record)
        .unwrap()
        .await
        .unwrap()
        .unwrap();
    let toy = world.toy("a").start();
    toy.counts("runtime_messages_total{verdict=\"reject\",reason=\"unreadable\"}")
        .await;
    world.feed(10).await;
    let applied = "SELECT (SELECT coalesce(sum(count), 0) FROM toy.counters)::bigint - (SELECT count(*) FROM toy.outbox)";
    wait_for("what follows to be published", DEADLINE, async || {
        world.number(applied).await == 10
    })
    .await;
    let letters = world.read(&world.dead_letters).await;
    assert_eq!(letters.len(), 1);
    assert!(letters[0].value.as_ref() == Some(&noise));
}

#[tokio::test]
async fn a_lane_with_too_much_poison_pauses_without_holding_up_the_others() {
    let world = World::new("flood", 4).await;
    // More than may be held in memory, behind the poison that stops the first three lanes.
    let padding = vec![b'x'; 10_000];
    let padded = |partition: i32, value: &str| {
        Command::new(partition, &format!("k{partition}"), value).header("padding", padding.clone())
    };
    let flood = (0..3).flat_map(|partition| {
        let poison = (0..10).map(move |_| (partition, "reject"));
        poison.chain((0..120).map(move |_| (partition, "add")))
    });
    world
        .send(flood.map(|(partition, value)| padded(partition, value)))
        .await;
    world.send((0..120).map(|_| padded(3, "add"))).await;
    let start = || world.toy("a").set("RUNTIME__FETCH_MB", 1);
    let toy = start()
        .set("RUNTIME__REJECT_LIMIT_PER_MINUTE", 5)
        .set("RUNTIME__MAX_BATCH", 10)
        .start();
    toy.reaches("runtime_reject_pauses_total", 3.0).await;
    let counted = format!(
        "SELECT coalesce(sum(count), 0)::bigint FROM toy.counters WHERE lane = '{}/3'",
        world.input
    );
    wait_for("the fourth lane to have gone on", DEADLINE, async || {
        world.number(&counted).await == 120
    })
    .await;
    toy.reaches("runtime_lanes{phase=\"waiting\"}", 3.0).await;
    toy.terminate().await;
    let toy = start().start();
    world.settle().await;
    toy.has_violated_nothing().await;
}
