//! Many instances under many policies, on all cores.
//!
//! Each pair is a job of its own; jobs are dealt to as many threads as there are cores. Results stand in the order of
//! policies and instances, whichever thread was faster, and every solution has passed the feasibility check.

use std::cmp::Reverse;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use dispatch::PolicySpec;
use thiserror::Error;

use crate::feasibility::{self, Violation};
use crate::instance::Instance;
use crate::measures::Measures;
use crate::simulate::{Outcome, Tolerance, simulate};
use crate::solution::Solution;

/// An instance served by a policy.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub solution: Solution,
    pub measures: Measures,
}

/// A defect of the policy or of the simulation: such figures would mean nothing.
#[derive(Debug, Error)]
pub enum RunError {
    #[error("{policy} on {instance}: not feasible: {violation}")]
    Infeasible {
        policy: String,
        instance: String,
        violation: Violation,
    },
    #[error("{policy} on {instance}: the scheduler counted {count} violations of {invariant}")]
    Invariant {
        policy: String,
        instance: String,
        invariant: &'static str,
        count: u64,
    },
}

/// For each policy, in order, its runs of the instances, in order.
pub fn run(
    policies: &[PolicySpec],
    instances: &[Instance],
    tolerance: Tolerance,
) -> Result<Vec<Vec<Run>>, RunError> {
    let pairs = policies
        .iter()
        .flat_map(|policy| instances.iter().map(move |instance| (policy, instance)));
    let mut jobs: Vec<(usize, (&PolicySpec, &Instance))> = pairs.enumerate().collect();
    // The longest first, so that no thread begins one when the others have none left.
    jobs.sort_by_key(|(_, (_, instance))| Reverse(instance.orders.len()));
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::with_capacity(jobs.len()));
    let workers = thread::available_parallelism().map_or(1, NonZero::get);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let taken = next.fetch_add(1, Ordering::Relaxed);
                    let Some(&(index, (policy, instance))) = jobs.get(taken) else {
                        break;
                    };
                    let result = serve(policy, instance, tolerance);
                    let mut done = done.lock().unwrap_or_else(|poison| poison.into_inner());
                    done.push((index, result));
                }
            });
        }
    });
    let mut done = done
        .into_inner()
        .unwrap_or_else(|poison| poison.into_inner());
    done.sort_by_key(|(index, _)| *index);
    let mut runs = done.into_iter().map(|(_, run)| run);
    policies
        .iter()
        .map(|_| runs.by_ref().take(instances.len()).collect())
        .collect()
}

/// Simulates, checks and measures.
fn serve(policy: &PolicySpec, instance: &Instance, tolerance: Tolerance) -> Result<Run, RunError> {
    let Outcome { solution, audit } = simulate(instance, policy, tolerance);
    let names = || (policy.build().id().name.to_owned(), instance.name.clone());
    if let Some(violation) = feasibility::check(instance, &solution).into_iter().next() {
        let (policy, instance) = names();
        return Err(RunError::Infeasible {
            policy,
            instance,
            violation,
        });
    }
    let broken = audit
        .named()
        .into_iter()
        .find(|(_, check)| check.violations > 0);
    if let Some((invariant, check)) = broken {
        let (policy, instance) = names();
        return Err(RunError::Invariant {
            policy,
            instance,
            invariant,
            count: check.violations,
        });
    }
    Ok(Run {
        measures: Measures::of(instance, &solution),
        solution,
    })
}
