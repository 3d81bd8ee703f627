//! Settings: one TOML file, overridden by the environment, checked before anything starts.
//!
//! The file is named by `SWIFT_EATS_CONFIG` (default `deploy/swift-eats.toml`). Any field can be overridden by
//! `SWIFT_EATS__<SECTION>__<FIELD>`, e.g. `SWIFT_EATS__KAFKA__BROKERS=broker:9092`. Unknown fields are errors: a
//! misspelt one would otherwise silently mean its default.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use figment::Figment;
use figment::providers::{Env, Format, Toml};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use thiserror::Error;

/// Environment variable that names the configuration file.
pub const FILE: &str = "SWIFT_EATS_CONFIG";
const DEFAULT_FILE: &str = "deploy/swift-eats.toml";
const PREFIX: &str = "SWIFT_EATS__";

/// What every processor needs to know, and the rest of the file for its own section.
#[derive(Clone, Debug)]
pub struct Settings {
    figment: Figment,
    pub kafka: KafkaSettings,
    pub registry: RegistrySettings,
    pub postgres: PostgresSettings,
    pub runtime: RuntimeSettings,
    pub http: HttpSettings,
    pub telemetry: TelemetrySettings,
}

/// A setting that cannot be used: names the field, the value and where it came from.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("configuration: {0}")]
    Unreadable(#[from] Box<figment::Error>),
    #[error("configuration: {field} = {value}: {problem}")]
    Invalid {
        field: String,
        value: String,
        problem: String,
    },
    #[error("configuration: no file at {0} (set {FILE} to its path)")]
    NoFile(String),
}

impl ConfigError {
    pub fn invalid(
        field: impl Into<String>,
        value: impl ToString,
        problem: impl Into<String>,
    ) -> Self {
        Self::Invalid {
            field: field.into(),
            value: value.to_string(),
            problem: problem.into(),
        }
    }
}

impl Settings {
    /// Reads file and environment.
    pub fn load() -> Result<Self, ConfigError> {
        let file =
            std::env::var_os(FILE).map_or_else(|| PathBuf::from(DEFAULT_FILE), PathBuf::from);
        if !file.is_file() {
            return Err(ConfigError::NoFile(file.display().to_string()));
        }
        Self::from_figment(
            Figment::new()
                .merge(Toml::file_exact(file))
                .merge(Env::prefixed(PREFIX).split("__")),
        )
    }

    fn from_figment(figment: Figment) -> Result<Self, ConfigError> {
        let settings = Self {
            kafka: section(&figment, "kafka")?,
            registry: section(&figment, "registry")?,
            postgres: section(&figment, "postgres")?,
            runtime: section_or_default(&figment, "runtime")?,
            http: section_or_default(&figment, "http")?,
            telemetry: section_or_default(&figment, "telemetry")?,
            figment,
        };
        settings.runtime.validate()?;
        Ok(settings)
    }

    /// A section of the processor's own; a missing one is read as empty, so its defaults apply.
    pub fn section<T: DeserializeOwned>(&self, name: &str) -> Result<T, ConfigError> {
        section_or_empty(&self.figment, name)
    }
}

fn section<T: DeserializeOwned>(figment: &Figment, name: &str) -> Result<T, ConfigError> {
    figment
        .extract_inner(name)
        .map_err(|error| ConfigError::Unreadable(Box::new(error)))
}

fn section_or_default<T: DeserializeOwned + Default>(
    figment: &Figment,
    name: &str,
) -> Result<T, ConfigError> {
    if figment.contains(name) {
        section(figment, name)
    } else {
        Ok(T::default())
    }
}

fn section_or_empty<T: DeserializeOwned>(figment: &Figment, name: &str) -> Result<T, ConfigError> {
    if figment.contains(name) {
        return section(figment, name);
    }
    let empty = figment::value::Dict::new();
    let figment = Figment::from(figment::providers::Serialized::default(name, empty));
    section(&figment, name)
}

/// `[kafka]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSettings {
    /// Bootstrap brokers, `host:port[,host:port]`. Wrong: the process starts, finds nobody and never becomes ready.
    pub brokers: String,
    /// Any librdkafka property for all clients (security.protocol, sasl.*, compression.type, ...). The properties that
    /// exactly-once depends on are set by the runtime and cannot be overridden here.
    #[serde(default)]
    pub properties: std::collections::BTreeMap<String, String>,
}

