//! Lanes: the unit of ownership and of order.
//!
//! A lane is whatever must be applied in one sequence by one owner at a time: a single source partition, or a group of
//! them (all partitions of a geo). Kafka's group membership hands out *units* (partitions of the subscribed topics);
//! a [`Topology`] says which lanes a unit stands for and which source partitions each of them reads.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

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
    /// How long its messages may wait for company before they start a cycle, unless `runtime.gather_ms` says otherwise. Zero
    /// where somebody waits for what follows from them.
    pub patience: Duration,
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

/// Topics of which all partitions of one number have one owner, whoever it is.
#[derive(Clone, Debug)]
pub struct Companions {
    /// Full name of the topic whose partitions are the units. It need not be read. The same for ever: members of a group
    /// that disagree about it would own one lane twice.
    pub units: Arc<str>,
    /// Of that topic.
    pub partitions: i32,
    pub sources: Vec<SourceTopic>,
}

/// Topics that cannot have an owner per partition number.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{topic} has {partitions} partitions, {units} beside it {wanted}: they must have the same number"
)]
pub struct Uneven {
    pub topic: Arc<str>,
    pub partitions: i32,
    pub units: Arc<str>,
    pub wanted: i32,
}

/// Which units exist, and which lanes each stands for.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    lanes: BTreeMap<Unit, Vec<Arc<Lane>>>,
}

impl Topology {
    /// Each partition of each topic is a lane of its own, named `<topic>/<partition>`, and its own unit.
    pub fn partition_lanes(sources: impl IntoIterator<Item = SourceTopic>) -> Self {
        let mut topology = Self::default();
        for source in sources {
            topology.add(&source.topic.clone(), Arc::new(source));
        }
        topology
    }

    /// The same lanes, but partition `i` of a unit topic stands for partition `i` of all its companions: the group deals
    /// units by their number alone, so that of topics dealt one by one a member may get all of the busy ones.
    pub fn companion_lanes(groups: impl IntoIterator<Item = Companions>) -> Result<Self, Uneven> {
        let mut topology = Self::default();
        for group in groups {
            for source in group.sources {
                if source.partitions != group.partitions {
                    return Err(Uneven {
                        topic: source.topic,
                        partitions: source.partitions,
                        units: group.units,
                        wanted: group.partitions,
                    });
                }
                topology.add(&group.units, Arc::new(source));
            }
        }
        Ok(topology)
    }

    /// A lane for each partition, under that partition of the unit topic.
    fn add(&mut self, units: &str, source: Arc<SourceTopic>) {
        for partition in 0..source.partitions {
            let unit = Unit {
                topic: units.to_owned(),
                partition,
            };
            let lane = Lane {
                id: LaneId::new(format!("{}/{partition}", source.topic)),
                sources: vec![SourcePartition {
                    source: source.clone(),
                    partition,
                }],
            };
            self.lanes.entry(unit).or_default().push(Arc::new(lane));
        }
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
                vec![Arc::new(lane)],
            )
        });
        Self {
            lanes: lanes.collect(),
        }
    }

    /// The lanes a unit stands for; none for a partition beyond what the catalogue knows.
    pub fn lanes_of(&self, unit: &Unit) -> &[Arc<Lane>] {
        self.lanes.get(unit).map_or(&[], Vec::as_slice)
    }

    /// The explicit topic names to subscribe to (never a pattern: it would swallow dead letters).
    pub fn subscription(&self) -> Vec<&str> {
        let mut topics: Vec<&str> = self.lanes.keys().map(|unit| unit.topic.as_str()).collect();
        topics.dedup();
        topics
    }

    pub fn lanes(&self) -> impl Iterator<Item = &Arc<Lane>> {
        self.lanes.values().flatten()
    }

    pub(crate) fn has_soft_sources(&self) -> bool {
        self.lanes()
            .any(|lane| lane.sources.iter().any(SourcePartition::is_soft))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, partitions: i32) -> SourceTopic {
        SourceTopic {
            topic: name.into(),
            partitions,
            dead_letters: "dlq".into(),
            kind: SourceKind::Durable,
            patience: Duration::ZERO,
        }
    }

    fn companions(sources: Vec<SourceTopic>) -> Companions {
        Companions {
            units: "units.x".into(),
            partitions: 2,
            sources,
        }
    }

    fn names(topology: &Topology, topic: &str, partition: i32) -> Vec<String> {
        let unit = Unit {
            topic: topic.to_owned(),
            partition,
        };
        let lanes = topology.lanes_of(&unit).iter();
        lanes.map(|lane| lane.id.to_string()).collect()
    }

    #[test]
    fn a_unit_stands_for_its_number_of_all_companions_and_each_lane_for_one_unit() {
        let group = companions(vec![topic("a.x", 2), topic("b.x", 2)]);
        let topology = Topology::companion_lanes([group]).unwrap();
        assert_eq!(topology.subscription(), ["units.x"]);
        assert_eq!(names(&topology, "units.x", 0), ["a.x/0", "b.x/0"]);
        assert_eq!(names(&topology, "units.x", 1), ["a.x/1", "b.x/1"]);
        assert!(names(&topology, "units.x", 2).is_empty() && names(&topology, "a.x", 0).is_empty());
        // The same lanes as without companions, by their names: their rows stay what they are.
        let alone = Topology::partition_lanes([topic("a.x", 2), topic("b.x", 2)]);
        let lanes = |topology: &Topology| {
            let mut lanes: Vec<Lane> = topology.lanes().map(|lane| (**lane).clone()).collect();
            lanes.sort_by(|a, b| a.id.cmp(&b.id));
            lanes
        };
        assert_eq!(lanes(&topology), lanes(&alone));
    }

    #[test]
    fn companions_of_different_size_are_refused_by_name() {
        let group = companions(vec![topic("a.x", 2), topic("b.x", 3)]);
        let refused = Topology::companion_lanes([group]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "b.x has 3 partitions, units.x beside it 2: they must have the same number"
        );
    }
}
