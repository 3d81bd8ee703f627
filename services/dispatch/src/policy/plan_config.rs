//! What a geo may tune about planning, as configuration has it and as ticks record it.

use serde::{Deserialize, Serialize};

use super::plan::Stop;
use crate::config::ConfigError;

/// What a plan is made by. Times in seconds; the weights are relative to a second of food wait, which counts 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlanConfig {
    /// Orders whose food is ready later than this are not planned yet. Default 3600. Too low: drivers are
    /// given away who will be wanted; too high: only cost.
    pub horizon_s: f64,
    /// The orders placed within so long are expected once more within the same time. Default 900; 0: none
    /// are. Too low: drivers leave where they will be wanted; too high: stale demand binds them.
    pub expect_s: f64,
    /// What the waiting of an expected order counts beside a known one's. Default 0.4, within 0..=1. Too
    /// high: known orders wait for what may never come.
    pub expect_weight: f64,
    /// How much sooner or later than at their time expected orders may be ready, evenly spread; their waiting counts as it
    /// would on average. Default 1200; 0: they come exactly as before. Too low: drivers are placed for one sample of
    /// what may come; too high: where orders were counts no more than how many.
    pub expect_unsure_s: f64,
    /// How many expected orders are considered for each known one, the nearest by restaurant. Default 32. Too low: drivers
    /// are given away who will be wanted; too high: only cost.
    pub expect_per_order: usize,
    /// How much dearer a minute of food wait is to an order that takes long anyway: the cost of w minutes beside g of
    /// cooking and driving is `w + tail_weight x ((g + w)^2 - g^2)`. Default 0.005. Too low: a few wait very long; too
    /// high: many wait for few.
    pub tail_weight: f64,
    /// What a second of a driver's wait at a restaurant counts, beyond his first errand. Default 0.1.
    pub driver_wait_weight: f64,
    /// What a second of the way to a restaurant counts. Default 0.01. Too high: near drivers are used up
    /// while far ones stand idle.
    pub way_weight: f64,
    /// How many orders one tick plans at most, the first to be ready, and how many it expects at most.
    /// Default 500. Too low: drivers are given away who will be wanted; too high: only cost, which grows
    /// with it times the number of drivers.
    pub orders: usize,
    /// How many drivers are considered for each order. Default 24. Too low: worse plans; too high: cost.
    pub candidates: usize,
    /// How many changes of routes one tick may look at. Default 150000. Too low: worse plans under pressure; too
    /// high: cost.
    pub effort: usize,
}

impl PlanConfig {
    /// The same plan in a world whose time runs so many times as fast.
    pub(super) fn sped_up(&self, by: f64) -> PlanConfig {
        PlanConfig {
            horizon_s: self.horizon_s / by,
            expect_s: self.expect_s / by,
            expect_unsure_s: self.expect_unsure_s / by,
            tail_weight: self.tail_weight * by,
            ..self.clone()
        }
    }

    /// What cannot be: the field and its value.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let not_negative = [
            ("horizon_s", self.horizon_s),
            ("expect_s", self.expect_s),
            ("expect_weight", self.expect_weight),
            ("expect_unsure_s", self.expect_unsure_s),
            ("tail_weight", self.tail_weight),
            ("driver_wait_weight", self.driver_wait_weight),
            ("way_weight", self.way_weight),
        ];
        let wrong = |(_, value): &(&str, f64)| !(value.is_finite() && *value >= 0.0);
        match not_negative.into_iter().find(wrong) {
            None => Ok(()),
            Some((field, value)) => Err(ConfigError::OutOfRange {
                field,
                must: "0 or more",
                value,
            }),
        }
    }
}

impl BundleConfig {
    /// See `PlanConfig::sped_up`.
    pub(super) fn sped_up(&self, by: f64) -> BundleConfig {
        BundleConfig {
            plan: self.plan.sped_up(by),
            spread_s: self.spread_s / by,
            max_detour_s: self.max_detour_s / by,
            ..self.clone()
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let size = self.max_orders as f64;
        for (field, value, fits, must) in [
            (
                "max_orders",
                size,
                (2..=Stop::MOST).contains(&self.max_orders),
                "2 or 3",
            ),
            ("spread_s", self.spread_s, self.spread_s >= 0.0, "0 or more"),
            (
                "max_detour_s",
                self.max_detour_s,
                self.max_detour_s >= 0.0,
                "0 or more",
            ),
            (
                "detour_weight",
                self.detour_weight,
                self.detour_weight >= 0.0,
                "0 or more",
            ),
        ] {
            if !fits {
                return Err(ConfigError::OutOfRange { field, must, value });
            }
        }
        self.plan.check()
    }
}

impl Default for PlanConfig {
    fn default() -> Self {
        Self {
            horizon_s: 3_600.0,
            expect_s: 900.0,
            expect_weight: 0.4,
            expect_unsure_s: 1_200.0,
            expect_per_order: 32,
            tail_weight: 0.005,
            driver_wait_weight: 0.1,
            way_weight: 0.01,
            orders: 500,
            candidates: 24,
            effort: 150_000,
        }
    }
}

/// When orders of one restaurant may share a trip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BundleConfig {
    pub plan: PlanConfig,
    /// How many orders a trip may carry, 2 or 3. Default 3.
    pub max_orders: usize,
    /// Orders share a trip only if their food is ready within so long of each other. Default 900.
    /// Too high: food gets cold beside its companion.
    pub spread_s: f64,
    /// What a second of a customer's detour counts. Default 0.05: a shared trip saves the driver time that the plan sees
    /// only as far as orders are known. Too low: later customers wait for the earlier ones; too high: drivers go
    /// twice where once would do, and food waits for them.
    pub detour_weight: f64,
    /// By how much later any order of a shared trip may come than by the same driver, setting out at the same time, on a trip
    /// of its own: its companions' food and doors together. As estimated when the trip is decided. Default 1800. Too low:
    /// hardly any trip is shared; too high: a customer pays for his neighbour's order.
    pub max_detour_s: f64,
}

impl Default for BundleConfig {
    fn default() -> Self {
        Self {
            plan: PlanConfig::default(),
            max_orders: Stop::MOST,
            spread_s: 900.0,
            detour_weight: 0.05,
            max_detour_s: 1800.0,
        }
    }
}
