//! How long the food of known and of expected orders waits.

use super::*;

fn weights(unsure: f64) -> Weights {
    Weights {
        unsure,
        squared: 0.0,
        detour: 0.0,
        wait: 0.0,
        way: 0.0,
        unserved: 0.0,
        unserved_expected: 0.0,
        second_trip: 0.0,
    }
}

fn errand(expected: bool) -> Errand {
    let place = Place([0.0; 3]);
    Errand {
        restaurant: 0,
        pickup: place,
        dropoff: place,
        ready: 0.0,
        known: 0.0,
        drive: 0.0,
        given: 0.0,
        weight: 1.0,
        expected,
        radius: 0.0,
        barred: Vec::new(),
    }
}

#[test]
fn an_expected_order_waits_as_long_as_on_average_over_when_it_may_be_ready() {
    let unsure = 900.0;
    let steps = 100_000;
    let readies =
        (0..steps).map(|step| unsure * (2.0 * (f64::from(step) + 0.5) / f64::from(steps) - 1.0));
    for late in [-1_200.0, -900.0, -300.0, 0.0, 450.0, 900.0, 1_500.0] {
        let mean = readies
            .clone()
            .map(|ready| (late - ready).max(0.0))
            .sum::<f64>()
            / f64::from(steps);
        let waits = weights(unsure).waits(&errand(true), late);
        assert!((waits - mean).abs() < 0.01, "{late}: {waits}, not {mean}");
    }
}

#[test]
fn a_known_order_and_a_sure_one_wait_exactly_as_long_as_the_driver_is_late() {
    for late in [-300.0, 0.0, 300.0] {
        for (unsure, expected) in [(900.0, false), (0.0, true)] {
            let waits = weights(unsure).waits(&errand(expected), late);
            assert_eq!(waits, late.max(0.0), "{late}, {unsure}, {expected}");
        }
    }
}
