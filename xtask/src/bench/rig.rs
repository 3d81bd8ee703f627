//! What every benchmark runs on: an empty stack, programs built for release, some geos, settings that move no money.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::catalogue;
use super::usage::Usage;
use crate::process::wait_until;
use crate::processors::{PROCESSORS, Processors, swiftctl};
use crate::settings::Settings;
use crate::stack::dir::StackDir;
use crate::stack::state::{State, Versions};
use crate::stack::{self};
use crate::workspace::{self, Profile, RELEASED};

/// The geo of what needs only one; six partitions.
pub const GEO: &str = "lisboa-baixa";
/// Seconds that stand for "never" where a benchmark's drivers neither answer nor move.
const NEVER_S: f64 = 1e9;
/// How long tables may take to hold what the topics say.
const STORED: Duration = Duration::from_secs(300);

/// Builds what is measured, and what measures.
pub fn build() -> Result<()> {
    eprintln!("bench: building for release");
    workspace::build(&RELEASED, Profile::Release)
}

/// Compares the codec in a process of its own; needs no stack.
pub fn codec() -> Result<Value> {
    let output = Command::new(workspace::binary("bench", Profile::Release))
        .arg("codec")
        .stderr(Stdio::inherit())
        .output()
        .context("start bench")?;
    ensure!(output.status.success(), "bench codec: {}", output.status);
    serde_json::from_slice(&output.stdout).context("what bench printed")
}

/// Where stacks stand, one after the other, and what they were made of.
pub struct Site {
    pub dir: StackDir,
    /// How the processors were built.
    profile: Profile,
    pub versions: RefCell<Option<Versions>>,
}

impl Site {
    pub fn of(profile: Profile) -> Result<Self> {
        Ok(Self {
            dir: StackDir::at(&workspace::root().join(".stack/bench"))?,
            profile,
            versions: RefCell::new(None),
        })
    }
}

/// A stack that runs, with topics and schemas.
pub struct Rig {
    pub dir: StackDir,
    profile: Profile,
    geos: Vec<String>,
    /// Directory of a catalogue that is not the build's.
    catalogue: Option<PathBuf>,
    pub state: State,
}

impl Rig {
    /// An empty one; what an earlier run left is deleted.
    pub fn fresh(site: &Site, geos: &[&str]) -> Result<Self> {
        Self::empty(site, geos, None)
    }

    /// The same by a catalogue in which all geos have so many partitions.
    pub fn of_partitions(site: &Site, geos: &[&str], partitions: u32) -> Result<Self> {
        let dir = site.dir.root().join("catalogue");
        catalogue::write(&dir, partitions)?;
        Self::empty(site, geos, Some(dir))
    }

    fn empty(site: &Site, geos: &[&str], catalogue: Option<PathBuf>) -> Result<Self> {
        stack::reset(&site.dir)?;
        let state = stack::up(&site.dir, stack::Options::default())?;
        *site.versions.borrow_mut() = Some(state.versions.clone());
        swiftctl(&state, Profile::Release, &["schemas", "register"])?;
        let geos_text = geos.join(",");
        let mut apply = vec!["topics", "apply", "--geos", &geos_text];
        if let Some(dir) = &catalogue {
            apply.extend(["--catalogue", dir.to_str().context("a path of no text")?]);
        }
        swiftctl(&state, Profile::Release, &apply)?;
        Ok(Self {
            dir: site.dir.clone(),
            profile: site.profile,
            geos: geos.iter().map(|geo| (*geo).to_owned()).collect(),
            catalogue,
            state,
        })
    }

    /// The repository's settings, with payments that cost nothing, two messages per order, and a quiet log.
    pub fn settings(&self) -> Result<Settings> {
        let mut settings = Settings::of(&self.state, &self.geos)?;
        settings.set("payments.gateway", "instant");
        // It answers at once, so that a bound on its calls would only cut its answers into small cycles.
        for field in ["payments.concurrency", "runtime.call_concurrency"] {
            settings.set(field, 500);
        }
        settings.set("notifier.rules", rules());
        settings.set("telemetry.log", "warn");
        if let Some(dir) = &self.catalogue {
            settings.set("catalogue.directory", dir.to_string_lossy().into_owned());
        }
        Ok(settings)
    }

