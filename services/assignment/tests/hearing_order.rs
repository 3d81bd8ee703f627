//! What a lane heard of several topics at once is repeated in the order in which it was heard, whatever the broker's times say.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fixture;

use std::collections::BTreeSet;

use assignment::book::caused_by;
use assignment::decide::Word;
use assignment::event::Event;
use assignment::held_back::HeldBack;
use assignment::rerun::Rerun;
use assignment::units::at;
use dispatch::{At, DriverId, Snapshot};
use fixture::lane::Lane;
use fixture::{
    PARTITION, cancelled, food_ready, geo, offline, online, ping, requested, rules, says, second,
};

/// What stands on each partition, in its order.
type Partitions = Vec<Vec<Event>>;

/// All orders in which messages of so many partitions can be heard, each as the partitions of its messages.
fn interleavings(left: &mut Vec<usize>) -> Vec<Vec<usize>> {
    if left.iter().all(|count| *count == 0) {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for partition in 0..left.len() {
        if left[partition] == 0 {
            continue;
        }
        left[partition] -= 1;
        for mut rest in interleavings(left) {
            rest.insert(0, partition);
            all.push(rest);
        }
        left[partition] += 1;
    }
    all
}

/// The messages in such an order.
fn in_order(partitions: &Partitions, order: &[usize]) -> Vec<(usize, Event)> {
    let mut next = vec![0; partitions.len()];
    let message = |partition: &usize| {
        next[*partition] += 1;
        (
            *partition,
            partitions[*partition][next[*partition] - 1].clone(),
        )
    };
    order.iter().map(message).collect()
}

/// What is left: the state, and which assignments ended, how and when.
type Left = (Snapshot, Vec<(&'static str, At)>);

fn live(heard: &[(usize, Event)]) -> (Left, BTreeSet<uuid::Uuid>) {
    let mut lane = Lane::assigned();
    let mut answered = BTreeSet::new();
    let mut ended = Vec::new();
    for (_, event) in heard {
        lane.hear(event, second(60));
        let facts = lane.0.take_facts();
        answered.extend(facts.iter().filter_map(|fact| caused_by(&fact.record)));
        let rows = lane.0.take_ended();
        ended.extend(rows.into_iter().map(|row| (row.phase, row.at)));
        lane.0.take_changes();
    }
    ((lane.0.scheduler().snapshot(), ended), answered)
}

fn replayed(by_time: Vec<(usize, Event)>, answered: &BTreeSet<uuid::Uuid>) -> Left {
    let mut lane = Rerun::new(geo(), rules("lookahead"));
    let start = [
        online("ada", second(0), 10),
        online("bob", second(0), -20),
        requested(1, 3, second(0), 60),
    ];
    for event in &start {
        lane.hear(event, PARTITION, second(0).timestamp_millis());
    }
    lane.tick(at(second(0)), BTreeSet::new());
    lane.keep_writes();
    let untold = |lane: &Rerun, event: &Event| {
        lane.book().would_tell(event, second(60).timestamp_millis())
            && !answered.contains(&event.event_id())
    };
    let hear = |lane: &mut Rerun, event: Event| {
        lane.hear(&event, PARTITION, second(60).timestamp_millis())
    };
    let mut held_back = HeldBack::default();
    for (partition, event) in by_time {
        let mut next = held_back.offer(partition, event, |event| untold(&lane, event));
        while let Some(event) = next {
            hear(&mut lane, event);
            next = held_back.next(|event| untold(&lane, event));
        }
    }
    assert!(
        held_back.give_up().is_none(),
        "something explains everything"
    );
    let writes = lane.take_writes().into_iter();
    let ended = writes.flat_map(|writes| writes.ended);
    let ended = ended.map(|row| (row.phase, row.at)).collect();
    (lane.book().scheduler().snapshot(), ended)
}

#[test]
fn whichever_topic_was_read_first_is_found_in_what_was_told() {
    let word = |word, s| says("ada", 1, word, second(s));
    let spoken = [
        vec![
            word(Word::Accepted, 10),
            word(Word::Arrived, 20),
            word(Word::PickedUp, 30),
            word(Word::Dropped, 40),
        ],
        vec![word(Word::Declined, 20)],
        vec![offline("ada", second(20))],
        vec![word(Word::PickedUp, 20), offline("ada", second(30))],
    ];
    let mut crossed = 0;
    for spoken in spoken {
        let partitions = vec![
            spoken,
            vec![cancelled(1, 3, second(25))],
            vec![food_ready(1, second(22))],
        ];
        let mut counts: Vec<usize> = partitions.iter().map(Vec::len).collect();
        let orders = interleavings(&mut counts);
        for heard in &orders {
            let (left, answered) = live(&in_order(&partitions, heard));
            for by_time in &orders {
                let again = replayed(in_order(&partitions, by_time), &answered);
                assert_eq!(again, left, "heard {heard:?}, by time {by_time:?}");
                crossed += usize::from(by_time != heard);
            }
        }
    }
    assert!(crossed > 1_000, "{crossed}");
}

#[test]
fn the_row_of_a_driver_does_not_show_which_pings_were_heard_before_his_word() {
    let duty = online("ada", second(1), 10);
    // One of the same instant, and a newer one.
    let pings = [ping("ada", second(1), 11), ping("ada", second(2), 12)];
    let (mut one, mut other) = (Lane::new(), Lane::new());
    one.hear(&duty, second(3));
    for (index, ping) in pings.iter().enumerate() {
        one.hear(ping, second(3));
        other.hear(ping, second(3));
        if index == 0 {
            other.hear(&duty, second(3));
            assert_eq!(one.0.scheduler().snapshot(), other.0.scheduler().snapshot());
        }
    }
    let mut last = Lane::new();
    for event in pings.iter().chain([&duty]) {
        last.hear(event, second(3));
    }
    let ada = DriverId::new("ada");
    for lane in [other, last] {
        assert_eq!(one.0.drivers()[&ada], lane.0.drivers()[&ada]);
        assert_eq!(one.0.scheduler().snapshot(), lane.0.scheduler().snapshot());
    }
}
