//! Rules about Rust sources: headers, sizes, waiting in tests, business words in the runtime.

use std::collections::BTreeSet;

use super::{
    Offence, Tree,
    code::{blank_words, identifiers, test_items, words},
};

const MAX_LINES: usize = 500;

/// Files beyond the limit, each with the reason why it is one thing.
const LONG_FILES: &[(&str, &str)] = &[];

/// Names of the business, which the runtime must not know: it would serve no second one.
const BUSINESS: &[&str] = &[
    "order",
    "orders",
    "payment",
    "payments",
    "driver",
    "drivers",
    "restaurant",
    "restaurants",
    "courier",
    "couriers",
];

const SLEEPS: &[&str] = &["sleep", "sleep_until", "sleep_ms"];

pub fn check(tree: &Tree) -> Vec<Offence> {
    let texts: Vec<(&str, String)> = tree
        .rust_files()
        .filter_map(|file| Some((file, tree.read(file)?)))
        .collect();
    let blanked: Vec<(&str, &str, String)> = texts
        .iter()
        .map(|(file, text)| (*file, text.as_str(), blank_words(text)))
        .collect();
    let test_files = test_module_files(&blanked);
    let mut offences = needless_exceptions(tree, LONG_FILES);
    for (file, text, code) in &blanked {
        offences.extend(header(file, text));
        offences.extend(length(file, text, LONG_FILES));
        offences.extend(sleeps(file, text, code, test_files.contains(*file)));
        if file.starts_with("services/runtime/src/") {
            offences.extend(business_words(file, code));
        }
    }
    offences
}

fn header(file: &str, text: &str) -> Option<Offence> {
    let first = text
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with("#!"));
    (!first.is_some_and(|line| line.starts_with("//!"))).then(|| Offence {
        file: file.to_owned(),
        line: 1,
        rule: "header",
        what: "begin the file with `//!`: what it guarantees, why, and what that costs".to_owned(),
    })
}

fn length(file: &str, text: &str, exceptions: &[(&str, &str)]) -> Option<Offence> {
    let lines = text.lines().count();
    let excepted = exceptions.iter().any(|(path, _)| *path == file);
    (lines > MAX_LINES && !excepted).then(|| Offence {
        file: file.to_owned(),
        line: MAX_LINES + 1,
        rule: "length",
        what: format!("{lines} lines, the limit is {MAX_LINES}: split it by noun, or list it with a reason in xtask/src/tidy/sources.rs"),
    })
}

fn needless_exceptions(tree: &Tree, exceptions: &[(&str, &str)]) -> Vec<Offence> {
    let is_long = |path: &str| {
        tree.read(path)
            .is_some_and(|text| text.lines().count() > MAX_LINES)
    };
    let needless = exceptions.iter().filter(|(path, _)| !is_long(path));
    needless
        .map(|(path, _)| Offence {
            file: (*path).to_owned(),
            line: 1,
            rule: "length",
            what: "is within the limit: drop its exception from xtask/src/tidy/sources.rs"
                .to_owned(),
        })
        .collect()
}

/// Files that are modules under `#[cfg(test)]` of another file.
fn test_module_files(blanked: &[(&str, &str, String)]) -> BTreeSet<String> {
    let mut files = BTreeSet::new();
    for (file, _, code) in blanked {
        let (directory, name) = file.rsplit_once('/').unwrap_or(("", file));
        let stem = name.trim_end_matches(".rs");
        let inside = if ["mod", "lib", "main"].contains(&stem) {
            directory.to_owned()
        } else {
            format!("{directory}/{stem}")
        };
        for module in test_items(code).1 {
            files.insert(format!("{inside}/{module}.rs"));
            files.insert(format!("{inside}/{module}/mod.rs"));
        }
    }
    files
}

fn sleeps(file: &str, text: &str, code: &str, is_test_module: bool) -> Vec<Offence> {
    let all_of_it = is_test_module || file.starts_with("tests/") || file.contains("/tests/");
    let test_ranges = test_items(code).0;
    let lines: Vec<&str> = text.lines().collect();
    let mut offences = Vec::new();
    for (index, line) in code.lines().enumerate() {
        let in_tests = all_of_it || test_ranges.iter().any(|range| range.contains(&index));
        let calls = !line.trim_start().starts_with("use ")
            && identifiers(line).any(|word| SLEEPS.contains(&word));
        let excused = gives_reason(lines[index]) || (index > 0 && gives_reason(lines[index - 1]));
        if in_tests && calls && !excused {
            offences.push(Offence {
                file: file.to_owned(),
                line: index + 1,
                rule: "sleep",
                what: "a test waits for a condition with a deadline, it does not sleep; a simulator's pace is marked `// waits: <reason>`".to_owned(),
            });
        }
    }
    offences
}

