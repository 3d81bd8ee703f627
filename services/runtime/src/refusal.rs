//! Lanes whose two logs contradict each other: they must not run until an operator has decided.
//!
//! A stale owner can see a contradiction while its successor moves on, so one counts only when it stays and this process is
//! still the owner. Then the reason is written beside the lane, where operators and their tools find it; who clears it has
//! decided, and the lane is recovered anew. A query a second while there is such a lane.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::engine::Engine;
use crate::lane::{Lane, LaneId, SourcePartition};
use crate::metric;
use crate::processor::Processor;
use crate::publisher::{CommitPosition, Publication};
use crate::recovery::{Contradiction, KafkaSide, KafkaSides};
use crate::running::Phase;
use crate::store;

/// A lane that cannot be recovered as things stand.
pub(crate) struct Doubted {
    pub(crate) lane: Arc<Lane>,
    /// Under which the contradiction was seen: a later owner has another.
    pub(crate) epoch: i64,
    pub(crate) contradiction: Contradiction,
}

/// So often in a row a contradiction must be seen before the lane is refused.
const DOUBTS: u32 = 3;
/// How often it is looked whether an operator has decided.
const LOOK: Duration = Duration::from_secs(1);

impl<P: Processor> Engine<P> {
    /// Contradictions are looked at again; those that stay, while this process is still the owner, stop their lanes.
    pub(crate) async fn doubt(&mut self, doubted: Vec<Doubted>, lanes: &[(Arc<Lane>, KafkaSides)]) {
        for doubted in doubted {
            let (lane, contradiction) = (&doubted.lane, &doubted.contradiction);
            let Some(slot) = self.slots.get_mut(&lane.id) else {
                continue;
            };
            let seen = slot.doubt.take().filter(|(last, _)| last == contradiction);
            let doubts = seen.map_or(1, |(_, times)| times + 1);
            slot.doubt = Some((contradiction.clone(), doubts));
            slot.phase = Phase::Waiting {
                until: Instant::now() + Duration::from_millis(250) * doubts.min(8),
            };
            if doubts < DOUBTS {
                continue;
            }
            let sides = lanes
                .iter()
                .find(|(other, _)| other.id == lane.id)
                .map(|(_, sides)| sides);
            if self.is_owner(lane, sides).await {
                self.refuse(&doubted).await;
            } else {
                tracing::info!(lane = %lane.id, "stale: the lane has another owner");
            }
        }
    }

    /// The lane stands still once its reason is on record; until then it is doubted again and again.
    async fn refuse(&mut self, doubted: &Doubted) {
        let (id, reason) = (&doubted.lane.id, doubted.contradiction.to_string());
        match store::refuse(&self.parts.db, id, doubted.epoch, &reason).await {
            Ok(true) => {}
            Ok(false) => return tracing::info!(lane = %id, "stale: the lane has another owner"),
            Err(error) => return tracing::warn!(lane = %id, %error, "refusing the lane"),
        }
        metrics::counter!(metric::VIOLATIONS, "kind" => "lane_refused").increment(1);
        tracing::error!(lane = %id, reason, "lane refused: it stands still until an operator decides");
        if let Some(slot) = self.slots.get_mut(id) {
            slot.phase = Phase::Refused {
                look_at: Instant::now() + LOOK,
            };
        }
    }

    /// Recovers the refused lanes about which somebody has decided.
    pub(crate) async fn heed_decisions(&mut self) {
        let now = Instant::now();
        let mut due = Vec::new();
        for (id, slot) in &mut self.slots {
            if let Phase::Refused { look_at } = &mut slot.phase
                && *look_at <= now
            {
                *look_at = now + LOOK;
                due.push(id.clone());
            }
        }
        if due.is_empty() {
            return;
        }
        let decided: Vec<LaneId> = match store::unrefused(&self.parts.db, &due).await {
            Ok(decided) => decided,
            Err(error) => return tracing::debug!(%error, "looking for decisions"),
        };
        for id in decided {
            let Some(slot) = self.slots.get_mut(&id) else {
                continue;
            };
            tracing::info!(lane = %id, "an operator has decided");
            (slot.phase, slot.doubt) = (Phase::Waiting { until: now }, None);
        }
    }

    /// Asks the broker whether this generation is current: it checks that when offsets enter a transaction, which is then
    /// aborted.
    async fn is_owner(&self, lane: &Lane, sides: Option<&KafkaSides>) -> bool {
        let (Some(generation), Some(sides)) = (self.generation.clone(), sides) else {
            return false;
        };
        let position = |(source, side): (&SourcePartition, &KafkaSide)| CommitPosition {
            topic: source.source.topic.clone(),
            partition: source.partition,
            offset: side.committed.map_or(side.first, |(offset, _)| offset),
            seq: side.committed.map_or(0, |(_, seq)| seq),
        };
        let positions = lane
            .sources
            .iter()
            .zip(sides)
            .take(1)
            .map(position)
            .collect();
        self.parts
            .publisher
            .is_current(Publication {
                rows: Vec::new(),
                positions,
                generation,
            })
            .await
    }
}
