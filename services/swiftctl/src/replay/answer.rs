//! What a replay says: decisions as they come, then the sums, as a table or as one JSON document.
//!
//! Decisions and differences are written out while the span is replayed, differences by way of a file that has no name: the
//! answer for a day needs no more memory than that for an hour.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Read, Seek, Write};
use std::path::Path;

use anyhow::{Context, Result};
use assignment::recorded::RecordedRules;
use backtest::comparison::{Change, Distribution, Distributions, Estimate};
use chrono::{DateTime, Utc};
use contracts::Geo;
use contracts::driver_assignment::DispatchTick;
use contracts::streams::DriverAssignmentEvent;
use serde::Serialize;
use serde_json::json;

use crate::Outcome;
use crate::output::{Format, line, second};
use crate::replay::closed_loop::{self, Side, Told};
use crate::replay::open_loop::{self, Compared, Counts, Kind};
use crate::replay::report::{Heading, Page};

/// So many differences stand in a table.
const SHOWN: usize = 20;

/// How well the recorded ticks could be repeated.
#[derive(Debug, Default, Clone, Serialize)]
pub struct Exactness {
    /// Before the run-up: taken over.
    pub followed: u64,
    /// What was taken over and contradicted what was known.
    pub contradicted: usize,
    /// In the run-up: repeated, and put right where they differed.
    pub run_up: u64,
    pub run_up_differing: u64,
    /// In the span.
    pub ticks: u64,
    pub differing: u64,
    pub take_overs: u64,
    /// Of those in run-up and span, ticks whose correction of travel times was taken from their record: what taught it is older
    /// than what was read.
    pub told_corrections: u64,
    /// Facts of the span that no recorded tick told.
    pub untold: usize,
}

impl Exactness {
    pub fn add(&mut self, _: &DispatchTick, differs: &[String]) {
        self.ticks += 1;
        self.differing += u64::from(!differs.is_empty());
    }

    fn is_exact(&self) -> bool {
        self.differing == 0 && self.untold == 0
    }
}

/// What comes after the decisions.
pub struct Answer {
    pub exactness: Exactness,
    pub gaps: Vec<String>,
    /// Absent for `recorded`.
    pub open_loop: Option<Counts>,
    pub closed_loop: Option<closed_loop::Answer>,
}

/// A decision of `--policy recorded`.
#[derive(Serialize)]
struct Decided<'a> {
    order_id: uuid::Uuid,
    attempt: i32,
    at: DateTime<Utc>,
    driver_id: &'a str,
    kind: Kind,
}

/// Where the answer is written.
pub struct Paper {
    format: Format,
    out: BufWriter<std::io::Stdout>,
    /// JSON of the differences, until the decisions are complete.
    differences: Spool,
    decisions: u64,
    shown: Vec<[String; 6]>,
    unexact: Vec<String>,
    page: Option<Page>,
    heading: Option<Heading>,
}

/// JSON values, separated by commas, in a file without a name.
struct Spool {
    file: BufWriter<File>,
    count: u64,
}

impl Spool {
    fn new() -> Result<Spool> {
        let path = std::env::temp_dir().join(format!("swiftctl-{}", uuid::Uuid::new_v4()));
        let mut options = OpenOptions::new();
        let file = options.create_new(true).read(true).write(true).open(&path);
        let file = file.with_context(|| path.display().to_string())?;
        fs::remove_file(&path).with_context(|| path.display().to_string())?;
        Ok(Spool {
            file: BufWriter::new(file),
            count: 0,
        })
    }

    fn add(&mut self, value: &impl Serialize) -> Result<()> {
        separate(&mut self.file, &mut self.count)?;
        Ok(serde_json::to_writer(&mut self.file, value)?)
    }

    fn copy(mut self, out: &mut impl Write) -> Result<()> {
        self.file.flush()?;
        let mut file = self.file.into_inner().map_err(|error| error.into_error())?;
        file.rewind()?;
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                return Ok(());
            }
            out.write_all(&buffer[..read])?;
        }
    }
}

fn separate(out: &mut impl Write, count: &mut u64) -> Result<()> {
    out.write_all(if *count == 0 { b"\n" } else { b",\n" })?;
    *count += 1;
    Ok(())
}

impl Paper {
    /// `report`: where a page is wanted.
    pub fn new(format: Format, report: Option<&Path>) -> Result<Paper> {
        Ok(Paper {
            page: report.map(Page::new),
            heading: None,
            format,
            out: BufWriter::new(std::io::stdout()),
            differences: Spool::new()?,
            decisions: 0,
            shown: Vec::new(),
            unexact: Vec::new(),
        })
    }

