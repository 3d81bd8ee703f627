//! Where the running stack is: read from the state file that `cargo xtask stack up` writes.

use std::path::Path;

use anyhow::Context;
use serde::Deserialize;

use crate::{Broker, Database};

/// Names the state file of the stack to test on.
const VARIABLE: &str = "SWIFT_EATS_STACK";

/// The endpoints of a running stack. Fields of the file that no test needs are ignored.
#[derive(Clone, Debug, Deserialize)]
pub struct Stack {
    /// Bootstrap servers, `host:port[,host:port]`.
    pub kafka: String,
    /// The listener whose advertised address is left to a test's proxy.
    pub kafka_fault: Option<FaultListener>,
    /// Base URL of the schema registry's API.
    pub registry: String,
    /// URL of a database whose user may create others.
    pub postgres: String,
}

/// A second listener of the broker, which tells its clients to come back through `listen`.
#[derive(Clone, Debug, Deserialize)]
pub struct FaultListener {
    /// Where a proxy has to listen: the address that the broker advertises.
    pub listen: String,
    /// Where the broker itself listens.
    pub forward: String,
}

impl Stack {
    /// The stack named by the environment.
    ///
    /// # Panics
    /// When there is none: a test that skips itself would pass without having tested anything.
    pub fn from_env() -> Self {
        let Some(path) = std::env::var_os(VARIABLE) else {
            panic!(
                "{VARIABLE} is not set: this test needs the real stack. Run `cargo xtask test`, or \
                 `cargo xtask stack up` and set {VARIABLE} to the path of its state.json"
            );
        };
        Self::read(path.as_ref()).unwrap_or_else(|error| panic!("{VARIABLE}: {error:#}"))
    }

    /// The stack described by a state file.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("no stack at {}", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} is not the state of a stack", path.display()))
    }

    pub fn broker(&self) -> Broker {
        Broker::new(&self.kafka)
    }

    /// A fresh, empty database.
    pub async fn database(&self) -> anyhow::Result<Database> {
        Database::create(&self.postgres).await
    }

    /// # Panics
    /// When the stack was started without a listener for faults.
    pub fn fault_listener(&self) -> &FaultListener {
        self.kafka_fault
            .as_ref()
            .expect("the stack's state has no `kafka_fault`: start it with `cargo xtask stack up`")
    }
}

/// A name that no other test uses: `<prefix>-<12 hex digits>`, fit for topics, geos, groups and transactional ids.
pub fn unique(prefix: &str) -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    format!("{prefix}-{}", &id[..12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_file_with_more_fields_than_needed_is_read() {
        let path = std::env::temp_dir().join(format!("{}.json", unique("stack-state")));
        let text = r#"{"kafka":"127.0.0.1:9092","registry":"http://r","postgres":"postgres://p","other":{"a":1},
            "kafka_fault":{"listen":"127.0.0.1:1","forward":"127.0.0.1:2"}}"#;
        std::fs::write(&path, text).unwrap();
        let stack = Stack::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(
            (
                stack.kafka.as_str(),
                stack.fault_listener().forward.as_str()
            ),
            ("127.0.0.1:9092", "127.0.0.1:2")
        );
    }

    #[test]
    fn a_missing_state_file_is_named() {
        let error = Stack::read(Path::new("/nowhere/state.json")).unwrap_err();
        assert!(format!("{error:#}").contains("/nowhere/state.json"));
    }
}
