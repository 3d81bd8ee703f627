//! A catalogue that differs from the repository's in one thing: all geos have the same number of partitions.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use toml::Table;

use crate::workspace;

/// Writes its two files to `dir`.
pub fn write(dir: &Path, partitions: u32) -> Result<()> {
    let schemas = workspace::root().join("schemas");
    let topics = fs::read_to_string(schemas.join("topics.toml")).context("schemas/topics.toml")?;
    let mut topics: Table = topics.parse().context("schemas/topics.toml")?;
    let classes = topics.get_mut("partition_classes");
    let classes = classes.and_then(toml::Value::as_table_mut);
    let classes = classes.context("schemas/topics.toml: no [partition_classes]")?;
    for (_, class) in classes.iter_mut() {
        *class = partitions.into();
    }
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    fs::write(dir.join("topics.toml"), toml::to_string(&topics)?).context("write topics.toml")?;
    fs::copy(schemas.join("geos.toml"), dir.join("geos.toml")).context("copy geos.toml")?;
    Ok(())
}