/// `[registry]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegistrySettings {
    /// Base URL of a Confluent-compatible schema registry. Wrong: the process ends at start, since it cannot look its
    /// schemas up.
    pub url: String,
}

/// `[postgres]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresSettings {
    /// `postgres://user:password@host:port/database`; the primary, never a replica. Each service uses the schema of its
    /// own name in it.
    pub url: String,
    /// How long a statement may run, in milliseconds. Default 30000. Too short: large cycles fail for ever; too long: a
    /// hung server holds a cycle up that long before it is tried again.
    #[serde(default = "statement_timeout_ms")]
    pub statement_timeout_ms: u32,
    /// How long a statement may wait for a lock, in milliseconds. Default 5000. A paused client can hold a lane's row.
    #[serde(default = "lock_timeout_ms")]
    pub lock_timeout_ms: u32,
    /// How long a transaction may sit idle before the server ends it, in milliseconds. Default 10000. Bounds how long a
    /// paused owner can hold its lanes' rows against their new owner.
    #[serde(default = "idle_timeout_ms")]
    pub idle_in_transaction_session_timeout_ms: u32,
}

fn statement_timeout_ms() -> u32 {
    30_000
}

fn lock_timeout_ms() -> u32 {
    5_000
}

fn idle_timeout_ms() -> u32 {
    10_000
}

/// `[runtime]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RuntimeSettings {
    /// Slot of this process among the instances of its service; names its group member and its transactional producer.
    /// Default "0". Two live processes with the same slot fence each other.
    #[serde(deserialize_with = "text_or_number")]
    pub instance: String,
    /// Consumer group; default: the service's name. Changing it orphans the committed positions.
    pub group: Option<String>,
    /// Static group membership: a restarted slot takes its lanes back at once. Default true.
    pub static_membership: bool,
    /// After how much silence the group gives a member's lanes to others, in milliseconds. Default 10000. Too short:
    /// needless hand-overs; too long: lanes of a dead process stand still for that long.
    pub session_timeout_ms: u32,
    /// How long a Kafka transaction may take, in milliseconds. Default 10000. A crashed one blocks read_committed readers
    /// for that long unless its slot restarts sooner.
    pub transaction_timeout_ms: u32,
    /// Most events in one cycle, shared fairly among the lanes. Default 1000. Smaller: more transactions per message; larger:
    /// more memory, longer cycles.
    pub max_batch: usize,
    /// How long a message waits for company before it starts a cycle, in milliseconds, whatever its topic. Default: by topic,
    /// 50 for what only people wait for (all of notifier's, and what orders hears of drivers) and 0 for the others. Larger:
    /// fewer, cheaper cycles at low load, and that much more latency per hop.
    pub gather_ms: Option<u64>,
    /// Bytes of fetched messages held in memory, in MiB, and as many again in the client. Default 1.
    pub fetch_mb: usize,
    /// Outside calls in flight at once. Default 64.
    pub call_concurrency: usize,
    /// Dead letters per lane and minute above which the lane pauses until the rate is below again. Default 600. A broken
    /// producer then fills the dead-letter topic slowly enough to be noticed.
    pub reject_limit_per_minute: u32,
    /// A lane with work that has not moved for this long ends the process, in seconds. Default 300. Must exceed the
    /// longest outage of PostgreSQL or Kafka that is to be sat out.
    pub stall_timeout_s: u64,
    /// How long shutting down may take before the process exits by force, in seconds. Default 30.
    pub shutdown_timeout_s: u64,
    /// After how much rest a lane tidies up (deletes published rows, commits its offset), in milliseconds. Default 1000.
    pub idle_ms: u64,
    /// How often a resting lane commits its offset again, in seconds. Default 86400: Kafka forgets offsets after 7 days.
    pub offset_refresh_s: u64,
}

/// A slot may be called 0: the environment cannot say whether that is a number.
fn text_or_number<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Slot {
        Number(u64),
        Text(String),
    }
    Ok(match Slot::deserialize(deserializer)? {
        Slot::Number(number) => number.to_string(),
        Slot::Text(text) => text,
    })
}

impl Default for RuntimeSettings {
    fn default() -> Self {
        Self {
            instance: "0".to_owned(),
            group: None,
            static_membership: true,
            session_timeout_ms: 10_000,
            transaction_timeout_ms: 10_000,
            max_batch: 1_000,
            gather_ms: None,
            fetch_mb: 1,
            call_concurrency: 64,
            reject_limit_per_minute: 600,
            stall_timeout_s: 300,
            shutdown_timeout_s: 30,
            idle_ms: 1_000,
            offset_refresh_s: 86_400,
        }
    }
}

