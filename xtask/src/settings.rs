//! The services' settings: the repository's own, with what a run needs otherwise laid over them.

use std::fs;

use anyhow::{Context, Result};
use toml::{Table, Value};

use crate::stack::state::State;
use crate::workspace;

pub struct Settings(Table);

impl Settings {
    /// Those of deploy/swift-eats.toml, with the stack's addresses, for these geos.
    pub fn of(state: &State, geos: &[String]) -> Result<Self> {
        let text = fs::read_to_string(workspace::root().join("deploy/swift-eats.toml"))?;
        let mut settings = Self(text.parse().context("deploy/swift-eats.toml")?);
        settings.set("kafka.brokers", state.kafka.clone());
        settings.set("registry.url", state.registry.clone());
        settings.set("postgres.url", state.postgres.clone());
        settings.set("catalogue.geos", geos.to_vec());
        Ok(settings)
    }

    /// Sets a field by its dotted path; tables on the way are made.
    pub fn set(&mut self, path: &str, value: impl Into<Value>) {
        let mut names = path.split('.');
        let field = names.next_back().unwrap_or(path);
        let mut table = &mut self.0;
        for name in names {
            let inner = table
                .entry(name)
                .or_insert_with(|| Value::Table(Table::new()));
            if !inner.is_table() {
                *inner = Value::Table(Table::new());
            }
            table = inner.as_table_mut().expect("it was just made one");
        }
        table.insert(field.to_owned(), value.into());
    }

    pub fn to_text(&self) -> Result<String> {
        Ok(toml::to_string_pretty(&self.0)?)
    }
}
