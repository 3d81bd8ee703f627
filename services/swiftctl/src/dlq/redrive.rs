//! `dlq redrive` and `dlq discard`: which letters, with what, and whether that may be done.
//!
//! The plan is made and judged as a whole before anything is written; what is refused is refused for all. Letters that are
//! settled already are passed over, which is what makes a command that was interrupted go on when it is given again.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

use anyhow::{Result, bail, ensure};
use clap::Args;
use serde::Serialize;

use super::edit::{self, Edited};
use super::letter::{Letter, LetterId};
use super::settle::{Action, Planned, Settler};
use super::{Desk, Filter};
use crate::Outcome;
use crate::output::{self, Format, Row, short};
use crate::progress::Progress;

#[derive(Args)]
pub struct Redrive {
    #[command(flatten)]
    filter: Filter,
    /// All open letters there are, when no condition is given.
    #[arg(long)]
    all: bool,
    /// Open $VISUAL or $EDITOR on the letter's record, and send what you make of it. For a single letter.
    #[arg(long, conflicts_with = "edit_file")]
    edit: bool,
    /// Send the records of this file (`-`: standard input), an edited export, instead of those that died.
    #[arg(long, value_name = "FILE")]
    edit_file: Option<PathBuf>,
    /// Letters a second.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Refuse letters that have been put back so often and died again.
    #[arg(long, default_value_t = 3)]
    max_replays: u32,
    /// Why, for the audit.
    #[arg(long, default_value = "")]
    note: String,
    /// Print the plan and change nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Args)]
pub struct Discard {
    #[command(flatten)]
    filter: Filter,
    /// All open letters there are, when no condition is given.
    #[arg(long)]
    all: bool,
    /// Why, for the audit.
    #[arg(long)]
    note: String,
    /// Letters a second.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Print the plan and change nothing.
    #[arg(long)]
    dry_run: bool,
}

/// Longer tables are for plans only.
const SHOWN: usize = 20;

/// What is to be done with the letters of a plan.
struct Order<'a> {
    action: Action,
    note: &'a str,
    rate: u32,
    dry_run: bool,
}

impl Redrive {
    pub(super) async fn run(self, desk: &mut Desk, format: Format) -> Result<Outcome> {
        let mut edits = match &self.edit_file {
            Some(file) => edit::from_file(&desk.registry, file).await?,
            None => Vec::new(),
        };
        let filter = if edits.is_empty() {
            self.filter
        } else {
            ensure!(
                self.filter.is_empty(),
                "--edit-file says itself which letters are meant"
            );
            Filter::of(edits.iter().map(|edit| edit.letter.clone()))
        };
        guard(&filter, self.all)?;
        let letters = desk.letters(&filter).await?;
        let there: HashSet<LetterId> = letters.iter().map(Letter::id).collect();
        if let Some(edit) = edits.iter().find(|edit| !there.contains(&edit.letter)) {
            bail!(
                "{} is no dead letter, or its retention has passed",
                edit.letter
            );
        }
        if self.edit {
            let [letter] = &letters[..] else {
                bail!("--edit is for one letter, and {} are meant", letters.len());
            };
            edits = edit::by_hand(desk, letter).await?;
        }
        let (planned, rows) = plan(letters, &edits, self.max_replays);
        let order = Order {
            action: Action::Redrive,
            note: &self.note,
            rate: self.rate,
            dry_run: self.dry_run,
        };
        carry_out(desk, &filter, planned, rows, &order, format)
    }
}

impl Discard {
    pub(super) async fn run(self, desk: &mut Desk, format: Format) -> Result<Outcome> {
        guard(&self.filter, self.all)?;
        let letters = desk.letters(&self.filter).await?;
        let open = letters.into_iter().filter(Letter::is_open);
        let planned: Vec<Planned> = open
            .map(|letter| Planned {
                letter,
                origin: None,
                edited: None,
            })
            .collect();
        let rows = planned
            .iter()
            .map(|p| Step::of(&p.letter, "discard"))
            .collect();
        let order = Order {
            action: Action::Discard,
            note: &self.note,
            rate: self.rate,
            dry_run: self.dry_run,
        };
        carry_out(desk, &self.filter, planned, rows, &order, format)
    }
}

/// Nobody means all of them by saying nothing.
fn guard(filter: &Filter, all: bool) -> Result<()> {
    ensure!(
        all || !filter.is_empty(),
        "say which letters are meant (by name, --topic, --reason, --since, --order, ...), or --all"
    );
    Ok(())
}

/// What will be done with a letter.
#[derive(Serialize)]
struct Step {
    letter: String,
    plan: &'static str,
    /// Where it goes.
    to: String,
    reason: String,
    replays: u32,
    edited: bool,
    /// Why it is refused.
    problem: String,
}

