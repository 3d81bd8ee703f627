//! Which expected orders can want the same drivers as those that are known.
//!
//! What is expected on the other side of town decides nothing about an order here; planned all the same, it was most of a
//! tick's cost at a steady rate, where a tick knows a few orders and expects hundreds. Costs one pass over the expected per known.

use crate::point::Place;

/// For each expected order whether it is among the `most` nearest of some known one, by restaurant; all are while they are few.
pub(super) fn rivals(known: &[Place], expected: &[Place], most: usize) -> Vec<bool> {
    if expected.len() <= known.len().saturating_mul(most) {
        return vec![true; expected.len()];
    }
    let mut rivals = vec![false; expected.len()];
    let mut by_way: Vec<usize> = (0..expected.len()).collect();
    for from in known {
        let order = |a: &usize, b: &usize| {
            let chords = (from.chord2(expected[*a]), from.chord2(expected[*b]));
            chords.0.total_cmp(&chords.1).then(a.cmp(b))
        };
        by_way.select_nth_unstable_by(most, order);
        by_way[..most].iter().for_each(|near| rivals[*near] = true);
    }
    rivals
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(xs: &[f64]) -> Vec<Place> {
        xs.iter().map(|x| Place([*x, 0.0, 0.0])).collect()
    }

    #[test]
    fn of_many_the_nearest_of_each_known_order_are_left() {
        let (known, expected) = (
            places(&[0.0, 100.0]),
            places(&[90.0, 2.0, 50.0, 1.0, 104.0, 120.0]),
        );
        assert_eq!(
            rivals(&known, &expected, 2),
            [true, true, false, true, true, false]
        );
        assert_eq!(
            rivals(&known, &expected, 1),
            [false, false, false, true, true, false]
        );
        assert_eq!(rivals(&known, &expected, 0), [false; 6]);
    }

    #[test]
    fn of_those_equally_near_the_first_is_left() {
        let (known, expected) = (places(&[0.0]), places(&[5.0, -5.0, 5.0]));
        assert_eq!(rivals(&known, &expected, 1), [true, false, false]);
    }

    #[test]
    fn while_they_are_few_all_are_left() {
        let expected = places(&[1e6, 2e6]);
        assert_eq!(rivals(&places(&[0.0]), &expected, 2), [true; 2]);
        assert_eq!(rivals(&[], &[], 2), [true; 0]);
    }
}
