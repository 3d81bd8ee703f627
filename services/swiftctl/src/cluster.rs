//! The Kafka cluster as an operator needs it: what topics there are, and changing them. Never deletes.
//!
//! Writing settings replaces all of a topic's own settings at once (Kafka's AlterConfigs), so the ones that are set already
//! are read first and written again.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rdkafka::ClientConfig;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigSource, NewPartitions, NewTopic,
    ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::metadata::Metadata;

use crate::topic_plan::{Existing, Step};

/// Time that one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Topics per request: a broker answers a few hundred at once, but slowly enough to look dead.
const BATCH: usize = 50;

pub struct Cluster {
    admin: AdminClient<DefaultClientContext>,
    brokers: String,
}

impl Cluster {
    /// `kafka`: how the cluster is reached.
    pub fn connect(kafka: &ClientConfig) -> Result<Self> {
        let brokers = kafka.get("bootstrap.servers").unwrap_or_default();
        let brokers = brokers.to_owned();
        let admin = kafka
            .create()
            .with_context(|| format!("brokers {brokers}"))?;
        Ok(Cluster { admin, brokers })
    }

    /// Number of brokers, and those of the named topics that exist. Blocks the thread while it asks.
    pub async fn topics(&self, names: &[&str]) -> Result<(usize, BTreeMap<String, Existing>)> {
        let metadata = self.metadata()?;
        let mut topics = BTreeMap::new();
        for topic in metadata
            .topics()
            .iter()
            .filter(|t| names.contains(&t.name()))
        {
            let replicas = topic.partitions().iter().map(|p| p.replicas().len()).min();
            let existing = Existing {
                partitions: u32::try_from(topic.partitions().len())?,
                replicas: u32::try_from(replicas.unwrap_or(0))?,
                configs: BTreeMap::new(),
            };
            topics.insert(topic.name().to_owned(), existing);
        }
        let present: Vec<String> = topics.keys().cloned().collect();
        for (name, configs) in self.configs(&present, |_| true).await? {
            if let Some(topic) = topics.get_mut(&name) {
                topic.configs = configs;
            }
        }
        Ok((metadata.brokers().len(), topics))
    }

    /// Creates the topics, and returns once each of their partitions has a leader.
    pub async fn create(&self, steps: &[&Step]) -> Result<()> {
        for batch in steps.chunks(BATCH) {
            let topics: Vec<NewTopic> = batch
                .iter()
                .map(|step| new_topic(step))
                .collect::<Result<_>>()?;
            let results = self.admin.create_topics(&topics, &options()).await?;
            check(results, "creating")?;
        }
        self.wait_for_partitions(steps)
    }

    /// Raises the number of partitions to the steps'.
    pub async fn add_partitions(&self, steps: &[&Step]) -> Result<()> {
        for batch in steps.chunks(BATCH) {
            let partitions: Vec<_> = batch
                .iter()
                .map(|step| NewPartitions::new(&step.topic, step.partitions as usize))
                .collect();
            let results = self
                .admin
                .create_partitions(&partitions, &options())
                .await?;
            check(results, "adding partitions to")?;
        }
        self.wait_for_partitions(steps)
    }

    /// Writes the steps' settings, keeping all others that the topics have of their own.
    pub async fn set_configs(&self, steps: &[&Step]) -> Result<()> {
        let names: Vec<String> = steps.iter().map(|s| s.topic.clone()).collect();
        let own = self
            .configs(&names, |source| {
                matches!(source, ConfigSource::DynamicTopic)
            })
            .await?;
        for batch in steps.chunks(BATCH) {
            let alterations: Vec<AlterConfig> = batch
                .iter()
                .map(|step| {
                    let mut alteration = AlterConfig::new(ResourceSpecifier::Topic(&step.topic));
                    for (name, value) in own.get(&step.topic).into_iter().flatten() {
                        alteration = alteration.set(name, value);
                    }
                    for (name, value) in step.configs() {
                        alteration = alteration.set(name, value);
                    }
                    alteration
                })
                .collect();
            for result in self.admin.alter_configs(&alterations, &options()).await? {
                if let Err((topic, code)) = result {
                    bail!("setting {topic:?}: {code}");
                }
            }
        }
        Ok(())
    }

    /// Settings by topic, of the sources that are wanted.
    async fn configs(
        &self,
        topics: &[String],
        wanted: fn(&ConfigSource) -> bool,
    ) -> Result<BTreeMap<String, BTreeMap<String, String>>> {
        let mut configs = BTreeMap::new();
        for batch in topics.chunks(BATCH) {
            let resources: Vec<_> = batch
                .iter()
                .map(|name| ResourceSpecifier::Topic(name))
                .collect();
            let described = self.admin.describe_configs(&resources, &options()).await?;
            for (name, result) in batch.iter().zip(described) {
                let resource = result.map_err(|code| anyhow::anyhow!("reading {name}: {code}"))?;
                let entries = resource.entries.into_iter().filter(|e| wanted(&e.source));
                let values = entries.filter_map(|e| Some((e.name, e.value?)));
                configs.insert(name.clone(), values.collect());
            }
        }
        Ok(configs)
    }

    fn metadata(&self) -> Result<Metadata> {
        let metadata = self.admin.inner().fetch_metadata(None, TIMEOUT);
        metadata.with_context(|| format!("brokers {} do not answer", self.brokers))
    }

    /// Waits for as long as ever more topics have all their partitions: some thousands take a slow disk its time.
    fn wait_for_partitions(&self, steps: &[&Step]) -> Result<()> {
        let mut missing: Vec<&Step> = steps.to_vec();
        let mut deadline = Instant::now() + TIMEOUT;
        loop {
            let before = missing.len();
            let metadata = self.metadata()?;
            missing.retain(|step| !is_led(&metadata, step));
            let Some(first) = missing.first() else {
                return Ok(());
            };
            if missing.len() < before {
                deadline = Instant::now() + TIMEOUT;
            }
            if Instant::now() > deadline {
                bail!(
                    "{} and {} more have partitions without a leader, and none got one for {TIMEOUT:?}",
                    first.topic,
                    missing.len() - 1
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// Whether the topic has all its partitions, each with a leader.
fn is_led(metadata: &Metadata, step: &Step) -> bool {
    let topic = metadata.topics().iter().find(|t| t.name() == step.topic);
    topic.is_some_and(|t| {
        t.partitions().len() >= step.partitions as usize
            && t.partitions().iter().all(|p| p.leader() >= 0)
    })
}

fn new_topic(step: &Step) -> Result<NewTopic<'_>> {
    let replication = TopicReplication::Fixed(i32::try_from(step.replicas)?);
    let topic = NewTopic::new(&step.topic, i32::try_from(step.partitions)?, replication);
    Ok(step
        .configs()
        .fold(topic, |topic, (name, value)| topic.set(name, value)))
}

fn check(results: Vec<rdkafka::admin::TopicResult>, doing: &str) -> Result<()> {
    for result in results {
        if let Err((topic, code)) = result {
            bail!("{doing} {topic}: {code}");
        }
    }
    Ok(())
}

fn options() -> AdminOptions {
    AdminOptions::new()
        .request_timeout(Some(TIMEOUT))
        .operation_timeout(Some(TIMEOUT))
}
