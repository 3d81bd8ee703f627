//! The tool against a real Kafka and a real registry: applied twice it changes nothing, and what loses data is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use serde_json::{Value, json};

struct Stack {
    kafka: String,
    registry: String,
}

impl Stack {
    fn from_env() -> Self {
        let path = std::env::var("SWIFT_EATS_STACK")
            .expect("SWIFT_EATS_STACK names no stack: run `cargo xtask test`, which starts one");
        let state: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        let text = |key: &str| state[key].as_str().unwrap().to_owned();
        Stack {
            kafka: text("kafka"),
            registry: text("registry"),
        }
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_swiftctl"))
            .args([
                "--brokers",
                &self.kafka,
                "--registry",
                &self.registry,
                "--format",
                "json",
            ])
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Rows that a command printed; it must have ended with that exit code.
    fn rows(&self, arguments: &[&str], code: i32) -> Vec<Value> {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// A catalogue of one geo that no other test has; its topics are deleted when it is dropped.
struct City {
    stack: Stack,
    dir: PathBuf,
    geo: String,
}

impl City {
    fn new(test: &str) -> Self {
        let geo = format!("ctl-{test}-{}", std::process::id());
        let dir = std::env::temp_dir().join(&geo);
        fs::create_dir_all(&dir).unwrap();
        let city = City {
            stack: Stack::from_env(),
            dir,
            geo,
        };
        city.write(2, 48);
        city
    }

    fn write(&self, partitions: u32, retention_h: u32) {
        let ownership = self.geo.replace(|c: char| !c.is_ascii_lowercase(), "_");
        let digits: String = self.geo.chars().filter(char::is_ascii_digit).collect();
        let kind = format!(
            "{ownership}_{}",
            digits.replace(|c: char| c.is_ascii_digit(), "n")
        );
        let topics = format!(
            "[partition_classes]\nsmall = {partitions}\n\
             [dead_letters]\npartitions = 1\nretention_h = 336\ncleanup_policy = \"delete\"\n\
             [ownership]\nfamily = \"driver_assignment\"\nkind = \"{kind}\"\nretention_h = 24\ncleanup_policy = \"delete\"\n\
             [[stream]]\nfamily = \"orders\"\nkind = \"requests\"\nkey = \"order_id\"\nrecords = [\"OrderPlaced\"]\n\
             partitions = \"class\"\nretention_h = {retention_h}\ncleanup_policy = \"delete\"\ndead_letters = true\n"
        );
        let geos = format!(
            "[[geo]]\nname = \"{}\"\ncentre = {{ lat = 0.0, lon = 0.0 }}\nradius_m = 1\nclass = \"small\"\ntime_zone = \"UTC\"\n",
            self.geo
        );
        fs::write(self.dir.join("topics.toml"), topics).unwrap();
        fs::write(self.dir.join("geos.toml"), geos).unwrap();
    }

    fn topics(&self, arguments: &[&str], code: i32) -> Vec<Value> {
        let catalogue = self.dir.to_str().unwrap();
        self.stack.rows(
            &[&["topics"], arguments, &["--catalogue", catalogue]].concat(),
            code,
        )
    }

    /// Plans by topic, in the catalogue's order: ownership, requests, dead letters.
    fn plans(&self, arguments: &[&str], code: i32) -> Vec<String> {
        let rows = self.topics(arguments, code);
        rows.iter()
            .map(|r| r["plan"].as_str().unwrap().to_owned())
            .collect()
    }

    fn requests(&self) -> Value {
        let rows = self.topics(&["describe"], 0);
        rows.into_iter()
            .find(|r| r["topic"] == format!("orders.requests.{}", self.geo))
            .unwrap()
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new()
            .set("bootstrap.servers", &self.stack.kafka)
            .create()
            .unwrap()
    }
}

impl Drop for City {
    fn drop(&mut self) {
        let rows = self.topics(&["describe"], 0);
        let names: Vec<&str> = rows
            .iter()
            .filter(|r| r["exists"] == true)
            .filter_map(|r| r["topic"].as_str())
            .collect();
        let admin = self.admin();
        let deletion = admin.delete_topics(&names, &AdminOptions::new());
        let _ = futures::executor::block_on(deletion);
        let _ = fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn applying_twice_creates_once_and_a_dry_run_creates_nothing() {
    let city = City::new("twice");
    assert_eq!(city.plans(&["apply", "--dry-run"], 0), ["create"; 3]);
    assert_eq!(city.plans(&["plan"], 0), ["create"; 3]);
    assert_eq!(city.requests()["exists"], false);
    assert_eq!(city.plans(&["apply"], 0), ["create"; 3]);
    let requests = city.requests();
    assert_eq!(
        (&requests["partitions"], &requests["retention_ms"]),
        (&json!(2), &json!("172800000"))
    );
    assert_eq!(city.plans(&["apply"], 0), ["unchanged"; 3]);
}

#[test]
fn partitions_and_retention_are_raised_and_settings_of_others_are_kept() {
    let city = City::new("raise");
    city.topics(&["apply"], 0);
    let name = format!("orders.requests.{}", city.geo);
    // Written the way a person would, with the whole set: it must still be there after ours.
    let alteration = AlterConfig::new(ResourceSpecifier::Topic(&name))
        .set("retention.ms", "172800000")
        .set("segment.bytes", "7340032");
    let admin = city.admin();
    let altered =
        futures::executor::block_on(admin.alter_configs([&alteration], &AdminOptions::new()));
    altered.unwrap().remove(0).unwrap();
    city.write(5, 72);
    assert_eq!(
        city.plans(&["apply"], 0),
        ["unchanged", "alter", "unchanged"]
    );
    let requests = city.requests();
    assert_eq!(
        (&requests["partitions"], &requests["retention_ms"]),
        (&json!(5), &json!("259200000"))
    );
    let resource = [ResourceSpecifier::Topic(&name)];
    let described =
        futures::executor::block_on(admin.describe_configs(&resource, &AdminOptions::new()));
    let resource = described.unwrap().remove(0).unwrap();
    assert_eq!(
        resource.get("segment.bytes").unwrap().value.as_deref(),
        Some("7340032")
    );
    assert_eq!(city.plans(&["apply"], 0), ["unchanged"; 3]);
}

#[test]
fn lowering_is_refused_as_a_whole_unless_it_is_retention_and_asked_for() {
    let city = City::new("lower");
    city.topics(&["apply"], 0);
    city.write(3, 24);
    assert_eq!(
        city.plans(&["apply"], 3),
        ["unchanged", "refused", "unchanged"]
    );
    let requests = city.requests();
    assert_eq!(
        (&requests["partitions"], &requests["retention_ms"]),
        (&json!(2), &json!("172800000"))
    );
    assert_eq!(
        city.plans(&["apply", "--allow-lower-retention"], 0),
        ["unchanged", "alter", "unchanged"]
    );
    assert_eq!(city.requests()["retention_ms"], "86400000");
    city.write(1, 24);
    assert_eq!(
        city.plans(&["apply", "--allow-lower-retention"], 3),
        ["unchanged", "refused", "unchanged"]
    );
}

#[test]
fn what_is_registered_is_what_the_services_look_up_and_registering_again_changes_nothing() {
    let stack = Stack::from_env();
    let first = stack.rows(&["schemas", "register"], 0);
    assert_eq!(first.len(), contracts::CONTRACTS.len());
    let second = stack.rows(&["schemas", "register"], 0);
    for row in &second {
        assert_eq!(
            (&row["plan"], &row["set_compatibility"]),
            (&json!("unchanged"), &json!(false)),
            "{row}"
        );
    }
    let ids = |rows: &[Value]| {
        rows.iter()
            .map(|r| r["id"].as_u64().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids(&first), ids(&second));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let codec = runtime.block_on(contracts::Codec::connect(
        &stack.registry,
        contracts::CONTRACTS,
    ));
    let codec = codec.unwrap();
    let unknown = runtime.block_on(codec.prepare(b"\0\x7f\xff\xff\xff"));
    assert!(
        matches!(unknown, Err(contracts::CodecError::Reject(_))),
        "{unknown:?}"
    );
}

#[test]
fn what_is_registered_as_it_is_here_does_not_differ() {
    let stack = Stack::from_env();
    stack.rows(&["schemas", "register"], 0);
    let rows = stack.rows(&["schemas", "diff"], 0);
    assert_eq!(rows.len(), contracts::CONTRACTS.len());
    for row in &rows {
        assert_eq!(row["differences"], json!([]), "{row}");
        assert!(row["registered"].is_u64(), "{row}");
    }
}

#[test]
fn a_shell_is_told_every_command() {
    let output = Stack::from_env().run(&["completions", "bash"]);
    let script = String::from_utf8(output.stdout).unwrap();
    for command in ["redrive", "reset", "tail", "drain"] {
        assert!(script.contains(command), "{command}");
    }
}

#[test]
fn the_registry_itself_refuses_what_the_gate_would() {
    let stack = Stack::from_env();
    stack.rows(&["schemas", "register"], 0);
    let contract = contracts::CONTRACTS
        .iter()
        .find(|c| c.name == "FoodReady")
        .unwrap();
    let mut schema: Value = serde_json::from_str(contract.schema).unwrap();
    let added = json!({"name": "shelf", "type": "string"});
    schema["fields"].as_array_mut().unwrap().push(added);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let status = runtime.block_on(async {
        let url = format!(
            "{}/subjects/{}/versions",
            stack.registry, contract.full_name
        );
        let body = json!({"schema": schema.to_string(), "schemaType": "AVRO"});
        reqwest::Client::new()
            .post(url)
            .json(&body)
            .send()
            .await
            .unwrap()
            .status()
    });
    assert_eq!(status.as_u16(), 409);
}

#[test]
fn an_unreachable_cluster_or_registry_is_a_failure_that_names_it() {
    let nowhere = Stack {
        kafka: "127.0.0.1:1".into(),
        registry: "http://127.0.0.1:1".into(),
    };
    let output = nowhere.run(&["schemas", "register"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("registry http://127.0.0.1:1"));
}
