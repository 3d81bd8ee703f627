//! A checkout deploys a broken schema: 200 dead letters, understood, mended and put back, one of them by hand.

use std::collections::BTreeMap;
use std::fs;

use contracts::orders::OrderPlaced;
use contracts::{CONTRACTS, Record};
use harness::{Isolation, wait_for};
use rdkafka::producer::FutureRecord;
use serde_json::json;
use uuid::Uuid;

use crate::platform::{DEADLINE, Platform};

/// What the checkout calls `prep_total_s` from today on, under a subject that nobody guards.
async fn register_broken(platform: &Platform) -> u32 {
    let contract = CONTRACTS
        .iter()
        .find(|it| it.full_name == OrderPlaced::FULL_NAME);
    let schema = contract
        .unwrap()
        .schema
        .replace("\"prep_total_s\"", "\"prep_time_s\"");
    let subject = format!("orders.requests.{}-value", platform.geo);
    let url = format!("{}/subjects/{subject}/versions", platform.stack.registry);
    let body = json!({"schema": schema, "schemaType": "AVRO"});
    let answer = reqwest::Client::new()
        .post(url)
        .json(&body)
        .send()
        .await
        .unwrap();
    let answer: serde_json::Value = answer.error_for_status().unwrap().json().await.unwrap();
    answer["id"].as_u64().unwrap().try_into().unwrap()
}

/// 200 orders under the broken schema; of one of them the total is wrong as well.
async fn place(platform: &Platform) -> Vec<Uuid> {
    let id = register_broken(platform).await;
    let producer = platform.broker.producer().unwrap();
    let topic = format!("orders.requests.{}", platform.geo);
    let orders: Vec<Uuid> = (0..200).map(|_| Uuid::new_v4()).collect();
    let mut sent = Vec::new();
    for (number, order) in orders.iter().enumerate() {
        let mut placed = platform.placed(*order);
        if number == 17 {
            placed.total.amount_minor = 26;
        }
        // The same fields in the same order: only the schema's id differs.
        let mut value = platform.encode(&placed);
        value[1..5].copy_from_slice(&id.to_be_bytes());
        let key = order.to_string();
        let record = FutureRecord::to(&topic).key(&key).payload(&value);
        sent.push(producer.send_result(record).unwrap());
    }
    for delivery in sent {
        delivery.await.unwrap().unwrap();
    }
    orders
}

#[tokio::test]
async fn a_checkout_deploys_a_broken_schema() {
    let mut platform = Platform::new("chicago-loop").await;
    platform.start("orders", &[]);
    let since = chrono::Utc::now().to_rfc3339();
    let orders = place(&platform).await;
    let geo = platform.geo.clone();
    let of_geo = |command: &'static str| {
        ["dlq", command, "--geo", &geo, "--since", &since].map(str::to_owned)
    };
    let count = || platform.json(&["dlq", "list", "--geo", &geo, "--since", &since, "--count"]);
    wait_for("200 dead letters", DEADLINE, async || {
        count()[0]["letters"] == 200
    })
    .await;
    let list = of_geo("list");
    let list: Vec<&str> = list.iter().map(String::as_str).collect();
    platform.sees(&[&list[..], &["--count"]].concat());
    let seen = platform.sees(&[&list[..], &["--limit", "3"]].concat());
    assert!(
        seen.contains("malformed") && seen.contains("prep_total_s"),
        "{seen}"
    );

    // What has happened shows in any of them: the record is whole, but a field has another name.
    let wrong = orders[17].to_string();
    let letter = platform.json(&["dlq", "list", "--geo", &geo, "--order", &wrong]);
    let letter = letter[0]["letter"].as_str().unwrap().to_owned();
    let seen = platform.sees(&["dlq", "show", &letter]);
    assert!(seen.contains("\"prep_time_s\": 600"), "{seen}");

    // One is mended by hand: its total is wrong too.
    let editor = "sed -i -e s/prep_time_s/prep_total_s/ -e s/26,/2600,/";
    platform.sees_with(
        editor,
        &[
            "dlq",
            "redrive",
            &letter,
            "--edit",
            "--note",
            "checkout 7.3 wrote major units",
        ],
    );

    // The others are all wrong in the same way.
    let export = of_geo("export");
    let exported = platform.sees(&export.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(exported.lines().count(), 199);
    let file = std::env::temp_dir().join(format!("{}.jsonl", platform.group("fixed")));
    fs::write(
        &file,
        exported.replace("\"prep_time_s\"", "\"prep_total_s\""),
    )
    .unwrap();
    let fixed = file.to_str().unwrap();
    platform.sees(&["dlq", "redrive", "--edit-file", fixed, "--dry-run"]);
    platform.sees(&[
        "dlq",
        "redrive",
        "--edit-file",
        fixed,
        "--note",
        "checkout 7.3 renamed prep_total_s",
        "--rate",
        "500",
    ]);
    fs::remove_file(&file).unwrap();

    wait_for("200 orders to be accepted", DEADLINE, async || {
        accepted(&platform, &orders).await.len() == 200
    })
    .await;
    assert!(
        accepted(&platform, &orders)
            .await
            .values()
            .all(|times| *times == 1)
    );
    assert_eq!(count(), json!([]));
    let seen = platform.sees(&[&list[..], &["--settled", "--limit", "2"]].concat());
    assert!(
        seen.contains("0 open, 200 settled") && seen.contains("redriven by ann"),
        "{seen}"
    );
}

/// How often each of the orders was accepted.
async fn accepted(platform: &Platform, orders: &[Uuid]) -> BTreeMap<String, usize> {
    let topic = format!("orders.events.{}", platform.geo);
    let events = platform
        .broker
        .read_all(&[&topic], Isolation::Committed)
        .await
        .unwrap();
    let orders: Vec<String> = orders.iter().map(Uuid::to_string).collect();
    let mut accepted = BTreeMap::new();
    for event in events {
        let key = event.key_text().unwrap_or_default().to_owned();
        if event.header("event_type") == Some("OrderAccepted") && orders.contains(&key) {
            *accepted.entry(key).or_default() += 1;
        }
    }
    accepted
}
