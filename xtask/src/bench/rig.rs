//! What every benchmark runs on: an empty stack, programs built for release, one small geo, settings that move no money.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::processors::{PROCESSORS, Processors, swiftctl};
use crate::settings::Settings;
use crate::stack::dir::StackDir;
use crate::stack::state::State;
use crate::stack::{self};
use crate::workspace::{self, Profile};

/// Six partitions.
pub const GEO: &str = "lisboa-baixa";
const PACKAGES: [&str; 6] = [
    "orders",
    "payments",
    "assignment",
    "notifier",
    "swiftctl",
    "bench",
];
/// Seconds that stand for "never" where a benchmark's drivers neither answer nor move.
const NEVER_S: f64 = 1e9;

/// Builds what is measured.
pub fn build() -> Result<()> {
    eprintln!("bench: building for release");
    workspace::build(&PACKAGES, Profile::Release)
}

/// A stack that runs, with topics and schemas.
pub struct Rig {
    dir: StackDir,
    pub state: State,
}

impl Rig {
    /// An empty one; what an earlier run left is deleted.
    pub fn fresh(dir: &StackDir) -> Result<Self> {
        stack::reset(dir)?;
        let state = stack::up(dir, stack::Options::default())?;
        swiftctl(&state, Profile::Release, &["schemas", "register"])?;
        swiftctl(
            &state,
            Profile::Release,
            &["topics", "apply", "--geos", GEO],
        )?;
        Ok(Self {
            dir: dir.clone(),
            state,
        })
    }

    /// The processors, none started yet. Drivers neither answer nor move; two messages go out per order.
    pub fn processors(&self) -> Result<Processors> {
        let mut settings = Settings::of(&self.state, &[GEO.to_owned()])?;
        settings.set("payments.gateway", "instant");
        for field in [
            "location_ttl_s",
            "offer_timeout_s",
            "vanish_after_s",
            "max_wait_s",
        ] {
            settings.set(&format!("assignment.dispatch.{field}"), NEVER_S);
        }
        settings.set("notifier.rules", rules());
        settings.set("telemetry.log", "warn");
        let config = self.dir.root().join("bench.toml");
        fs::write(&config, settings.to_text()?).context("write bench.toml")?;
        Ok(Processors::new(&self.dir, Profile::Release, config))
    }

    /// Brings so many drivers on duty, and has assignment take note of them before anything is measured.
    pub fn drivers(&self, count: u64) -> Result<()> {
        self.client(&["drivers", "--count", &count.to_string()])?;
        let mut processors = self.processors()?;
        processors.start("assignment")?;
        processors.wait_ready("assignment")?;
        let known = || self.sql("SELECT count(*) FROM assignment.drivers");
        let limit = std::time::Duration::from_secs(300);
        let done =
            crate::process::wait_until(limit, || known().is_ok_and(|n| n == count.to_string()));
        ensure!(done, "assignment knows {} of {count} drivers", known()?);
        processors.stop()
    }

    /// Starts all four and waits for none.
    pub fn start_all(&self) -> Result<Processors> {
        let mut processors = self.processors()?;
        for name in PROCESSORS {
            processors.start(name)?;
        }
        Ok(processors)
    }

    /// Runs the benchmark's client to its end; what it printed.
    pub fn client(&self, arguments: &[&str]) -> Result<Value> {
        let output = self
            .client_command(arguments)
            .output()
            .context("start bench")?;
        ensure!(
            output.status.success(),
            "bench {}: {}",
            arguments.join(" "),
            output.status
        );
        serde_json::from_slice(&output.stdout).context("what bench printed")
    }

    pub fn client_command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(workspace::binary("bench", Profile::Release));
        command
            .args([
                "--brokers",
                &self.state.kafka,
                "--registry",
                &self.state.registry,
            ])
            .args(["--geo", GEO])
            .args(arguments)
            .stderr(Stdio::inherit());
        command
    }

    /// One value from the database.
    pub fn sql(&self, statement: &str) -> Result<String> {
        let output = Command::new("psql")
            .args([&self.state.postgres, "-X", "-A", "-t", "-c", statement])
            .output()
            .context("start psql")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "psql: {errors}");
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    pub fn down(self) -> Result<()> {
        stack::down(&self.dir)
    }
}

/// Two messages per order: when it is confirmed, and when a driver is on his way.
fn rules() -> toml::Value {
    let rule = |event: &str, recipient: &str, template: &str| {
        let fields = [
            ("event", event),
            ("recipient", recipient),
            ("template", template),
            ("channel", "log"),
        ];
        let mut table: toml::Table = fields
            .map(|(name, value)| (name.to_owned(), value.into()))
            .into_iter()
            .collect();
        table.insert("ttl_s".to_owned(), 3_600.into());
        toml::Value::Table(table)
    };
    toml::Value::Array(vec![
        rule("OrderConfirmed", "restaurant", "new_order"),
        rule("OrderDriverAssigned", "customer", "driver_on_the_way"),
    ])
}
