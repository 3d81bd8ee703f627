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

/// A program of the workspace, where a development build leaves it.
pub fn binary(name: &str) -> PathBuf {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("debug").join(name)
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
