//! What each decision about a refused lane changes. Pure: both logs in, the changes out.
//!
//! The decisions are those that the runtime's recovery names in its reasons, and each is taken only where it is named: it
//! gives something up, which nobody should do by mistake.

use clap::Args;

use super::state::{LaneState, Position, Source};

/// Exactly one.
#[derive(Args, Debug, Clone, Copy)]
#[group(required = true, multiple = false)]
pub struct Decision {
    /// PostgreSQL is behind Kafka: go on where Kafka is. What PostgreSQL has lost stays lost.
    #[arg(long)]
    to_kafka: bool,
    /// Nobody knows what of the outbox was published: publish all of it. Readers may see records twice.
    #[arg(long)]
    publish_outbox: bool,
    /// The same: publish nothing of it. Readers may miss records.
    #[arg(long)]
    drop_outbox: bool,
    /// The position is not in its log: go on at the log's beginning. Messages that were applied from an earlier topic of that
    /// name may be applied again.
    #[arg(long)]
    to_earliest: bool,
    /// The same: go on at the log's end. What stands in it is passed over.
    #[arg(long)]
    to_latest: bool,
}

/// What has to change.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub seq: Option<i64>,
    pub positions: Vec<(Source, i64)>,
    /// Rows to delete.
    pub dropped: Vec<i64>,
    /// To be committed to Kafka: offset and row number.
    pub commits: Vec<(Source, i64, i64)>,
}

impl Decision {
    pub fn flag(self) -> &'static str {
        match self {
            Decision { to_kafka: true, .. } => "--to-kafka",
            Decision {
                publish_outbox: true,
                ..
            } => "--publish-outbox",
            Decision {
                drop_outbox: true, ..
            } => "--drop-outbox",
            Decision {
                to_earliest: true, ..
            } => "--to-earliest",
            Decision { .. } => "--to-latest",
        }
    }

    /// The changes, or why there must be none.
    pub fn changes(self, lane: &LaneState) -> Result<Changes, String> {
        let Some(reason) = &lane.refused else {
            return Err(
                "nobody refuses to run this lane, so there is nothing to decide".to_owned(),
            );
        };
        if !reason.contains(self.flag()) {
            return Err(format!("{} does not resolve it: {reason}", self.flag()));
        }
        match self.flag() {
            "--to-kafka" => to_kafka(lane),
            "--publish-outbox" => publish_outbox(lane),
            "--drop-outbox" => Ok(Changes {
                dropped: lane.outbox.clone(),
                ..Changes::default()
            }),
            "--to-earliest" => Ok(to(lane, |position| position.first)),
            _ => Ok(to(lane, |position| position.end)),
        }
    }
}

/// Kafka's number and offsets, where they are ahead. Rows go unless they fill the gap to the last one.
fn to_kafka(lane: &LaneState) -> Result<Changes, String> {
    let published = lane.published();
    let published = published
        .ok_or("Kafka has no number of this lane: restart its instance, and look again")?;
    let unpublished = lane.outbox.iter().filter(|seq| **seq > published);
    let filled = lane.seq >= published && unpublished.copied().eq(published + 1..=lane.seq);
    let ahead = |(source, position): (&Source, &Position)| {
        let (committed, _) = position.committed?;
        (committed > position.next).then(|| (source.clone(), committed))
    };
    Ok(Changes {
        seq: (!filled).then_some(published),
        dropped: if filled {
            Vec::new()
        } else {
            lane.outbox.clone()
        },
        positions: lane.sources.iter().filter_map(ahead).collect(),
        commits: Vec::new(),
    })
}

/// Kafka is told that everything before the first row is published; the instance then publishes the rest as after any crash.
fn publish_outbox(lane: &LaneState) -> Result<Changes, String> {
    let first = lane.outbox.first().ok_or("the outbox is empty")?;
    if !lane.outbox.iter().copied().eq(*first..=lane.seq) {
        return Err(format!(
            "rows are missing between {first} and {}: --drop-outbox",
            lane.seq
        ));
    }
    let source = lane.sources.iter().next();
    let (source, position) = source.ok_or("the lane has no positions")?;
    Ok(Changes {
        commits: vec![(source.clone(), position.next, first - 1)],
        ..Changes::default()
    })
}

