//! Kafka and the registry as jars, fetched once by Maven.
//!
//! Maven is told what to fetch by a pom written here and where from by the machine's own settings, so mirrors and proxies work as for any Java project.
//! Its repository lies under the cache and is dropped afterwards; a directory appears under its final name only when it is complete.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use super::{dir::StackDir, kafka, registry, tools::Java};
use crate::process;

/// The directory that holds Kafka's jars.
pub fn kafka_dir(dir: &StackDir) -> PathBuf {
    dir.jars().join(format!("kafka-{}", kafka::VERSION))
}

/// The directory that holds the registry of this version.
pub fn registry_dir(dir: &StackDir, version: &str) -> PathBuf {
    dir.jars().join(format!("apicurio-registry-{version}"))
}

/// True when a Maven run will be needed whichever Java is found.
pub fn any_missing(dir: &StackDir) -> bool {
    !kafka_dir(dir).exists()
        || ![registry::NEWEST, registry::FOR_JAVA_17]
            .iter()
            .any(|v| registry_dir(dir, v).exists())
}

/// Fetches what the cache lacks.
pub fn ensure(dir: &StackDir, java: &Java) -> Result<()> {
    let registry_version = registry::version_for(java.release);
    let wanted = [
        (kafka_dir(dir), kafka_execution()),
        (
            registry_dir(dir, registry_version),
            registry_execution(registry_version),
        ),
    ];
    let absent: Vec<&(PathBuf, String)> = wanted
        .iter()
        .filter(|(target, _)| !target.exists())
        .collect();
    if absent.is_empty() {
        return Ok(());
    }
    eprintln!(
        "stack: fetching Kafka {} and Apicurio Registry {registry_version} by Maven (some 220 MB, once)",
        kafka::VERSION
    );
    let work = dir.jars().join("partial");
    remove(&work)?;
    fs::create_dir_all(&work)?;
    let executions: String = absent
        .iter()
        .map(|(_, execution)| execution.as_str())
        .collect();
    fs::write(
        work.join("pom.xml"),
        pom(plugin_version(registry_version), &executions),
    )?;
    let mut maven = Command::new("mvn");
    maven
        .args([
            "--batch-mode",
            "--quiet",
            "--no-transfer-progress",
            "generate-resources",
        ])
        .arg(format!(
            "-Dmaven.repo.local={}",
            work.join("repository").display()
        ))
        .env("JAVA_HOME", &java.home)
        .current_dir(&work);
    process::run_logged(maven, &dir.log("maven")).context("fetch the stack's jars")?;
    for (target, _) in absent {
        let fetched = if target.starts_with(kafka_dir(dir)) {
            "kafka"
        } else {
            "registry"
        };
        fs::rename(work.join(fetched), target)
            .with_context(|| format!("complete {}", target.display()))?;
    }
    remove(&work)
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Maven's dependency plugin. Version 3 reads an archive's parent pom, which for the older registry is not on Central; version 2 takes the archive alone.
fn plugin_version(registry_version: &str) -> &'static str {
    if registry_version == registry::FOR_JAVA_17 {
        "2.10"
    } else {
        "3.8.1"
    }
}

fn pom(plugin: &str, executions: &str) -> String {
    let kafka = kafka::VERSION;
    format!(
        r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>swift-eats</groupId><artifactId>stack</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{kafka}</version></dependency>
    <!-- Kafka logs through slf4j 1.7; with the binding for slf4j 2 it says nothing. -->
    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.4</version></dependency>
  </dependencies>
  <build><plugins><plugin>
    <groupId>org.apache.maven.plugins</groupId><artifactId>maven-dependency-plugin</artifactId><version>{plugin}</version>
    <executions>{executions}</executions>
  </plugin></plugins></build>
</project>
"#
    )
}

fn kafka_execution() -> String {
    execution(
        "kafka",
        "copy-dependencies",
        "<includeScope>runtime</includeScope><outputDirectory>${project.basedir}/kafka</outputDirectory>",
    )
}

fn registry_execution(version: &str) -> String {
    // Unpacked as an item, not as a dependency: the archive carries all it needs, and its own dependencies are not all on Central.
    execution(
        "registry",
        "unpack",
        &format!(
            "<artifactItems><artifactItem><groupId>io.apicurio</groupId><artifactId>apicurio-registry-app</artifactId><version>{version}</version>\
             <type>tar.gz</type><classifier>all</classifier><outputDirectory>${{project.basedir}}/registry</outputDirectory></artifactItem></artifactItems>"
        ),
    )
}

fn execution(id: &str, goal: &str, configuration: &str) -> String {
    format!(
        "<execution><id>{id}</id><phase>generate-resources</phase><goals><goal>{goal}</goal></goals>\
         <configuration>{configuration}</configuration></execution>"
    )
}
