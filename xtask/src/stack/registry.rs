//! Apicurio Registry, spoken to through its Confluent-compatible API.
//!
//! Its schemas live in the stack's PostgreSQL, so ids survive a restart: records written yesterday stay readable.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, bail};

use super::{dir::StackDir, jars, ports::Ports, tools::Java};
use crate::{
    http,
    process::{self, Process},
};

pub const NEWEST: &str = "3.3.3";
/// The last one whose classes Java 17 loads.
pub const FOR_JAVA_17: &str = "3.0.9";
pub const OLDEST_JAVA: u32 = 17;
pub const LOG: &str = "registry";
/// Its database in the stack's PostgreSQL.
pub const DATABASE: &str = "registry";

/// The newest registry that this Java runs.
pub fn version_for(java: u32) -> &'static str {
    if java >= 21 { NEWEST } else { FOR_JAVA_17 }
}

/// Starts the registry; PostgreSQL must answer by now.
pub fn start(dir: &StackDir, java: &Java, ports: &Ports) -> Result<Process> {
    let home = jars::registry_dir(dir, version_for(java.release));
    let log = dir.log(LOG);
    fs::write(&log, "")?;
    let mut command = java.command(&dir.temporary());
    command
        // Started often, used little: quick to start beats quick at the end.
        .args([
            "-Xmx400m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-jar",
        ])
        .arg(runner(&home)?)
        .current_dir(&home)
        .env("QUARKUS_HTTP_HOST", "127.0.0.1")
        .env("QUARKUS_HTTP_PORT", ports.registry.to_string())
        .env("QUARKUS_MANAGEMENT_HOST", "127.0.0.1")
        .env(
            "QUARKUS_MANAGEMENT_PORT",
            ports.registry_management.to_string(),
        )
        .env("APICURIO_STORAGE_KIND", "sql")
        .env("APICURIO_STORAGE_SQL_KIND", "postgresql")
        .env(
            "APICURIO_DATASOURCE_URL",
            format!("jdbc:postgresql://127.0.0.1:{}/{DATABASE}", ports.postgres),
        )
        .env("APICURIO_DATASOURCE_USERNAME", "swift")
        .env("APICURIO_DATASOURCE_PASSWORD", "swift")
        .env("APICURIO_DATASOURCE_JDBC_INITIAL_SIZE", "1")
        .env("APICURIO_DATASOURCE_JDBC_MIN_SIZE", "1")
        .env("APICURIO_DATASOURCE_JDBC_MAX_SIZE", "10");
    process::spawn_detached(command, &log)
}

fn runner(home: &std::path::Path) -> Result<PathBuf> {
    let entries = fs::read_dir(home).with_context(|| format!("read {}", home.display()))?;
    let is_runner = |path: &PathBuf| {
        let name = path
            .file_name()
            .map(|n| n.to_string_lossy().into_owned())
            .unwrap_or_default();
        name == "quarkus-run.jar" || name.ends_with("-runner.jar")
    };
    match entries.flatten().map(|e| e.path()).find(is_runner) {
        Some(path) => Ok(path),
        None => bail!(
            "no runnable jar in {}: remove it, it is fetched again",
            home.display()
        ),
    }
}

/// True when the registry answers for its storage, not only for its port.
pub fn serves(port: u16) -> bool {
    http::request(port, "GET", "/apis/ccompat/v7/subjects", "").is_ok_and(|status| status == 200)
}

/// Every subject without a rule of its own: readers and writers of any two versions understand each other.
pub fn demand_full_transitive(port: u16) -> Result<()> {
    let status = http::request(
        port,
        "PUT",
        "/apis/ccompat/v7/config",
        r#"{"compatibility":"FULL_TRANSITIVE"}"#,
    )?;
    if status != 200 {
        bail!("the registry answered {status} when asked for FULL_TRANSITIVE compatibility");
    }
    Ok(())
}
