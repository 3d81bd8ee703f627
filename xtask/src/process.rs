//! Processes that outlive the command that started them.
//!
//! A process is named by its pid **and** the instant it began, because the kernel hands a dead process's pid to a stranger.
//! Nothing in this crate signals a process whose both halves do not match, so a stale record can never kill somebody else's work.
//! It costs one read of `/proc` (one `ps` where there is none) per look.

use std::{
    fs::{self, File},
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

/// One running process, told apart from a later one with the same pid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    pub pid: u32,
    /// When it began, in whatever unit the system tells it: only ever compared.
    pub started: String,
}

impl Process {
    /// The process that has this pid now; `None` when there is none or when it only waits to be reaped.
    pub fn of(pid: u32) -> Option<Self> {
        let started = if cfg!(target_os = "linux") {
            started_from_proc(pid)
        } else {
            started_from_ps(pid)
        }?;
        Some(Self { pid, started })
    }

    pub fn is_alive(&self) -> bool {
        Self::of(self.pid).as_ref() == Some(self)
    }

    /// Sends `signal`, waits up to `grace` for the end, then kills. True when no kill was needed.
    pub fn stop(&self, signal: Signal, grace: Duration) -> Result<bool> {
        self.signal(signal);
        if wait_until(grace, || !self.is_alive()) {
            return Ok(true);
        }
        self.signal(Signal::Kill);
        if !wait_until(Duration::from_secs(5), || !self.is_alive()) {
            bail!(
                "process {} does not die of SIGKILL: it hangs in the kernel",
                self.pid
            );
        }
        Ok(false)
    }

    pub fn signal(&self, signal: Signal) {
        if self.is_alive() {
            send(self.pid, signal);
        }
    }
}

#[derive(Debug, Clone, Copy)]
pub enum Signal {
    /// SIGINT: PostgreSQL's fast shutdown.
    Interrupt,
    /// SIGTERM: everybody else's orderly end.
    Terminate,
    Kill,
    /// SIGSTOP: runs no further until [`Signal::Continue`].
    Stop,
    Continue,
}

/// Starts `command` so that it survives this one: own process group (a Ctrl-C here is not its own), no input, output appended to `log`.
pub fn spawn_detached(mut command: Command, log: &Path) -> Result<Process> {
    let out = File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("open {}", log.display()))?;
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .process_group(0)
        .spawn()
        .with_context(|| format!("start {program}"))?;
    match Process::of(child.id()) {
        Some(process) => Ok(process),
        None => bail!("{program} ended at once\n{}", tail(log, 20)),
    }
}

/// Runs `command` to its end with its output in `log`; its last lines are the error when it fails.
pub fn run_logged(mut command: Command, log: &Path) -> Result<()> {
    let out = File::create(log).with_context(|| format!("create {}", log.display()))?;
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command
        .stdin(Stdio::null())
        .stdout(out.try_clone()?)
        .stderr(out)
        .status()
        .with_context(|| format!("start {program}"))?;
    if !status.success() {
        bail!(
            "{program}: {status}, see {}\n{}",
            log.display(),
            tail(log, 20)
        );
    }
    Ok(())
}

/// The last `lines` lines of a log, for an error message.
pub fn tail(log: &Path, lines: usize) -> String {
    let text = fs::read(log)
        .map(|b| String::from_utf8_lossy(&b).into_owned())
        .unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Looks every 20 ms whether `condition` holds, up to `limit`; answers whether it came to hold.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// From here on a Ctrl-C (or SIGTERM) no longer ends this process but is told by [`interrupted`], so that what was started can be stopped.
pub fn catch_interrupts() {
    extern "C" fn note(_: libc::c_int) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    #[expect(
        unsafe_code,
        reason = "std has no signal handling; the handler only stores to an atomic, which is async-signal-safe"
    )]
    // SAFETY: `note` has the ABI of a handler and touches nothing but a lock-free atomic.
    unsafe {
        libc::signal(libc::SIGINT, note as *const () as libc::sighandler_t);
        libc::signal(libc::SIGTERM, note as *const () as libc::sighandler_t);
    }
}

pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// The uid this process acts as.
pub fn effective_uid() -> u32 {
    #[expect(unsafe_code, reason = "std does not tell the uid")]
    // SAFETY: geteuid takes nothing, touches no memory of ours and cannot fail.
    unsafe {
        libc::geteuid()
    }
}

fn send(pid: u32, signal: Signal) {
    let number = match signal {
        Signal::Interrupt => libc::SIGINT,
        Signal::Terminate => libc::SIGTERM,
        Signal::Kill => libc::SIGKILL,
        Signal::Stop => libc::SIGSTOP,
        Signal::Continue => libc::SIGCONT,
    };
    let Ok(pid) = libc::pid_t::try_from(pid) else {
        return;
    };
    #[expect(unsafe_code, reason = "std can only kill its own children")]
    // SAFETY: kill touches no memory of ours; a pid that is gone is answered by an error, which the caller sees by looking again.
    unsafe {
        libc::kill(pid, number);
    }
}

fn started_from_proc(pid: u32) -> Option<String> {
    started_of(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Of a line of `/proc/<pid>/stat`, as proc(5) has it: field 3 is the state, 20 num_threads, 22 starttime.
fn started_of(stat: &str) -> Option<String> {
    // The name in parentheses may hold anything: count from its end.
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace();
    let has_ended = matches!(fields.next()?, "Z" | "X");
    // The first thread may have ended before others, which hold files and ports open until they have.
    let is_last = fields.nth(16)?.parse::<u32>().ok()? <= 1;
    let started = fields.nth(1)?;
    (!(has_ended && is_last)).then(|| started.to_owned())
}

fn started_from_ps(pid: u32) -> Option<String> {
    let out = Command::new("ps")
        .args(["-o", "stat=,lstart=", "-p", &pid.to_string()])
        .output()
        .ok()?;
    let line = String::from_utf8_lossy(&out.stdout);
    let (state, started) = line.trim().split_once(char::is_whitespace)?;
    (!state.starts_with('Z')).then(|| started.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_pid_is_not_the_process_that_was_recorded() {
        let mine = Process::of(std::process::id()).expect("I run");
        assert!(mine.is_alive());
        let stranger = Process {
            started: format!("{}0", mine.started),
            ..mine
        };
        assert!(!stranger.is_alive());
        // Were it signalled, this test would die here.
        stranger.signal(Signal::Kill);
    }

    #[test]
    fn a_process_has_ended_when_the_last_of_its_threads_has() {
        let started = |state: &str, threads: u32| {
            let stat = format!(
                "7 (a) Z (b) {state} 1 7 7 0 -1 4 0 0 0 0 0 0 0 0 20 0 {threads} 0 123 0 0"
            );
            started_of(&stat)
        };
        assert_eq!(started("S", 1).as_deref(), Some("123"));
        // Killed, but another thread still holds its port.
        assert_eq!(started("Z", 2).as_deref(), Some("123"));
        assert_eq!(started("Z", 1), None);
        assert_eq!(started("X", 0), None);
    }

    #[test]
    fn a_process_that_ignores_the_polite_signal_is_killed() {
        let dir = std::env::temp_dir().join(format!("xtask-process-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("temp dir");
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' TERM; echo deaf; exec tail -f /dev/null"]);
        let process = spawn_detached(command, &dir.join("log")).expect("start sh");
        assert!(wait_until(Duration::from_secs(10), || tail(
            &dir.join("log"),
            1
        ) == "deaf"));
        let polite = process
            .stop(Signal::Terminate, Duration::from_millis(100))
            .expect("stop");
        assert!(!polite);
        assert!(!process.is_alive());
        fs::remove_dir_all(&dir).expect("clean up");
    }

    #[test]
    fn a_process_that_ends_when_asked_is_not_killed() {
        let dir = std::env::temp_dir().join(format!("xtask-polite-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("temp dir");
        let mut command = Command::new("tail");
        command.args(["-f", "/dev/null"]);
        let process = spawn_detached(command, Path::new("/dev/null")).expect("start tail");
        assert!(
            process
                .stop(Signal::Terminate, Duration::from_secs(10))
                .expect("stop")
        );
        fs::remove_dir_all(&dir).expect("clean up");
    }
}
