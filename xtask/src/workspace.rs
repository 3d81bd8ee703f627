//! Where the repository lies: every other path in this crate is built from here.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

/// The root of the checkout this command was built from.
pub fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map(Path::to_path_buf).unwrap_or(manifest)
}

/// How programs are built: for quick builds, or to run fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Development,
    Release,
}

/// A program of the workspace, where a build leaves it.
pub fn binary(name: &str, profile: Profile) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let directory = match profile {
        Profile::Development => "debug",
        Profile::Release => "release",
    };
    target.join(directory).join(name)
}

/// Builds programs of the workspace.
pub fn build(packages: &[&str], profile: Profile) -> Result<()> {
    let mut arguments = vec!["build"];
    if profile == Profile::Release {
        arguments.push("--release");
    }
    arguments.extend(packages.iter().flat_map(|package| ["--package", package]));
    cargo(&arguments)
}

/// Cargo, in the root of the checkout.
pub fn cargo_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    if std::env::var_os("CI").is_some_and(|ci| ci == "true") {
        // A build that is thrown away gains nothing from being resumable.
        command.env("CARGO_INCREMENTAL", "0");
    }
    command
}

/// Runs cargo; its failure is ours.
pub fn cargo(arguments: &[&str]) -> Result<()> {
    run(cargo_command(arguments))
}

/// Runs a command; its failure is ours.
pub fn run(mut command: Command) -> Result<()> {
    let status = command.status()?;
    if !status.success() {
        let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
        bail!(
            "{} {}: {status}",
            command.get_program().to_string_lossy(),
            arguments.join(" ")
        );
    }
    Ok(())
}
