//! The command as a whole: arguments to results, exports and the report.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod town;

use std::fs;
use std::path::Path;

use backtest::{Arguments, Instance, export, feasibility};
use clap::Parser;
use serde_json::Value;
use town::*;

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    arguments: Arguments,
}

fn arguments(words: &[&str]) -> Arguments {
    let words = ["backtest"].iter().chain(words);
    Command::try_parse_from(words).unwrap().arguments
}

/// Two generated days in a directory each.
fn days() -> Scratch {
    let scratch = Scratch::new();
    for seed in [1, 2] {
        generated(seed).write(&scratch.0.join(format!("days/day{seed}")));
    }
    scratch
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn the_json_has_every_measure_per_instance_and_unweighted_means() {
    let scratch = days();
    let policies = POLICIES.join(",");
    let days = scratch.0.join("days");
    let results = arguments(&["--policy", &policies, text(&days)])
        .run()
        .unwrap();
    let json: Value = serde_json::from_str(&results.json()).unwrap();
    for (at, name) in POLICIES.iter().enumerate() {
        let policy = &json["policies"][at];
        assert_eq!(policy["policy"], *name);
        let instances = policy["instances"].as_array().unwrap();
        let names: Vec<_> = instances.iter().map(|instance| &instance["name"]).collect();
        assert_eq!(names, ["day1", "day2"]);
        let mean = policy["mean"].as_object().unwrap();
        assert!(mean.contains_key("click_to_door_p99") && mean.contains_key("cost_per_order"));
        for (measure, mean) in mean {
            let of = |at: usize| instances[at][measure].as_f64().unwrap();
            let mean = mean.as_f64().unwrap();
            assert!(
                (mean - (of(0) + of(1)) / 2.0).abs() < 1e-9,
                "{name}: {measure}"
            );
        }
    }
    assert!(results.table().lines().count() >= POLICIES.len() * 4);
}

#[test]
fn where_another_policy_is_worse_than_fifo_the_results_say_so() {
    let scratch = days();
    let days = scratch.0.join("days");
    let results = |policies: &str| {
        let results = arguments(&["--policy", policies, text(&days)])
            .run()
            .unwrap();
        let json: Value = serde_json::from_str(&results.json()).unwrap();
        (results.table(), json)
    };
    let (table, json) = results("fifo,slack-greedy,lookahead");
    let worse = json["worse_than_fifo"].as_array().unwrap();
    let mut expected = 0;
    for (policy, day) in [(1, 0), (1, 1), (2, 0), (2, 1)] {
        let of = |policy: usize| &json["policies"][policy]["instances"][day];
        for measure in [
            "click_to_door_p99",
            "click_to_door_mean",
            "ready_to_pickup_mean",
            "undelivered_pct",
        ] {
            let (value, fifo) = (&of(policy)[measure], &of(0)[measure]);
            let said = worse.iter().any(|worse| {
                worse["policy"] == json["policies"][policy]["policy"]
                    && worse["instance"] == of(policy)["name"]
                    && worse["measure"] == measure
                    && (&worse["value"], &worse["fifo"]) == (value, fifo)
            });
            assert_eq!(
                said,
                value.as_f64() > fifo.as_f64(),
                "{policy} {day} {measure}"
            );
            expected += usize::from(said);
        }
    }
    assert_eq!(worse.len(), expected);
    assert!(expected > 0, "a day on which waiting costs something");
    assert!(table.contains("worse than fifo in P99"), "{table}");
    let alone = results("lookahead");
    assert!(alone.1.get("worse_than_fifo").is_none() && !alone.0.contains("fifo"));
}

#[test]
fn the_tolerance_can_be_made_to_widen_and_the_results_say_so() {
    let scratch = days();
    let days = scratch.0.join("days");
    let results = |widening: &str| {
        let words = [
            "--policy",
            "lookahead",
            "--tolerance-s=-600",
            "--widening",
            widening,
        ];
        arguments(&[&words[..], &[text(&days)]].concat())
            .run()
            .unwrap()
    };
    let (fixed, wider) = (results("none"), results("linear"));
    let json: Value = serde_json::from_str(&wider.json()).unwrap();
    assert_eq!(json["policies"][0]["widening"], "linear");
    assert_eq!(json["policies"][0]["tolerance_s"], -600.0);
    assert!(wider.table().contains("widening linear"));
    assert!(!fixed.table().contains("widening"));
    assert_ne!(fixed.policies[0].mean, wider.policies[0].mean);
    let unknown = ["backtest", "--widening", "sideways", "days"];
    let error = Command::try_parse_from(unknown).err().unwrap();
    assert!(error.to_string().contains("sideways"), "{error}");
}

#[test]
fn exported_solutions_are_feasible_and_stand_by_policy_and_instance() {
    let scratch = days();
    let (days, out) = (scratch.0.join("days"), scratch.0.join("out"));
    let words = [
        "--policy",
        "fifo,slack-greedy",
        "--export",
        text(&out),
        text(&days),
    ];
    arguments(&words).run().unwrap();
    for name in ["fifo", "slack-greedy"] {
        for day in ["day1", "day2"] {
            let instance = Instance::read(&days.join(day)).unwrap();
            let solution = export::read(&out.join(name).join(day), &instance).unwrap();
            assert!(!solution.trips.is_empty());
            assert_eq!(feasibility::check(&instance, &solution), []);
        }
    }
    let alone = scratch.0.join("alone");
    arguments(&["--policy", "fifo", "--export", text(&alone), text(&days)])
        .run()
        .unwrap();
    assert!(alone.join("day2/solution_info_orders.txt").is_file());
}

#[test]
fn the_report_holds_all_it_shows_and_fetches_nothing() {
    let scratch = days();
    let (days, file) = (scratch.0.join("days"), scratch.0.join("report.html"));
    let words = [
        "--policy",
        "fifo,slack-greedy",
        "--report",
        text(&file),
        text(&days),
    ];
    let results = arguments(&words).run().unwrap();
    let page = fs::read_to_string(&file).unwrap();
    for fetch in ["src=", "href=", "@import", "url(", "fetch(", "https://"] {
        assert!(!page.contains(fetch), "{fetch}");
    }
    assert!(!page.contains("/* page.css */") && !page.contains("/* page.js */"));
    let start = page.find("id=\"data\">").unwrap() + "id=\"data\">".len();
    let end = start + page[start..].find("</script>").unwrap();
    let data: Value = serde_json::from_str(&page[start..end]).unwrap();
    let shown: Value = serde_json::from_str(&results.json()).unwrap();
    assert_eq!(data["results"], shown);
    for policy in [0, 1] {
        for instance in [0, 1] {
            let curves = &data["curves"][policy][instance];
            let counts = curves["click_to_door"].as_array().unwrap();
            let delivered: f64 = counts.iter().map(|count| count.as_f64().unwrap()).sum();
            let measures = &shown["policies"][policy]["instances"][instance];
            assert_eq!(measures["delivered"].as_f64().unwrap(), delivered);
            let (busy, duty) = (sum(&curves["busy"]), sum(&curves["on_duty"]));
            let utilisation = measures["utilisation"].as_f64().unwrap();
            assert!((busy / duty - utilisation).abs() < 1e-9);
        }
    }
    assert_eq!(data["map"]["instance"], "day1");
    assert_eq!(data["map"]["trips"].as_array().unwrap().len(), 2);
}

fn sum(numbers: &Value) -> f64 {
    numbers
        .as_array()
        .unwrap()
        .iter()
        .map(|number| number.as_f64().unwrap())
        .sum()
}

#[test]
fn a_name_cannot_end_the_script_that_holds_it() {
    let scratch = Scratch::new();
    let (day, file) = (
        scratch.0.join("a<!--<script>b"),
        scratch.0.join("report.html"),
    );
    tiny().write(&day);
    arguments(&["--policy", "fifo", "--report", text(&file), text(&day)])
        .run()
        .unwrap();
    let page = fs::read_to_string(&file).unwrap();
    assert!(page.contains("a\\u003c!--\\u003cscript>b") && !page.contains("a<!--"));
}

#[test]
fn what_cannot_be_run_is_refused_by_name() {
    let scratch = days();
    let days = scratch.0.join("days");
    let refusal = |words: &[&str]| {
        let mut words = words.to_vec();
        words.push(text(&days));
        arguments(&words).run().unwrap_err().to_string()
    };
    assert!(refusal(&["--policy", "psychic"]).starts_with("policy \"psychic\": unknown variant"));
    assert_eq!(
        refusal(&["--policy", "fifo,fifo"]),
        "policy \"fifo\" is named twice: its results could not be told apart"
    );
    assert!(refusal(&[text(&days.join("day1"))]).starts_with("instance \"day1\" is named twice"));
    assert_eq!(
        refusal(&["--tolerance-s", "NaN"]),
        "tolerance-s must be a number, not NaN"
    );
    assert!(refusal(&["--report", "/nowhere/report.html"]).starts_with("/nowhere/report.html: "));
    for (policies, set, named) in [
        // No policy has it: neither one that has none, nor the default, nor under the name of where it is kept.
        (
            "fifo",
            "nonsense=1",
            "no policy that is to run has a parameter \"nonsense\"",
        ),
        (
            "fifo",
            "tail_weight=0",
            "no policy that is to run has a parameter \"tail_weight\"",
        ),
        (
            "lookahead",
            "max_orders=2",
            "no policy that is to run has a parameter \"max_orders\"",
        ),
        (
            "lookahead,bundle",
            "plan={}",
            "no policy that is to run has a parameter \"plan\"",
        ),
        (
            "lookahead",
            "name=bundle",
            "no policy that is to run has a parameter \"name\"",
        ),
        // One has it, but it cannot be.
        (
            "bundle",
            "max_orders=4",
            "policy \"bundle\": max_orders must be 2 or 3, not 4",
        ),
        (
            "bundle",
            "detour_weight=-5",
            "policy \"bundle\": detour_weight must be 0 or more, not -5",
        ),
        (
            "lookahead,bundle",
            "tail_weight=-1",
            "policy \"lookahead\": tail_weight must be 0 or more, not -1",
        ),
        (
            "bundle",
            "tail_weight=much",
            "policy \"bundle\": invalid type",
        ),
    ] {
        let refusal = refusal(&["--policy", policies, "--set", set]);
        assert!(refusal.starts_with(named), "{policies} {set}: {refusal}");
    }
    let refusal = refusal(&["--set", "nonsense=1"]);
    assert!(
        refusal.contains("parameter \"nonsense\"; there are: candidates, "),
        "{refusal}"
    );
}

#[test]
fn a_parameter_is_set_for_each_policy_that_has_it_wherever_it_keeps_it() {
    let scratch = days();
    let days = scratch.0.join("days");
    let parameters = |words: &[&str]| {
        let results = arguments(&[words, &[text(&days)]].concat()).run().unwrap();
        let json: Value = serde_json::from_str(&results.json()).unwrap();
        json["policies"]
            .as_array()
            .unwrap()
            .iter()
            .map(|policy| policy["parameters"].clone())
            .collect::<Vec<_>>()
    };
    let both = ["--set", "tail_weight=0.25", "--set", "max_orders=2"];
    let set = parameters(&[&["--policy", "fifo,lookahead,bundle"], &both[..]].concat());
    assert_eq!(set[0], serde_json::json!({"name": "fifo"}));
    assert_eq!(set[1]["tail_weight"], 0.25);
    assert_eq!(set[1].get("max_orders"), None);
    assert_eq!(set[2]["plan"]["tail_weight"], 0.25);
    assert_eq!(set[2]["max_orders"], 2);
    let default = parameters(&["--set", "tail_weight=0.25"]);
    assert_eq!(
        (&default[0]["name"], &default[0]["tail_weight"]),
        (&"lookahead".into(), &0.25.into())
    );
}
