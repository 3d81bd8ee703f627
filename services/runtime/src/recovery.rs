//! Recovery of a lane: what to do when the two logs are read side by side.
//!
//! PostgreSQL's `seq` says what was applied, the `seq` in Kafka's committed metadata what was published. The rows in
//! between are published, and reading goes on at PostgreSQL's position. Everything here is decided by [`plan`], a pure
//! function; reading Kafka is [`read`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
use thiserror::Error;

use crate::lane::{Lane, SourceKind};
use crate::publisher::seq_of;
use crate::store::{OutboxRow, Taken};

/// What Kafka says about one source partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct KafkaSide {
    /// Committed offset and row number, if the group ever committed one here.
    pub(crate) committed: Option<(i64, i64)>,
    /// First offset still in the log, and the one after the last stable message.
    pub(crate) first: i64,
    pub(crate) end: i64,
    /// For a soft source: where its window begins.
    pub(crate) window: i64,
}

/// What Kafka says about a lane, in the order of its sources.
pub(crate) type KafkaSides = Vec<KafkaSide>;

/// A lane whose two logs contradict each other, or whose topic is not the one it knows. A stale owner can see this while its
/// successor moves on, so it counts only when it stays; then the lane must not run.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Contradiction {
    #[error(
        "PostgreSQL is behind Kafka (row {seq} against {published} published): it was restored from an older backup. \
         Restore a newer one, or accept the loss with `swiftctl lanes reset --to-kafka`"
    )]
    Behind { seq: i64, published: i64 },
    #[error(
        "PostgreSQL has position {position} of {topic}/{partition}, Kafka has {committed} committed: PostgreSQL was restored \
         from an older backup. Restore a newer one, or accept the loss with `swiftctl lanes reset --to-kafka`"
    )]
    PositionBehind {
        topic: String,
        partition: i32,
        position: i64,
        committed: i64,
    },
    #[error(
        "outbox rows {have:?} do not fill the gap between {published} published and {seq} applied; \
         `swiftctl lanes reset --to-kafka` accepts the loss"
    )]
    Gap {
        have: Vec<i64>,
        published: i64,
        seq: i64,
    },
    #[error(
        "Kafka has no committed position although {unpublished} outbox rows may or may not be published: the group's offsets \
         were deleted. `swiftctl lanes reset --publish-outbox` or `--drop-outbox` decides"
    )]
    CommitMissing { unpublished: usize },
    #[error(
        "position {position} of {topic}/{partition} is not in its log ({first}..{end}): the topic was recreated or its \
         retention has passed. `swiftctl lanes reset --to-earliest` or `--to-latest` decides"
    )]
    OutsideLog {
        topic: String,
        partition: i32,
        position: i64,
        first: i64,
        end: i64,
    },
}

/// What recovery does next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Rows to publish, in order; all others of the outbox are published already.
    pub(crate) rows: Vec<OutboxRow>,
    /// Highest row number known to be published before.
    pub(crate) published: i64,
    /// Position of each source, in the lane's order.
    pub(crate) positions: Vec<i64>,
    /// Sources that the lane has never read: their position has to be recorded.
    pub(crate) begun: Vec<usize>,
    /// Where reading starts: the position, but the beginning of the window for soft sources.
    pub(crate) read_from: Vec<i64>,
    /// Soft sources with a window to be read first, and where it ends.
    pub(crate) behind: Vec<(usize, i64)>,
    /// Durable sources whose offset in Kafka is missing or old, so that it has to be committed.
    pub(crate) stale_offsets: Vec<usize>,
}

/// Compares the two logs of a lane.
pub(crate) fn plan(lane: &Lane, taken: &Taken, kafka: &KafkaSides) -> Result<Plan, Contradiction> {
    let (positions, begun) = positions(lane, taken, kafka)?;
    let seq = taken.row.seq;
    let published = match kafka
        .iter()
        .filter_map(|side| side.committed)
        .map(|(_, seq)| seq)
        .max()
    {
        Some(published) => published,
        // No commit at all: without rows that could be out or not, PostgreSQL's word is enough.
        None if taken.outbox.is_empty() => seq,
        None => {
            return Err(Contradiction::CommitMissing {
                unpublished: taken.outbox.len(),
            });
        }
    };
    if published > seq {
        return Err(Contradiction::Behind { seq, published });
    }
    let rows: Vec<OutboxRow> = taken
        .outbox
        .iter()
        .filter(|row| row.seq > published)
        .cloned()
        .collect();
    if !rows.iter().map(|row| row.seq).eq(published + 1..=seq) {
        let have = rows.iter().map(|row| row.seq).collect();
        return Err(Contradiction::Gap {
            have,
            published,
            seq,
        });
    }
    let stale = |(index, side): (usize, &KafkaSide)| {
        let current = side.committed.map(|(offset, _)| offset) == Some(positions[index]);
        (!current && !lane.sources[index].is_soft()).then_some(index)
    };
    let stale_offsets = kafka.iter().enumerate().filter_map(stale).collect();
    let read_from = read_from(lane, &positions, kafka);
    let behind = |(index, side): (usize, &KafkaSide)| {
        let soft = lane.sources[index].is_soft();
        (soft && read_from[index] < side.end).then_some((index, side.end))
    };
    let behind = kafka.iter().enumerate().filter_map(behind).collect();
    Ok(Plan {
        rows,
        published,
        positions,
        begun,
        read_from,
        behind,
        stale_offsets,
    })
}

