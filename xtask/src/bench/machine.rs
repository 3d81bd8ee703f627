//! Where something was measured, and of what.

use std::fs;
use std::process::Command;

use anyhow::Result;
use serde::Serialize;

use crate::stack::state::Versions;
use crate::workspace;

#[derive(Serialize)]
pub struct Machine {
    pub cores: usize,
    pub memory_mb: u64,
    pub cpu: String,
    /// Of Kafka, the registry, PostgreSQL and Java; none when no stack was needed.
    pub versions: Option<Versions>,
    /// Processes that wanted to run, on average over the minute before the run began: what others left of the cores.
    pub load_before: f64,
    /// Of the compiler.
    pub rust: String,
    /// Of the sources, with a mark if they were changed since.
    pub commit: String,
}

impl Machine {
    pub fn this(versions: Option<Versions>, load_before: f64) -> Result<Self> {
        let memory = field("/proc/meminfo", "MemTotal")?;
        let kilobytes = memory.split_whitespace().next();
        let kilobytes: u64 = kilobytes.and_then(|n| n.parse().ok()).unwrap_or_default();
        let commit = output("git", &["rev-parse", "--short", "HEAD"]);
        let sources = [
            "status",
            "--porcelain",
            "--untracked-files=no",
            "--",
            "services",
            "migrations",
            "schemas",
        ];
        let changed = !output("git", &sources).is_empty();
        Ok(Self {
            cores: std::thread::available_parallelism()?.get(),
            memory_mb: kilobytes / 1024,
            cpu: field("/proc/cpuinfo", "model name")?,
            versions,
            load_before,
            rust: output("rustc", &["--version"]),
            commit: format!("{commit}{}", if changed { " and changes" } else { "" }),
        })
    }
}

/// The load average of the last minute.
pub fn load() -> Result<f64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    let first = text.split_whitespace().next().unwrap_or_default();
    Ok(first.parse()?)
}

fn field(file: &str, name: &str) -> Result<String> {
    let text = fs::read_to_string(file)?;
    let line = text.lines().find(|line| line.starts_with(name));
    let value = line.and_then(|line| line.split_once(':'));
    Ok(value.map_or_else(|| "?".to_owned(), |(_, value)| value.trim().to_owned()))
}

/// What a program says; a question mark where it cannot be asked, as in sources without their history.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(workspace::root())
        .output();
    match output {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        }
        _ => "?".to_owned(),
    }
}
