//! Processors started beside the stack: started, found and stopped by name.
//!
//! Each running one has a file `services/<name>.json` in the stack's directory, written right after its start, so that
//! `stack status` lists it, `stack down` stops it, and a crash of the starter loses track of nothing.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::{
    process::{self, Process, Signal},
    stack::{
        dir::StackDir,
        state::{Service, write_whole},
    },
};

#[derive(Serialize, Deserialize)]
struct Record {
    name: String,
    /// Base URL of health and metrics.
    http: String,
    #[serde(flatten)]
    process: Process,
}

/// A processor this command started and will stop; dropped without [`Running::leave`], it is stopped, whatever ended the caller.
#[derive(Debug)]
pub struct Running {
    name: String,
    process: Process,
    record: PathBuf,
    log: PathBuf,
    leave: bool,
}

impl Running {
    /// Starts `command` as `name`, whose health and metrics are at `http` (base URL), with its output in the stack's `logs/<name>.log`.
    pub fn start(dir: &StackDir, name: &str, http: &str, command: Command) -> Result<Self> {
        dir.create()?;
        let log = dir.log(name);
        let process = process::spawn_detached(command, &log)?;
        let record = dir.services().join(format!("{name}.json"));
        let running = Self {
            name: name.to_owned(),
            process: process.clone(),
            record,
            log,
            leave: false,
        };
        let record = Record {
            name: name.to_owned(),
            http: http.to_owned(),
            process,
        };
        write_whole(&running.record, &serde_json::to_string_pretty(&record)?)?;
        Ok(running)
    }

    #[cfg(test)]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    pub fn is_alive(&self) -> bool {
        self.process.is_alive()
    }

    /// Its last lines, for an error message.
    pub fn tail(&self, lines: usize) -> String {
        process::tail(&self.log, lines)
    }

    /// SIGKILL, for a test of crashes; the record stays until the next start under this name.
    pub fn kill(&self) {
        self.process.signal(Signal::Kill);
    }

    /// Ends it in order; false when it had to be killed after `grace`.
    pub fn stop(mut self, grace: Duration) -> Result<bool> {
        self.leave = true;
        end(&self.process, &self.record, grace)
    }

    /// Lets it run on when this command ends.
    pub fn leave(mut self) {
        self.leave = true;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.leave
            && let Err(error) = end(&self.process, &self.record, Duration::from_secs(10))
        {
            eprintln!("{}: {error:#}", self.name);
        }
    }
}

/// The processors that run now, by the records in `services`.
pub fn live(services: &Path) -> BTreeMap<String, Service> {
    records(services)
        .into_iter()
        .filter(|(_, record)| record.process.is_alive())
        .map(|(_, record)| {
            (
                record.name,
                Service {
                    http: record.http,
                    pid: record.process.pid,
                },
            )
        })
        .collect()
}

/// Stops every recorded processor, all at once, and forgets them.
pub fn stop_all(services: &Path) -> Result<()> {
    let records = records(services);
    for (_, record) in &records {
        record.process.signal(Signal::Terminate);
    }
    for (path, record) in &records {
        if record.process.is_alive() {
            eprintln!(
                "stack: stopping {} (pid {})",
                record.name, record.process.pid
            );
        }
        end(&record.process, path, Duration::from_secs(15))?;
    }
    Ok(())
}

fn end(process: &Process, record: &Path, grace: Duration) -> Result<bool> {
    let polite = process.stop(Signal::Terminate, grace)?;
    match fs::remove_file(record) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", record.display()))
        }
        _ => Ok(polite),
    }
}

fn records(services: &Path) -> Vec<(PathBuf, Record)> {
    let Ok(entries) = fs::read_dir(services) else {
        return Vec::new();
    };
    entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .filter_map(|path| {
            let record = serde_json::from_str(&fs::read_to_string(&path).ok()?).ok()?;
            Some((path, record))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack_of(test: &str) -> StackDir {
        let root =
            std::env::temp_dir().join(format!("xtask-services-{test}-{}", std::process::id()));
        StackDir::at(&root).expect("a path")
    }

    /// Says that it is ready, then waits for a signal.
    fn endless() -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", "echo ready; exec tail -f /dev/null"]);
        command
    }

    #[test]
    fn a_started_processor_is_listed_until_it_is_stopped() {
        let dir = stack_of("listed");
        let running =
            Running::start(&dir, "orders", "http://127.0.0.1:1", endless()).expect("start");
        let listed = live(&dir.services());
        assert_eq!(
            listed["orders"],
            Service {
                http: "http://127.0.0.1:1".to_owned(),
                pid: running.pid()
            }
        );
        assert_eq!((listed.len(), running.name()), (1, "orders"));
        assert!(process::wait_until(Duration::from_secs(10), || running
            .tail(5)
            == "ready"));
        assert!(running.stop(Duration::from_secs(10)).expect("stop"));
        assert!(live(&dir.services()).is_empty());
        fs::remove_dir_all(dir.root()).expect("clean up");
    }

    #[test]
    fn a_killed_processor_is_not_listed_though_its_record_is_there() {
        let dir = stack_of("killed");
        let running =
            Running::start(&dir, "payments", "http://127.0.0.1:2", endless()).expect("start");
        running.kill();
        assert!(process::wait_until(Duration::from_secs(10), || !running.is_alive()));
        assert!(dir.services().join("payments.json").exists());
        assert!(live(&dir.services()).is_empty());
        drop(running);
        fs::remove_dir_all(dir.root()).expect("clean up");
    }

    #[test]
    fn a_processor_left_running_is_found_and_stopped_by_its_record() {
        let dir = stack_of("left");
        let running =
            Running::start(&dir, "notifier", "http://127.0.0.1:3", endless()).expect("start");
        let pid = running.pid();
        running.leave();
        assert!(Process::of(pid).is_some());
        stop_all(&dir.services()).expect("stop");
        assert!(Process::of(pid).is_none());
        assert!(!dir.services().join("notifier.json").exists());
        fs::remove_dir_all(dir.root()).expect("clean up");
    }

    #[test]
    fn a_starter_that_gives_up_takes_its_processor_with_it() {
        let dir = stack_of("dropped");
        let running =
            Running::start(&dir, "assignment", "http://127.0.0.1:4", endless()).expect("start");
        let pid = running.pid();
        drop(running);
        assert!(Process::of(pid).is_none());
        fs::remove_dir_all(dir.root()).expect("clean up");
    }
}