/// The position of every source: PostgreSQL's, or the start of the log where there is none yet.
fn positions(
    lane: &Lane,
    taken: &Taken,
    kafka: &KafkaSides,
) -> Result<(Vec<i64>, Vec<usize>), Contradiction> {
    let (mut positions, mut begun) = (Vec::with_capacity(lane.sources.len()), Vec::new());
    for (index, (source, side)) in lane.sources.iter().zip(kafka).enumerate() {
        let (topic, partition) = (source.source.topic.to_string(), source.partition);
        let soft = source.is_soft();
        let Some(&position) = taken.positions.get(&(topic.clone(), partition)) else {
            begun.push(index);
            let start = if soft { side.window } else { side.first };
            positions.push(side.committed.map_or(start, |(offset, _)| offset));
            continue;
        };
        if let Some((committed, _)) = side.committed
            && committed > position
        {
            return Err(Contradiction::PositionBehind {
                topic,
                partition,
                position,
                committed,
            });
        }
        if position > side.end || (position < side.first && !soft) {
            return Err(Contradiction::OutsideLog {
                topic,
                partition,
                position,
                first: side.first,
                end: side.end,
            });
        }
        positions.push(position);
    }
    Ok((positions, begun))
}

fn read_from(lane: &Lane, positions: &[i64], kafka: &KafkaSides) -> Vec<i64> {
    let start =
        |((source, position), side): ((&crate::lane::SourcePartition, &i64), &KafkaSide)| {
            match source.source.kind {
                SourceKind::Durable => *position,
                SourceKind::Soft { .. } => side.window.max(side.first),
            }
        };
    lane.sources
        .iter()
        .zip(positions)
        .zip(kafka)
        .map(start)
        .collect()
}

/// Reads Kafka's side of some lanes. Blocks; an error (a timeout included) is no answer, and the read is to be repeated.
/// The consumer reads committed, which makes the broker wait for transactions that are still being decided.
pub(crate) fn read<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    lanes: &[Arc<Lane>],
    timeout: Duration,
) -> Result<Vec<KafkaSides>, KafkaError> {
    let committed = consumer.committed_offsets(list(lanes, |_| Offset::Invalid)?, timeout)?;
    let first = offsets_at(consumer, lanes, |_| Offset::Beginning, timeout)?;
    let end = offsets_at(consumer, lanes, |_| Offset::End, timeout)?;
    let window = offsets_at(consumer, lanes, window_start, timeout)?;
    let mut commits: BTreeMap<(String, i32), Option<(i64, i64)>> = BTreeMap::new();
    for element in committed.elements() {
        element.error()?;
        let commit = match element.offset() {
            // A commit without row number was made by somebody else: as good as missing.
            Offset::Offset(offset) => seq_of(element.metadata()).map(|seq| (offset, seq)),
            _ => None,
        };
        commits.insert((element.topic().to_owned(), element.partition()), commit);
    }
    let side = |topic: &Arc<str>, partition: i32| {
        let key = (topic.to_string(), partition);
        let at = |offsets: &BTreeMap<(String, i32), i64>| offsets.get(&key).copied().unwrap_or(0);
        let end = at(&end);
        let window = window
            .get(&key)
            .copied()
            .filter(|offset| *offset >= 0)
            .unwrap_or(end);
        KafkaSide {
            committed: commits.get(&key).copied().flatten(),
            first: at(&first),
            end,
            window,
        }
    };
    let sides = |lane: &Arc<Lane>| {
        lane.sources
            .iter()
            .map(|s| side(&s.source.topic, s.partition))
            .collect()
    };
    Ok(lanes.iter().map(sides).collect())
}

fn window_start(kind: SourceKind) -> Offset {
    match kind {
        SourceKind::Durable => Offset::End,
        SourceKind::Soft { window } => {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default();
            Offset::Offset(now.saturating_sub(window).as_millis() as i64)
        }
    }
}

fn list(
    lanes: &[Arc<Lane>],
    offset: impl Fn(SourceKind) -> Offset,
) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::new();
    for source in lanes.iter().flat_map(|lane| &lane.sources) {
        list.add_partition_offset(
            &source.source.topic,
            source.partition,
            offset(source.source.kind),
        )?;
    }
    Ok(list)
}

