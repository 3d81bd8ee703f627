//! Rules about the tree: what lies at the top, and that no text names one machine.

use std::collections::BTreeSet;

use super::{Offence, Tree};

const TOP_LEVEL: &[&str] = &[
    "ARCHITECTURE.md",
    "BENCHMARKS.md",
    "Cargo.lock",
    "Cargo.toml",
    "DISPATCH.md",
    "LICENSE",
    "OPERATING.md",
    "README.md",
    "compose.yaml",
    "deploy",
    "migrations",
    "schemas",
    "services",
    "tests",
    "xtask",
];

/// Paths that exist on the machine of whoever wrote them, written in two halves so that this file does not offend.
const MACHINE_PATHS: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/Use", "rs/"),
    concat!("/ro", "ot/"),
    concat!("/wo", "rk/"),
    concat!("C:", "\\"),
];

/// Where packages come from is the machine's business: mirrors differ. In Cargo.lock the name of the public index is an identity, not an address.
const REGISTRY_HOSTS: &[&str] = &[
    concat!("repo.maven.", "apache.org"),
    concat!("repo1.", "maven.org"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("py", "pi.org"),
    concat!("files.", "pythonhosted.org"),
    concat!("registry.", "npmjs.org"),
    concat!("proxy.", "golang.org"),
    concat!("deb.", "debian.org"),
    concat!("--index", "-url"),
    concat!("replace", "-with"),
    concat!("[reg", "istries"),
];
const PUBLIC_INDEX: &str = "registry+https://github.com/rust-lang/crates.io-index";

pub fn check(tree: &Tree) -> Vec<Offence> {
    let mut offences = top_level(tree);
    for file in tree.files() {
        let Some(text) = tree.read(file) else {
            continue;
        };
        for (number, line) in (1..).zip(text.lines()) {
            offences.extend(machine(file, number, line));
        }
    }
    offences
}

fn top_level(tree: &Tree) -> Vec<Offence> {
    let offence = |file: &str, what: &str| Offence {
        file: file.to_owned(),
        line: 1,
        rule: "top level",
        what: what.to_owned(),
    };
    let present: BTreeSet<&str> = tree
        .files()
        .map(|file| file.split('/').next().unwrap_or(file))
        .collect();
    let stray = present
        .iter()
        .filter(|name| !name.starts_with('.') && !TOP_LEVEL.contains(name));
    let mut offences: Vec<Offence> = stray
        .map(|name| {
            offence(
                name,
                "does not belong at the top: move it under services, tests, deploy or xtask",
            )
        })
        .collect();
    let missing = TOP_LEVEL.iter().filter(|name| !present.contains(**name));
    offences.extend(missing.map(|name| {
        offence(
            name,
            "is missing: the top level is fixed, newcomers look for it here",
        )
    }));
    offences
}

fn machine(file: &str, line: usize, text: &str) -> Option<Offence> {
    let offence = |rule, what: String| {
        Some(Offence {
            file: file.to_owned(),
            line,
            rule,
            what,
        })
    };
    if let Some(path) = MACHINE_PATHS.iter().find(|path| names_path(text, path)) {
        return offence(
            "machine path",
            format!(
                "`{path}` exists on one machine: start from the repository's root or an argument"
            ),
        );
    }
    if file == "Cargo.lock" {
        let elsewhere = text.starts_with("source = ") && !text.contains(PUBLIC_INDEX);
        return if elsewhere {
            offence(
                "registry host",
                "a package from elsewhere than the public index: depend on a published version"
                    .to_owned(),
            )
        } else {
            None
        };
    }
    let host = REGISTRY_HOSTS.iter().find(|host| text.contains(**host))?;
    offence(
        "registry host",
        format!("`{host}`: where packages come from is the machine's configuration, leave it out"),
    )
}

/// The path begins here, it is no part of a longer one (`/usr/share/work/x`) or of a URL.
fn names_path(text: &str, path: &str) -> bool {
    text.match_indices(path).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-~)}".contains(c))
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree_of_a_test::{TestTree, places};
    use super::*;

    fn whole_top_level<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let mut files = vec![
            ("ARCHITECTURE.md", ""),
            ("BENCHMARKS.md", ""),
            ("Cargo.lock", ""),
            ("Cargo.toml", ""),
            ("DISPATCH.md", ""),
            ("LICENSE", ""),
            ("OPERATING.md", ""),
            ("README.md", ""),
            ("compose.yaml", ""),
            ("deploy/a", ""),
            ("migrations/a", ""),
            ("schemas/a", ""),
            ("services/a", ""),
            ("tests/a", ""),
            ("xtask/a", ""),
            (".gitignore", ""),
        ];
        files.retain(|(file, _)| more.iter().all(|(other, _)| other != file));
        files.extend(more);
        files
    }

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        places(&check(&TestTree::new(files).tree))
    }

    #[test]
    fn a_stray_file_and_a_missing_one_at_the_top_are_caught() {
        assert!(found(&whole_top_level(&[])).is_empty());
        assert_eq!(
            found(&whole_top_level(&[("notes.txt", "")])),
            ["notes.txt:1: top level"]
        );
        let mut files = whole_top_level(&[]);
        files.retain(|(file, _)| *file != "LICENSE");
        assert_eq!(found(&files), ["LICENSE:1: top level"]);
    }

    #[test]
    fn a_path_of_one_machine_is_caught_and_a_longer_path_is_not() {
        let home = concat!("see\n/ho", "me/me/swift/x\n");
        assert_eq!(
            found(&whole_top_level(&[("README.md", home)])),
            ["README.md:2: machine path"]
        );
        let fine = concat!("share/ho", "me/x and api/wo", "rk/y\n");
        assert!(found(&whole_top_level(&[("README.md", fine)])).is_empty());
    }

    #[test]
    fn a_package_registry_in_a_file_is_caught_and_the_public_index_in_the_lock_file_is_not() {
        let pip = concat!("pip install --index", "-url x y\n");
        assert_eq!(
            found(&whole_top_level(&[("tests/a", pip)])),
            ["tests/a:1: registry host"]
        );
        let lock = format!(
            "name = \"a\"\nsource = \"{PUBLIC_INDEX}\"\nname = \"b\"\nsource = \"registry+https://mirror.example/index\"\n"
        );
        assert_eq!(
            found(&whole_top_level(&[("Cargo.lock", &lock)])),
            ["Cargo.lock:4: registry host"]
        );
    }
}
