//! The geo's lane as it really was: brought through the recorded ticks, checked against what they recorded.
//!
//! Before the run-up ticks are followed: what they told is taken over, positions are not read. From the run-up on every tick
//! is decided anew, from the same messages up to the same positions at the same instant, and has to tell the same, bit for
//! bit. Where it does not, that is counted and shown, and the state goes on with what was recorded.

use std::collections::{BTreeSet, VecDeque};

use anyhow::Result;
use assignment::held_back::HeldBack;
use assignment::recorded::RecordedRules;
use assignment::rerun::{Memo, Rerun};
use assignment::units;
use chrono::{DateTime, TimeDelta, Utc};
use contracts::driver_assignment::DispatchTick;
use contracts::streams::DriverAssignmentEvent;
use contracts::{Geo, Message};
use dispatch::{At, OrderId, Seconds};
use std::collections::BTreeMap;
use uuid::Uuid;

use crate::replay::tape::{Heard, Tape};

/// How much longer than drivers count as heard what they said is kept, for a take-over to be repeated.
const KEPT: Seconds = Seconds(120.0);

/// A position that was heard lately, or was read and is still ahead of the owner who took over.
struct Ping {
    heard: Heard,
    counts: bool,
}

/// See the module.
pub struct Lane {
    pub rerun: Rerun,
    pub rules: RecordedRules,
    parameters: BTreeMap<String, String>,
    listening_since: At,
    pings: VecDeque<Ping>,
    /// How many of them are ahead.
    ahead: usize,
    /// What the lane heard later than its broker time says.
    held_back: HeldBack<Heard>,
}

/// A tick that was run again.
pub struct Repeated {
    /// As it stood before the tick.
    pub before: Memo,
    /// How what was decided now differs from what was recorded; empty when it does not.
    pub differs: Vec<String>,
    /// Its correction of travel times could not be found again here, and was taken from the record: what taught it is older
    /// than the logs.
    pub is_told: bool,
}

impl Lane {
    /// A lane that begins with this tick.
    pub fn new(geo: Geo, tick: &DispatchTick) -> Result<Lane> {
        let rules = RecordedRules::read(&tick.parameters)?;
        Ok(Lane {
            rerun: Rerun::new(geo, rules.rules()?),
            rules,
            parameters: rule_parameters(tick),
            listening_since: At::MIN,
            pings: VecDeque::new(),
            ahead: 0,
            held_back: HeldBack::default(),
        })
    }

    /// Since when the owner at this tick had listened, if that is later than what this lane knows: a take-over in between.
    pub fn taken_over(&self, tick: &DispatchTick) -> Option<DateTime<Utc>> {
        let since = tick.listening_since?;
        let news = units::at(since) > self.listening_since;
        (news || rule_parameters(tick) != self.parameters).then_some(since)
    }

    /// Whether somebody is known to have owned it.
    pub fn is_owned(&self) -> bool {
        self.listening_since > At::MIN
    }

    /// Repeats the take-over.
    pub fn take_over(&mut self, tick: &DispatchTick, since: DateTime<Utc>) -> Result<()> {
        self.rules = RecordedRules::read(&tick.parameters)?;
        self.parameters = rule_parameters(tick);
        self.listening_since = units::at(since);
        self.rerun
            .take_over(self.listening_since, self.rules.rules()?);
        // The new owner read the positions of the last moments anew, as far as the next tick will say.
        let window = TimeDelta::microseconds((self.rules.dispatch.location_ttl_s * 1e6) as i64);
        let window = since - window - TimeDelta::seconds(1);
        self.pings.retain(|ping| ping.heard.at >= window);
        self.pings.iter_mut().for_each(|ping| ping.counts = false);
        self.ahead = self.pings.len();
        Ok(())
    }

    /// Hears everything below the limits and before `until`, in the order that what was told shows; shows each message to `also`.
    /// The facts of the time until then have to have been read.
    pub async fn hear(
        &mut self,
        tape: &mut Tape,
        limits: &[i64],
        until: Option<DateTime<Utc>>,
        mut also: impl FnMut(&Heard, &Rerun),
    ) -> Result<()> {
        if self.ahead > 0 {
            for ping in self.pings.iter_mut().filter(|ping| !ping.counts) {
                let heard = &ping.heard;
                if heard.offset < limits[heard.source] && until.is_none_or(|it| heard.at < it) {
                    ping.counts = true;
                    self.ahead -= 1;
                    self.rerun
                        .hear(&heard.event, heard.partition, heard.at.timestamp_millis());
                }
            }
        }
        while let Some(heard) = tape.hear(limits, until).await? {
            let untold = |heard: &Heard| is_untold(&self.rerun, tape, heard);
            let mut next = self.held_back.offer(heard.source, heard, untold);
            while let Some(heard) = next {
                self.take(heard, &mut also);
                let untold = |heard: &Heard| is_untold(&self.rerun, tape, heard);
                next = self.held_back.next(untold);
            }
        }
        while until.is_none()
            && let Some(heard) = self.held_back.give_up()
        {
            self.take(heard, &mut also);
        }
        Ok(())
    }

