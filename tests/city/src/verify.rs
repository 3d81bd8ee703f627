//! The verification: an outside consumer reads everything back and says what does not hold.
//!
//! It shares no code with the services: it reads what is committed, from the beginning to the end of every topic, and
//! decodes by what the schema registry says, not by our types. What it checks is listed at [`Check`]; every check counts
//! how often it looked, so a check that never looked shows.

mod check;
mod entry;
mod history;
mod report;
mod schemas;

use std::time::{Duration, Instant};

use anyhow::Context;
use contracts::{Catalogue, Geo, StreamSpec, Topic};
use harness::{Broker, Isolation};

#[cfg(test)]
mod tests;

pub use check::Check;
pub use entry::{Content, DeadLetter, Entry, Record};
pub use history::History;
pub use report::{Findings, Report, Spread};
use schemas::Schemas;

/// What to verify.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub brokers: String,
    pub registry: String,
    pub geos: Vec<String>,
    /// Which records may stand on which topic, and how many partitions there are.
    pub catalogue: Catalogue,
    /// How long what is still on its way may take before a violation counts.
    pub settle: Duration,
    /// Greatest difference between partitions in orders accepted, where that is to be checked.
    pub max_spread: Option<u64>,
}

/// Reads and checks; again, while something does not hold and there is time left for it to settle.
pub async fn verify(wanted: &Wanted) -> anyhow::Result<Report> {
    let begin = Instant::now();
    loop {
        let report = read_once(wanted).await?;
        if report.holds() || begin.elapsed() >= wanted.settle {
            return Ok(report);
        }
    }
}

async fn read_once(wanted: &Wanted) -> anyhow::Result<Report> {
    let catalogue = &wanted.catalogue;
    let broker = Broker::new(&wanted.brokers);
    let mut schemas = Schemas::new(&wanted.registry);
    let mut history = History::new(catalogue);
    for name in &wanted.geos {
        let geo = &catalogue.geo(name).context("--geos")?.name;
        for stream in catalogue.streams() {
            read_stream(&broker, &mut schemas, stream, geo, &mut history).await?;
        }
    }
    Ok(history.report(wanted.max_spread))
}

/// One topic after another, so that only one is held in memory.
async fn read_stream(
    broker: &Broker,
    schemas: &mut Schemas,
    stream: &StreamSpec,
    geo: &Geo,
    history: &mut History,
) -> anyhow::Result<()> {
    let topic = Topic {
        family: stream.family.clone(),
        kind: stream.kind.clone(),
        geo: geo.clone(),
    };
    for received in broker
        .read_all(&[&topic.to_string()], Isolation::Committed)
        .await?
    {
        let content = schemas
            .decode(received.value.as_deref(), &stream.key)
            .await?;
        history.add(&Entry::new(&topic, &received, content));
    }
    if stream.dead_letters {
        for received in broker
            .read_all(&[&topic.dead_letters()], Isolation::Committed)
            .await?
        {
            history.add_dead_letter(&topic, DeadLetter::of(&received));
        }
    }
    Ok(())
}
