//! The operator, who decides about a lane that is refused: by the very command that its reason names.

use std::path::PathBuf;
use std::process::Command as Process;

use crate::toy::Toy;
use crate::world::{Command, World};

/// `swiftctl lanes reset` on partition 0's lane; returns its exit code and what it printed.
pub fn reset(world: &World, arguments: &[&str]) -> (i32, String) {
    let lane = format!("{}/0", world.input);
    let arguments = [
        &[
            "lanes",
            "reset",
            "--service",
            "toy",
            "--group",
            &world.group,
            &lane,
        ],
        arguments,
    ];
    swiftctl(world, &arguments.concat())
}

fn swiftctl(world: &World, arguments: &[&str]) -> (i32, String) {
    let output = Process::new(program())
        .args([
            "--brokers",
            &world.stack.kafka,
            "--postgres",
            &world.db.url(),
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

#[tokio::test]
async fn a_drained_instance_hands_its_lanes_over_and_ends_cleanly() {
    let world = World::new("drained", 4).await;
    let (first, second) = (world.toy("a").start(), world.toy("b").start());
    first.runs(2).await;
    second.runs(2).await;
    world.feed(20).await;
    world.settle().await;
    let lanes = || {
        swiftctl(
            &world,
            &[
                "--format",
                "json",
                "lanes",
                "--service",
                "toy",
                "--group",
                &world.group,
            ],
        )
        .1
    };
    let owned_by = |slot: &str| lanes().matches(&format!("\"owner\": \"{slot}\"")).count();
    assert_eq!((owned_by("a"), owned_by("b")), (2, 2), "{}", lanes());
    let (code, printed) = swiftctl(&world, &["drain", "toy/a", "--group", &world.group]);
    assert!(
        code == 0 && printed.contains("2 of 2 taken over"),
        "{code}: {printed}"
    );
    assert_eq!(first.ended_by_itself().await, Some(0));
    second.runs(4).await;
    world.feed(20).await;
    world.settle().await;
    assert_eq!(owned_by("b"), 4, "{}", lanes());
    let (code, printed) = swiftctl(&world, &["drain", "toy/a", "--group", &world.group]);
    assert!(
        code == 1 && printed.contains("no instance a; it has b"),
        "{code}: {printed}"
    );
    second.has_violated_nothing().await;
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
