//! The one directory a stack writes to, and who may write there now.
//!
//! Default `.stack` in the repository; `SWIFT_EATS_STACK_DIR` names another, so that tests run a stack of their own beside a
//! developer's. Jars are shared by all stacks of a checkout (`SWIFT_EATS_STACK_CACHE`, default `.stack/jars`) and survive `reset`.

use std::{
    env,
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::workspace;

#[derive(Debug, Clone)]
pub struct StackDir {
    root: PathBuf,
    jars: PathBuf,
}

impl StackDir {
    /// The directory that the environment names, or the default one.
    pub fn from_env() -> Result<Self> {
        let repo = workspace::root();
        let dir =
            env::var_os("SWIFT_EATS_STACK_DIR").map_or_else(|| repo.join(".stack"), PathBuf::from);
        Self::at(&dir)
    }

    /// A stack in `dir`, with the shared jars.
    pub fn at(dir: &Path) -> Result<Self> {
        let repo = workspace::root();
        let jars = env::var_os("SWIFT_EATS_STACK_CACHE")
            .map_or_else(|| repo.join(".stack/jars"), PathBuf::from);
        Ok(Self {
            root: std::path::absolute(dir)?,
            jars: std::path::absolute(jars)?,
        })
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Downloaded programs, one directory each.
    pub fn jars(&self) -> &Path {
        &self.jars
    }

    /// Endpoints, processes and versions: what clients of the stack read.
    pub fn state(&self) -> PathBuf {
        self.root.join("state.json")
    }

    /// What the data on disk was made for (cluster id, number of brokers); lives as long as the data.
    pub fn cluster(&self) -> PathBuf {
        self.root.join("cluster.json")
    }

    pub fn kafka(&self, broker: u8) -> PathBuf {
        self.root.join(format!("kafka-{broker}"))
    }

    /// Where PostgreSQL's data is found; a link when the server's user cannot reach this directory.
    pub fn postgres(&self) -> PathBuf {
        self.root.join("postgres")
    }

    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    pub fn log(&self, name: &str) -> PathBuf {
        self.logs().join(format!("{name}.log"))
    }

    /// Where the JVMs unpack their native libraries; emptied by `down`.
    pub fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// One file per running processor, written by whoever starts it.
    pub fn services(&self) -> PathBuf {
        self.root.join("services")
    }

    pub fn create(&self) -> Result<()> {
        for dir in [
            self.root(),
            &self.jars,
            &self.logs(),
            &self.services(),
            &self.temporary(),
        ] {
            fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        }
        Ok(())
    }

    /// Holds off every other command that would change this stack, until the file is dropped.
    pub fn lock(&self) -> Result<File> {
        self.create()?;
        let path = self.root.join("lock");
        let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                eprintln!("stack: another command changes this stack, waiting for it");
                file.lock()?;
            }
            Err(TryLockError::Error(error)) => return Err(error).context("lock the stack"),
        }
        Ok(file)
    }
}
