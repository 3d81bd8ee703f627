//! How far a city has come: counts and distributions, one JSON line at a time.

use serde::Serialize;

/// Counts since the beginning; of orders unless said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Progress {
    /// By checkout, invalid ones included.
    pub placed: usize,
    pub accepted: usize,
    pub confirmed: usize,
    pub assigned: usize,
    pub picked_up: usize,
    pub delivered: usize,
    pub rejected: usize,
    pub payment_failed: usize,
    pub cancelled: usize,
    pub undeliverable: usize,
    /// Offers that drivers declined or left unanswered.
    pub refused_offers: usize,
    /// Cancellations that came too late.
    pub refused_cancels: usize,
    /// Drivers who are not heard any more.
    pub vanished: usize,
    /// Offers to a driver who had an order already: a violation, seen by the phone.
    pub double_offers: usize,
    /// Drivers on duty, and those of them with an order.
    pub drivers: usize,
    pub busy: usize,
    /// City seconds by which the driver was at the counter before (positive) or after (negative) the food was ready.
    #[serde(serialize_with = "summary")]
    pub slack_at_pickup_s: Vec<f64>,
    /// City seconds from placement to the door.
    #[serde(serialize_with = "summary")]
    pub click_to_door_s: Vec<f64>,
}

impl Progress {
    /// Orders that have come to an end.
    pub fn ended(&self) -> usize {
        self.delivered + self.rejected + self.payment_failed + self.cancelled + self.undeliverable
    }

    /// The sum of several cities'.
    pub fn sum<'a>(all: impl IntoIterator<Item = &'a Progress>) -> Progress {
        all.into_iter().fold(Progress::default(), |mut sum, one| {
            sum.placed += one.placed;
            sum.accepted += one.accepted;
            sum.confirmed += one.confirmed;
            sum.assigned += one.assigned;
            sum.picked_up += one.picked_up;
            sum.delivered += one.delivered;
            sum.rejected += one.rejected;
            sum.payment_failed += one.payment_failed;
            sum.cancelled += one.cancelled;
            sum.undeliverable += one.undeliverable;
            sum.refused_offers += one.refused_offers;
            sum.refused_cancels += one.refused_cancels;
            sum.vanished += one.vanished;
            sum.double_offers += one.double_offers;
            sum.drivers += one.drivers;
            sum.busy += one.busy;
            sum.slack_at_pickup_s
                .extend_from_slice(&one.slack_at_pickup_s);
            sum.click_to_door_s.extend_from_slice(&one.click_to_door_s);
            sum
        })
    }
}

/// Percentiles of a distribution, whole seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    pub count: usize,
    pub p10: i64,
    pub p50: i64,
    pub p90: i64,
    pub p99: i64,
}

impl Summary {
    /// Nearest rank; `None` without values.
    pub fn of(values: &[f64]) -> Option<Summary> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().checked_sub(1)?;
        let rank = |share: f64| sorted[(share * last as f64).round() as usize].round() as i64;
        Some(Summary {
            count: sorted.len(),
            p10: rank(0.1),
            p50: rank(0.5),
            p90: rank(0.9),
            p99: rank(0.99),
        })
    }
}

fn summary<S: serde::Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    Summary::of(values).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_told_by_its_percentiles() {
        let values: Vec<f64> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(
            Summary::of(&values),
            Some(Summary {
                count: 101,
                p10: 10,
                p50: 50,
                p90: 90,
                p99: 99
            })
        );
        assert_eq!(Summary::of(&[]), None);
    }

    #[test]
    fn a_line_of_progress_is_json_with_counts_and_percentiles() {
        let progress = Progress {
            placed: 3,
            slack_at_pickup_s: vec![-5.0],
            ..Progress::default()
        };
        let line = serde_json::to_value(&progress).unwrap();
        assert_eq!(
            (&line["placed"], &line["slack_at_pickup_s"]["p50"]),
            (&3.into(), &(-5).into())
        );
        assert!(line["click_to_door_s"].is_null());
    }
}
