//! `swiftctl replay shadow`: a span of a geo's topics through another policy, beside the recorded decisions.
//!
//! First the lane is brought to where it was at `--from`, and through the span as it really was; each recorded tick is
//! repeated and has to come out the same ([`crate::replay::lane`]). On that ground the other policy is compared: moment by
//! moment ([`crate::replay::open_loop`]) and as a city of its own ([`crate::replay::closed_loop`]).

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use assignment::units;
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use contracts::Geo;
use contracts::driver_assignment::DispatchTick;
use contracts::streams::{DriverAssignmentEvent, DriverAssignmentRequest};
use serde::Deserialize;

use crate::Outcome;
use crate::endpoints::Endpoints;
use crate::instant::instant;
use crate::log::Log;
use crate::output::Format;
use crate::replay::answer::{Answer, Exactness, Paper};
use crate::replay::closed_loop::ClosedLoop;
use crate::replay::lane::Lane;
use crate::replay::open_loop::{Kind, OpenLoop};
use crate::replay::policy::Choice;
use crate::replay::tape::{Heard, Tape};

/// Before the span ticks are repeated for so long, in seconds of the world: trips that are under way when it begins were then
/// decided exactly.
const RUN_UP_S: f64 = 2.0 * 3_600.0;
/// Positions are read from so long before the run-up on, in seconds of the machine: nobody is taken for silent who was not.
const HEARD_S: f64 = 600.0;
/// For so long after the span its orders may be under way, likewise.
const RUN_OUT_S: f64 = 3.0 * 3_600.0;
/// A live scheduler thinks again after `dispatch.tick_s` while orders wait, but no sooner than this.
const LEAST_STEP_S: f64 = 0.02;

#[derive(Args)]
pub struct Shadow {
    /// The geo.
    #[arg(long)]
    geo: Geo,
    /// Begin of the span: an instant (RFC 3339), or so long ago (90s, 15m, 2h, 3d).
    #[arg(long, value_parser = instant)]
    from: DateTime<Utc>,
    /// Its end, excluded; now by default.
    #[arg(long, value_parser = instant)]
    to: Option<DateTime<Utc>>,
    /// NAME[@SETTINGS]: `lookahead`, `slack-greedy@tolerance_s=240`, `recorded@settings.toml`. What is not set is as recorded.
    /// `recorded` alone checks that the recorded decisions can be repeated bit for bit.
    #[arg(long, value_name = "NAME[@SETTINGS]")]
    policy: String,
    /// How many times faster than life the recorded world ran; by default as the services' settings have it (assignment.time_scale).
    /// Durations are given and shown in the world's time.
    #[arg(long)]
    time_scale: Option<f64>,
    /// Write a page that a browser reads without network; not with `recorded` alone, which compares nothing.
    #[arg(long, value_name = "FILE.html")]
    report: Option<PathBuf>,
}

/// What of `[assignment]` matters here.
#[derive(Deserialize)]
#[serde(default)]
struct Pace {
    time_scale: f64,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { time_scale: 1.0 }
    }
}

pub async fn run(shadow: &Shadow, endpoints: &Endpoints, format: Format) -> Result<Outcome> {
    let to = shadow.to.unwrap_or_else(Utc::now);
    ensure!(
        shadow.from < to,
        "--to {to} is not after --from {}",
        shadow.from
    );
    endpoints.catalogue()?.geo(shadow.geo.as_str())?;
    let choice = Choice::parse(&shadow.policy)?;
    ensure!(
        !(choice.is_recorded() && shadow.report.is_some()),
        "--report: --policy recorded changes nothing that a page could show"
    );
    let time_scale = match shadow.time_scale {
        Some(scale) => scale,
        None => endpoints.section::<Pace>("assignment")?.time_scale,
    };
    ensure!(
        time_scale > 0.0 && time_scale.is_finite(),
        "--time-scale {time_scale}: must be a number above 0"
    );
    let run_up = shadow.from - seconds(RUN_UP_S / time_scale);
    let log = Log::connect(&endpoints.kafka()?)?;
    let registry = endpoints.registry()?;
    let heard_from = run_up - seconds(HEARD_S);
    let tape = Tape::open(&log, &registry, &shadow.geo, shadow.from, heard_from).await?;
    let mut replay = Replay {
        geo: shadow.geo.clone(),
        from: shadow.from,
        to,
        run_up,
        time_scale,
        choice,
        tape,
        lane: None,
        beside: None,
        exactness: Exactness::default(),
        reached: None,
        paper: Paper::new(format, shadow.report.as_deref())?,
    };
    replay.play().await?;
    replay.answer().await
}

