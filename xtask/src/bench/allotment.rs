//! Holds processes to an equal share of a core each, so that what more of them achieve can be told where cores are short.
//!
//! Who has used more than its share is stopped (SIGSTOP) until time has made up for it, and goes on then (SIGCONT): what
//! a control group's quota does, without the rights that one needs. What a process leaves unused it keeps for
//! [`CARRIED_S`] only, so an idle one gains no advantage.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::usage;
use crate::process::{Process, Signal};

/// Time between two looks.
const LOOK: Duration = Duration::from_millis(2);
/// A process may use at once what it left unused for so long.
const CARRIED_S: f64 = 1.0;

/// Shares that hold until this is dropped.
pub struct Allotment {
    /// `None` once it is being dropped, which ends the watch.
    end: Option<Sender<()>>,
    watch: Option<JoinHandle<()>>,
}

impl Allotment {
    /// `share` of a core for each of these processes, by name, from now on.
    pub fn hold(pids: &BTreeMap<String, u32>, share: f64) -> Result<Self> {
        ensure!(
            share > 0.0,
            "the share of a core is {share}: it must be positive"
        );
        let held = |(name, pid): (&String, &u32)| {
            Held::new(*pid, share).with_context(|| format!("hold {name} to its share"))
        };
        let all = pids.iter().map(held).collect::<Result<Vec<Held>>>()?;
        let (end, ended) = mpsc::channel();
        let watch = thread::spawn(move || {
            let mut all = all;
            while ended.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                all.iter_mut().for_each(Held::look);
            }
            all.iter().for_each(Held::release);
        });
        Ok(Self {
            end: Some(end),
            watch: Some(watch),
        })
    }
}

impl Drop for Allotment {
    fn drop(&mut self) {
        self.end.take();
        if let Some(watch) = self.watch.take() {
            // It does not panic, and if it did there would be nobody left to stop a process.
            let _ = watch.join();
        }
    }
}

struct Held {
    process: Process,
    credit: Credit,
    seen: Instant,
    stopped: bool,
}

impl Held {
    fn new(pid: u32, share: f64) -> Result<Self> {
        Ok(Self {
            process: Process::of(pid).context("it has ended")?,
            credit: Credit::new(share, usage::cpu_s(pid)?),
            seen: Instant::now(),
            stopped: false,
        })
    }

    fn look(&mut self) {
        // One that has ended uses nothing more; whoever waits for its work will miss it.
        let Ok(used_s) = usage::cpu_s(self.process.pid) else {
            return;
        };
        let passed_s = self.seen.elapsed().as_secs_f64();
        self.seen = Instant::now();
        let stop = !self.credit.after(passed_s, used_s);
        if stop != self.stopped {
            self.stopped = stop;
            self.process
                .signal(if stop { Signal::Stop } else { Signal::Continue });
        }
    }

    fn release(&self) {
        self.process.signal(Signal::Continue);
    }
}

/// Processor time that a process may still use, in seconds.
struct Credit {
    share: f64,
    left_s: f64,
    used_s: f64,
}

impl Credit {
    fn new(share: f64, used_s: f64) -> Self {
        Self {
            share,
            left_s: 0.0,
            used_s,
        }
    }

    /// Whether it may run on, `passed_s` after the last look, having used `used_s` since it began.
    fn after(&mut self, passed_s: f64, used_s: f64) -> bool {
        let spent_s = used_s - self.used_s;
        self.used_s = used_s;
        let left_s = self.left_s + self.share * passed_s - spent_s;
        self.left_s = left_s.min(self.share * CARRIED_S);
        self.left_s >= 0.0
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::process::wait_until;

    #[test]
    fn what_is_used_too_much_is_waited_for_and_idleness_is_not_saved_up() {
        let mut credit = Credit::new(0.25, 10.0);
        // 0.05 s of a quarter's share are 0.2 s of time: 0.1 s have passed, another 0.11 s make it up.
        assert!(!credit.after(0.1, 10.05));
        assert!(credit.after(0.11, 10.05));
        // A minute of idleness allows as much as a second of it.
        assert!(credit.after(60.0, 10.05));
        assert!(credit.after(0.0, 10.25));
        assert!(!credit.after(0.0, 10.35));
    }

    #[test]
    fn a_busy_process_gets_its_share_and_runs_on_afterwards() {
        let mut busy = Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .unwrap();
        let pids = BTreeMap::from([("busy".to_owned(), busy.id())]);
        let used = || usage::cpu_s(busy.id()).unwrap();
        let (before, began) = (used(), Instant::now());
        let allotment = Allotment::hold(&pids, 0.1).unwrap();
        let enough = wait_until(Duration::from_secs(60), || used() - before >= 0.4);
        let (spent, passed) = (used() - before, began.elapsed().as_secs_f64());
        drop(allotment);
        let freed = used();
        let runs_on = wait_until(Duration::from_secs(60), || used() - freed >= 0.1);
        busy.kill().unwrap();
        busy.wait().unwrap();
        assert!(enough && runs_on);
        // A look that comes late lets it run on for a while; unheld it would have spent what has passed.
        assert!(spent < 0.1 * passed + 0.2, "{spent} s in {passed} s");
    }
}
