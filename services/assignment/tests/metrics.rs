//! What each geo tells of its dispatching, as it stands on the page that is scraped.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use assignment::book::Book;
use assignment::decide::Word;
use assignment::event::Event;
use assignment::metric::LaneMetrics;
use chrono::{DateTime, Utc};
use fixture::{GEO, empty_book, online, origin, requested, says, second, trace};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// A lane with metrics and without tables: whatever it decides stands.
struct Lane {
    book: Book,
    metrics: LaneMetrics,
    page: PrometheusHandle,
}

impl Lane {
    /// A cycle as the processor runs it; one that has nothing to decide does not tick.
    fn cycle(&mut self, now: DateTime<Utc>, events: &[Event]) {
        for event in events {
            self.book.apply(event, origin(&trace()), now);
        }
        let wanted = self.book.next_tick();
        if wanted.is_some_and(|at| at <= assignment::units::at(now)) {
            let pulse = self.book.tick(now);
            self.metrics.ticked(pulse, Duration::from_millis(2));
        }
        if let Some(ticked) = self.book.conclude(BTreeSet::new(), now) {
            for decision in &ticked.tick.decisions {
                self.metrics.decided(decision);
            }
        }
        self.book.take_changes();
        self.metrics.stored(&mut self.book);
    }

    /// The value of a series of this geo; of a histogram, how often something was recorded.
    fn value(&self, name: &str) -> Option<f64> {
        values(&self.page).get(name).copied()
    }
}

/// Series without further labels of this geo, by name.
fn values(page: &PrometheusHandle) -> BTreeMap<String, f64> {
    let text = page.render();
    let label = format!("{{geo=\"{GEO}\"}} ");
    let lines = text.lines().filter_map(|line| line.split_once(&*label));
    let values = lines.map(|(name, value)| (name.to_owned(), value.parse().unwrap()));
    values.collect()
}

fn with_a_lane(policy: &str, test: impl FnOnce(&mut Lane)) {
    let recorder = PrometheusBuilder::new().build_recorder();
    let page = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        test(&mut Lane {
            book: empty_book(policy),
            metrics: LaneMetrics::new(GEO),
            page,
        });
    });
}

#[test]
fn a_geo_tells_what_waits_how_well_it_decides_and_how_driver_and_food_met() {
    with_a_lane("lookahead", |lane| {
        lane.cycle(second(0), &[requested(1, 1, second(0), 100)]);
        // Nobody is there; for a driver at the door it has been due for 20 s.
        lane.cycle(second(1), &[]);
        let waits = |lane: &Lane| {
            ["pending_requests", "due_requests", "waiting_requests"]
                .map(|name| lane.value(&format!("assignment_{name}")).unwrap())
        };
        assert_eq!(waits(lane), [1.0, 0.0, 1.0]);
        assert_eq!(lane.value("assignment_oldest_due_seconds"), Some(21.0));
        lane.cycle(second(2), &[online("ada", second(2), 10)]);
        assert_eq!(waits(lane), [0.0; 3], "an empty queue is not due");
        assert_eq!(lane.value("assignment_oldest_due_seconds"), Some(0.0));
        for (at, word) in [(90, Word::Arrived), (130, Word::PickedUp)] {
            lane.cycle(second(at), &[says("ada", 1, word, second(at))]);
        }
        for (name, expected) in [
            ("slack_at_release_minutes_sum", (98.0 - 68.0) / 60.0),
            ("slack_at_pickup_minutes_sum", 10.0 / 60.0),
            ("driver_waited_minutes_sum", 40.0 / 60.0),
            ("food_waited_minutes_sum", 30.0 / 60.0),
            ("matched_events_sum", 1.0),
        ] {
            let value = lane.value(&format!("assignment_{name}")).unwrap();
            assert!((value - expected).abs() < 0.02, "{name} {value} {expected}");
        }
        assert!(
            lane.value("assignment_tick_duration_seconds_count")
                .unwrap()
                >= 3.0
        );
        let choices = ["choices", "choices_revised"];
        for name in choices.map(|name| format!("assignment_{name}_total")) {
            assert_eq!(lane.value(&name), Some(0.0), "{name}");
        }
    });
}

#[test]
fn a_lane_that_is_lost_leaves_no_sizes_behind() {
    with_a_lane("lookahead", |lane| {
        lane.cycle(second(0), &[requested(1, 1, second(0), 100)]);
        lane.cycle(second(1), &[]);
        assert_eq!(lane.value("assignment_pending_requests"), Some(1.0));
        let taken_over_and_lost = LaneMetrics::new(GEO);
        drop(taken_over_and_lost);
        let left = values(&lane.page);
        let gauges = left.iter().filter(|(name, _)| {
            ["_requests", "oldest_due_seconds", "travel_factor"]
                .iter()
                .any(|end| name.ends_with(end))
        });
        let gauges: Vec<_> = gauges.collect();
        assert_eq!(gauges.len(), 6, "{gauges:?}");
        assert!(gauges.iter().all(|(_, value)| **value == 0.0), "{gauges:?}");
    });
}

#[test]
fn under_fifo_what_waits_is_counted_by_the_configured_tolerance() {
    with_a_lane("fifo", |lane| {
        let events = [
            requested(1, 1, second(0), 100),
            requested(2, 1, second(0), 200),
        ];
        lane.cycle(second(0), &events);
        lane.cycle(second(1), &[]);
        assert_eq!(lane.value("assignment_waiting_requests"), Some(1.0));
        assert_eq!(lane.value("assignment_oldest_due_seconds"), Some(21.0));
    });
}