/// Moves the positions that are outside their logs; and what Kafka has committed, where that is ahead of the new ones.
fn to(lane: &LaneState, place: fn(&Position) -> i64) -> Changes {
    let outside =
        |position: &Position| position.next > position.end || position.next < position.first;
    let mut changes = Changes::default();
    for (source, position) in lane
        .sources
        .iter()
        .filter(|(_, position)| outside(position))
    {
        let place = place(position);
        changes.positions.push((source.clone(), place));
        if let Some((committed, Some(seq))) = position.committed
            && committed > place
        {
            changes.commits.push((source.clone(), place, seq));
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO_KAFKA: Decision = Decision {
        to_kafka: true,
        publish_outbox: false,
        drop_outbox: false,
        to_earliest: false,
        to_latest: false,
    };
    const PUBLISH: Decision = Decision {
        to_kafka: false,
        publish_outbox: true,
        ..TO_KAFKA
    };
    const EARLIEST: Decision = Decision {
        to_kafka: false,
        to_earliest: true,
        ..TO_KAFKA
    };

    fn source() -> Source {
        ("t".to_owned(), 0)
    }

    /// Row 5 applied up to offset 40 of a log from 10 to 100.
    fn lane(reason: Option<&str>, outbox: &[i64], committed: Option<(i64, i64)>) -> LaneState {
        let committed = committed.map(|(offset, seq)| (offset, Some(seq)));
        let position = Position {
            next: 40,
            committed,
            first: 10,
            end: 100,
        };
        LaneState {
            service: "s".to_owned(),
            lane: "t/0".to_owned(),
            version: 9,
            epoch: 2,
            seq: 5,
            refused: reason.map(str::to_owned),
            refused_at: None,
            outbox: outbox.to_vec(),
            sources: [(source(), position)].into(),
        }
    }

    #[test]
    fn a_lane_that_nobody_refuses_or_for_another_reason_is_left_alone() {
        assert!(TO_KAFKA.changes(&lane(None, &[], Some((40, 6)))).is_err());
        let other = lane(Some("`swiftctl lanes reset --drop-outbox`"), &[5], None);
        assert!(
            TO_KAFKA
                .changes(&other)
                .is_err_and(|why| why.contains("does not resolve it"))
        );
    }

    #[test]
    fn to_kafka_takes_what_is_ahead_and_keeps_rows_that_fill_the_gap() {
        let reason = Some("--to-kafka");
        let behind = TO_KAFKA
            .changes(&lane(reason, &[4, 5], Some((60, 8))))
            .expect("decides");
        let expected = Changes {
            seq: Some(8),
            positions: vec![(source(), 60)],
            dropped: vec![4, 5],
            commits: vec![],
        };
        assert_eq!(behind, expected);
        let gap = TO_KAFKA
            .changes(&lane(reason, &[5], Some((30, 3))))
            .expect("decides");
        assert_eq!(
            (gap.seq, gap.positions, gap.dropped),
            (Some(3), vec![], vec![5])
        );
        let position = TO_KAFKA
            .changes(&lane(reason, &[4, 5], Some((41, 3))))
            .expect("decides");
        assert_eq!(
            (position.seq, position.positions, position.dropped),
            (None, vec![(source(), 41)], vec![])
        );
    }

    #[test]
    fn rows_are_published_only_when_none_is_missing() {
        let reason = Some("--publish-outbox or --drop-outbox");
        let publish = PUBLISH
            .changes(&lane(reason, &[4, 5], None))
            .expect("decides");
        assert_eq!(publish.commits, [(source(), 40, 3)]);
        assert!(PUBLISH.changes(&lane(reason, &[3, 5], None)).is_err());
    }

    #[test]
    fn only_positions_outside_their_log_move() {
        let reason = Some("--to-earliest or --to-latest");
        let inside = lane(reason, &[], Some((40, 5)));
        assert_eq!(EARLIEST.changes(&inside), Ok(Changes::default()));
        let mut outside = inside.clone();
        outside.sources.get_mut(&source()).expect("its source").end = 20;
        let moved = EARLIEST.changes(&outside).expect("decides");
        assert_eq!(
            (moved.positions, moved.commits),
            (vec![(source(), 10)], vec![(source(), 10, 5)])
        );
    }
}
