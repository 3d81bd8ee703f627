//! What has to be done to a cluster so that it has the topics of the catalogue. Pure: it only compares.
//!
//! Guarantees: nothing is deleted; partitions are only added; retention is only raised, unless lowering was asked for.
//! Settings of a topic that the catalogue does not speak about are left alone.

use std::collections::BTreeMap;

use contracts::TopicSpec;
use serde::Serialize;

pub const RETENTION: &str = "retention.ms";
pub const CLEANUP: &str = "cleanup.policy";
pub const MESSAGE_BYTES: &str = "max.message.bytes";
pub const MIN_INSYNC: &str = "min.insync.replicas";
pub const INDEX_BYTES: &str = "segment.index.bytes";

/// Size of each of the two indexes of a segment, which ends when one is full: after 85 MiB at the earliest (12 bytes per 4 KiB).
///
/// An index is a sparse file that the broker maps whole. Where the kernel reads far ahead, the first record of a partition
/// fills as much of both with zeros; of Kafka's 10 MiB that took half of a broker's time in thousands of new partitions.
const INDEX_SIZE: u32 = 256 << 10;

/// A topic of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    pub partitions: u32,
    pub replicas: u32,
    /// Settings in effect.
    pub configs: BTreeMap<String, String>,
}

/// What will be done about one topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    pub topic: String,
    pub plan: Plan,
    /// As they should be.
    pub partitions: u32,
    /// Replicas of each partition when it is created; an existing topic keeps its own.
    pub replicas: u32,
    pub changes: Vec<Change>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Plan {
    Create,
    Alter,
    Unchanged,
    Refused,
}

/// One property of a topic that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    pub property: &'static str,
    pub from: String,
    pub to: String,
    /// Why it is not done.
    pub refused: Option<&'static str>,
}

impl Step {
    /// The settings to write, by name.
    pub fn configs(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let settings = self.changes.iter().filter(|c| c.property != "partitions");
        settings.map(|c| (c.property, c.to.as_str()))
    }

    pub fn adds_partitions(&self) -> bool {
        self.changes.iter().any(|c| c.property == "partitions")
    }
}

/// One step per topic of the catalogue, in its order. Replication follows the size of the cluster.
pub fn plan(
    wanted: &[TopicSpec],
    existing: &BTreeMap<String, Existing>,
    brokers: usize,
    allow_lower_retention: bool,
) -> Vec<Step> {
    let replicas = u32::try_from(brokers.clamp(1, 3)).unwrap_or(3);
    let step = |spec: &TopicSpec| match existing.get(&spec.name) {
        None => create(spec, replicas),
        Some(existing) => alter(spec, existing, allow_lower_retention),
    };
    wanted.iter().map(step).collect()
}

fn create(spec: &TopicSpec, replicas: u32) -> Step {
    let setting = |(property, to): (&'static str, String)| Change {
        property,
        from: String::new(),
        to,
        refused: None,
    };
    Step {
        topic: spec.name.clone(),
        plan: Plan::Create,
        partitions: spec.partitions,
        replicas,
        changes: settings(spec, replicas).map(setting).into(),
    }
}

fn alter(spec: &TopicSpec, existing: &Existing, allow_lower_retention: bool) -> Step {
    let mut changes = Vec::new();
    if existing.partitions != spec.partitions {
        let fewer = spec.partitions < existing.partitions;
        changes.push(Change {
            property: "partitions",
            from: existing.partitions.to_string(),
            to: spec.partitions.to_string(),
            refused: fewer.then_some("Kafka cannot take partitions away"),
        });
    }
    for (property, to) in settings(spec, existing.replicas) {
        let from = existing.configs.get(property).cloned().unwrap_or_default();
        if from != to {
            let lower = property == RETENTION && is_lower(&to, &from) && !allow_lower_retention;
            let refused = lower.then_some("deletes data: only with --allow-lower-retention");
            changes.push(Change {
                property,
                from,
                to,
                refused,
            });
        }
    }
    let plan = match changes.as_slice() {
        [] => Plan::Unchanged,
        changes if changes.iter().any(|c| c.refused.is_some()) => Plan::Refused,
        _ => Plan::Alter,
    };
    Step {
        topic: spec.name.clone(),
        plan,
        partitions: spec.partitions,
        replicas: existing.replicas,
        changes,
    }
}

