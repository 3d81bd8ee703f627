//! `swiftctl backtest` as a program: what it prints, and how it ends when its input is wrong. Needs no stack.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// A directory that goes away with the test.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// An instance of one courier and these orders.
fn instance(name: &str, orders: &str) -> Scratch {
    let dir = std::env::temp_dir().join(format!("swiftctl-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let parameters =
        "meters_per_minute pickup dropoff target maximum pay guaranteed\n100 4 2 40 90 10 15\n";
    let orders = format!("order x y placement_time restaurant ready_time\n{orders}");
    for (file, text) in [
        ("instance_parameters.txt", parameters),
        ("restaurants.txt", "restaurant x y\nr1 0 0\n"),
        (
            "couriers.txt",
            "courier x y on_time off_time\nc1 -250 0 0 60\n",
        ),
        ("orders.txt", &orders),
    ] {
        fs::write(dir.join(file), text.replace(' ', "\t")).unwrap();
    }
    Scratch(dir)
}

fn backtest(arguments: &[&str], dir: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_swiftctl"))
        .arg("backtest")
        .args(arguments)
        .arg(dir)
        .output()
        .unwrap()
}

#[test]
fn the_figures_of_each_policy_are_printed_and_its_solution_written() {
    let day = instance("day", "o1 450 0 5 r1 15\n");
    let (out, page) = (day.0.join("out"), day.0.join("report.html"));
    let arguments = [
        "--policy",
        "fifo,slack-greedy",
        "--format",
        "json",
        "--export",
        out.to_str().unwrap(),
        "--report",
        page.to_str().unwrap(),
    ];
    let output = backtest(&arguments, &day.0);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<_> = json["policies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| &p["policy"])
        .collect();
    assert_eq!(names, ["fifo", "slack-greedy"]);
    assert_eq!(
        json["policies"][0]["instances"][0]["click_to_door_mean"],
        18.0
    );
    assert_eq!(json["policies"][1]["mean"]["ready_to_pickup_mean"], 0.0);
    let name = day.0.file_name().unwrap();
    assert!(
        out.join("fifo")
            .join(name)
            .join("solution_info_couriers.txt")
            .is_file()
    );
    assert!(fs::read_to_string(page).unwrap().contains("slack-greedy"));
    let table = String::from_utf8(backtest(&["--policy", "fifo"], &day.0).stdout).unwrap();
    assert!(
        table.starts_with("fifo/") && table.contains("\nmean "),
        "{table}"
    );
}

#[test]
fn a_wrong_value_ends_it_with_one_and_a_message_that_names_it() {
    let day = instance("wrong", "o1 450 0 noon r1 15\n");
    let output = backtest(&["--policy", "fifo"], &day.0);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.contains("orders.txt line 2, column 4: \"noon\" is not a number"),
        "{message}"
    );
    assert!(output.stdout.is_empty());
}