fn seconds(seconds: f64) -> TimeDelta {
    TimeDelta::microseconds((seconds * 1e6) as i64)
}

/// The other policy, beside what happened.
struct Beside {
    open: OpenLoop,
    closed: ClosedLoop,
}

struct Replay {
    geo: Geo,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    run_up: DateTime<Utc>,
    time_scale: f64,
    choice: Choice,
    tape: Tape,
    lane: Option<Lane>,
    /// Within the span, unless only the recorded decisions are checked.
    beside: Option<Beside>,
    exactness: Exactness,
    /// Until when moments between ticks were looked at.
    reached: Option<DateTime<Utc>>,
    paper: Paper,
}

impl Replay {
    /// Through all recorded ticks up to the end of the span.
    async fn play(&mut self) -> Result<()> {
        while let Some((tick, taken_at)) = self.tape.tick().await? {
            if tick.ticked_at >= self.to {
                break;
            }
            let told = self.tape.facts(&tick, taken_at).await?;
            let mut lane = match self.lane.take() {
                Some(lane) => lane,
                None => Lane::new(self.geo.clone(), &tick)?,
            };
            let done = self.tick(&mut lane, &tick, &told).await;
            self.lane = Some(lane);
            done?;
        }
        Ok(())
    }

    async fn tick(
        &mut self,
        lane: &mut Lane,
        tick: &DispatchTick,
        told: &[DriverAssignmentEvent],
    ) -> Result<()> {
        let limits = self.tape.limits(tick);
        // Of these, only those about the span's orders are wanted; the others are not to pile up.
        let facts = self.tape.beside(tick.ticked_at);
        if tick.ticked_at < self.run_up {
            if let Some(since) = lane.taken_over(tick) {
                lane.take_over(tick, since)?;
            }
            lane.hear(&mut self.tape, &limits, None, |_, _| {}).await?;
            self.exactness.contradicted += lane.follow(tick, told);
            self.exactness.followed += 1;
            return Ok(());
        }
        if let Some(since) = lane.taken_over(tick) {
            self.exactness.take_overs += u64::from(lane.is_owned());
            self.moments(lane, &limits, since.min(tick.ticked_at))
                .await?;
            lane.take_over(tick, since)?;
        }
        self.moments(lane, &limits, tick.ticked_at).await?;
        self.hear(lane, &limits, None).await?;
        if tick.ticked_at < self.from {
            let repeated = lane.repeat(tick, told);
            self.exactness.run_up += 1;
            self.exactness.run_up_differing += u64::from(!repeated.differs.is_empty());
            self.exactness.told_corrections += u64::from(repeated.is_told);
            return Ok(());
        }
        let repeated = lane.repeat(tick, told);
        self.exactness.add(tick, &repeated.differs);
        self.exactness.told_corrections += u64::from(repeated.is_told);
        self.paper
            .repeated(tick, told, &repeated.differs, self.choice.is_recorded())?;
        let Some(beside) = &mut self.beside else {
            return Ok(());
        };
        for compared in beside.open.compare(&repeated.before, tick, told) {
            if compared.kind != Kind::Same {
                beside.closed.changed(&compared);
            }
            self.paper.compared(&compared)?;
        }
        beside.closed.happened(&facts);
        beside.closed.happened(told);
        self.paper.told(beside.closed.take_told());
        Ok(())
    }

    async fn hear(
        &mut self,
        lane: &mut Lane,
        limits: &[i64],
        until: Option<DateTime<Utc>>,
    ) -> Result<()> {
        let (from, to) = (self.from, self.to);
        let mut closed = self.beside.as_mut().map(|beside| &mut beside.closed);
        let also = |heard: &Heard, rerun: &assignment::rerun::Rerun| {
            if let Some(closed) = &mut closed
                && (from..to).contains(&heard.at)
            {
                closed.hear(heard, rerun);
            }
        };
        lane.hear(&mut self.tape, limits, until, also).await
    }