/// Offsets by time; the broker takes "beginning" and "end" as times too.
pub(crate) fn offsets_at<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    lanes: &[Arc<Lane>],
    at: impl Fn(SourceKind) -> Offset,
    timeout: Duration,
) -> Result<BTreeMap<(String, i32), i64>, KafkaError> {
    let found = consumer.offsets_for_times(list(lanes, at)?, timeout)?;
    let mut offsets = BTreeMap::new();
    for element in found.elements() {
        element.error()?;
        let offset = match element.offset() {
            Offset::Offset(offset) => offset,
            _ => -1,
        };
        offsets.insert((element.topic().to_owned(), element.partition()), offset);
    }
    Ok(offsets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::{SourceTopic, Topology};
    use crate::store::LaneRow;

    fn lane() -> Arc<Lane> {
        let source = SourceTopic {
            topic: "t".into(),
            partitions: 1,
            dead_letters: "d".into(),
            kind: SourceKind::Durable,
            patience: Duration::ZERO,
        };
        let topology = Topology::partition_lanes([source]);
        let mut lanes = topology.lanes();
        lanes.next().unwrap().clone()
    }

    fn taken(seq: i64, position: Option<i64>, rows: &[i64]) -> Taken {
        let row = |seq: &i64| OutboxRow {
            seq: *seq,
            records: vec![],
        };
        Taken {
            row: LaneRow {
                version: 7,
                epoch: 2,
                seq,
            },
            positions: position
                .map(|at| (("t".to_owned(), 0), at))
                .into_iter()
                .collect(),
            outbox: rows.iter().map(row).collect(),
        }
    }

    fn kafka(committed: Option<(i64, i64)>) -> KafkaSides {
        vec![KafkaSide {
            committed,
            first: 0,
            end: 100,
            window: 100,
        }]
    }

    fn seqs(plan: &Plan) -> Vec<i64> {
        plan.rows.iter().map(|row| row.seq).collect()
    }

    #[test]
    fn rows_between_the_two_logs_are_published_in_order() {
        let plan = plan(
            &lane(),
            &taken(5, Some(40), &[3, 4, 5]),
            &kafka(Some((30, 3))),
        )
        .unwrap();
        assert_eq!(
            (
                seqs(&plan),
                plan.published,
                plan.positions,
                plan.stale_offsets
            ),
            (vec![4, 5], 3, vec![40], vec![0])
        );
    }

    #[test]
    fn a_new_lane_starts_at_the_beginning_of_its_log() {
        let plan = plan(
            &lane(),
            &taken(0, None, &[]),
            &vec![KafkaSide {
                committed: None,
                first: 12,
                end: 100,
                window: 100,
            }],
        )
        .unwrap();
        assert_eq!(
            (plan.positions, plan.begun, plan.stale_offsets),
            (vec![12], vec![0], vec![0])
        );
    }

    #[test]
    fn a_missing_commit_is_not_zero() {
        let forgotten = plan(&lane(), &taken(5, Some(40), &[]), &kafka(None)).unwrap();
        assert_eq!(
            (seqs(&forgotten), forgotten.published, forgotten.positions),
            (vec![], 5, vec![40])
        );
        let open = plan(&lane(), &taken(5, Some(40), &[5]), &kafka(None));
        assert_eq!(open, Err(Contradiction::CommitMissing { unpublished: 1 }));
    }

    #[test]
    fn a_restored_backup_is_refused() {
        let behind = plan(&lane(), &taken(5, Some(40), &[]), &kafka(Some((40, 6))));
        assert_eq!(
            behind,
            Err(Contradiction::Behind {
                seq: 5,
                published: 6
            })
        );
        let behind = plan(&lane(), &taken(5, Some(40), &[]), &kafka(Some((41, 5))));
        assert!(matches!(
            behind,
            Err(Contradiction::PositionBehind {
                position: 40,
                committed: 41,
                ..
            })
        ));
    }

    #[test]
    fn a_gap_between_the_logs_is_refused() {
        let gap = plan(&lane(), &taken(5, Some(40), &[5]), &kafka(Some((30, 3))));
        assert_eq!(
            gap,
            Err(Contradiction::Gap {
                have: vec![5],
                published: 3,
                seq: 5
            })
        );
    }

    #[test]
    fn a_position_outside_the_log_is_refused() {
        for (first, end) in [(0, 39), (41, 100)] {
            let side = vec![KafkaSide {
                committed: Some((30, 5)),
                first,
                end,
                window: end,
            }];
            let refused = plan(&lane(), &taken(5, Some(40), &[]), &side);
            assert!(
                matches!(refused, Err(Contradiction::OutsideLog { position: 40, .. })),
                "{first}..{end}"
            );
        }
    }
}
