//! Where the repository lies, and how its programs are built: every other path in this crate is built from here.
//!
//! Release builds go by a profile of the processors at work, kept in the repository (`learned`), as rustc's book has it under
//! profile-guided optimisation. Cargo cannot name one in `Cargo.toml`, so only builds from here do.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

/// The root of the checkout this command was built from.
pub fn root() -> PathBuf {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map(Path::to_path_buf).unwrap_or(manifest)
}

/// What is built for release, always all of it: with fewer packages some crates have fewer features, and under the names that
/// their functions have then a profile does not know them.
pub const RELEASED: [&str; 7] = [
    "orders",
    "payments",
    "assignment",
    "notifier",
    "swiftctl",
    "gateway",
    "bench",
];

/// How programs are built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// For quick builds.
    Development,
    /// To run fast.
    Release,
    /// For release, but counting which paths are taken how often.
    Learning,
}

impl Profile {
    /// Where builds of it leave everything.
    fn target(self) -> PathBuf {
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root().join("target"), PathBuf::from);
        match self {
            Profile::Development | Profile::Release => target,
            Profile::Learning => target.join("learning"),
        }
    }

    /// What rustc is told beside what Cargo.toml says.
    fn rustflags(self) -> Vec<String> {
        match self {
            Profile::Development => Vec::new(),
            Profile::Release => vec![
                format!("-Cprofile-use={}", learned().display()),
                // Functions changed since are compiled without it; not a warning for each.
                "-Cllvm-args=-no-pgo-warn-mismatch".to_owned(),
            ],
            Profile::Learning => vec![format!("-Cprofile-generate={}", counts().display())],
        }
    }
}

/// What `cargo xtask learn` has learned last.
pub fn learned() -> PathBuf {
    root().join("deploy/processors.profdata")
}

/// Where programs that learn leave what they have counted.
pub fn counts() -> PathBuf {
    Profile::Learning.target().join("counts")
}

/// A program of the workspace, where a build leaves it.
pub fn binary(name: &str, profile: Profile) -> PathBuf {
    let directory = match profile {
        Profile::Development => "debug",
        Profile::Release | Profile::Learning => "release",
    };
    profile.target().join(directory).join(name)
}

/// Builds programs of the workspace.
pub fn build(packages: &[&str], profile: Profile) -> Result<()> {
    let mut arguments = vec!["build"];
    if profile != Profile::Development {
        arguments.push("--release");
    }
    arguments.extend(packages.iter().flat_map(|package| ["--package", package]));
    let mut command = cargo_command(&arguments);
    command.env("CARGO_TARGET_DIR", profile.target());
    let ours = profile.rustflags();
    if !ours.is_empty() {
        let given = std::env::var("RUSTFLAGS").unwrap_or_default();
        let given = given.split_whitespace().map(str::to_owned);
        let flags: Vec<String> = given.chain(ours).collect();
        // A path may hold a space, but not this.
        command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    }
    run(command)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_builds_alone_go_by_a_profile_and_it_is_there() {
        assert!(learned().is_file(), "cargo xtask learn");
        let goes_by_one = |profile: Profile| {
            let flags = profile.rustflags();
            flags.iter().any(|flag| flag.starts_with("-Cprofile-use="))
        };
        assert!(goes_by_one(Profile::Release));
        assert!(!goes_by_one(Profile::Development) && !goes_by_one(Profile::Learning));
        let places = [Profile::Development, Profile::Release, Profile::Learning];
        let places: std::collections::BTreeSet<_> = places
            .iter()
            .map(|profile| binary("orders", *profile))
            .collect();
        assert_eq!(places.len(), 3, "no build overwrites another's");
    }
}
