//! Commands that only pass on to `swiftctl`, with the endpoints of the running stack.
//!
//! `swiftctl` is what operators use against any cluster; here it finds the local one by itself.

use std::{env, process::Command};

use anyhow::{Context, Result, bail};

use crate::{
    stack::{self, dir::StackDir},
    workspace,
};

/// Whether the command talks to a broker or a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    Stack,
}

/// Runs `swiftctl` with these arguments; its output and its failure are ours.
pub fn swiftctl(arguments: &[&str], needs: Needs) -> Result<()> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .args(["run", "--quiet", "--package", "swiftctl", "--"])
        .args(arguments)
        .current_dir(workspace::root());
    if needs == Needs::Stack {
        let state = stack::status(&StackDir::from_env()?)?
            .context("no stack runs: start it with `cargo xtask stack up`")?;
        command
            .env("SWIFT_EATS_KAFKA", state.kafka)
            .env("SWIFT_EATS_REGISTRY", state.registry);
    }
    let status = command.status().context("start cargo")?;
    if !status.success() {
        bail!("swiftctl {}: {status}", arguments.join(" "));
    }
    Ok(())
}
