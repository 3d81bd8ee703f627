//! Which paths the processors take, learned from short runs of the benchmarks.
//!
//! What is learned goes into the repository and is all that release builds go by: a build needs neither a stack nor LLVM's
//! tools. To be learned anew when the processors have changed much: what has changed since is compiled without help, some of it worse
//! than without any profile. The same holds for what never ran here, so each part takes part that has processors do something of its own.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Options, Part, measure};
use crate::process;
use crate::workspace::{self, Profile, RELEASED};

pub fn learn() -> Result<()> {
    process::catch_interrupts();
    let tool = profdata()?;
    eprintln!("learn: building programs that count");
    workspace::build(&RELEASED, Profile::Learning)?;
    // Procedural macros have counted too while the build ran them.
    let counts = workspace::counts();
    if counts.exists() {
        fs::remove_dir_all(&counts).with_context(|| format!("clear {}", counts.display()))?;
    }
    let (results, mut failed) = measure(&lessons(), Profile::Learning)?;
    failed.extend(results.failed().into_iter().map(str::to_owned));
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    let mut merge = Command::new(tool);
    // Sparse: without what never ran, a quarter of the size.
    merge.args(["merge", "--sparse", "--output"]);
    merge.arg(workspace::learned()).arg(&counts);
    workspace::run(merge)?;
    eprintln!("learn: wrote {}", workspace::learned().display());
    Ok(())
}

fn lessons() -> Options {
    Options {
        only: vec![
            Part::Drain,
            Part::DrainHttp,
            Part::Steady,
            Part::Pings,
            Part::Recovery,
        ],
        json: false,
        page: false,
        stored: false,
        orders: 20_000,
        rates: vec![33.0],
        seconds: 20,
        ping_seconds: 10,
        scale_orders: 0,
        scale_rows: 0,
    }
}

/// LLVM's own tool, of the version that the compiler is made with.
fn profdata() -> Result<PathBuf> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir"])
        .output()
        .context("start rustc")?;
    ensure!(output.status.success(), "rustc: {}", output.status);
    let libraries = PathBuf::from(String::from_utf8(output.stdout)?.trim());
    let tool = libraries.with_file_name("bin").join("llvm-profdata");
    ensure!(
        tool.is_file(),
        "no {}: `rustup component add llvm-tools` brings it",
        tool.display()
    );
    Ok(tool)
}