    pub fn begin(
        &mut self,
        geo: &Geo,
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        (old, new): (&RecordedRules, &RecordedRules),
        time_scale: f64,
    ) -> Result<()> {
        let said = |rules: &RecordedRules| {
            let tolerance = rules.dispatch.tolerance_s * time_scale;
            format!("{}, tolerance {tolerance:.0} s", rules.policy.build().id())
        };
        let heading = Heading {
            geo: geo.to_string(),
            from: second(from),
            to: second(to),
            old: said(old),
            new: said(new),
        };
        let rules =
            |rules: &RecordedRules| json!({"policy": rules.policy, "dispatch": rules.dispatch});
        match self.format {
            Format::Table => line(&format!(
                "{geo}, {} to {}: recorded under {}; replayed under {}",
                heading.from, heading.to, heading.old, heading.new,
            ))?,
            Format::Json => {
                let head = json!({"geo": geo.as_str(), "from": from, "to": to, "recorded": rules(old), "replayed": rules(new)});
                let head = serde_json::to_string(&head)?;
                let open = head.strip_suffix('}').unwrap_or(&head);
                write!(self.out, "{open},\n\"decisions\": [")?;
            }
        }
        self.heading = Some(heading);
        Ok(())
    }

    /// A tick of the span that was repeated; `alone`: nothing else is asked.
    pub fn repeated(
        &mut self,
        tick: &DispatchTick,
        told: &[DriverAssignmentEvent],
        differs: &[String],
        alone: bool,
    ) -> Result<()> {
        if self.unexact.len() < SHOWN && !differs.is_empty() {
            let at = tick.ticked_at.format("%H:%M:%S%.6f");
            self.unexact
                .push(format!("tick of {at}: {}", differs.join("; ")));
        }
        if !alone {
            return Ok(());
        }
        for fact in told {
            if let DriverAssignmentEvent::DriverAssigned(fact) = fact {
                self.decision(&Decided {
                    order_id: fact.order_id,
                    attempt: fact.attempt,
                    at: fact.released_at,
                    driver_id: &fact.driver_id,
                    kind: Kind::Same,
                })?;
            }
        }
        for what in differs {
            let difference = json!({"tick": tick.event_id, "at": tick.ticked_at, "what": what});
            self.differences.add(&difference)?;
        }
        Ok(())
    }

    fn decision(&mut self, decision: &impl Serialize) -> Result<()> {
        match self.format {
            Format::Table => self.decisions += 1,
            Format::Json => {
                separate(&mut self.out, &mut self.decisions)?;
                serde_json::to_writer(&mut self.out, decision)?;
            }
        }
        Ok(())
    }

    pub fn compared(&mut self, compared: &Compared) -> Result<()> {
        self.decision(compared)?;
        if compared.kind == Kind::Same {
            return Ok(());
        }
        if self.format == Format::Json {
            return self.differences.add(compared);
        }
        self.differences.count += 1;
        if self.shown.len() < SHOWN {
            let new = compared.new.as_ref();
            self.shown.push([
                second(compared.recorded.at),
                compared.order_id.to_string(),
                compared.kind.name().to_owned(),
                compared.recorded.driver_id.clone(),
                new.map_or_else(|| "-".to_owned(), |new| new.driver_id.clone()),
                match compared.earlier_s {
                    Some(by) => format!("{by:.0} s: {}", compared.why),
                    None => compared.why.clone(),
                },
            ]);
        }
        Ok(())
    }

    /// Orders whose fate is known.
    pub fn told(&mut self, told: Vec<Told>) {
        if let Some(page) = &mut self.page {
            page.told(told);
        }
    }

    pub fn end(mut self, answer: &Answer, worlds: Option<[&Distributions; 3]>) -> Result<Outcome> {
        let page = (self.page.take(), self.heading.take());
        if let (Some(page), Some(heading)) = page
            && let (Some(open), Some(closed), Some(worlds)) =
                (&answer.open_loop, &answer.closed_loop, worlds)
        {
            let said = repeated(&answer.exactness, self.decisions);
            page.write(&heading, &said, open, (closed, worlds))?;
        }
        match self.format {
            Format::Json => self.json(answer)?,
            Format::Table => self.table(answer)?,
        }
        // Decisions that cannot be repeated are a finding, not a success.
        let failed = answer.open_loop.is_none() && !answer.exactness.is_exact();
        Ok(if failed {
            Outcome::Refused
        } else {
            Outcome::Done
        })
    }

    fn json(self, answer: &Answer) -> Result<()> {
        let mut out = self.out;
        write!(out, "\n],\n\"differences\": [")?;
        self.differences.copy(&mut out)?;
        let open_loop = json!({
            "meaning": open_loop::MEANING,
            "counts": answer.open_loop,
        });
        let rest = json!({
            "open_loop": open_loop,
            "closed_loop": answer.closed_loop,
            "repeated": answer.exactness,
            "gaps": answer.gaps,
        });
        let rest = serde_json::to_string_pretty(&rest)?;
        writeln!(out, "\n],{}", rest.strip_prefix('{').unwrap_or(&rest))?;
        Ok(out.flush()?)
    }

