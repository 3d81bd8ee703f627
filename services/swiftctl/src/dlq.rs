//! `swiftctl dlq`: dead letters looked at, put back, or put away.
//!
//! A letter is *open* until it is redriven or discarded. That it was is written into its own dead-letter topic: a record
//! without effect on anybody, which names the letter and says who did what to it, when and why. It is the audit, and it lives
//! as long as the letter. Since Kafka writes it in one transaction with the redriven record, a letter is either open or back
//! on its topic, whatever crashes; see [`redrive`].

mod edit;
mod export;
mod filter;
mod letter;
mod list;
mod redrive;
mod settle;
mod show;

use anyhow::Result;
use clap::Subcommand;

use crate::Outcome;
use crate::avro::Schemas;
use crate::endpoints::Endpoints;
use crate::log::Log;
use crate::output::Format;
use crate::progress::Progress;
use crate::registry::Registry;

use filter::Filter;
use letter::{Letter, LetterId, is_dead_letters};

#[derive(Subcommand)]
pub enum Command {
    /// List dead letters, oldest first.
    List {
        #[command(flatten)]
        filter: Filter,
        /// Also those that were redriven or discarded, and by whom.
        #[arg(long)]
        settled: bool,
        /// Count them by topic and reason instead.
        #[arg(long)]
        count: bool,
        /// List no more than so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show one dead letter whole: where it comes from, why it died, its headers, and its record or its bytes.
    Show {
        /// `<dead-letter topic>/<partition>@<offset>`, as `list` prints it.
        letter: LetterId,
    },
    /// Print open dead letters as JSON, one a line: for other tools, and for `redrive --edit-file`.
    Export {
        #[command(flatten)]
        filter: Filter,
    },
    /// Put dead letters back on the topic and partition they came from, with key, value and headers as they were.
    ///
    /// Killed or cut off at any moment, nothing is lost and nothing is sent twice: run the same command again.
    Redrive(redrive::Redrive),
    /// Put dead letters away for good. They stay readable until the topic's retention has passed.
    Discard(redrive::Discard),
}

pub async fn run(command: Command, endpoints: &Endpoints, format: Format) -> Result<Outcome> {
    let mut desk = Desk::open(endpoints)?;
    match command {
        Command::List {
            filter,
            settled,
            count,
            limit,
        } => {
            let letters = desk.letters(&filter).await?;
            list::print(&mut desk, letters, settled, count, limit, format).await
        }
        Command::Show { letter } => show::print(&mut desk, &letter, format).await,
        Command::Export { filter } => {
            let letters = desk.letters(&filter).await?;
            export::print(&mut desk, letters).await
        }
        Command::Redrive(redrive) => redrive.run(&mut desk, format).await,
        Command::Discard(discard) => discard.run(&mut desk, format).await,
    }
}

/// What all of these commands need.
struct Desk {
    log: Log,
    schemas: Schemas,
    registry: Registry,
    kafka: rdkafka::ClientConfig,
}

impl Desk {
    fn open(endpoints: &Endpoints) -> Result<Self> {
        let kafka = endpoints.kafka()?;
        let registry = endpoints.registry()?;
        Ok(Desk {
            log: Log::connect(&kafka)?,
            schemas: Schemas::new(Registry::new(&registry)?),
            registry: Registry::new(&registry)?,
            kafka,
        })
    }

    /// All letters that a filter lets through, settled ones included, by topic, partition and offset.
    async fn letters(&mut self, filter: &Filter) -> Result<Vec<Letter>> {
        let progress = Progress::new("reading dead letters");
        let topics = self.log.topics()?;
        let mut letters = Vec::new();
        for (topic, partitions) in topics.iter().filter(|(topic, _)| is_dead_letters(topic)) {
            if filter.takes_topic(topic) {
                letters.extend(self.of_topic(topic, *partitions, filter, &progress)?);
            }
        }
        let mut taken = Vec::new();
        for letter in letters {
            if filter.takes(&letter) && self.is_of_order(&letter, filter).await {
                taken.push(letter);
            }
        }
        Ok(taken)
    }

    fn of_topic(
        &self,
        topic: &str,
        partitions: i32,
        filter: &Filter,
        progress: &Progress,
    ) -> Result<Vec<Letter>> {
        let mut records = Vec::new();
        let keep = |record| records.push(record);
        self.log
            .read(topic, partitions, filter.since(), progress, keep)?;
        Ok(letter::sort(records))
    }

    /// A letter is of an order by its key, or else by what its record says.
    async fn is_of_order(&mut self, letter: &Letter, filter: &Filter) -> bool {
        let Some(order) = filter.order() else {
            return true;
        };
        if letter.stored.key_text() == Some(&order) {
            return true;
        }
        let decoded = self.schemas.decode(letter.stored.value.as_deref()).await;
        decoded.is_ok_and(|decoded| decoded.view["order_id"] == order)
    }
}