fn gives_reason(line: &str) -> bool {
    line.split_once("// waits:")
        .is_some_and(|(_, reason)| !reason.trim().is_empty())
}

fn business_words(file: &str, code: &str) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (index, line) in code.lines().enumerate() {
        for identifier in identifiers(line).filter(|identifier| names_business(identifier)) {
            offences.push(Offence {
                file: file.to_owned(),
                line: index + 1,
                rule: "business",
                what: format!("the runtime knows no business, `{identifier}` names it: say what it is to the runtime, or move it into a processor"),
            });
        }
    }
    offences
}

/// `in_order` and `out_of_order` speak of sequence.
fn names_business(identifier: &str) -> bool {
    let words = words(identifier);
    words.iter().enumerate().any(|(i, word)| {
        let of_sequence = word == "order" && i > 0 && ["in", "of"].contains(&words[i - 1].as_str());
        BUSINESS.contains(&word.as_str()) && !of_sequence
    })
}

#[cfg(test)]
mod tests {
    use super::super::tree_of_a_test::{TestTree, places};
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let mut offences = check(&TestTree::new(files).tree);
        offences.sort();
        places(&offences)
    }

    #[test]
    fn a_file_without_a_header_is_caught_and_attributes_may_come_first() {
        let files = [
            ("a/src/bad.rs", "// words\nfn a() {}\n"),
            ("a/src/good.rs", "#![allow(missing_docs)]\n//! Good.\n"),
        ];
        assert_eq!(found(&files), ["a/src/bad.rs:1: header"]);
    }

    #[test]
    fn a_long_file_is_caught_unless_it_is_excused_and_an_excuse_must_be_needed() {
        let long = format!("//! Long.\n{}", "fn a() {}\n".repeat(MAX_LINES));
        assert_eq!(
            found(&[("a/src/long.rs", &long)]),
            ["a/src/long.rs:501: length"]
        );
        let tree = TestTree::new(&[("a/src/long.rs", &long), ("a/src/short.rs", "//! Short.\n")]);
        assert_eq!(
            length("a/src/long.rs", &long, &[("a/src/long.rs", "a table")]),
            None
        );
        let needless = needless_exceptions(
            &tree.tree,
            &[("a/src/long.rs", "a table"), ("a/src/short.rs", "none")],
        );
        assert_eq!(places(&needless), ["a/src/short.rs:1: length"]);
    }

    #[test]
    fn a_sleep_in_a_test_is_caught_wherever_tests_live() {
        let body = "//! T.\nuse std::thread::sleep;\nfn a() { sleep(x); }\n";
        let module = "//! M.\nfn paced() { sleep(x); }\n#[cfg(test)]\nmod tests {\n    fn b() { tokio::time::sleep(x).await; }\n}\n#[cfg(test)]\nmod far;\n";
        let files = [
            ("tests/city/src/lib.rs", body),
            ("services/orders/tests/t.rs", body),
            ("services/orders/src/lib.rs", module),
            ("services/orders/src/far.rs", body),
            ("services/orders/src/near.rs", body),
        ];
        assert_eq!(
            found(&files),
            [
                "services/orders/src/far.rs:3: sleep",
                "services/orders/src/lib.rs:5: sleep",
                "services/orders/tests/t.rs:3: sleep",
                "tests/city/src/lib.rs:3: sleep"
            ]
        );
    }

    #[test]
    fn a_reason_excuses_a_sleep_and_an_empty_one_does_not() {
        let text = "//! T.\nfn a() {\n    sleep(x); // waits: the courier drives\n    // waits: the kitchen cooks\n    sleep(x);\n    f();\n    sleep(x); // waits:\n}\n";
        assert_eq!(
            found(&[("tests/city/src/lib.rs", text)]),
            ["tests/city/src/lib.rs:7: sleep"]
        );
    }

    #[test]
    fn words_about_sleep_are_no_sleep() {
        let text = "//! Never sleep().\nfn a() { let s = \"sleep(1)\"; oversleep(s); }\n";
        assert!(found(&[("tests/city/src/lib.rs", text)]).is_empty());
    }

    #[test]
    fn a_business_word_in_the_runtime_is_caught_as_an_identifier_only() {
        let text = "//! Keeps the order of messages.\nuse std::sync::atomic::Ordering;\nfn rows_in_order() { let s = \"ORDER BY driver\"; }\nstruct OrderRow { driver_id: u8 }\n";
        let same = [
            ("services/runtime/src/a.rs", text),
            ("services/orders/src/a.rs", text),
        ];
        assert_eq!(
            found(&same),
            [
                "services/runtime/src/a.rs:4: business",
                "services/runtime/src/a.rs:4: business"
            ]
        );
    }
}