    /// Lets the other policy look at the moments before `until`, while orders wait.
    async fn moments(
        &mut self,
        lane: &mut Lane,
        limits: &[i64],
        until: DateTime<Utc>,
    ) -> Result<()> {
        if until <= self.from {
            return Ok(());
        }
        let mut at = match self.reached {
            Some(reached) => reached,
            None => self.begin(lane, limits).await?,
        };
        let step = seconds(lane.rules.dispatch.tick_s.max(LEAST_STEP_S));
        while at < until {
            if self.beside.is_some() {
                self.hear(lane, limits, Some(at)).await?;
            }
            if let Some(beside) = &mut self.beside
                && lane.rerun.book().scheduler().gauges().pending > 0
            {
                beside.open.moment(&lane.rerun.memo(), units::at(at));
            }
            at += step;
        }
        self.reached = Some(at);
        Ok(())
    }

    /// The span begins: the other policy starts from what there is.
    async fn begin(&mut self, lane: &mut Lane, limits: &[i64]) -> Result<DateTime<Utc>> {
        self.hear(lane, limits, Some(self.from)).await?;
        self.reached = Some(self.from);
        let rules = self.choice.rules(&lane.rules, self.time_scale)?;
        let (span, both) = ((self.from, self.to), (&lane.rules, &rules));
        self.paper.begin(&self.geo, span, both, self.time_scale)?;
        if !self.choice.is_recorded() {
            let (old, new) = (lane.rules.rules()?, rules.rules()?);
            let memo = lane.rerun.memo();
            self.beside = Some(Beside {
                closed: ClosedLoop::new(&old, &new, &memo, self.from, self.time_scale),
                open: OpenLoop::new(new, self.time_scale),
            });
        }
        Ok(self.from)
    }

    /// The span is over: what its orders came to, and the answer.
    async fn answer(mut self) -> Result<Outcome> {
        let span = format!("between {} and {}", self.from, self.to);
        let lane = self.lane.take();
        let no_tick = || format!("no tick of {} is recorded before {}", self.geo, self.to);
        let mut lane = lane.with_context(no_tick)?;
        let ends = self.tape.ends();
        let end = self.to + seconds(RUN_OUT_S / self.time_scale);
        self.tape.read_facts(Some(end)).await?;
        self.moments(&mut lane, &ends, self.to).await?;
        ensure!(self.reached.is_some(), "nothing is recorded {span}");
        if self.beside.is_some() {
            self.hear(&mut lane, &ends, Some(self.to)).await?;
        }
        self.exactness.untold = self.tape.untold(self.from, self.to);
        if let Some(beside) = &mut self.beside {
            let facts = self.tape.beside(end);
            beside.closed.happened(&facts);
            beside.closed.close();
            run_out(&mut self.tape, &mut beside.closed, &ends, end).await?;
        }
        let closed = self.beside.as_mut().map(|beside| {
            beside.closed.finish(units::at(end));
            self.paper.told(beside.closed.take_told());
            beside.closed.answer()
        });
        let answer = Answer {
            open_loop: self
                .beside
                .as_ref()
                .map(|beside| beside.open.counts.clone()),
            closed_loop: closed,
            gaps: self.tape.gaps.clone(),
            exactness: self.exactness,
        };
        let worlds = self.beside.as_ref().map(|it| it.closed.distributions());
        self.paper.end(&answer, worlds)
    }
}

/// Kitchens go on after the span: its orders are cooked and collected.
async fn run_out(
    tape: &mut Tape,
    closed: &mut ClosedLoop,
    ends: &[i64],
    end: DateTime<Utc>,
) -> Result<()> {
    use assignment::event::Event;
    while closed.is_waiting()
        && let Some(heard) = tape.hear(ends, Some(end)).await?
    {
        closed.go_on(units::at(heard.at));
        match &heard.event {
            Event::Kitchen(event) => closed.kitchen(event),
            Event::Request(DriverAssignmentRequest::AssignmentCancelled(event)) => {
                closed.withdraw(event.order_id);
            }
            _ => {}
        }
    }
    Ok(())
}
