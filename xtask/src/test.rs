//! `cargo xtask test`: every check there is, in one command, on a stack of its own.
//!
//! All steps run even when one fails, so one run tells all that is wrong; the exit status is that of the worst. The stack is stopped
//! whatever happens, Ctrl-C included. At the end a table says what took how long.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::{
    process,
    stack::{self, dir::StackDir},
    tidy::{self, Tree},
    workspace::{self, cargo},
};

/// One check: its name for `--only` and what it does.
struct Step {
    name: &'static str,
    /// Such a step has the endpoints of a running stack.
    on_stack: bool,
    run: fn(&StackDir) -> Result<()>,
}

/// In this order: what is quick to run and to mend comes first.
const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        on_stack: false,
        run: |_| cargo(&["fmt", "--all", "--check"]),
    },
    Step {
        name: "tidy",
        on_stack: false,
        run: |_| tidy(),
    },
    Step {
        name: "clippy",
        on_stack: false,
        run: |_| {
            cargo(&[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ])
        },
    },
    Step {
        name: "schemas",
        on_stack: false,
        run: |_| cargo(&["run", "-q", "-p", "swiftctl", "--", "schemas", "check"]),
    },
    Step {
        name: "tests",
        on_stack: true,
        run: tests,
    },
];

/// The names of the steps, for the command line.
pub fn step_names() -> Vec<&'static str> {
    STEPS.iter().map(|step| step.name).collect()
}

struct Outcome {
    name: &'static str,
    took: Duration,
    error: Option<anyhow::Error>,
}

/// Runs all steps, or `only` one of them.
pub fn run(only: Option<&str>, keep_stack: bool) -> Result<()> {
    process::catch_interrupts();
    let dir = StackDir::at(&workspace::root().join(".stack/test"))?;
    let mut outcomes = Vec::new();
    let mut stack_is_up = false;
    for step in STEPS
        .iter()
        .filter(|step| only.is_none_or(|name| name == step.name))
    {
        if process::interrupted() {
            break;
        }
        if step.on_stack && !stack_is_up {
            let outcome = timed("stack up", || fresh_stack(&dir));
            stack_is_up = outcome.error.is_none();
            outcomes.push(outcome);
            if !stack_is_up {
                break;
            }
        }
        outcomes.push(timed(step.name, || (step.run)(&dir)));
    }
    if dir.state().exists() && !(keep_stack && stack_is_up) {
        outcomes.push(timed("stack down", || stack::down(&dir)));
    }
    report(&outcomes);
    if process::interrupted() {
        bail!("interrupted");
    }
    let failed: Vec<&str> = outcomes
        .iter()
        .filter(|o| o.error.is_some())
        .map(|o| o.name)
        .collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

/// What an earlier run left must not decide what this one finds.
fn fresh_stack(dir: &StackDir) -> Result<()> {
    stack::reset(dir)?;
    stack::up(dir, stack::Options::default()).map(|_| ())
}

fn tests(dir: &StackDir) -> Result<()> {
    let mut command = workspace::cargo_command(&["test", "--workspace", "--no-fail-fast"]);
    command.env("SWIFT_EATS_STACK", dir.state());
    workspace::run(command)
}

/// Prints every offence; an error when there is any.
pub fn tidy() -> Result<()> {
    let offences = tidy::check(&Tree::of_checkout(&workspace::root())?)?;
    for offence in &offences {
        println!("{offence}");
    }
    if !offences.is_empty() {
        bail!("tidy: {} offence(s)", offences.len());
    }
    Ok(())
}

fn timed(name: &'static str, run: impl FnOnce() -> Result<()>) -> Outcome {
    eprintln!("== {name}");
    let began = Instant::now();
    let error = run().err();
    if let Some(error) = &error {
        eprintln!("== {name} failed: {error:#}");
    }
    Outcome {
        name,
        took: began.elapsed(),
        error,
    }
}

fn report(outcomes: &[Outcome]) {
    println!();
    for outcome in outcomes {
        let seconds = outcome.took.as_secs_f64();
        println!(
            "{:<12} {seconds:>8.1} s  {}",
            outcome.name,
            if outcome.error.is_none() {
                "ok"
            } else {
                "FAILED"
            }
        );
    }
    let total: Duration = outcomes.iter().map(|o| o.took).sum();
    println!("{:<12} {:>8.1} s", "all", total.as_secs_f64());
}
