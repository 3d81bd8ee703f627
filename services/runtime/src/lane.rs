//! Lanes: the unit of ownership and of order.
//!
//! A lane is whatever must be applied in one sequence by one owner at a time: a single source partition, or a group of
//! them (all partitions of a geo). Kafka's group membership hands out *units* (partitions of the subscribed topics);
//! a [`Topology`] says which lane a unit stands for and which source partitions that lane reads.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The name of a lane, the key of all its rows in PostgreSQL. Stable for ever: renaming a lane orphans its history.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId(Arc<str>);

impl LaneId {
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LaneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A topic that a processor reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceTopic {
    /// Full topic name.
    pub topic: Arc<str>,
    /// Number of partitions, from the catalogue; the cluster must have at least as many.
    pub partitions: i32,
    /// Where its rejected messages go.
    pub dead_letters: Arc<str>,
    /// How much of it a lane remembers.
    pub kind: SourceKind,
}

/// Whether a message of a topic is applied exactly once in PostgreSQL, or only observed in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// Every message is applied in a transaction, once.
    Durable,
    /// Messages only refresh memory ([`Processor::observe`](crate::Processor::observe)): after a take-over the last
    /// `window` of the topic is read again. For telemetry whose newest value replaces all older ones.
    Soft { window: Duration },
}

/// One partition of one source topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourcePartition {
    pub source: Arc<SourceTopic>,
    pub partition: i32,
}

impl SourcePartition {
    pub(crate) fn is_soft(&self) -> bool {
        matches!(self.source.kind, SourceKind::Soft { .. })
    }
}

/// A lane and what it reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    pub id: LaneId,
    /// In a fixed order; the first durable one carries the lane's sequence number when none of them moved.
    pub sources: Vec<SourcePartition>,
}

/// A partition of a subscribed topic: what the group protocol assigns and revokes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unit {
    pub topic: String,
    pub partition: i32,
}

/// Which units exist, and which lane each stands for.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    lanes: BTreeMap<Unit, Arc<Lane>>,
}

impl Topology {
    /// Each partition of each topic is a lane of its own, named `<topic>/<partition>`.
    pub fn partition_lanes(sources: impl IntoIterator<Item = SourceTopic>) -> Self {
        let mut lanes = BTreeMap::new();
        for source in sources {
            let source = Arc::new(source);
            for partition in 0..source.partitions {
                let unit = Unit {
                    topic: source.topic.to_string(),
                    partition,
                };
                let lane = Lane {
                    id: LaneId::new(format!("{}/{partition}", source.topic)),
                    sources: vec![SourcePartition {
                        source: source.clone(),
                        partition,
                    }],
                };
                lanes.insert(unit, Arc::new(lane));
            }
        }
        Self { lanes }
    }

    /// Partition `i` of the (empty) `ownership` topic stands for the given lane, which reads all partitions of its topics.
    pub fn group_lanes(
        ownership: &str,
        lanes: impl IntoIterator<Item = (i32, LaneId, Vec<SourceTopic>)>,
    ) -> Self {
        let lanes = lanes.into_iter().map(|(partition, id, topics)| {
            let sources = topics.into_iter().flat_map(|topic| {
                let source = Arc::new(topic);
                (0..source.partitions).map(move |partition| SourcePartition {
                    source: source.clone(),
                    partition,
                })
            });
            let lane = Lane {
                id,
                sources: sources.collect(),
            };
            (
                Unit {
                    topic: ownership.to_owned(),
                    partition,
                },
                Arc::new(lane),
            )
        });
        Self {
            lanes: lanes.collect(),
        }
    }

    /// The lane a unit stands for; `None` for a partition beyond what the catalogue knows.
    pub fn lane(&self, unit: &Unit) -> Option<&Arc<Lane>> {
        self.lanes.get(unit)
    }

    /// The explicit topic names to subscribe to (never a pattern: it would swallow dead letters).
    pub fn subscription(&self) -> Vec<&str> {
        let mut topics: Vec<&str> = self.lanes.keys().map(|unit| unit.topic.as_str()).collect();
        topics.dedup();
        topics
    }

    pub fn lanes(&self) -> impl Iterator<Item = &Arc<Lane>> {
        self.lanes.values()
    }

    pub(crate) fn has_soft_sources(&self) -> bool {
        self.lanes()
            .any(|lane| lane.sources.iter().any(SourcePartition::is_soft))
    }
}
