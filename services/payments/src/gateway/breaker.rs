//! The circuit breaker: while the gateway is down, nobody waits for its timeouts.
//!
//! Closed, it lets calls pass and counts failures; enough of them within the window open it. Open, calls are deferred
//! without being tried. After its time a few trials pass: one good answer closes it, one failure opens it again. A
//! decline is a good answer. One per process: instances find out for themselves.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug)]
pub struct BreakerPolicy {
    /// Failures within `window` that open it.
    pub failures: usize,
    pub window: Duration,
    /// How long it stays open before trials.
    pub open: Duration,
    /// Trials at once.
    pub trials: usize,
}

/// The state machine; time is an input.
#[derive(Debug)]
pub struct Breaker {
    policy: BreakerPolicy,
    state: State,
    /// How often it has closed again.
    closings: u64,
}

#[derive(Debug)]
enum State {
    /// With the instants of recent failures.
    Closed(VecDeque<Instant>),
    Open {
        until: Instant,
    },
    /// With the number of trials under way and when the last began: a trial whose answer never comes (its lane was lost)
    /// must not keep the breaker from ever trying again.
    HalfOpen {
        trials: usize,
        since: Instant,
    },
}

/// Leave to make a call, to be handed back with how it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    Call,
    Trial,
}

impl Breaker {
    pub fn new(policy: BreakerPolicy) -> Self {
        Self {
            policy,
            state: State::Closed(VecDeque::new()),
            closings: 0,
        }
    }

    /// How many calls would be let through now, or after what time it is worth asking again. Only asks.
    pub fn room(&self, now: Instant) -> Result<usize, Duration> {
        match &self.state {
            State::Closed(_) => Ok(usize::MAX),
            State::Open { until } if now < *until => Err(*until - now),
            State::Open { .. } => Ok(self.policy.trials),
            State::HalfOpen { trials, since } => {
                let overdue = now.duration_since(*since) >= self.policy.open;
                let left = self.policy.trials.saturating_sub(*trials);
                Ok(if overdue { left.max(1) } else { left })
            }
        }
    }

    /// Whether a call may be made now; otherwise after what time to ask again.
    pub fn admit(&mut self, now: Instant) -> Result<Leave, Duration> {
        match &mut self.state {
            State::Closed(_) => return Ok(Leave::Call),
            State::Open { until } if now < *until => return Err(*until - now),
            State::Open { .. } => {
                self.state = State::HalfOpen {
                    trials: 1,
                    since: now,
                }
            }
            State::HalfOpen { trials, since } => {
                let waited = now.duration_since(*since);
                if *trials < self.policy.trials {
                    *trials += 1;
                } else if waited < self.policy.open {
                    return Err(self.policy.open - waited);
                }
                *since = now;
            }
        }
        Ok(Leave::Trial)
    }

    /// Notes how a call went. A call that was let through before the breaker opened neither closes nor prolongs it.
    pub fn record(&mut self, leave: Leave, good: bool, now: Instant) {
        match (&mut self.state, leave) {
            (State::Closed(failures), _) if !good => {
                failures.push_back(now);
                let window = self.policy.window;
                while failures
                    .front()
                    .is_some_and(|first| now.duration_since(*first) > window)
                {
                    failures.pop_front();
                }
                if failures.len() >= self.policy.failures {
                    self.open(now);
                }
            }
            (State::HalfOpen { .. }, Leave::Trial) if good => {
                self.state = State::Closed(VecDeque::new());
                self.closings += 1;
            }
            (State::HalfOpen { .. }, Leave::Trial) => self.open(now),
            _ => {}
        }
    }

    pub fn closings(&self) -> u64 {
        self.closings
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed(_))
    }

    fn open(&mut self, now: Instant) {
        self.state = State::Open {
            until: now + self.policy.open,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: BreakerPolicy = BreakerPolicy {
        failures: 3,
        window: Duration::from_secs(60),
        open: Duration::from_secs(10),
        trials: 1,
    };

    fn opened(start: Instant) -> Breaker {
        let mut breaker = Breaker::new(POLICY);
        for _ in 0..3 {
            let leave = breaker.admit(start).unwrap();
            breaker.record(leave, false, start);
        }
        assert!(!breaker.is_closed());
        breaker
    }

    #[test]
    fn failures_within_the_window_open_it_and_older_ones_do_not() {
        let start = Instant::now();
        let mut breaker = Breaker::new(POLICY);
        for at in [0, 40, 101, 140] {
            breaker.record(Leave::Call, false, start + Duration::from_secs(at));
            assert!(breaker.is_closed(), "after {at} s");
        }
        breaker.record(Leave::Call, false, start + Duration::from_secs(150));
        assert!(!breaker.is_closed());
    }

    #[test]
    fn good_answers_never_open_it() {
        let start = Instant::now();
        let mut breaker = Breaker::new(POLICY);
        (0..100).for_each(|_| breaker.record(Leave::Call, true, start));
        assert!(breaker.is_closed());
    }

    #[test]
    fn open_it_defers_until_its_time_and_then_lets_one_trial_pass() {
        let start = Instant::now();
        let mut breaker = opened(start);
        assert_eq!(
            breaker.admit(start + Duration::from_secs(4)),
            Err(Duration::from_secs(6))
        );
        let later = start + POLICY.open;
        assert_eq!(breaker.admit(later), Ok(Leave::Trial));
        assert_eq!(breaker.admit(later), Err(POLICY.open));
        breaker.record(Leave::Trial, true, later);
        assert_eq!(breaker.admit(later), Ok(Leave::Call));
    }

    #[test]
    fn a_trial_without_an_answer_is_followed_by_another() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let later = start + POLICY.open;
        breaker.admit(later).unwrap();
        assert_eq!(breaker.admit(later + POLICY.open), Ok(Leave::Trial));
    }

    #[test]
    fn the_room_it_tells_is_what_it_would_admit() {
        let start = Instant::now();
        assert_eq!(Breaker::new(POLICY).room(start), Ok(usize::MAX));
        let mut breaker = opened(start);
        assert_eq!(breaker.room(start), Err(POLICY.open));
        let later = start + POLICY.open;
        assert_eq!(breaker.room(later), Ok(1));
        breaker.admit(later).unwrap();
        assert_eq!(breaker.room(later), Ok(0), "its trial is under way");
        assert_eq!(breaker.room(later + POLICY.open), Ok(1));
        breaker.record(Leave::Trial, true, later);
        assert_eq!(
            (breaker.room(later), breaker.closings()),
            (Ok(usize::MAX), 1)
        );
    }

    #[test]
    fn a_failed_trial_opens_it_again() {
        let start = Instant::now();
        let mut breaker = opened(start);
        let later = start + POLICY.open;
        breaker.admit(later).unwrap();
        breaker.record(Leave::Trial, false, later);
        assert_eq!(breaker.admit(later), Err(POLICY.open));
    }

    #[test]
    fn an_answer_from_before_it_opened_changes_nothing() {
        let start = Instant::now();
        let mut breaker = opened(start);
        breaker.record(Leave::Call, true, start);
        assert!(!breaker.is_closed());
        let later = start + POLICY.open;
        breaker.admit(later).unwrap();
        breaker.record(Leave::Call, true, later);
        assert!(!breaker.is_closed(), "only the trial's answer counts");
    }
}
