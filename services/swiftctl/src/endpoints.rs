//! Where the installation is: flags, the environment, or the settings of the services.

use anyhow::{Context, Result};
use binding::CatalogueSettings;
use clap::Args;
use contracts::Catalogue;
use rdkafka::ClientConfig;
use runtime::Settings;
use serde::de::DeserializeOwned;

/// Addresses; each is needed only by the commands that go there. What is not given is taken from the services' settings:
/// the file that SWIFT_EATS_CONFIG names, deploy/swift-eats.toml otherwise, and SWIFT_EATS__SECTION__FIELD above it.
#[derive(Args)]
pub struct Endpoints {
    /// Kafka bootstrap servers, `host:port,...`.
    #[arg(long, global = true, env = "SWIFT_EATS_KAFKA")]
    brokers: Option<String>,
    /// Base URL of the schema registry's Confluent API, e.g. `http://host:8080/apis/ccompat/v7`.
    #[arg(long, global = true, env = "SWIFT_EATS_REGISTRY")]
    registry: Option<String>,
    /// The services' database, `postgres://user:password@host:port/database`.
    #[arg(
        long,
        global = true,
        env = "SWIFT_EATS_POSTGRES",
        hide_env_values = true
    )]
    postgres: Option<String>,
}

impl Endpoints {
    pub fn brokers(&self) -> Result<String> {
        given(&self.brokers, "--brokers", "SWIFT_EATS_KAFKA", |settings| {
            settings.kafka.brokers
        })
    }

    /// How Kafka is reached: the brokers, and the services' own properties (security, and whatever else), if there are any.
    pub fn kafka(&self) -> Result<ClientConfig> {
        let mut config = ClientConfig::new();
        match Settings::load() {
            Ok(settings) => config.extend(settings.kafka.properties),
            Err(runtime::ConfigError::NoFile(_)) => {}
            Err(error) => return Err(error.into()),
        }
        config
            .set("bootstrap.servers", self.brokers()?)
            .set("client.id", "swiftctl");
        Ok(config)
    }

    pub fn registry(&self) -> Result<String> {
        given(
            &self.registry,
            "--registry",
            "SWIFT_EATS_REGISTRY",
            |settings| settings.registry.url,
        )
    }

    pub fn postgres(&self) -> Result<String> {
        given(
            &self.postgres,
            "--postgres",
            "SWIFT_EATS_POSTGRES",
            |settings| settings.postgres.url,
        )
    }

    /// The catalogue that the services go by.
    pub fn catalogue(&self) -> Result<Catalogue> {
        let settings: CatalogueSettings = self.section("catalogue")?;
        settings.catalogue().context("catalogue.directory")
    }

    /// A section of the services' settings; as if it were empty where there are no settings.
    pub fn section<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T> {
        match Settings::load() {
            Ok(settings) => Ok(settings.section(name)?),
            Err(runtime::ConfigError::NoFile(_)) => Ok(T::default()),
            Err(error) => Err(error.into()),
        }
    }
}

fn given(
    flag: &Option<String>,
    name: &str,
    variable: &str,
    of: fn(Settings) -> String,
) -> Result<String> {
    if let Some(given) = flag {
        return Ok(given.clone());
    }
    let settings =
        Settings::load().with_context(|| format!("neither {name} nor {variable} is given"))?;
    Ok(of(settings))
}
