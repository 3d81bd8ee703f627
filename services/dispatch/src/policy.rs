//! Which driver gets which due request: the seam for everything that can be better than greedy.
//!
//! A policy sees a `Board` and claims pairs on it; the scheduler decides when requests are due, keeps
//! the invariants and commits. A policy is pure: what it claims follows from the board and its own
//! parameters. Whenever a change of code changes a claim for the same board, its version goes up.

mod fifo;
mod lookahead;
mod plan;
mod plan_config;
mod roster;
mod slack_greedy;

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use fifo::Fifo;
pub use lookahead::Lookahead;
pub use plan_config::{BundleConfig, PlanConfig};
pub use slack_greedy::SlackGreedy;

use crate::board::Board;
use crate::config::ConfigError;
use crate::queue::Due;
use crate::time::Seconds;

/// What decided: every decision names it, parameters included in the spec it was built from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PolicyId {
    pub name: &'static str,
    pub version: u32,
}

impl fmt::Display for PolicyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.name, self.version)
    }
}

/// A way to match due requests to drivers.
pub trait Policy: fmt::Debug + Send + Sync {
    fn id(&self) -> PolicyId;

    /// The slack at which a request is due under this policy, given the configured one. Constant.
    fn tolerance(&self, configured: Seconds) -> Seconds {
        configured
    }

    /// Which of two due requests goes first when both want the same driver. `Equal` where the policy
    /// goes by other costs.
    fn before(&self, a: &Due, b: &Due) -> Ordering;

    /// Claims pairs on the board. `board.due()` comes sorted by `before`.
    fn choose(&self, board: &mut Board<'_>);
}

/// A policy by name with its parameters, as configuration has it and as ticks record it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case", deny_unknown_fields)]
pub enum PolicySpec {
    /// First come first served, at once, nearest free driver: a baseline.
    Fifo,
    /// Least slack first, nearest feasible driver: the plain reading.
    SlackGreedy,
    /// Plans several trips ahead, commits late; one order per trip.
    Lookahead(PlanConfig),
    /// The same, with up to three orders of one restaurant per trip.
    Bundle(BundleConfig),
}

impl Default for PolicySpec {
    fn default() -> Self {
        PolicySpec::Lookahead(PlanConfig::default())
    }
}

impl PolicySpec {
    /// Refuses parameters that no policy could work with.
    pub fn check(&self) -> Result<(), ConfigError> {
        match self {
            PolicySpec::Fifo | PolicySpec::SlackGreedy => Ok(()),
            PolicySpec::Lookahead(plan) => plan.check(),
            PolicySpec::Bundle(bundle) => bundle.check(),
        }
    }

    /// The same policy in a world whose time runs so many times as fast: its durations are as much shorter.
    pub fn sped_up(&self, by: f64) -> PolicySpec {
        match self {
            PolicySpec::Fifo => PolicySpec::Fifo,
            PolicySpec::SlackGreedy => PolicySpec::SlackGreedy,
            PolicySpec::Lookahead(plan) => PolicySpec::Lookahead(plan.sped_up(by)),
            PolicySpec::Bundle(bundle) => PolicySpec::Bundle(bundle.sped_up(by)),
        }
    }

    pub fn build(&self) -> Arc<dyn Policy> {
        match self {
            PolicySpec::Fifo => Arc::new(Fifo),
            PolicySpec::SlackGreedy => Arc::new(SlackGreedy),
            PolicySpec::Lookahead(plan) => Arc::new(Lookahead::single(plan.clone())),
            PolicySpec::Bundle(bundle) => Arc::new(Lookahead::bundle(bundle.clone())),
        }
    }
}

/// Serves the due requests in the policy's order, each by the nearest driver that is left for it.
fn serve_in_order(board: &mut Board<'_>) {
    for index in 0..board.due().len() {
        let order = board.due()[index].order_id;
        if let Some(nearest) = board.nearest(order) {
            board.claim(order, &nearest.driver_id, nearest.eta.0);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_chosen_by_its_name_alone() {
        for (name, spec) in [
            ("fifo", PolicySpec::Fifo),
            ("slack-greedy", PolicySpec::SlackGreedy),
            ("lookahead", PolicySpec::default()),
            ("bundle", PolicySpec::Bundle(BundleConfig::default())),
        ] {
            let read: PolicySpec =
                serde_json::from_str(&format!(r#"{{"name": "{name}"}}"#)).unwrap();
            assert_eq!(read, spec);
            assert_eq!(read.build().id().name, name);
        }
        assert!(serde_json::from_str::<PolicySpec>(r#"{"name": "psychic"}"#).is_err());
    }
}