impl Step {
    fn of(letter: &Letter, plan: &'static str) -> Self {
        Step {
            letter: letter.id().to_string(),
            plan,
            to: String::new(),
            reason: letter.reason().to_owned(),
            replays: letter.replays(),
            edited: false,
            problem: String::new(),
        }
    }

    fn refused(letter: &Letter, problem: String) -> Self {
        Step {
            problem,
            ..Step::of(letter, "refused")
        }
    }
}

impl Row for Step {
    const COLUMNS: &'static [&'static str] = &[
        "letter", "plan", "to", "died of", "replays", "edited", "problem",
    ];

    fn cells(&self) -> Vec<String> {
        vec![
            self.letter.clone(),
            self.plan.to_owned(),
            self.to.clone(),
            self.reason.clone(),
            self.replays.to_string(),
            if self.edited { "yes" } else { "" }.to_owned(),
            short(&self.problem, 100),
        ]
    }
}

/// Letters in the order in which their messages stood on their topics.
fn plan(letters: Vec<Letter>, edits: &[Edited], max_replays: u32) -> (Vec<Planned>, Vec<Step>) {
    let edits: HashMap<&LetterId, &Edited> = edits.iter().map(|e| (&e.letter, e)).collect();
    let (mut planned, mut rows) = (Vec::new(), Vec::new());
    for letter in letters {
        if let Some(settled) = &letter.settlement {
            if settled.action != Action::Redrive.done() {
                let problem = format!("{} by {}: {}", settled.action, settled.by, settled.note);
                rows.push(Step::refused(&letter, problem));
            }
            continue;
        }
        match letter.origin() {
            Err(error) => rows.push(Step::refused(&letter, format!("{error:#}"))),
            Ok(_) if letter.replays() >= max_replays => {
                let problem = format!("put back {} times already: --max-replays", letter.replays());
                rows.push(Step::refused(&letter, problem));
            }
            Ok(origin) => {
                let edited = edits.get(&letter.id()).copied().cloned();
                rows.push(Step {
                    to: format!("{}/{}", origin.topic, origin.partition),
                    edited: edited.is_some(),
                    ..Step::of(&letter, "redrive")
                });
                let origin = Some(origin);
                planned.push(Planned {
                    letter,
                    origin,
                    edited,
                });
            }
        }
    }
    planned.sort_by(|a, b| a.origin.cmp(&b.origin));
    (planned, rows)
}

fn carry_out(
    desk: &mut Desk,
    filter: &Filter,
    planned: Vec<Planned>,
    rows: Vec<Step>,
    order: &Order<'_>,
    format: Format,
) -> Result<Outcome> {
    let refused = rows.iter().filter(|row| row.plan == "refused").count();
    if refused > 0 || order.dry_run {
        let what = match refused {
            0 => "planned".to_owned(),
            refused => format!("{refused} refused, nothing was changed"),
        };
        let summary = format!(
            "dead letters: {} to be {}: {what}",
            planned.len(),
            order.action.done()
        );
        output::print(format, &rows, &summary)?;
        return Ok(if refused == 0 {
            Outcome::Done
        } else {
            Outcome::Refused
        });
    }
    let mut by_topic: BTreeMap<String, Vec<Planned>> = BTreeMap::new();
    for planned in planned {
        let topic = planned.letter.stored.topic.clone();
        by_topic.entry(topic).or_default().push(planned);
    }
    let partitions = desk.log.topics()?;
    let progress = Progress::new("dead letters settled");
    let mut done = 0;
    for (topic, letters) in by_topic {
        let partitions = partitions.get(&topic).copied().unwrap_or(1);
        let letters = letters.into_iter();
        done += settle(desk, filter, &topic, partitions, letters, order, &progress)?;
    }
    drop(progress);
    // A person who has seen the plan wants to know that it is done.
    let shown = match format {
        Format::Table if rows.len() > SHOWN => &[],
        _ => &rows[..],
    };
    let summary = format!("dead letters: {done} {}", order.action.done());
    output::print(format, shown, &summary)?;
    Ok(Outcome::Done)
}

/// Takes the topic over, and settles those of the letters that nobody has settled in the meantime.
fn settle(
    desk: &Desk,
    filter: &Filter,
    topic: &str,
    partitions: i32,
    letters: impl Iterator<Item = Planned>,
    order: &Order<'_>,
    progress: &Progress,
) -> Result<usize> {
    let settler = Settler::start(&desk.kafka, topic, order.action, order.note)?;
    desk.log.settle(topic, partitions)?;
    let now = desk.of_topic(topic, partitions, filter, progress)?;
    let open: HashSet<LetterId> = (now.iter().filter(|letter| letter.is_open()))
        .map(Letter::id)
        .collect();
    let letters: Vec<Planned> = letters
        .filter(|planned| open.contains(&planned.letter.id()))
        .collect();
    settler.settle(&letters, order.rate, |count| progress.add(count))?;
    Ok(letters.len())
}
