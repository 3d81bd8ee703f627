//! A city on the real stack with nobody to serve it: what it says can be read by any client, and verification sees the loss.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use city::verify::{Check, Wanted, verify};
use city::{Plan, Run, Size, World, run};
use contracts::{CONTRACTS, Catalogue};
use harness::{Stack, unique};

/// The catalogue's topics in a geo of this test's own.
fn catalogue(geo: &str) -> Catalogue {
    let geos = format!(
        "[[geo]]\nname = \"{geo}\"\ncentre = {{ lat = 0.0, lon = 0.0 }}\nradius_m = 5000\nclass = \"small\"\ntime_zone = \"UTC\"\n"
    );
    Catalogue::parse(include_str!("../../../schemas/topics.toml"), &geos).unwrap()
}

async fn register_schemas(registry: &str) {
    let client = reqwest::Client::new();
    for contract in CONTRACTS {
        let url = format!("{registry}/subjects/{}/versions", contract.full_name);
        let body = serde_json::json!({"schema": contract.schema, "schemaType": "AVRO"});
        let answer = client.post(url).json(&body).send().await.unwrap();
        assert!(
            answer.status().is_success(),
            "{}: {}",
            contract.full_name,
            answer.status()
        );
    }
}

#[tokio::test]
async fn a_city_that_nobody_serves_loses_every_order_and_verification_says_so() {
    let stack = Stack::from_env();
    register_schemas(&stack.registry).await;
    let geo = unique("nowhere");
    let catalogue = catalogue(&geo);
    let spec = catalogue.geo(&geo).unwrap();
    let topics = catalogue.topics(std::slice::from_ref(&spec.name)).unwrap();
    let topics: Vec<(&str, i32)> = topics
        .iter()
        .filter(|topic| topic.name != catalogue.ownership_topic())
        .map(|topic| (topic.name.as_str(), topic.partitions as i32))
        .collect();
    stack.broker().create_topics(&topics).await.unwrap();
    let size = Size {
        orders: 6,
        couriers: 2,
        restaurants: 2,
        span_s: 300.0,
    };
    let world = World {
        poison: 1,
        ..World::default()
    };
    let outcome = run(
        Run {
            brokers: stack.kafka.clone(),
            registry: stack.registry.clone(),
            plans: vec![(Plan::generate(spec, 1, size), world)],
            speed: 300.0,
            seed: 1,
            deadline: Duration::from_secs(5),
        },
        |_| {},
    )
    .await
    .unwrap();
    assert_eq!(
        (
            outcome.progress.placed,
            outcome.complete,
            outcome.undelivered
        ),
        (6, false, 0)
    );
    let wanted = Wanted {
        brokers: stack.kafka,
        registry: stack.registry,
        geos: vec![geo],
        catalogue,
        settle: Duration::ZERO,
        max_spread: None,
        gateway: None,
        tell_all: false,
    };
    let report = verify(&wanted).await.unwrap();
    assert_eq!(
        (report.placed, report.lost, report.duplicated),
        (6, 6, 0),
        "{report}"
    );
    // The poison is there, and nobody made a dead letter of it.
    assert_eq!(report.violations(Check::DeadLettered), 1, "{report}");
    for check in [
        Check::Contract,
        Check::Headers,
        Check::KeyAndGeo,
        Check::EventOnce,
    ] {
        let findings = report
            .checks
            .iter()
            .find(|findings| findings.check == check)
            .unwrap();
        // Six orders, two drivers coming and going, and their pings.
        assert!(findings.looked > 12 && findings.violations == 0, "{report}");
    }
}
