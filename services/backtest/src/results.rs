//! What a backtest found, as JSON for programs and as a table for people.

use serde::Serialize;

use dispatch::{PolicySpec, Widening};

use crate::instance::Instance;
use crate::measures::Measures;
use crate::run::Run;
use crate::simulate::Tolerance;

/// The JSON document.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Results {
    pub policies: Vec<PolicyResults>,
    /// Where another policy served worse than `fifo` did; not there without `fifo`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worse_than_fifo: Option<Vec<Worse>>,
}

/// An instance on which a policy has the higher figure than `fifo`, and that is the worse one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Worse {
    pub policy: String,
    pub instance: String,
    pub measure: &'static str,
    pub value: f64,
    pub fifo: f64,
}

/// By name, what no policy should have more of than `fifo`.
type Compared = (&'static str, fn(&Measures) -> f64);

const COMPARED: [Compared; 4] = [
    ("click_to_door_p99", |m| m.click_to_door_p99),
    ("click_to_door_mean", |m| m.click_to_door_mean),
    ("ready_to_pickup_mean", |m| m.ready_to_pickup_mean),
    ("undelivered_pct", |m| m.undelivered_pct),
];

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PolicyResults {
    /// Its name.
    pub policy: String,
    pub version: u32,
    /// The name again, and all parameters.
    pub parameters: PolicySpec,
    /// Slack at which orders were due, where the policy has none of its own, and how it widened under pressure.
    pub tolerance_s: f64,
    pub widening: Widening,
    pub instances: Vec<InstanceResults>,
    /// Unweighted over instances.
    pub mean: Measures,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct InstanceResults {
    pub name: String,
    #[serde(flatten)]
    pub measures: Measures,
}

impl Results {
    /// From the runs of each policy over the instances.
    pub fn of(
        policies: &[PolicySpec],
        instances: &[Instance],
        tolerance: Tolerance,
        runs: &[Vec<Run>],
    ) -> Results {
        let of_policy = |(policy, runs): (&PolicySpec, &Vec<Run>)| {
            let id = policy.build().id();
            let measures: Vec<&Measures> = runs.iter().map(|run| &run.measures).collect();
            let named = |(instance, measures): (&Instance, &&Measures)| InstanceResults {
                name: instance.name.clone(),
                measures: (*measures).clone(),
            };
            PolicyResults {
                policy: id.name.to_owned(),
                version: id.version,
                parameters: policy.clone(),
                tolerance_s: tolerance.slack.0,
                widening: tolerance.widening,
                instances: instances.iter().zip(&measures).map(named).collect(),
                mean: Measures::mean(&measures),
            }
        };
        let policies: Vec<PolicyResults> = policies.iter().zip(runs).map(of_policy).collect();
        Results {
            worse_than_fifo: worse_than_fifo(&policies),
            policies,
        }
    }

    pub fn json(&self) -> String {
        serde_json::to_string_pretty(self).expect("a tree of names and numbers is JSON")
    }

    /// A table per policy: a line per instance, then their mean.
    pub fn table(&self) -> String {
        let tables: Vec<String> = self.policies.iter().map(PolicyResults::table).collect();
        tables.join("\n") + &self.comparison()
    }

    /// Where other policies are worse than `fifo`, if it is among them and there are any.
    fn comparison(&self) -> String {
        let Some(worse) = &self.worse_than_fifo else {
            return String::new();
        };
        let fifo = "in P99, click-to-door, ready-to-pickup or undelivered";
        if worse.is_empty() {
            return format!("\nnowhere worse than fifo {fifo}\n");
        }
        let line = |worse: &Worse| {
            let Worse {
                policy,
                instance,
                measure,
                value,
                fifo,
            } = worse;
            format!("  {policy} on {instance}: {measure} {value:.2}, fifo {fifo:.2}\n")
        };
        let lines: String = worse.iter().map(line).collect();
        format!("\nworse than fifo {fifo}:\n{lines}")
    }
}

/// `None` when `fifo` did not run, or nothing else did.
fn worse_than_fifo(policies: &[PolicyResults]) -> Option<Vec<Worse>> {
    let fifo = policies
        .iter()
        .find(|results| results.parameters == PolicySpec::Fifo)?;
    let others = policies
        .iter()
        .filter(|results| results.policy != fifo.policy);
    let mut worse = Vec::new();
    for results in others {
        for (own, its) in results.instances.iter().zip(&fifo.instances) {
            for (measure, of) in COMPARED {
                let (value, fifo) = (of(&own.measures), of(&its.measures));
                if value > fifo {
                    worse.push(Worse {
                        policy: results.policy.clone(),
                        instance: own.name.clone(),
                        measure,
                        value,
                        fifo,
                    });
                }
            }
        }
    }
    (policies.len() > 1).then_some(worse)
}

/// A column's heading, width, decimals and measure.
type Column = (&'static str, usize, usize, fn(&Measures) -> f64);

const COLUMNS: &[Column] = &[
    ("orders", 6, 0, |m| m.orders),
    ("deliv", 6, 0, |m| m.delivered),
    ("undel%", 6, 2, |m| m.undelivered_pct),
    ("c2d", 6, 2, |m| m.click_to_door_mean),
    ("p50", 6, 1, |m| m.click_to_door_p50),
    ("p90", 6, 1, |m| m.click_to_door_p90),
    ("p99", 6, 1, |m| m.click_to_door_p99),
    ("c2d90", 6, 2, |m| m.click_to_door_charged_mean),
    ("r2p", 6, 2, |m| m.ready_to_pickup_mean),
    ("p90", 6, 1, |m| m.ready_to_pickup_p90),
    ("p99", 6, 1, |m| m.ready_to_pickup_p99),
    ("wait", 6, 2, |m| m.courier_wait_mean),
    ("1mile", 6, 2, |m| m.first_mile_mean),
    ("util", 5, 2, |m| m.utilisation),
    ("o/h", 5, 2, |m| m.orders_per_courier_hour),
    ("cost", 6, 2, |m| m.cost_per_order),
    ("bundl%", 6, 1, |m| m.bundled_pct),
    ("gini", 5, 2, |m| m.orders_per_courier_gini),
];

/// What the headings mean.
pub const LEGEND: &str = "c2d click-to-door, c2d90 the same with undelivered orders at the maximum, r2p ready-to-pickup, \
wait courier's at the restaurant, 1mile travel to it, util share of duty on trips, o/h orders per courier hour, gini how unevenly orders \
fell to couriers (minutes, dollars)";

impl PolicyResults {
    fn table(&self) -> String {
        let mean = ("mean".to_owned(), &self.mean);
        let instances = self.instances.iter().map(|i| (i.name.clone(), &i.measures));
        let rows: Vec<(String, &Measures)> = instances.chain([mean]).collect();
        let widening = match self.widening {
            Widening::None => "",
            Widening::Linear => ", widening linear",
        };
        let title = format!("{}/{}{widening}", self.policy, self.version);
        let names = rows.iter().map(|(name, _)| name.chars().count());
        let width = names.chain([title.chars().count()]).max().unwrap_or(0);
        let headings = COLUMNS
            .iter()
            .map(|(name, width, _, _)| format!("  {name:>width$}"));
        let mut text = format!("{title:width$}{}\n", headings.collect::<String>());
        for (name, measures) in rows {
            let cells = COLUMNS.iter().map(|(_, width, decimals, measure)| {
                format!("  {:>width$.decimals$}", measure(measures))
            });
            text += &format!("{name:width$}{}\n", cells.collect::<String>());
        }
        text
    }
}
