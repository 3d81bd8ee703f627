//! Which crate may depend on which: the layers of the system, read off the Cargo.toml files.
//!
//! The arrow points one way: processors stand on shared crates, tests stand on everything, and what decides (`dispatch`, `lifecycle`) does no I/O at all.

use anyhow::{Context, Result};
use toml::{Table, Value};

use super::{Offence, Tree};

const RULE: &str = "layers";

const PROCESSORS: &[&str] = &["orders", "payments", "assignment", "notifier"];

/// What may stand on processors beside tests: the operator's tool replays the topics through their own code.
const REPLAYS: &str = "swiftctl";

/// Crates that stand on no other crate of ours; with each, those its tests may use.
const FOUNDATIONS: &[(&str, &[&str])] = &[
    ("dispatch", &[]),
    ("lifecycle", &[]),
    ("contracts", &[]),
    ("runtime", &["harness"]),
];

/// Crates that decide and do nothing else: time, randomness and data come in as arguments.
const PURE: &[&str] = &["dispatch", "lifecycle"];

/// What a pure crate may use: nothing here opens a file, a socket or a clock behind its back (chrono is the workspace's, which is asked for types).
const PURE_MAY_USE: &[&str] = &[
    "chrono",
    "chrono-tz",
    "foldhash",
    "lapjv",
    "libm",
    "pathfinding",
    "serde",
    "thiserror",
    "uuid",
];

/// And beyond that, its tests.
const PURE_TESTS_MAY_USE: &[&str] = &[
    "criterion",
    "proptest",
    "rand",
    "rand_chacha",
    "serde_json",
    "toml",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Of the built crate or of its build script.
    Built,
    Tests,
}

struct Dependency {
    name: String,
    kind: Kind,
    line: usize,
}

struct Crate {
    name: String,
    /// The Cargo.toml, from the root.
    file: String,
    dependencies: Vec<Dependency>,
}

impl Crate {
    fn under(&self, directory: &str) -> bool {
        self.file.starts_with(directory)
    }
}

pub fn check(tree: &Tree) -> Result<Vec<Offence>> {
    let manifests = tree.files().filter(|file| file.ends_with("/Cargo.toml"));
    let crates = manifests
        .map(|file| read(tree, file))
        .collect::<Result<Vec<_>>>()?;
    let mut offences = Vec::new();
    for one in &crates {
        for dependency in &one.dependencies {
            let ours = crates.iter().find(|c| c.name == dependency.name);
            let wrong = match ours {
                Some(other) => against_layers(one, other, dependency.kind),
                None => against_purity(one, dependency),
            };
            offences.extend(wrong.map(|what| Offence {
                file: one.file.clone(),
                line: dependency.line,
                rule: RULE,
                what,
            }));
        }
    }
    Ok(offences)
}

/// What is wrong with this arrow between two crates of ours.
fn against_layers(one: &Crate, other: &Crate, kind: Kind) -> Option<String> {
    let (from, to) = (&one.name, &other.name);
    if let Some((_, tests_may)) = FOUNDATIONS.iter().find(|(name, _)| name == from) {
        let allowed = kind == Kind::Tests && tests_may.contains(&to.as_str());
        return (!allowed).then(|| format!("{from} stands on no crate of ours, {to} included: move what it needs into {from} or turn the arrow round"));
    }
    if !one.under("services/") {
        return None;
    }
    if PROCESSORS.contains(&to.as_str()) && from != REPLAYS {
        return Some(format!(
            "{from} depends on the processor {to}: processors meet on topics only, move what is shared into a shared crate"
        ));
    }
    if other.under("tests/") && kind == Kind::Built {
        return Some(format!(
            "{from} depends on {to}, which exists for tests: make it a dev-dependency"
        ));
    }
    other.under("xtask/").then(|| {
        format!("{from} depends on {to}, which is a tool of developers: move what it needs")
    })
}

fn against_purity(one: &Crate, dependency: &Dependency) -> Option<String> {
    let name = dependency.name.as_str();
    let allowed = PURE_MAY_USE.contains(&name)
        || (dependency.kind == Kind::Tests && PURE_TESTS_MAY_USE.contains(&name));
    (PURE.contains(&one.name.as_str()) && !allowed).then(|| {
        format!("{} decides and does no I/O: pass in what {name} would fetch, or list it in xtask/src/tidy/crates.rs if it does none", one.name)
    })
}

