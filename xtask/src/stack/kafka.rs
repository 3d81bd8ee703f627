//! Kafka brokers, each one JVM that is broker and controller.
//!
//! The quorum is static (`controller.quorum.voters`), so ports may change between two starts over the same data. Settings that differ from Kafka's defaults are
//! there for one of three reasons, said beside them: a small machine, tests that must not wait, or a rule of the system.

use std::{
    fmt::Write as _,
    fs,
    io::{Read, Write as _},
    net::{Ipv4Addr, TcpStream},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result};

use super::{dir::StackDir, jars, ports::Ports, tools::Java};
use crate::process::{self, Process};

pub const VERSION: &str = "4.3.1";

/// Starts broker `id`; formats its directory first when it is new.
pub fn start(
    dir: &StackDir,
    java: &Java,
    ports: &Ports,
    id: u8,
    cluster_id: &str,
) -> Result<Process> {
    let home = dir.kafka(id);
    fs::create_dir_all(&home).with_context(|| format!("create {}", home.display()))?;
    let properties = home.join("server.properties");
    fs::write(&properties, settings(&home.join("data"), ports, id))?;
    let log4j = home.join("log4j2.xml");
    fs::write(&log4j, include_str!("../../../deploy/log4j2.xml"))?;
    let log = dir.log(&name(id));
    let jvm = |options: &[&str], class: &str| {
        let mut command = java.command(&dir.temporary());
        command
            .args(options)
            .arg("-cp")
            .arg(jars::kafka_dir(dir).join("*"))
            .arg(format!("-Dlog4j2.configurationFile={}", log4j.display()))
            .arg(class)
            .current_dir(&home);
        command
    };
    if !home.join("data/meta.properties").exists() {
        // It lives for a second: do not warm up for more.
        let mut format = jvm(
            &["-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"],
            "kafka.tools.StorageTool",
        );
        format
            .args(["format", "--ignore-formatted", "--cluster-id", cluster_id])
            .arg("--config")
            .arg(&properties);
        process::run_logged(format, &dir.log(&format!("{}-format", name(id))))?;
    }
    // One log per life of a broker: its readiness and its errors are read from it.
    fs::write(&log, "")?;
    let mut broker = jvm(&["-Xmx512m", "-Xms256m"], "kafka.Kafka");
    broker.arg(&properties);
    process::spawn_detached(broker, &log)
}

pub fn name(id: u8) -> String {
    format!("kafka-{id}")
}

/// True when the broker serves clients: it answers an ApiVersions request, which it does only once it is registered and unfenced.
pub fn serves(port: u16) -> bool {
    api_versions(port).unwrap_or(false)
}

fn api_versions(port: u16) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(Duration::from_secs(1)))?;
    // Size, then header v1: api key 18, version 0, correlation id 7, no client id.
    stream.write_all(&[0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff])?;
    let mut answer = [0_u8; 10];
    stream.read_exact(&mut answer)?;
    // Size, correlation id, error code.
    Ok(answer[4..] == [0, 0, 0, 7, 0, 0])
}

/// A fresh cluster id, in the form of Kafka's own: 16 random bytes in URL-safe base64, here drawn from letters and digits only.
pub fn new_cluster_id() -> Result<String> {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut random = [0_u8; 21];
    fs::File::open("/dev/urandom")?.read_exact(&mut random)?;
    let mut id: String = random
        .iter()
        .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]))
        .collect();
    // The 22nd character carries two bits only.
    id.push('A');
    Ok(id)
}

