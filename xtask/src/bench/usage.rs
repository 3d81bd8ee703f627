//! What processes have used, from /proc: processor time and the most memory they ever held.
//!
//! Linux counts processor time in ticks of 10 ms (proc(5): utime, stime, cutime, cstime), so figures below a second are
//! coarse. A process that has ended counts as long as its parent, if it is asked about, has waited for it.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::process::wait_until;

/// Ticks per second: USER_HZ, 100 on every Linux that matters here (sysconf(3), _SC_CLK_TCK).
const TICKS: f64 = 100.0;

/// Processes rest that together used less than this share of a core for so long.
const RESTING: f64 = 0.1;
const REST: Duration = Duration::from_secs(1);
/// How long that may take.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Usage {
    pub cpu_s: f64,
    /// Most resident memory, in megabytes of 2^20 bytes.
    pub peak_rss_mb: f64,
}

impl Usage {
    /// Of one process.
    pub fn of(pid: u32) -> Result<Self> {
        let own = |stat: &Stat| stat.own;
        Ok(Self {
            cpu_s: own(&Stat::of(pid)?) / TICKS,
            peak_rss_mb: peak_rss_mb(pid)?,
        })
    }

    /// Of a server and everything it has forked, whether or not it still runs; memory is the parent's alone, as its
    /// children share it.
    pub fn of_tree(pid: u32) -> Result<Self> {
        let stat = Stat::of(pid)?;
        let mut ticks = stat.own + stat.reaped;
        for entry in fs::read_dir("/proc")?.flatten() {
            let child = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok());
            // A process may end while it is looked at: then its parent has its time.
            if let Some(Ok(stat)) = child.map(Stat::of)
                && stat.parent == pid
            {
                ticks += stat.own + stat.reaped;
            }
        }
        Ok(Self {
            cpu_s: ticks / TICKS,
            peak_rss_mb: peak_rss_mb(pid)?,
        })
    }

    /// What was used since an earlier look; the peak stays what it is.
    pub fn since(self, earlier: Usage) -> Usage {
        Usage {
            cpu_s: self.cpu_s - earlier.cpu_s,
            ..self
        }
    }
}

/// Processor time of all threads of one process, in seconds, as exactly as Linux knows it.
#[cfg(target_os = "linux")]
pub fn cpu_s(pid: u32) -> Result<f64> {
    let mut clock = 0;
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let pid = libc::pid_t::try_from(pid)?;
    #[expect(unsafe_code, reason = "std knows no clock of another process")]
    // SAFETY: both write only to the value that they are given, and tell by their answer whether they did.
    let failed = unsafe {
        libc::clock_getcpuclockid(pid, &mut clock) != 0
            || libc::clock_gettime(clock, &mut time) != 0
    };
    ensure!(!failed, "process {pid} has no clock: it has ended");
    Ok(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}

#[cfg(not(target_os = "linux"))]
pub fn cpu_s(pid: u32) -> Result<f64> {
    anyhow::bail!("the processor time of process {pid}: this part of the bench needs Linux")
}

/// Waits until these processes, by name, have done what they were started or given work for.
pub fn await_rest(pids: &BTreeMap<String, u32>) -> Result<()> {
    let total = || {
        let each = pids.values().map(|pid| Ok(Usage::of(*pid)?.cpu_s));
        each.sum::<Result<f64>>()
    };
    let (mut before, mut since) = (total()?, Instant::now());
    let resting = || {
        if since.elapsed() < REST {
            return false;
        }
        let Ok(now) = total() else { return false };
        let spent = now - before;
        (before, since) = (now, Instant::now());
        spent <= REST.as_secs_f64() * RESTING
    };
    ensure!(
        wait_until(PATIENCE, resting),
        "the processors do not come to rest"
    );
    Ok(())
}

/// Fields of /proc/PID/stat, in ticks.
struct Stat {
    parent: u32,
    own: f64,
    reaped: f64,
}

impl Stat {
    fn of(pid: u32) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))
            .with_context(|| format!("process {pid}"))?;
        // The second field is the name in parentheses, and may hold anything.
        let (_, rest) = text.rsplit_once(')').context("/proc/PID/stat")?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |place: usize| -> Result<f64> {
            let field = fields.get(place).context("/proc/PID/stat is short")?;
            Ok(field.parse()?)
        };
        Ok(Self {
            parent: number(1)? as u32,
            own: number(11)? + number(12)?,
            reaped: number(13)? + number(14)?,
        })
    }
}

fn peak_rss_mb(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB"));
    let kilobytes: f64 = kilobytes
        .context("no VmHWM in /proc/PID/status")?
        .trim()
        .parse()?;
    Ok(kilobytes / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_waits_is_at_rest() {
        let mut child = std::process::Command::new("tail")
            .args(["-f", "/dev/null"])
            .spawn()
            .unwrap();
        let rested = await_rest(&[("tail".to_owned(), child.id())].into());
        child.kill().unwrap();
        child.wait().unwrap();
        rested.unwrap();
    }

    #[test]
    fn a_process_that_works_uses_time_and_memory() {
        let pid = std::process::id();
        let before = Usage::of(pid).unwrap();
        let mut sum = 0_u64;
        while Usage::of(pid).unwrap().since(before).cpu_s < 0.05 {
            sum = sum.wrapping_add((0..100_000).sum::<u64>());
        }
        assert!(Usage::of(pid).unwrap().peak_rss_mb > 0.5, "{sum}");
        assert!(Usage::of_tree(pid).unwrap().cpu_s >= before.cpu_s);
    }
}
