//! What a driver's word about an order means, by how the order stands towards that driver: one total function.
//!
//! A later fact implies the earlier ones (who has the meal has accepted it), a repeated one says nothing new, and nobody
//! takes a step back. Claims that change where a meal is (picked up, dropped) are rejected when they contradict what is
//! known; the rest is merely late.

use dispatch::Phase;

/// How an order stands towards the driver who speaks of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nobody has asked for a driver for it.
    Unknown,
    /// It waits for a driver.
    Waiting,
    /// Another driver holds it.
    HeldByAnother,
    /// He holds it.
    Held(Phase),
    /// He has delivered it.
    DeliveredByHim,
    /// It has ended otherwise: withdrawn, failed, or delivered by another.
    Ended,
}

/// What a driver says about an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    Accepted,
    Declined,
    Arrived,
    PickedUp,
    Dropped,
}

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The order has come this far.
    Reach(Phase),
    /// The driver gives the order back; it competes again.
    GiveBack,
    /// Rightly without effect.
    Skip(&'static str),
    /// It contradicts what is known.
    Reject(&'static str),
}

pub fn decide(standing: Standing, word: Word) -> Outcome {
    use Outcome::{GiveBack, Reach, Reject, Skip};
    let moves_the_meal = matches!(word, Word::PickedUp | Word::Dropped);
    match standing {
        Standing::Held(phase) => match word {
            Word::Declined if phase >= Phase::PickedUp => Reject("declined_after_pickup"),
            Word::Declined => GiveBack,
            _ if phase >= reached(word) => Skip("repeated"),
            _ => Reach(reached(word)),
        },
        Standing::DeliveredByHim => Skip("repeated"),
        Standing::Unknown => Reject("unknown_order"),
        Standing::Waiting | Standing::HeldByAnother if moves_the_meal => Reject("not_assigned"),
        Standing::Waiting | Standing::HeldByAnother => Skip("released_before"),
        Standing::Ended => Skip("order_ended"),
    }
}

/// How far an order is once a driver has said so.
fn reached(word: Word) -> Phase {
    match word {
        Word::Declined | Word::Accepted => Phase::Accepted,
        Word::Arrived => Phase::AtRestaurant,
        Word::PickedUp => Phase::PickedUp,
        Word::Dropped => Phase::Delivered,
    }
}

#[cfg(test)]
mod tests {
    use Outcome::{GiveBack, Reach, Reject, Skip};
    use Phase::{Accepted, AtRestaurant, Delivered, Offered, PickedUp};

    use super::*;

    /// Every standing against every word, in the order accepted, declined, arrived, picked up, dropped.
    #[test]
    fn every_word_has_a_meaning_in_every_standing() {
        let repeated = Skip("repeated");
        let late = Skip("released_before");
        let table = [
            (Standing::Unknown, [Reject("unknown_order"); 5]),
            (
                Standing::Waiting,
                [
                    late,
                    late,
                    late,
                    Reject("not_assigned"),
                    Reject("not_assigned"),
                ],
            ),
            (
                Standing::HeldByAnother,
                [
                    late,
                    late,
                    late,
                    Reject("not_assigned"),
                    Reject("not_assigned"),
                ],
            ),
            (
                Standing::Held(Offered),
                [
                    Reach(Accepted),
                    GiveBack,
                    Reach(AtRestaurant),
                    Reach(PickedUp),
                    Reach(Delivered),
                ],
            ),
            (
                Standing::Held(Accepted),
                [
                    repeated,
                    GiveBack,
                    Reach(AtRestaurant),
                    Reach(PickedUp),
                    Reach(Delivered),
                ],
            ),
            (
                Standing::Held(AtRestaurant),
                [
                    repeated,
                    GiveBack,
                    repeated,
                    Reach(PickedUp),
                    Reach(Delivered),
                ],
            ),
            (
                Standing::Held(PickedUp),
                [
                    repeated,
                    Reject("declined_after_pickup"),
                    repeated,
                    repeated,
                    Reach(Delivered),
                ],
            ),
            (
                Standing::Held(Delivered),
                [
                    repeated,
                    Reject("declined_after_pickup"),
                    repeated,
                    repeated,
                    repeated,
                ],
            ),
            (Standing::DeliveredByHim, [repeated; 5]),
            (Standing::Ended, [Skip("order_ended"); 5]),
        ];
        let words = [
            Word::Accepted,
            Word::Declined,
            Word::Arrived,
            Word::PickedUp,
            Word::Dropped,
        ];
        for (standing, outcomes) in table {
            for (word, outcome) in words.into_iter().zip(outcomes) {
                assert_eq!(decide(standing, word), outcome, "{standing:?} {word:?}");
            }
        }
    }
}
