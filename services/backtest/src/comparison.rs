//! Old against new, order by order, without keeping the orders: sums, histograms and a bootstrap whose memory is the same for an
//! hour and for a day.
//!
//! Intervals are 95 % percentile intervals of a Poisson bootstrap (Chamandy et al. 2012, "Estimating uncertainty for massive
//! data streams"): every order counts in each of [`REPLICATES`] samples as often as a Poisson number of mean 1 says, the same
//! in old and new, so that the change is compared pairwise. The numbers follow from a fixed seed and the order's id: the same
//! orders give the same intervals, in whatever sequence they come. They
//! cover the chance of which orders came, and not what the simulation leaves out.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use serde::Serialize;
use uuid::Uuid;

/// Samples of the bootstrap.
pub const REPLICATES: usize = 1_000;
const SEED: u64 = 20_120;
/// Histograms count seconds up to here; what is longer counts as so long.
const LONGEST_S: usize = 4 * 3_600;

/// How an order went, in seconds of the world.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Times {
    /// Delivered - placed.
    pub click_to_door: f64,
    /// Picked up - ready.
    pub food_wait: f64,
    /// Picked up - at the counter.
    pub driver_wait: f64,
}

impl Times {
    fn of(&self, measure: usize) -> f64 {
        [self.click_to_door, self.food_wait, self.driver_wait][measure]
    }
}

/// Names of the measures of [`Times`].
pub const MEASURES: [&str; 3] = ["click_to_door_s", "food_wait_s", "driver_wait_s"];

/// A number with its 95 % interval; absent where nothing was measured.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Estimate {
    pub mean: f64,
    pub low: f64,
    pub high: f64,
}

/// A measure under old and new rules, and their difference.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    pub measure: &'static str,
    pub old: Option<Estimate>,
    pub new: Option<Estimate>,
    /// New - old.
    pub change: Option<Estimate>,
}

/// How numbers are distributed: seconds of the world.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Distribution {
    pub measure: &'static str,
    pub count: u64,
    pub mean: Option<f64>,
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p99: Option<f64>,
}

/// Counts by whole seconds.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    counts: Vec<u32>,
    total: u64,
    sum: f64,
}

impl Histogram {
    pub fn add(&mut self, seconds: f64) {
        let bin = (seconds.max(0.0).ceil() as usize).min(LONGEST_S);
        self.counts.resize(self.counts.len().max(bin + 1), 0);
        self.counts[bin] += 1;
        self.total += 1;
        self.sum += seconds;
    }

    /// The smallest whole second that this share of the numbers does not exceed.
    fn percentile(&self, percent: f64) -> Option<f64> {
        let rank = (percent / 100.0 * self.total as f64).ceil().max(1.0) as u64;
        let mut below = 0;
        let found = self.counts.iter().position(|count| {
            below += u64::from(*count);
            below >= rank
        });
        found.map(|bin| bin as f64)
    }

    fn distribution(&self, measure: &'static str) -> Distribution {
        Distribution {
            measure,
            count: self.total,
            mean: (self.total > 0).then(|| self.sum / self.total as f64),
            p50: self.percentile(50.0),
            p90: self.percentile(90.0),
            p99: self.percentile(99.0),
        }
    }

    /// Counts by so many seconds, for drawing.
    pub fn coarse(&self, seconds: usize) -> Vec<u32> {
        let bins = self.counts.chunks(seconds.max(1));
        bins.map(|bin| bin.iter().sum()).collect()
    }
}

/// The distributions of a set of orders.
#[derive(Debug, Clone, Default)]
pub struct Distributions([Histogram; 3]);

impl Distributions {
    pub fn add(&mut self, times: &Times) {
        for (measure, histogram) in self.0.iter_mut().enumerate() {
            histogram.add(times.of(measure));
        }
    }

    pub fn summary(&self) -> Vec<Distribution> {
        let pairs = MEASURES.iter().zip(&self.0);
        pairs.map(|(name, it)| it.distribution(name)).collect()
    }

    pub fn histograms(&self) -> impl Iterator<Item = (&'static str, &Histogram)> {
        MEASURES.into_iter().zip(&self.0)
    }
}

/// Sums of one measure in one sample.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    weight: f64,
    old: f64,
    new: f64,
}

impl Sums {
    fn add(&mut self, weight: f64, (old, new): (f64, f64)) {
        self.weight += weight;
        self.old += weight * old;
        self.new += weight * new;
    }
}

/// One measure over all orders, and over every sample.
#[derive(Debug, Clone)]
struct Sampled {
    all: Sums,
    samples: Vec<Sums>,
}

impl Sampled {
    fn add(&mut self, weights: &[f64], pair: (f64, f64)) {
        self.all.add(1.0, pair);
        for (sample, weight) in self.samples.iter_mut().zip(weights) {
            sample.add(*weight, pair);
        }
    }

