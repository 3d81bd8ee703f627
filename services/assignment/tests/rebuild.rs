//! A crash at any point changes no decision: a lane rebuilt from its rows goes on as the one that wrote them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use assignment::book::Ticked;
use assignment::event::Event;
use chrono::TimeDelta;
use fixture::tables::{decide, finish, load_under, pool};
use fixture::{GEO, POLICIES, event, origin, second, steps, trace};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

/// What a decision is, apart from counters that depend on when silence was noticed.
fn decided(ticked: &Option<Ticked>) -> String {
    format!(
        "{:?}",
        ticked.as_ref().map(|t| (
            &t.tick.decisions,
            &t.tick.releases,
            &t.tick.missing,
            &t.tick.failures,
            t.tick.due
        ))
    )
}

#[tokio::test]
async fn a_lane_rebuilt_before_every_cycle_decides_as_one_that_was_never_lost() {
    let pool = pool().await;
    let mut decisions = 0;
    let mut runner = TestRunner::new(ProptestConfig::default());
    for policy in POLICIES.into_iter().cycle().take(80) {
        let history = steps(25).new_tree(&mut runner).unwrap();
        let history = proptest::strategy::ValueTree::current(&history);
        let mut tx = pool.begin().await.unwrap();
        let mut lasting = load_under(policy, &mut tx, GEO).await;
        let (mut now, mut pings) = (second(0), Vec::new());
        for step in &history {
            now += TimeDelta::seconds(step.pause_s);
            let mut events: Vec<Event> = Vec::new();
            for action in &step.actions {
                events.extend(event(*action, &lasting, now));
            }
            let (heard, events): (Vec<_>, Vec<_>) = events
                .into_iter()
                .partition(|event| matches!(event, Event::Location(_)));
            let mut rebuilt = load_under(policy, &mut tx, GEO).await;
            let trace = trace();
            for ping in &pings {
                rebuilt.apply(ping, origin(&trace), now);
            }
            for book in [&mut lasting, &mut rebuilt] {
                for ping in &heard {
                    book.apply(ping, origin(&trace), now);
                }
            }
            pings.extend(heard);
            let verdicts = decide(&mut lasting, &mut tx, &events, now).await;
            assert_eq!(
                verdicts,
                decide(&mut rebuilt, &mut tx, &events, now).await,
                "{history:?}"
            );
            // The rebuilt one is stored, and undone: only then the lasting one.
            let mut attempt = sqlx::Acquire::begin(&mut *tx).await.unwrap();
            let (facts, ticked) = finish(&mut rebuilt, &mut attempt, GEO, now).await.unwrap();
            attempt.rollback().await.unwrap();
            let (lasting_facts, lasting_ticked) =
                finish(&mut lasting, &mut tx, GEO, now).await.unwrap();
            assert_eq!(facts, lasting_facts, "{history:?}");
            assert_eq!(decided(&ticked), decided(&lasting_ticked), "{history:?}");
            decisions += ticked.map_or(0, |ticked| ticked.tick.decisions.len());
            assert_eq!(rebuilt.orders(), lasting.orders());
            assert_eq!(rebuilt.drivers(), lasting.drivers());
        }
        let rows = load_under(policy, &mut tx, GEO).await;
        assert_eq!(
            (rows.orders(), rows.drivers()),
            (lasting.orders(), lasting.drivers())
        );
        let (rows, lasting) = (rows.scheduler().snapshot(), lasting.scheduler().snapshot());
        assert_eq!(
            (rows.pending, rows.assignments, rows.drives),
            (lasting.pending, lasting.assignments, lasting.drives)
        );
        tx.rollback().await.unwrap();
    }
    assert!(
        decisions > 30,
        "the histories led to {decisions} decisions only"
    );
}