/// The broker's server.properties.
pub fn settings(data: &Path, ports: &Ports, id: u8) -> String {
    let broker = &ports.brokers[usize::from(id) - 1];
    let voters: Vec<String> = (1..)
        .zip(&ports.brokers)
        .map(|(id, b): (u8, _)| format!("{id}@127.0.0.1:{}", b.controller))
        .collect();
    let replicas = ports.brokers.len();
    let in_sync = if replicas >= 3 { 2 } else { 1 };
    let mut text = String::new();
    let mut set = |key: &str, value: &dyn std::fmt::Display| {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{key}={value}");
    };
    set("process.roles", &"broker,controller");
    set("node.id", &id);
    set("controller.quorum.voters", &voters.join(","));
    set("controller.listener.names", &"CONTROLLER");
    set("inter.broker.listener.name", &"PLAINTEXT");
    set(
        "listener.security.protocol.map",
        &"PLAINTEXT:PLAINTEXT,FAULT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    );
    set(
        "listeners",
        &format!(
            "PLAINTEXT://127.0.0.1:{},FAULT://127.0.0.1:{},CONTROLLER://127.0.0.1:{}",
            broker.client, broker.fault_forward, broker.controller
        ),
    );
    // A client that comes by FAULT is told to go on to a port where only a test's proxy listens.
    set(
        "advertised.listeners",
        &format!(
            "PLAINTEXT://127.0.0.1:{},FAULT://127.0.0.1:{}",
            broker.client, broker.fault_listen
        ),
    );
    set("log.dirs", &data.display());
    // A rule of the system: topics come from the catalogue only.
    set("auto.create.topics.enable", &false);
    set("num.partitions", &6);
    set("default.replication.factor", &replicas);
    set("min.insync.replicas", &in_sync);
    for (topic, in_sync_key) in [
        ("offsets.topic", None),
        (
            "transaction.state.log",
            Some("transaction.state.log.min.isr"),
        ),
        (
            "share.coordinator.state.topic",
            Some("share.coordinator.state.topic.min.isr"),
        ),
    ] {
        set(&format!("{topic}.replication.factor"), &replicas);
        // Few partitions: each costs files and memory, and one machine gains nothing from fifty.
        set(&format!("{topic}.num.partitions"), &4);
        if let Some(key) = in_sync_key {
            set(key, &in_sync);
        }
    }
    // Tests must not wait: a group forms at once, and a short session may be asked for.
    set("group.initial.rebalance.delay.ms", &0);
    set("group.min.session.timeout.ms", &1000);
    // A small machine: the cleaner's map alone is 128 MiB by default, a quarter of this heap.
    set("log.cleaner.dedupe.buffer.size", &4_194_304);
    set("num.network.threads", &2);
    set("num.io.threads", &4);
    text
}

#[cfg(test)]
mod tests {
    use super::super::ports::BrokerPorts;
    use super::*;

    fn ports(brokers: u16) -> Ports {
        let one = |i: u16| BrokerPorts {
            client: 100 + i,
            controller: 200 + i,
            fault_forward: 300 + i,
            fault_listen: 400 + i,
        };
        Ports {
            brokers: (0..brokers).map(one).collect(),
            registry: 1,
            registry_management: 2,
            postgres: 3,
        }
    }

    #[test]
    fn clients_of_the_fault_listener_are_sent_to_the_silent_port() {
        let text = settings(Path::new("/data"), &ports(1), 1);
        assert!(
            text.contains("\nlisteners=PLAINTEXT://127.0.0.1:100,FAULT://127.0.0.1:300,"),
            "{text}"
        );
        assert!(
            text.contains(
                "\nadvertised.listeners=PLAINTEXT://127.0.0.1:100,FAULT://127.0.0.1:400\n"
            ),
            "{text}"
        );
    }

    #[test]
    fn three_brokers_keep_internal_topics_on_three_and_insist_on_two() {
        let text = settings(Path::new("/data"), &ports(3), 2);
        for line in [
            "controller.quorum.voters=1@127.0.0.1:200,2@127.0.0.1:201,3@127.0.0.1:202",
            "offsets.topic.replication.factor=3",
            "transaction.state.log.replication.factor=3",
            "transaction.state.log.min.isr=2",
            "node.id=2",
        ] {
            assert!(text.lines().any(|l| l == line), "no {line} in\n{text}");
        }
    }

    #[test]
    fn a_cluster_id_has_the_form_kafka_expects() {
        let id = new_cluster_id().expect("random");
        assert_eq!(id.len(), 22);
        assert_ne!(id, new_cluster_id().expect("random"));
    }
}
