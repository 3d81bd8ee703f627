//! How far behind the lanes are.
//!
//! The ends of all logs that are read are asked for in one question every few seconds. librdkafka's statistics tell them too,
//! but while these are on it also asks for the beginning of each partition's log in a request of its own: hundreds a second
//! where thousands of partitions are read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use rdkafka::Offset;
use rdkafka::error::KafkaError;
use tokio::task::JoinHandle;

use crate::engine::Engine;
use crate::lane::Lane;
use crate::metric;
use crate::processor::Processor;
use crate::recovery;
use crate::running::Phase;

/// How often the ends are asked for.
const ASK: Duration = Duration::from_secs(5);
/// How long the answer may take; one that takes longer is missed.
const ANSWER: Duration = Duration::from_secs(1);

/// The offset after the last stable message, by topic and partition.
type Ends = BTreeMap<(String, i32), i64>;

/// The question that is under way, and when it was asked.
#[derive(Default)]
pub(crate) struct Lag {
    asked_at: Option<Instant>,
    answer: Option<JoinHandle<Result<Ends, KafkaError>>>,
}

impl<P: Processor> Engine<P> {
    /// Reports what the lanes know of themselves when it is time, and asks for the ends, whose lag is reported once they are told.
    /// Does not wait.
    pub(crate) async fn watch_lag(&mut self) {
        if let Some(answer) = self.lag.answer.take_if(|answer| answer.is_finished()) {
            match answer.await {
                Ok(Ok(ends)) => self.report_lag(&ends),
                Ok(Err(error)) => tracing::debug!(%error, "asking for the ends of logs"),
                Err(error) => tracing::error!(%error, "asking for the ends of logs"),
            }
        }
        let now = Instant::now();
        let recently = |at: Instant| now.duration_since(at) < ASK;
        if self.lag.answer.is_some() || self.lag.asked_at.is_some_and(recently) {
            return;
        }
        self.report_lanes();
        let running = self
            .slots
            .values()
            .filter(|slot| matches!(slot.phase, Phase::Running(_)));
        let lanes: Vec<Arc<Lane>> = running.map(|slot| slot.lane.clone()).collect();
        if lanes.is_empty() {
            return;
        }
        let asker = self.parts.asker.clone();
        let ask = move || recovery::offsets_at(&asker, &lanes, |_| Offset::End, ANSWER);
        self.lag = Lag {
            asked_at: Some(now),
            answer: Some(tokio::task::spawn_blocking(ask)),
        };
    }

    /// How many stable messages are not applied yet.
    fn report_lag(&self, ends: &Ends) {
        for slot in self.slots.values() {
            let Phase::Running(running) = &slot.phase else {
                continue;
            };
            for (source, position) in slot.lane.sources.iter().zip(&running.positions) {
                let (topic, partition) = (source.source.topic.to_string(), source.partition);
                let labels = [
                    ("topic", topic.clone()),
                    ("partition", partition.to_string()),
                ];
                if let Some(end) = ends.get(&(topic, partition)) {
                    metrics::gauge!(metric::LAG_MESSAGES, &labels)
                        .set((end - position).max(0) as f64);
                }
            }
        }
    }

    /// What needs no answer of Kafka: how old the oldest waiting message is, and how many rows are not known to be published.
    fn report_lanes(&self) {
        let now = Utc::now().timestamp_millis();
        for (id, running) in self.running() {
            let oldest = running
                .queue
                .front()
                .map_or(0, |queued| (now - queued.message.timestamp_ms).max(0));
            metrics::gauge!(metric::LAG_SECONDS, "lane" => id.to_string())
                .set(oldest as f64 / 1_000.0);
            let unpublished = running.seq - running.published;
            metrics::gauge!(metric::OUTBOX_UNPUBLISHED, "lane" => id.to_string())
                .set(unpublished as f64);
        }
    }
}
