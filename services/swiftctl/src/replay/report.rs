//! The page of a shadow replay: one HTML file with everything inside.
//!
//! It holds the distributions and the orders whose decision changed, the worst regressions first; of many only the worst, so
//! the page of a day is no larger than it can be looked at.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use backtest::comparison::Distributions;
use serde::Serialize;

use crate::replay::closed_loop::{self, Told};
use crate::replay::open_loop::{self, Counts};

/// So many changed orders stand on the page.
const SHOWN: usize = 500;
/// Of the curves.
const BIN_S: usize = 15;

/// See the module.
pub struct Page {
    file: PathBuf,
    changed: Vec<Told>,
    count: usize,
}

/// What the page's script reads.
#[derive(Serialize)]
struct Data<'a> {
    geo: &'a str,
    from: String,
    to: String,
    old: &'a str,
    new: &'a str,
    repeated: &'a str,
    open: &'a Counts,
    open_meaning: &'static str,
    closed: &'a closed_loop::Answer,
    bin_s: usize,
    /// By measure; in each happened, old, new.
    curves: BTreeMap<&'static str, Vec<Vec<u32>>>,
    changed: &'a [Told],
    changed_count: usize,
}

/// What was compared with what.
pub struct Heading {
    pub geo: String,
    pub from: String,
    pub to: String,
    pub old: String,
    pub new: String,
}

impl Page {
    pub fn new(file: &Path) -> Page {
        Page {
            file: file.to_owned(),
            changed: Vec::new(),
            count: 0,
        }
    }

    /// Orders whose fate is known; those whose decision changed are kept, as long as they are among the worst.
    pub fn told(&mut self, told: Vec<Told>) {
        let changed = told.into_iter().filter(|it| it.compared.is_some());
        let before = self.changed.len();
        self.changed.extend(changed);
        self.count += self.changed.len() - before;
        if self.changed.len() > 2 * SHOWN {
            self.cut();
        }
    }

    fn cut(&mut self) {
        self.changed
            .sort_by(|a, b| worse(b).total_cmp(&worse(a)).then(by_id(a, b)));
        self.changed.truncate(SHOWN);
    }

    pub fn write(
        mut self,
        heading: &Heading,
        repeated: &str,
        open: &Counts,
        (closed, worlds): (&closed_loop::Answer, [&Distributions; 3]),
    ) -> Result<()> {
        self.cut();
        let mut curves: BTreeMap<&'static str, Vec<Vec<u32>>> = BTreeMap::new();
        for world in worlds {
            for (measure, histogram) in world.histograms() {
                let bins = histogram.coarse(BIN_S);
                curves.entry(measure).or_default().push(bins);
            }
        }
        let Heading {
            geo,
            from,
            to,
            old,
            new,
        } = heading;
        let page = backtest::shadow_page(&Data {
            geo,
            from: from.clone(),
            to: to.clone(),
            old,
            new,
            repeated,
            open,
            open_meaning: open_loop::MEANING,
            closed,
            bin_s: BIN_S,
            curves,
            changed: &self.changed,
            changed_count: self.count,
        });
        fs::write(&self.file, page).with_context(|| self.file.display().to_string())
    }
}

fn by_id(a: &Told, b: &Told) -> Ordering {
    a.order_id.cmp(&b.order_id)
}

/// By how many seconds the order is later at the door; one that is not delivered any more is the worst, one that only now is
/// the best.
fn worse(told: &Told) -> f64 {
    match (&told.old, &told.new) {
        (Some(old), Some(new)) => new.click_to_door - old.click_to_door,
        (Some(_), None) => f64::INFINITY,
        (None, Some(_)) => f64::NEG_INFINITY,
        (None, None) => 0.0,
    }
}
