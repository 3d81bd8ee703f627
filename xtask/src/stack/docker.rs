//! The stack in containers, for machines with a Docker engine and without Java, Maven or PostgreSQL.
//!
//! `compose.yaml` fixes what runs; this module only starts and stops it with the same ports as it would use itself. No engine was at hand when
//! this was written: compose.yaml is checked by parsing it, this module's two commands are not checked at all.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::ports::{BrokerPorts, Ports, Wanted};
use crate::workspace;

/// What compose.yaml publishes unless the environment says otherwise.
pub const KAFKA_PORT: u16 = 9092;
pub const FAULT_FORWARD_PORT: u16 = 9093;
pub const FAULT_LISTEN_PORT: u16 = 9094;
pub const REGISTRY_PORT: u16 = 8081;
pub const POSTGRES_PORT: u16 = 5432;
pub const POSTGRES_VERSION: &str = "17";

pub fn ports(wanted: Wanted) -> Ports {
    Ports {
        brokers: vec![BrokerPorts {
            client: wanted.kafka.unwrap_or(KAFKA_PORT),
            controller: 0,
            fault_forward: FAULT_FORWARD_PORT,
            fault_listen: FAULT_LISTEN_PORT,
        }],
        registry: wanted.registry.unwrap_or(REGISTRY_PORT),
        registry_management: 0,
        postgres: wanted.postgres.unwrap_or(POSTGRES_PORT),
    }
}

pub fn up(ports: &Ports) -> Result<()> {
    compose(ports, &["up", "--detach", "--wait"])
}

/// `data` deletes the volumes too.
pub fn down(ports: &Ports, data: bool) -> Result<()> {
    compose(
        ports,
        if data {
            &["down", "--volumes"]
        } else {
            &["down"]
        },
    )
}

fn compose(ports: &Ports, arguments: &[&str]) -> Result<()> {
    let client = ports.brokers.first().map_or(KAFKA_PORT, |b| b.client);
    let status = Command::new("docker")
        .arg("compose")
        .arg("--file")
        .arg(workspace::root().join("compose.yaml"))
        .args(arguments)
        .env("SWIFT_EATS_KAFKA_PORT", client.to_string())
        .env("SWIFT_EATS_REGISTRY_PORT", ports.registry.to_string())
        .env("SWIFT_EATS_POSTGRES_PORT", ports.postgres.to_string())
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()
        .context("start docker compose")?;
    if !status.success() {
        bail!("docker compose {}: {status}", arguments.join(" "));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use yaml_rust2::{Yaml, YamlLoader};

    use super::*;
    use crate::stack::{
        kafka, postgres, registry,
        state::{Engine, State, Versions},
    };

    fn compose_file() -> Yaml {
        let text =
            fs::read_to_string(workspace::root().join("compose.yaml")).expect("compose.yaml");
        YamlLoader::load_from_str(&text).expect("YAML").remove(0)
    }

    fn environment(service: &Yaml, name: &str) -> String {
        service["environment"][name]
            .as_str()
            .unwrap_or_else(|| panic!("no {name}, or no text"))
            .to_owned()
    }

    fn published(service: &Yaml) -> Vec<String> {
        service["ports"]
            .as_vec()
            .expect("ports")
            .iter()
            .map(|p| p.as_str().expect("text").to_owned())
            .collect()
    }

    #[test]
    fn the_containers_have_the_versions_of_the_stack_that_is_tested() {
        let file = compose_file();
        let image = |service: &str| {
            file["services"][service]["image"]
                .as_str()
                .expect("image")
                .to_owned()
        };
        assert_eq!(image("kafka"), format!("apache/kafka:{}", kafka::VERSION));
        assert_eq!(
            image("registry"),
            format!("apicurio/apicurio-registry:{}", registry::NEWEST)
        );
        assert_eq!(image("postgres"), format!("postgres:{POSTGRES_VERSION}"));
    }

    #[test]
    fn the_containers_publish_the_endpoints_that_clients_are_told() {
        let file = compose_file();
        let services = &file["services"];
        let client = format!("${{SWIFT_EATS_KAFKA_PORT:-{KAFKA_PORT}}}");
        assert_eq!(
            published(&services["kafka"]),
            [
                format!("127.0.0.1:{client}:9092"),
                format!("127.0.0.1:{FAULT_FORWARD_PORT}:{FAULT_FORWARD_PORT}")
            ]
        );
        let advertised = environment(&services["kafka"], "KAFKA_ADVERTISED_LISTENERS");
        assert!(
            advertised.starts_with(&format!(
                "PLAINTEXT://127.0.0.1:{client},FAULT://127.0.0.1:{FAULT_LISTEN_PORT},"
            )),
            "{advertised}"
        );
        assert_eq!(
            published(&services["registry"]),
            [format!(
                "127.0.0.1:${{SWIFT_EATS_REGISTRY_PORT:-{REGISTRY_PORT}}}:8080"
            )]
        );
        assert_eq!(
            published(&services["postgres"]),
            [format!(
                "127.0.0.1:${{SWIFT_EATS_POSTGRES_PORT:-{POSTGRES_PORT}}}:5432"
            )]
        );
        let versions = Versions {
            kafka: String::new(),
            registry: String::new(),
            postgres: String::new(),
            java: None,
        };
        let state = State::new(Engine::Docker, ports(Wanted::default()), versions);
        assert_eq!(state.kafka, "127.0.0.1:9092");
        assert_eq!(
            state.postgres,
            "postgres://swift:swift@127.0.0.1:5432/swift_eats"
        );
    }

    #[test]
    fn kafka_in_a_container_has_the_settings_of_the_stack_that_is_tested() {
        let file = compose_file();
        let kafka = &file["services"]["kafka"];
        let differ = [
            "listeners",
            "log.dirs",
            "controller.quorum.voters",
            "inter.broker.listener.name",
            "advertised.listeners",
            "listener.security.protocol.map",
        ];
        let settings = kafka::settings(std::path::Path::new("/data"), &ports(Wanted::default()), 1);
        let mut compared = 0;
        for (key, value) in settings
            .lines()
            .filter_map(|line| line.split_once('='))
            .filter(|(key, _)| !differ.contains(key))
        {
            let name = format!("KAFKA_{}", key.replace('.', "_").to_uppercase());
            assert_eq!(environment(kafka, &name), value, "{name}");
            compared += 1;
        }
        assert!(compared > 15, "only {compared} settings were compared");
    }

    #[test]
    fn the_containers_keep_schemas_in_the_same_database_and_wait_until_they_are_healthy() {
        let file = compose_file();
        let services = &file["services"];
        assert_eq!(
            environment(&services["postgres"], "POSTGRES_USER"),
            postgres::USER
        );
        assert_eq!(
            environment(&services["postgres"], "POSTGRES_DB"),
            postgres::DATABASE
        );
        let url = environment(&services["registry"], "APICURIO_DATASOURCE_URL");
        assert!(url.ends_with(&format!("/{}", registry::DATABASE)), "{url}");
        assert_eq!(
            file["configs"]["registry-database"]["content"].as_str(),
            Some("CREATE DATABASE registry;")
        );
        assert_eq!(
            environment(&services["registry"], "APICURIO_RULES_GLOBAL_COMPATIBILITY"),
            "FULL_TRANSITIVE"
        );
        for service in ["kafka", "postgres", "registry"] {
            assert!(
                !services[service]["healthcheck"]["test"].is_badvalue(),
                "{service} has no health check"
            );
        }
    }
}
