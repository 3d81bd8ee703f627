//! The schemas of this tree pass their own gate, and a tree that breaks its history does not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

use contracts::released::{Change, TreeError, check, release};

fn ours() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas")
}

/// A tree of its own with one record, released as version 1; gone when dropped.
struct Tree(PathBuf);

impl Tree {
    fn released(test: &str) -> Self {
        let root = std::env::temp_dir().join(format!("released-{test}-{}", std::process::id()));
        let tree = Tree(root);
        for part in ["avro/kitchen", "released/kitchen"] {
            fs::create_dir_all(tree.0.join(part)).unwrap();
        }
        fs::copy(ours().join("avro/kitchen/FoodReady.avsc"), tree.schema()).unwrap();
        assert_eq!(release(&tree.0).unwrap().len(), 1);
        tree
    }

    fn schema(&self) -> PathBuf {
        self.0.join("avro/kitchen/FoodReady.avsc")
    }

    fn edit(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.schema()).unwrap();
        assert!(text.contains(from), "nothing to edit: {from}");
        fs::write(self.schema(), text.replacen(from, to, 1)).unwrap();
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const NEW_FIELD: &str = r#""fields": [{"name": "shelf", "type": ["null", "string"], "default": null, "doc": "Where."},"#;

#[test]
fn the_schemas_of_this_tree_are_compatible_with_all_their_released_versions() {
    let findings = check(&ours()).unwrap();
    assert_eq!(findings.len(), contracts::CONTRACTS.len());
    for finding in findings {
        assert_eq!(finding.problems, [""; 0], "{}", finding.record);
    }
}

#[test]
fn a_compatible_change_is_released_under_a_higher_version_beside_the_old_one() {
    let tree = Tree::released("compatible");
    tree.edit("\"fields\": [", NEW_FIELD);
    tree.edit("\"version\": 1", "\"version\": 2");
    let released = release(&tree.0).unwrap();
    assert_eq!(
        (released.len(), released[0].version, released[0].change),
        (1, 2, Change::Changed)
    );
    assert!(tree.0.join("released/kitchen/FoodReady.v1.avsc").exists());
    assert!(tree.0.join("released/kitchen/FoodReady.v2.avsc").exists());
    assert_eq!(release(&tree.0).unwrap().len(), 0);
}

#[test]
fn a_change_without_a_higher_version_is_refused() {
    let tree = Tree::released("same-version");
    tree.edit("\"fields\": [", NEW_FIELD);
    let findings = check(&tree.0).unwrap();
    assert!(
        findings[0].problems[0].contains("version must be higher"),
        "{findings:?}"
    );
    assert!(matches!(release(&tree.0), Err(TreeError::Incompatible(_))));
}

#[test]
fn an_incompatible_change_is_refused_and_names_version_and_field() {
    let tree = Tree::released("incompatible");
    tree.edit(
        "\"restaurant_id\", \"type\": \"string\"",
        "\"restaurant_id\", \"type\": \"long\"",
    );
    tree.edit("\"version\": 1", "\"version\": 2");
    let findings = check(&tree.0).unwrap();
    assert_eq!(findings[0].problems.len(), 2, "{findings:?}");
    for problem in &findings[0].problems {
        assert!(
            problem.contains("v1") && problem.contains("field restaurant_id"),
            "{problem}"
        );
    }
    assert!(matches!(release(&tree.0), Err(TreeError::Incompatible(_))));
}

#[test]
fn a_compatible_step_may_not_break_an_older_version() {
    // v2 drops a field that had a default; v3 brings it back with another type: fine against v2, not against v1.
    let tree = Tree::released("transitive");
    tree.edit("\"fields\": [", NEW_FIELD);
    tree.edit("\"version\": 1", "\"version\": 2");
    release(&tree.0).unwrap();
    tree.edit(&NEW_FIELD[11..], "");
    tree.edit("\"version\": 2", "\"version\": 3");
    release(&tree.0).unwrap();
    tree.edit(
        "\"fields\": [",
        &NEW_FIELD.replace("\"string\"", "\"long\""),
    );
    tree.edit("\"version\": 3", "\"version\": 4");
    let findings = check(&tree.0).unwrap();
    assert!(
        !findings[0].problems.is_empty(),
        "the gate looked at the last version only"
    );
    assert!(
        findings[0]
            .problems
            .iter()
            .all(|p| p.contains("against v2")),
        "{findings:?}"
    );
}

#[test]
fn a_record_that_was_released_may_not_vanish() {
    let tree = Tree::released("vanished");
    fs::remove_file(tree.schema()).unwrap();
    let findings = check(&tree.0).unwrap();
    assert_eq!(
        (findings[0].change, findings[0].problems.len()),
        (Change::Removed, 1)
    );
}