    /// The same for drivers who neither answer nor move, and are not missed.
    pub fn settings_of_still_drivers(&self) -> Result<Settings> {
        let mut settings = self.settings()?;
        for field in [
            "location_ttl_s",
            "offer_timeout_s",
            "vanish_after_s",
            "max_wait_s",
        ] {
            settings.set(&format!("assignment.dispatch.{field}"), NEVER_S);
        }
        Ok(settings)
    }

    /// The processors, none started yet.
    pub fn processors(&self, settings: &Settings) -> Result<Processors> {
        let config = self.dir.root().join("bench.toml");
        fs::write(&config, settings.to_text()?).context("write bench.toml")?;
        Ok(Processors::new(&self.dir, self.profile, config))
    }

    /// All four, started; waits for none.
    pub fn start_all(&self, settings: &Settings) -> Result<Processors> {
        let mut processors = self.processors(settings)?;
        for name in PROCESSORS {
            processors.start(name)?;
        }
        Ok(processors)
    }

    /// Brings so many drivers on duty, and has assignment take note of them before anything is measured.
    pub fn drivers(&self, count: u64, settings: &Settings) -> Result<()> {
        self.client(&["drivers", "--count", &count.to_string()])?;
        let mut processors = self.processors(settings)?;
        processors.start("assignment")?;
        processors.wait_ready("assignment")?;
        self.await_sql("SELECT count(*) FROM assignment.drivers", count)?;
        processors.stop()
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
            .args(["--geos", &self.geos.join(",")])
            .args(
                self.catalogue
                    .iter()
                    .flat_map(|dir| [OsStr::new("--catalogue"), dir.as_os_str()]),
            )
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        command
    }

    /// One value from the database.
    pub fn sql(&self, statement: &str) -> Result<String> {
        self.psql(&["-c", statement])
    }

    /// Runs psql with these arguments, up to the first error.
    pub fn psql(&self, arguments: &[&str]) -> Result<String> {
        let output = Command::new("psql")
            .args([&self.state.postgres, "-X", "-A", "-t", "-q"])
            .args(["-v", "ON_ERROR_STOP=1"])
            .args(arguments)
            .output()
            .context("start psql")?;
        let errors = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "psql: {errors}");
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Waits until a statement gives this number.
    pub fn await_sql(&self, statement: &str, wanted: u64) -> Result<()> {
        let wanted = wanted.to_string();
        let done = wait_until(STORED, || self.sql(statement).is_ok_and(|n| n == wanted));
        ensure!(done, "{statement}: {}, not {wanted}", self.sql(statement)?);
        Ok(())
    }

    /// What a server of the stack has used: "postgres" or "kafka-1".
    pub fn server(&self, name: &str) -> Result<Usage> {
        let process = self.state.processes.get(name);
        Usage::of_tree(process.with_context(|| format!("no process {name}"))?.pid)
    }

    /// Bytes on disk: messages in Kafka's logs, and the database without its log.
    pub fn disk(&self) -> Result<(u64, u64)> {
        let mut kafka = 0;
        for partition in fs::read_dir(self.dir.kafka(1).join("data"))?.flatten() {
            for file in fs::read_dir(partition.path())
                .into_iter()
                .flatten()
                .flatten()
            {
                // Indexes are preallocated, so their length says nothing.
                if file.path().extension().is_some_and(|kind| kind == "log") {
                    kafka += file.metadata()?.len();
                }
            }
        }
        let postgres = self.sql("SELECT pg_database_size(current_database())")?;
        Ok((kafka, postgres.parse()?))
    }

    pub fn down(self) -> Result<()> {
        stack::down(&self.dir)
    }
}

/// Seconds since the epoch, the clock that clients and logs use too.
pub fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

/// A figure of a client's answer, by its path.
pub fn number(value: &Value, path: &str) -> Result<f64> {
    let found = value.pointer(path).and_then(Value::as_f64);
    found.with_context(|| format!("no figure {path} in {value}"))
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
