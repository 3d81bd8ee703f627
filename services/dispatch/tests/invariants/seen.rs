//! What has happened in the histories, so that the tests cannot pass by nothing happening.

use std::cell::Cell;

/// How often something worth testing happened, so that the tests cannot pass by nothing happening.
#[derive(Default)]
pub struct Seen {
    pub decisions: Cell<usize>,
    pub waits: Cell<usize>,
    pub releases: Cell<usize>,
    pub vanished: Cell<usize>,
    pub missing: Cell<usize>,
    pub holds: Cell<usize>,
    pub widened: Cell<usize>,
    pub corrected: Cell<usize>,
    pub bundled: Cell<usize>,
    pub detours: Cell<usize>,
    pub given_up: Cell<usize>,
    pub failures: Cell<usize>,
    pub crashes: Cell<usize>,
}

impl Seen {
    pub fn count(counter: &Cell<usize>, by: usize) {
        counter.set(counter.get() + by);
    }

    /// Fails if something of it hardly ever did.
    pub fn was_enough(self) {
        let Seen {
            decisions,
            waits,
            releases,
            vanished,
            missing,
            holds,
            widened,
            corrected,
            bundled,
            detours,
            given_up,
            failures,
            crashes,
        } = self;
        for (what, count) in [
            ("decisions", decisions),
            ("due requests that had to wait", waits),
            ("lapsed offers", releases),
            ("orders taken from vanished drivers", vanished),
            ("meals missing with their drivers", missing),
            ("due orders held for a named driver", holds),
            ("ticks under pressure", widened),
            ("deciding ticks with corrected travel times", corrected),
            ("orders that share a trip", bundled),
            ("customers with half the detour they may have", detours),
            ("orders given up for their age", given_up),
            ("failures", failures),
            ("crashes", crashes),
        ] {
            assert!(
                count.get() > 20,
                "too few {what} to mean anything: {}",
                count.get()
            );
        }
    }
}