/// A write is safe once two replicas have it, where there are three.
fn settings(spec: &TopicSpec, replicas: u32) -> [(&'static str, String); 5] {
    let min_insync = if replicas >= 3 { "2" } else { "1" };
    [
        (RETENTION, spec.retention.as_millis().to_string()),
        (CLEANUP, spec.cleanup_policy.to_owned()),
        (MIN_INSYNC, min_insync.to_owned()),
        (MESSAGE_BYTES, spec.max_message_bytes.to_string()),
        (INDEX_BYTES, INDEX_SIZE.to_string()),
    ]
}

/// Whether `to` keeps less than `from`, in milliseconds; -1 keeps for ever.
fn is_lower(to: &str, from: &str) -> bool {
    let millis = |text: &str| match text.parse::<i64>() {
        Ok(-1) => i64::MAX,
        Ok(millis) => millis,
        Err(_) => 0,
    };
    millis(to) < millis(from)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR: u64 = 3_600;

    fn spec(partitions: u32, hours: u64) -> TopicSpec {
        TopicSpec {
            name: "orders.requests.x".into(),
            partitions,
            retention: Duration::from_secs(hours * HOUR),
            cleanup_policy: "delete",
            max_message_bytes: 1_048_588,
        }
    }

    fn existing(partitions: u32, retention_ms: &str) -> BTreeMap<String, Existing> {
        let configs = [
            (RETENTION, retention_ms),
            (CLEANUP, "delete"),
            (MIN_INSYNC, "1"),
            (MESSAGE_BYTES, "1048588"),
            (INDEX_BYTES, "262144"),
        ];
        let topic = Existing {
            partitions,
            replicas: 1,
            configs: configs.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        };
        BTreeMap::from([("orders.requests.x".into(), topic)])
    }

    fn one(spec: TopicSpec, existing: &BTreeMap<String, Existing>, allow: bool) -> Step {
        plan(&[spec], existing, 1, allow).remove(0)
    }

    #[test]
    fn a_missing_topic_is_created_with_as_many_replicas_as_the_cluster_allows() {
        for (brokers, replicas, min_insync) in [(1, 1, "1"), (2, 2, "1"), (3, 3, "2"), (9, 3, "2")]
        {
            let step = plan(&[spec(6, 48)], &BTreeMap::new(), brokers, false).remove(0);
            assert_eq!(
                (step.plan, step.partitions, step.replicas),
                (Plan::Create, 6, replicas)
            );
            let settings: BTreeMap<_, _> = step.configs().collect();
            assert_eq!(settings[MIN_INSYNC], min_insync);
            assert_eq!(settings[RETENTION], "172800000");
        }
    }

    #[test]
    fn a_topic_that_is_as_it_should_be_is_left_alone() {
        assert_eq!(
            one(spec(6, 48), &existing(6, "172800000"), false).plan,
            Plan::Unchanged
        );
    }

    #[test]
    fn partitions_and_retention_are_raised() {
        let step = one(spec(12, 48), &existing(6, "3600000"), false);
        assert_eq!(step.plan, Plan::Alter);
        assert!(step.adds_partitions());
        assert_eq!(
            step.configs().collect::<Vec<_>>(),
            [(RETENTION, "172800000")]
        );
    }

    #[test]
    fn lower_retention_is_refused_unless_it_is_asked_for() {
        for longer in ["172800001", "-1"] {
            assert_eq!(
                one(spec(6, 48), &existing(6, longer), false).plan,
                Plan::Refused
            );
            assert_eq!(
                one(spec(6, 48), &existing(6, longer), true).plan,
                Plan::Alter
            );
        }
    }

    #[test]
    fn fewer_partitions_are_always_refused() {
        for allow in [false, true] {
            assert_eq!(
                one(spec(6, 48), &existing(7, "172800000"), allow).plan,
                Plan::Refused
            );
        }
    }
}
