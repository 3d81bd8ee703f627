//! When to look for a driver, and which one: pure scheduling and matching.
//!
//! Time comes in as a value; there is no clock, no I/O, no randomness and no iteration in hash order, so
//! the same inputs give the same decisions, bit for bit: live, in replay, in backtest and under property
//! tests.
//!
//! A `Scheduler` holds one geo: requests that wait, drivers, trips. `Scheduler::apply` takes what
//! happened, `Scheduler::next_due` says when to call `Scheduler::tick`, which commits due requests to
//! drivers by the `Policy` in force.
//!
//! - `slack = (ready_at - now) - eta(nearest free driver)`: how long the driver would wait for the food.
//! - A request is **due** once its slack is at most the tolerance; only then is it committed.

mod audit;
mod board;
mod config;
mod decision;
mod driver;
mod drives;
mod fleet;
mod follow;
mod gauges;
mod ids;
mod input;
mod point;
mod policy;
mod queue;
mod request;
mod rules;
mod scheduler;
mod snapshot;
mod spots;
mod tick;
mod time;
mod travel;
mod trip;
mod widening;

pub use audit::{Audit, Check};
pub use board::Board;
pub use config::{Config, ConfigError};
pub use decision::{
    Decision, Failure, FailureReason, Hold, Missing, Release, ReleaseReason, Tick, TripSlot,
};
pub use driver::{DriverRecord, DriverStatus, Shift};
pub use drives::{Drive, Drives, SeenDrive};
pub use fleet::Candidate;
pub use gauges::Gauges;
pub use ids::{DriverId, OrderId, RestaurantId, TripId};
pub use input::{Applied, Input};
pub use point::{InvalidPoint, Place, Point};
pub use policy::{
    BundleConfig, Fifo, Lookahead, PlanConfig, Policy, PolicyId, PolicySpec, SlackGreedy,
};
pub use queue::{Due, Pending};
pub use request::Request;
pub use scheduler::Scheduler;
pub use snapshot::Snapshot;
pub use time::{At, Seconds};
pub use travel::{Correction, Road, RoadConfig, RoadConfigError, TravelTime, WholeMinutes};
pub use trip::{Assignment, LastDrop, Phase};
pub use widening::Widening;
