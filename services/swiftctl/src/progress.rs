//! What is going on, for a person who waits longer than a second: on a terminal, and gone when it is over.

use std::cell::Cell;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Shorter work shows nothing.
const PATIENCE: Duration = Duration::from_secs(1);

pub struct Progress {
    bar: ProgressBar,
    since: Instant,
    count: Cell<u64>,
}

impl Progress {
    /// `doing`: such as "reading dead letters".
    pub fn new(doing: &str) -> Self {
        let bar = ProgressBar::hidden();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}: {pos} ({elapsed})") {
            bar.set_style(style);
        }
        bar.set_message(doing.to_owned());
        Progress {
            bar,
            since: Instant::now(),
            count: Cell::new(0),
        }
    }

    /// One more record.
    pub fn read(&self) {
        self.add(1);
    }

    pub fn add(&self, count: usize) {
        self.count.set(self.count.get() + count as u64);
        if self.since.elapsed() < PATIENCE || !std::io::stderr().is_terminal() {
            return;
        }
        if self.bar.is_hidden() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_position(self.count.get());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