fn read(tree: &Tree, file: &str) -> Result<Crate> {
    let text = tree.read(file).with_context(|| format!("read {file}"))?;
    let manifest: Table = text
        .parse()
        .with_context(|| format!("{file} is not TOML"))?;
    let name = manifest
        .get("package")
        .and_then(|p| p.get("name"))
        .and_then(Value::as_str)
        .unwrap_or_default();
    let mut dependencies = Vec::new();
    collect(&manifest, &text, &mut dependencies);
    let targets = manifest.get("target").and_then(Value::as_table);
    for target in targets
        .into_iter()
        .flat_map(Table::values)
        .filter_map(Value::as_table)
    {
        collect(target, &text, &mut dependencies);
    }
    Ok(Crate {
        name: name.to_owned(),
        file: file.to_owned(),
        dependencies,
    })
}

fn collect(table: &Table, text: &str, into: &mut Vec<Dependency>) {
    for (section, kind) in [
        ("dependencies", Kind::Built),
        ("build-dependencies", Kind::Built),
        ("dev-dependencies", Kind::Tests),
    ] {
        for (key, value) in table
            .get(section)
            .and_then(Value::as_table)
            .into_iter()
            .flatten()
        {
            let name = value.get("package").and_then(Value::as_str).unwrap_or(key);
            into.push(Dependency {
                name: name.to_owned(),
                kind,
                line: line_of(text, section, key),
            });
        }
    }
}

/// Where a key of a section stands; 1 when it is written in a way this does not follow.
fn line_of(text: &str, section: &str, key: &str) -> usize {
    let mut inside = false;
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(header) = line.trim().strip_prefix('[') {
            inside = header.trim_end_matches(']').ends_with(section)
                && (section != "dependencies" || !header.contains("-dependencies"));
        }
        let after = line.strip_prefix(key);
        if inside && after.is_some_and(|rest| rest.starts_with(['.', ' ', '='])) {
            return number;
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use super::super::tree_of_a_test::{TestTree, places};
    use super::*;

    fn offences(files: &[(&str, &str)]) -> Vec<Offence> {
        check(&TestTree::new(files).tree).expect("manifests are TOML")
    }

    fn package(name: &str, rest: &str) -> String {
        format!("[package]\nname = \"{name}\"\n{rest}")
    }

    #[test]
    fn a_pure_crate_that_reaches_for_the_network_is_caught_at_its_line() {
        let manifest = package(
            "dispatch",
            "[dependencies]\nserde.workspace = true\ntokio = \"1\"\n[dev-dependencies]\nproptest = \"1\"\n",
        );
        let found = offences(&[("services/dispatch/Cargo.toml", &manifest)]);
        assert_eq!(places(&found), ["services/dispatch/Cargo.toml:5: layers"]);
        assert!(found[0].what.contains("tokio"), "{}", found[0]);
    }

    #[test]
    fn io_behind_a_rename_or_a_target_is_caught_too() {
        let manifest = package(
            "lifecycle",
            "[dependencies]\nserde = { package = \"reqwest\", version = \"1\" }\n[target.'cfg(unix)'.dependencies]\nlibc = \"1\"\n",
        );
        assert_eq!(
            offences(&[("services/lifecycle/Cargo.toml", &manifest)]).len(),
            2
        );
    }

    #[test]
    fn a_foundation_that_stands_on_a_crate_of_ours_is_caught() {
        let contracts = package("contracts", "[dependencies]\nruntime.workspace = true\n");
        let runtime = package(
            "runtime",
            "[dependencies]\n[dev-dependencies]\nharness.workspace = true\ncontracts.workspace = true\n",
        );
        let found = offences(&[
            ("services/contracts/Cargo.toml", &contracts),
            ("services/runtime/Cargo.toml", &runtime),
            ("tests/harness/Cargo.toml", &package("harness", "")),
        ]);
        assert_eq!(
            places(&found),
            [
                "services/contracts/Cargo.toml:4: layers",
                "services/runtime/Cargo.toml:6: layers"
            ]
        );
    }

    #[test]
    fn processors_that_know_each_other_are_caught_even_in_tests() {
        let orders = package(
            "orders",
            "[dev-dependencies]\npayments = { path = \"../payments\" }\n",
        );
        let found = offences(&[
            ("services/orders/Cargo.toml", &orders),
            ("services/payments/Cargo.toml", &package("payments", "")),
        ]);
        assert_eq!(places(&found), ["services/orders/Cargo.toml:4: layers"]);
    }

    #[test]
    fn a_service_may_use_tests_crates_in_its_tests_only() {
        let other = package("harness", "[dependencies]\norders.workspace = true\n");
        let built = package("orders", "[dependencies]\nharness.workspace = true\n");
        let tests = package("notifier", "[dev-dependencies]\nharness.workspace = true\n");
        let found = offences(&[
            ("services/orders/Cargo.toml", &built),
            ("services/notifier/Cargo.toml", &tests),
            ("tests/harness/Cargo.toml", &other),
        ]);
        assert_eq!(places(&found), ["services/orders/Cargo.toml:4: layers"]);
    }
}