    fn table(self, answer: &Answer) -> Result<()> {
        for gap in &answer.gaps {
            line(&format!("state may be incomplete: {gap}"))?;
        }
        line(&repeated(&answer.exactness, self.decisions))?;
        for unexact in &self.unexact {
            line(&format!("  {unexact}"))?;
        }
        if let Some(counts) = &answer.open_loop {
            line(&format!("\nOPEN LOOP  {}", open_loop::MEANING))?;
            let Counts {
                same,
                other_driver,
                earlier,
                later,
                never_given,
            } = counts;
            line(&format!(
                "{} decisions: {same} same, {other_driver} other driver, {earlier} earlier, {later} later; {never_given} never given",
                self.decisions
            ))?;
            let heading =
                ["AT", "ORDER", "DIFFERENCE", "DRIVER", "NEW DRIVER", "WHY"].map(str::to_owned);
            line(&aligned(std::iter::once(&heading).chain(&self.shown)))?;
            let hidden = self.differences.count - self.shown.len() as u64;
            if hidden > 0 {
                line(&format!(
                    "... and {hidden} more: --format json or --report has them all"
                ))?;
            }
        }
        if let Some(closed) = &answer.closed_loop {
            line(&format!("\nCLOSED LOOP  {}", closed.meaning))?;
            line(&closed_table(closed))?;
        }
        Ok(())
    }
}

fn repeated(it: &Exactness, decisions: u64) -> String {
    let exact = match it.is_exact() {
        true => "all bit for bit".to_owned(),
        false => format!(
            "{} of them differently, {} facts without a tick",
            it.differing, it.untold
        ),
    };
    let before = match (it.followed, it.run_up) {
        (0, 0) => String::new(),
        (followed, run_up) => format!(
            "; before them {followed} were followed ({} contradictions) and {run_up} repeated ({} differently)",
            it.contradicted, it.run_up_differing
        ),
    };
    let told = match it.told_corrections {
        0 => String::new(),
        told => format!("; {told} had learned travel times from drives older than what was read"),
    };
    format!(
        "recorded: {} ticks with {decisions} decisions and {} take-overs repeated, {exact}{before}{told}",
        it.ticks, it.take_overs
    )
}

fn closed_table(answer: &closed_loop::Answer) -> String {
    let sides = [
        ("happened", &answer.happened),
        ("old", &answer.old),
        ("new", &answer.new),
    ];
    let mut rows = vec![
        [
            "",
            "DELIVERED",
            "UNDELIVERED",
            "MEASURE",
            "MEAN",
            "P50",
            "P90",
            "P99",
        ]
        .map(str::to_owned),
    ];
    let number =
        |number: Option<f64>| number.map_or_else(|| "-".to_owned(), |it| format!("{it:.0}"));
    for (name, side) in sides {
        let Side {
            delivered,
            undelivered,
            times,
            ..
        } = side;
        for (place, it) in times.iter().enumerate() {
            let Distribution {
                measure,
                mean,
                p50,
                p90,
                p99,
                ..
            } = it;
            let first = |text: String| if place == 0 { text } else { String::new() };
            rows.push([
                first(name.to_owned()),
                first(delivered.to_string()),
                first(undelivered.to_string()),
                (*measure).to_owned(),
                number(*mean),
                number(*p50),
                number(*p90),
                number(*p99),
            ]);
        }
    }
    let mut text = format!(
        "{} orders, {} taken back\n",
        answer.orders, answer.cancelled
    );
    text += &aligned(&rows);
    let estimate = |it: &Option<Estimate>| match it {
        Some(Estimate { mean, low, high }) => format!("{mean:.1} ({low:.1} to {high:.1})"),
        None => "-".to_owned(),
    };
    let mut changes = vec![["CHANGE", "OLD", "NEW", "NEW - OLD"].map(str::to_owned)];
    for Change {
        measure,
        old,
        new,
        change,
    } in &answer.changes
    {
        changes.push([
            (*measure).to_owned(),
            estimate(old),
            estimate(new),
            estimate(change),
        ]);
    }
    text += &format!("\n{}", aligned(&changes));
    let mut work = vec![
        [
            "WORK", "DRIVERS", "ORDERS", "LEAST", "MOST", "BUSY MIN", "GINI",
        ]
        .map(str::to_owned),
    ];
    for (name, side) in sides {
        if let Some(it) = &side.work {
            work.push([
                name.to_owned(),
                it.drivers.to_string(),
                format!("{:.2}", it.orders_mean),
                it.orders_least.to_string(),
                it.orders_most.to_string(),
                format!("{:.1}", it.busy_min_mean),
                format!("{:.2}", it.gini),
            ]);
        }
    }
    text + "\n" + aligned(&work).trim_end()
}

/// Columns as wide as their widest cell.
fn aligned<'a, const N: usize>(rows: impl IntoIterator<Item = &'a [String; N]> + Clone) -> String {
    let width = |column: usize| {
        let cells = rows.clone().into_iter();
        cells
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let mut text = String::new();
    for row in rows.clone() {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"));
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}
