//! Small trees on disk that break one rule each.

use std::{
    fs,
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
};

use super::{Offence, Tree};

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Removes its directory when dropped.
pub struct TestTree {
    root: PathBuf,
    pub tree: Tree,
}

impl TestTree {
    pub fn new(files: &[(&str, &str)]) -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("xtask-tidy-{}-{number}", std::process::id()));
        for (file, text) in files {
            let path = root.join(file);
            fs::create_dir_all(path.parent().expect("a file has a directory")).expect("temp dir");
            fs::write(path, text).expect("write");
        }
        let tree = Tree {
            root: root.clone(),
            files: files.iter().map(|(file, _)| (*file).to_owned()).collect(),
        };
        Self { root, tree }
    }
}

impl Drop for TestTree {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// The places and rules, for comparing.
pub fn places(offences: &[Offence]) -> Vec<String> {
    offences
        .iter()
        .map(|o| format!("{}:{}: {}", o.file, o.line, o.rule))
        .collect()
}