    fn take(&mut self, heard: Heard, also: &mut impl FnMut(&Heard, &Rerun)) {
        let timestamp_ms = heard.at.timestamp_millis();
        self.rerun.hear(&heard.event, heard.partition, timestamp_ms);
        also(&heard, &self.rerun);
        self.keep(heard);
    }

    fn keep(&mut self, heard: Heard) {
        if !matches!(heard.event, assignment::event::Event::Location(_)) {
            return;
        }
        let kept = self.rules.dispatch.location_ttl_s + KEPT.0;
        let oldest = heard.at - TimeDelta::microseconds((kept * 1e6) as i64);
        self.pings.push_back(Ping {
            heard,
            counts: true,
        });
        while self
            .pings
            .front()
            .is_some_and(|ping| ping.counts && ping.heard.at < oldest)
        {
            self.pings.pop_front();
        }
    }

    /// Takes over what the tick told; returns how much of it contradicts what is known here.
    pub fn follow(&mut self, tick: &DispatchTick, told: &[DriverAssignmentEvent]) -> usize {
        let at = units::at(tick.ticked_at);
        self.rerun.follow_correction(at, travel_factor(tick));
        self.rerun.follow(told, at)
    }

    /// Decides again, and goes on with what was recorded.
    pub fn repeat(&mut self, tick: &DispatchTick, told: &[DriverAssignmentEvent]) -> Repeated {
        let at = units::at(tick.ticked_at);
        let is_told = self.rerun.follow_correction(at, travel_factor(tick));
        let before = self.rerun.memo();
        let mut stored = self.rerun.take_writes();
        let (ticked, facts) = self.rerun.tick(at, refused(tick));
        let mut differs = Vec::new();
        let mut compare = |what: &str, now: String, then: String| {
            if now != then {
                differs.push(format!("{what} {now}, recorded {then}"));
            }
        };
        match &ticked {
            None => differs.push("nothing is decided".to_owned()),
            Some(ticked) => {
                let it = &ticked.tick;
                compare("due", it.due.to_string(), tick.due.to_string());
                compare("matched", it.matched.to_string(), tick.matched.to_string());
                let pending = ticked.pending_before.to_string();
                compare("pending", pending, tick.pending.to_string());
                let bits = |cost: f64| format!("{cost} ({:016x})", cost.to_bits());
                compare("cost", bits(it.cost), bits(tick.cost));
                let tolerance = |it: Option<f64>| it.map_or_else(|| "none".to_owned(), bits);
                let now = Some(it.tolerance_s).filter(|it| it.is_finite());
                compare("tolerance", tolerance(now), tolerance(tick.tolerance_s));
                let policy = format!("{} {}", tick.policy_name, tick.policy_version);
                let now = format!("{} {}", it.policy.name, it.policy.version);
                compare("policy", now, policy);
            }
        }
        let by_id = |facts: &[DriverAssignmentEvent]| {
            let named = facts.iter().map(|fact| (fact.event_id(), fact.clone()));
            named.collect::<BTreeMap<Uuid, DriverAssignmentEvent>>()
        };
        let (now, then) = (by_id(&facts), by_id(told));
        for id in now.keys().chain(then.keys()).collect::<BTreeSet<_>>() {
            let show = |fact: Option<&DriverAssignmentEvent>| {
                fact.map_or_else(|| "nothing".to_owned(), |fact| format!("{fact:?}"))
            };
            if now.get(id) != then.get(id) {
                differs.push(format!(
                    "{}, recorded {}",
                    show(now.get(id)),
                    show(then.get(id))
                ));
            }
        }
        if !differs.is_empty() {
            // What would have been stored of it is not what was stored.
            self.rerun.take_writes();
            self.rerun.restore(before.clone());
            self.rerun.follow(told, at);
        }
        stored.extend(self.rerun.take_writes());
        self.rerun.put_writes(stored);
        Repeated {
            before,
            differs,
            is_told,
        }
    }
}

/// It would be told of now, and was not: the lane heard something else first.
fn is_untold(rerun: &Rerun, tape: &Tape, heard: &Heard) -> bool {
    let timestamp_ms = heard.at.timestamp_millis();
    rerun.book().would_tell(&heard.event, timestamp_ms) && !tape.is_answered(heard.event.event_id())
}

/// Ticks that name none were decided before anything was learned of travel times.
fn travel_factor(tick: &DispatchTick) -> f64 {
    tick.travel_factor.unwrap_or(1.0)
}

/// The decisions of the tick that the tables took back.
fn refused(tick: &DispatchTick) -> BTreeSet<OrderId> {
    let listed = tick.parameters.get("refused").map(String::as_str);
    let listed = listed.unwrap_or_default().split(',');
    listed
        .filter_map(|id| Some(OrderId(id.parse().ok()?)))
        .collect()
}

fn rule_parameters(tick: &DispatchTick) -> BTreeMap<String, String> {
    let mut parameters = tick.parameters.clone();
    parameters.remove("refused");
    parameters
}
