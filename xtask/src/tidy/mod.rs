//! Rules of the repository that no compiler checks. `cargo xtask tidy` names each offence with its place and how to mend it.
//!
//! A rule is here only when it is mechanical; taste is left to people. Rules read the text as it is on disk, new files included, so a commit is
//! not needed to be told. The whole run takes some tenths of a second.

mod code;
mod crates;
mod layout;
mod sources;
#[cfg(test)]
mod tree_of_a_test;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// One place that breaks one rule.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offence {
    pub file: String,
    /// 1 for the file as a whole.
    pub line: usize,
    pub rule: &'static str,
    /// What is wrong, and how to mend it.
    pub what: String,
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}: {}",
            self.file, self.line, self.rule, self.what
        )
    }
}

/// The files a checkout consists of, by their paths from its root.
pub struct Tree {
    root: PathBuf,
    files: Vec<String>,
}

impl Tree {
    /// Everything that is tracked or would be if it were added: what git ignores does not count.
    pub fn of_checkout(root: &Path) -> Result<Self> {
        let out = Command::new("git")
            .args([
                "ls-files",
                "-z",
                "--cached",
                "--others",
                "--exclude-standard",
            ])
            .current_dir(root)
            .output()
            .context("start git")?;
        if !out.status.success() {
            bail!(
                "git ls-files: {}",
                String::from_utf8_lossy(&out.stderr).trim()
            );
        }
        let listed = String::from_utf8_lossy(&out.stdout).into_owned();
        // A tracked file may be deleted on disk, and a link may lead nowhere.
        let files = listed
            .split('\0')
            .filter(|f| root.join(f).is_file())
            .map(str::to_owned)
            .collect();
        Ok(Self {
            root: root.to_path_buf(),
            files,
        })
    }

    fn files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(String::as_str)
    }

    fn rust_files(&self) -> impl Iterator<Item = &str> {
        self.files().filter(|file| file.ends_with(".rs"))
    }

    /// The text of a file; `None` when it is not text.
    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.root.join(file)).ok()
    }
}

/// Every offence of the tree, by place.
pub fn check(tree: &Tree) -> Result<Vec<Offence>> {
    let mut offences = layout::check(tree);
    offences.extend(crates::check(tree)?);
    offences.extend(sources::check(tree));
    offences.sort();
    Ok(offences)
}