impl RuntimeSettings {
    fn validate(&self) -> Result<(), ConfigError> {
        let positive = |field: &str, value: u64| match value {
            0 => Err(ConfigError::invalid(
                format!("runtime.{field}"),
                value,
                "must be at least 1",
            )),
            _ => Ok(()),
        };
        positive("max_batch", self.max_batch as u64)?;
        positive("fetch_mb", self.fetch_mb as u64)?;
        positive("call_concurrency", self.call_concurrency as u64)?;
        positive(
            "reject_limit_per_minute",
            self.reject_limit_per_minute.into(),
        )?;
        positive("stall_timeout_s", self.stall_timeout_s)?;
        positive("session_timeout_ms", self.session_timeout_ms.into())?;
        positive("transaction_timeout_ms", self.transaction_timeout_ms.into())?;
        if self.instance.is_empty() {
            return Err(ConfigError::invalid(
                "runtime.instance",
                "\"\"",
                "must name a slot",
            ));
        }
        Ok(())
    }

    pub(crate) fn transaction_timeout(&self) -> Duration {
        Duration::from_millis(self.transaction_timeout_ms.into())
    }
}

/// `[http]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpSettings {
    /// Where /health/live, /health/ready and /metrics listen. Default 127.0.0.1:0 (any free port, logged and, if
    /// `announce` is set, written there).
    pub listen: SocketAddr,
    /// A file to write `{"name", "http", "pid"}` to once listening. Default: none.
    pub announce: Option<PathBuf>,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            announce: None,
        }
    }
}

/// `[telemetry]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetrySettings {
    /// What is logged, in the syntax of tracing's EnvFilter. Default "info".
    pub log: String,
    /// "text" for people, "json" for collectors. Default "text".
    pub format: LogFormat,
    /// OTLP/HTTP endpoint for traces, e.g. `http://collector:4318/v1/traces`. Default: none, no spans are built.
    pub otlp: Option<String>,
}

impl Default for TelemetrySettings {
    fn default() -> Self {
        Self {
            log: "info".to_owned(),
            format: LogFormat::Text,
            otlp: None,
        }
    }
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    Text,
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINIMAL: &str = "[kafka]\nbrokers = 'k:9092'\n[registry]\nurl = 'http://r'\n[postgres]\nurl = 'postgres://p'\n";

    fn load(extra: &str) -> Result<Settings, ConfigError> {
        Settings::from_figment(Figment::new().merge(Toml::string(&format!("{MINIMAL}{extra}"))))
    }

    #[test]
    fn defaults_stand_in_for_what_is_not_said() {
        let settings = load("").unwrap();
        assert_eq!(
            (settings.runtime.max_batch, settings.telemetry.log.as_str()),
            (1_000, "info")
        );
    }

    #[test]
    fn a_misspelt_field_is_an_error_that_names_it() {
        let error = load("[runtime]\nmax_batsch = 5").unwrap_err().to_string();
        assert!(error.contains("max_batsch"), "{error}");
    }

    #[test]
    fn a_wrong_value_is_an_error_that_names_field_and_value() {
        let error = load("[runtime]\nmax_batch = 0").unwrap_err().to_string();
        assert!(error.contains("runtime.max_batch = 0"), "{error}");
        let error = load("[runtime]\nmax_batch = 'many'")
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("max_batch") && error.contains("many"),
            "{error}"
        );
    }

    #[test]
    fn a_slot_may_be_a_number() {
        assert_eq!(
            load("[runtime]\ninstance = 7").unwrap().runtime.instance,
            "7"
        );
        assert_eq!(
            load("[runtime]\ninstance = 'a'").unwrap().runtime.instance,
            "a"
        );
    }

    #[test]
    fn a_section_of_the_processors_own_may_be_missing() {
        #[derive(Deserialize)]
        struct Own {
            #[serde(default)]
            field: Option<u8>,
        }
        assert_eq!(load("").unwrap().section::<Own>("own").unwrap().field, None);
        assert_eq!(
            load("[own]\nfield = 3")
                .unwrap()
                .section::<Own>("own")
                .unwrap()
                .field,
            Some(3)
        );
    }
}