    fn estimate(&self, of: fn(&Sums) -> f64) -> Option<Estimate> {
        if self.all.weight == 0.0 {
            return None;
        }
        let drawn = self.samples.iter().filter(|sample| sample.weight > 0.0);
        let mut drawn: Vec<f64> = drawn.map(|sample| of(sample) / sample.weight).collect();
        drawn.sort_by(f64::total_cmp);
        let mean = of(&self.all) / self.all.weight;
        let at = |share: f64| {
            let rank = (share * drawn.len() as f64) as usize;
            drawn.get(rank.min(drawn.len().saturating_sub(1))).copied()
        };
        Some(Estimate {
            mean,
            low: at(0.025).unwrap_or(mean),
            high: at(0.975).unwrap_or(mean),
        })
    }

    fn change(&self, measure: &'static str) -> Change {
        Change {
            measure,
            old: self.estimate(|sums| sums.old),
            new: self.estimate(|sums| sums.new),
            change: self.estimate(|sums| sums.new - sums.old),
        }
    }
}

/// See the module.
pub struct Comparison {
    measures: [Sampled; 3],
    /// 0 or 100 per order.
    undelivered: Sampled,
}

impl Default for Comparison {
    fn default() -> Self {
        let nothing = Sampled {
            all: Sums::default(),
            samples: vec![Sums::default(); REPLICATES],
        };
        Self {
            measures: [nothing.clone(), nothing.clone(), nothing.clone()],
            undelivered: nothing,
        }
    }
}

impl Comparison {
    /// An order's times under the old rules and under the new; `None` where it was not delivered.
    pub fn add(&mut self, order_id: Uuid, old: Option<&Times>, new: Option<&Times>) {
        let (high, low) = order_id.as_u64_pair();
        let mut rng = ChaCha8Rng::seed_from_u64(SEED ^ high ^ low.rotate_left(32));
        let weights: Vec<f64> = (0..REPLICATES).map(|_| poisson(&mut rng)).collect();
        let charged = |times: Option<&Times>| if times.is_none() { 100.0 } else { 0.0 };
        self.undelivered.add(&weights, (charged(old), charged(new)));
        if let (Some(old), Some(new)) = (old, new) {
            for (index, measure) in self.measures.iter_mut().enumerate() {
                measure.add(&weights, (old.of(index), new.of(index)));
            }
        }
    }

    /// Times over orders that both delivered; `undelivered_pct` over all.
    pub fn changes(&self) -> Vec<Change> {
        let measures = MEASURES.iter().zip(&self.measures);
        let mut changes: Vec<Change> = measures.map(|(name, it)| it.change(name)).collect();
        changes.push(self.undelivered.change("undelivered_pct"));
        changes
    }
}

/// A Poisson number of mean 1, by inversion.
fn poisson(rng: &mut ChaCha8Rng) -> f64 {
    let uniform = f64::from(rng.next_u32()) / 4_294_967_296.0;
    let (mut number, mut term, mut sum) = (0.0, (-1.0f64).exp(), (-1.0f64).exp());
    while uniform > sum && number < 16.0 {
        number += 1.0;
        term /= number;
        sum += term;
    }
    number
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn times(seconds: f64) -> Times {
        Times {
            click_to_door: seconds,
            food_wait: 0.0,
            driver_wait: 1.0,
        }
    }

    #[test]
    fn a_constant_change_has_an_interval_of_no_width_though_the_times_spread() {
        let mut comparison = Comparison::default();
        for order in 0..200u8 {
            let old = f64::from(u32::from(order) * 7 % 200);
            let id = Uuid::new_v5(&Uuid::nil(), &[order]);
            comparison.add(id, Some(&times(old)), Some(&times(old - 30.0)));
        }
        let change = &comparison.changes()[0];
        let by = change.change.unwrap();
        assert!((by.mean + 30.0).abs() < 1e-9 && (by.high - by.low).abs() < 1e-9);
        // The standard error of the mean of 0..200 over 200 orders is 4.08; the interval is some 3.92 of them wide.
        let old = change.old.unwrap();
        assert!((13.0..19.0).contains(&(old.high - old.low)), "{old:?}");
        assert!(old.low < 99.5 && 99.5 < old.high);
    }

    #[test]
    fn an_order_that_one_side_lost_counts_as_undelivered_and_in_no_time() {
        let mut comparison = Comparison::default();
        comparison.add(Uuid::from_u128(1), Some(&times(10.0)), Some(&times(10.0)));
        comparison.add(Uuid::from_u128(2), Some(&times(99.0)), None);
        let changes = comparison.changes();
        assert_eq!(changes[0].old.unwrap().mean, 10.0);
        assert_eq!(changes[3].new.unwrap().mean, 50.0);
        assert_eq!(changes[3].change.unwrap().mean, 50.0);
    }

    #[test]
    fn percentiles_are_whole_seconds_that_enough_numbers_do_not_exceed() {
        let mut histogram = Histogram::default();
        (1..=100).for_each(|second| histogram.add(f64::from(second)));
        assert_eq!(
            [50.0, 90.0, 99.0].map(|p| histogram.percentile(p).unwrap()),
            [50.0, 90.0, 99.0]
        );
        assert_eq!(Histogram::default().percentile(50.0), None);
    }
}
