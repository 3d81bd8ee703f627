//! The verification: an outside consumer reads everything back and says what does not hold.
//!
//! It shares no code with the services: it reads what is committed, from the beginning to the end of every topic, and
//! decodes by what the schema registry says, not by our types. What it checks is listed at [`Check`]; every check counts
//! how often it looked, so a check that never looked shows.

mod check;
mod entry;
mod history;
mod money;
mod report;
mod schemas;
mod shifts;

use std::time::{Duration, Instant};

use anyhow::Context;
use contracts::{Catalogue, Geo, StreamSpec, Topic};
use harness::{Broker, Isolation};

#[cfg(test)]
mod tests;

pub use check::Check;
pub use entry::{Content, DeadLetter, Entry, Record};
pub use history::History;
pub use money::{Books, Moved};
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
    /// Base URL of the mock gateway, where its ledger is to be compared.
    pub gateway: Option<String>,
    /// Whether the report's last line tells of cancellations and money as well.
    pub tell_all: bool,
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
        read_geo(&broker, &mut schemas, catalogue, geo, &mut history).await?;
    }
    if let Some(gateway) = &wanted.gateway {
        history.add_ledger(money::ledger(gateway).await?);
    }
    Ok(Report {
        tell_all: wanted.tell_all,
        ..history.report(wanted.max_spread)
    })
}

async fn read_geo(
    broker: &Broker,
    schemas: &mut Schemas,
    catalogue: &Catalogue,
    geo: &Geo,
    history: &mut History,
) -> anyhow::Result<()> {
    let wanted: Vec<Source<'_>> = catalogue
        .streams()
        .iter()
        .flat_map(|stream| Source::of(stream, geo))
        .collect();
    let names: Vec<&str> = wanted.iter().map(|source| source.name.as_str()).collect();
    let mut each = broker.read_each(&names, Isolation::Committed);
    for source in &wanted {
        let received = each.recv().await.context("the reader ended")??;
        for received in received {
            if source.is_dead_letters {
                if let Some(letter) = DeadLetter::of(&received) {
                    history.add_dead_letter(&source.topic, letter);
                }
            } else {
                let content = schemas
                    .decode(received.value.as_deref(), source.key)
                    .await?;
                history.add(&Entry::new(&source.topic, &received, content));
            }
        }
    }
    Ok(())
}

/// A topic to read: a stream's own, or that of its dead letters.
struct Source<'a> {
    name: String,
    topic: Topic,
    /// The field that is the key.
    key: &'a str,
    is_dead_letters: bool,
}

impl<'a> Source<'a> {
    fn of(stream: &'a StreamSpec, geo: &Geo) -> impl Iterator<Item = Source<'a>> + use<'a> {
        let topic = Topic {
            family: stream.family.clone(),
            kind: stream.kind.clone(),
            geo: geo.clone(),
        };
        let kinds = [false, true]
            .into_iter()
            .filter(|dead| !dead || stream.dead_letters);
        kinds.map(move |is_dead_letters| Source {
            name: if is_dead_letters {
                topic.dead_letters()
            } else {
                topic.to_string()
            },
            topic: topic.clone(),
            key: &stream.key,
            is_dead_letters,
        })
    }
}
