//! A fault of choice: the process ends or stops itself between two effects.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use runtime::{Probe, Step};

/// Ends or stops the process at a step; if `beside` is named, while another thread stands at that one.
pub struct Halt {
    step: Step,
    after: AtomicU32,
    stop: bool,
    beside: Option<Step>,
    meeting: Mutex<Meeting>,
    changed: Condvar,
}

/// Two threads that wait for each other, one at each of two steps.
#[derive(Default)]
struct Meeting {
    beside: bool,
    over: bool,
}

/// How long one waits for the other: a cycle without records, or a recovery, comes past one of the two steps only.
const PATIENCE: Duration = Duration::from_secs(1);

impl Halt {
    pub fn parse(text: &str) -> Result<Self, String> {
        let usage = || {
            format!("TOY_HALT = {text:?}: expected <Step>:<n>:<abort|stop>, and :<Step> to be met")
        };
        let named = |name: &str| {
            Step::ALL
                .into_iter()
                .find(|step| format!("{step:?}") == name)
        };
        let mut parts = text.split(':');
        let step = parts.next().and_then(named);
        let after = parts.next().and_then(|count| count.parse().ok());
        let stop = parts.next().map(|how| how == "stop");
        Ok(Self {
            step: step.ok_or_else(usage)?,
            after: AtomicU32::new(after.ok_or_else(usage)?),
            stop: stop.ok_or_else(usage)?,
            beside: parts
                .next()
                .map(|name| named(name).ok_or_else(usage))
                .transpose()?,
            meeting: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    /// Stands at the step beside until the other thread has come to its step and gone on.
    fn stand_by(&self) {
        let mut meeting = self.lock();
        meeting.beside = true;
        self.changed.notify_all();
        let met = self
            .changed
            .wait_timeout_while(meeting, PATIENCE, |it| !it.over);
        *met.unwrap_or_else(PoisonError::into_inner).0 = Meeting::default();
    }

    /// Halts, if it is time, while the other thread stands by.
    fn meet(&self) {
        let waited = self
            .changed
            .wait_timeout_while(self.lock(), PATIENCE, |it| !it.beside);
        let mut meeting = waited.unwrap_or_else(PoisonError::into_inner).0;
        if meeting.beside {
            self.count();
            meeting.over = true;
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Meeting> {
        self.meeting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[expect(
        unsafe_code,
        reason = "stopping oneself is a system call without a safe wrapper in std"
    )]
    fn count(&self) {
        if self.after.fetch_sub(1, Ordering::SeqCst) != 1 {
            return;
        }
        println!("halt");
        if self.stop {
            // SAFETY: raise has no memory effects.
            unsafe { libc::raise(libc::SIGSTOP) };
        } else {
            std::process::abort();
        }
    }
}

impl Probe for Halt {
    fn reached(&self, step: Step) {
        if Some(step) == self.beside {
            self.stand_by();
        } else if step == self.step {
            match self.beside {
                Some(_) => self.meet(),
                None => self.count(),
            }
        }
    }
}
