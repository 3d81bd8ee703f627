//! The operator, who decides about a lane that is refused: by the very command that its reason names.

use std::path::PathBuf;
use std::process::Command as Process;

use crate::toy::Toy;
use crate::world::{Command, World};

/// `swiftctl lanes reset` on partition 0's lane; returns its exit code and what it printed.
pub fn reset(world: &World, arguments: &[&str]) -> (i32, String) {
    let lane = format!("{}/0", world.input);
    let output = Process::new(program())
        .args([
            "--brokers",
            &world.stack.kafka,
            "--postgres",
            &world.db.url(),
        ])
        .args([
            "lanes",
            "reset",
            "--service",
            "toy",
            "--group",
            &world.group,
            &lane,
        ])
        .args(arguments)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (
        output.status.code().unwrap(),
        String::from_utf8(printed).unwrap(),
    )
}

/// The decision is carried out, and the process that refused the lane runs it, and applies what comes from then on once.
pub async fn decides(world: &World, toy: &Toy, decision: &str) {
    let (code, printed) = reset(world, &[decision, "--yes"]);
    assert_eq!(code, 0, "{printed}");
    toy.reaches("runtime_lanes{phase=\"refused\"}", 0.0).await;
    toy.runs(2).await;
    world
        .send((0..10).map(|_| Command::new(0, "afterwards", "add")))
        .await;
    world.settle().await;
}

/// Built beside this test by `cargo test --workspace`.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("swiftctl");
    assert!(
        program.exists(),
        "no swiftctl: `cargo build -p swiftctl` builds it"
    );
    program
}
