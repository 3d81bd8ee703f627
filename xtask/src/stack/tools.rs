//! The programs the stack needs on this machine (a Java, Maven for the first download, PostgreSQL), found or installed.
//!
//! Installing is done only where it is safe to guess how: apt as root. Everywhere else one message says what is missing and
//! which command brings it. With a Docker engine at hand and something missing, containers serve instead.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Result, bail};

use super::registry;
use crate::process;

#[derive(Debug, Clone)]
pub struct Java {
    pub home: PathBuf,
    /// Feature release: 17, 21, 25.
    pub release: u32,
}

impl Java {
    /// A JVM that writes its temporary files and nothing else, and those to `temporary`.
    pub fn command(&self, temporary: &Path) -> Command {
        let mut command = Command::new(self.home.join("bin/java"));
        command
            .arg(format!("-Djava.io.tmpdir={}", temporary.display()))
            .arg("-XX:-UsePerfData");
        command
    }
}

#[derive(Debug, Clone)]
pub struct Postgres {
    pub bin: PathBuf,
    pub major: u32,
}

/// What the stack is made of here.
pub enum Tools {
    Local { java: Java, postgres: Postgres },
    Docker,
}

/// Finds every tool, installs what is missing, or says how to. `postgres_major` is the version that made the data on disk, if there is any.
pub fn find_or_install(maven_needed: bool, postgres_major: Option<u32>) -> Result<Tools> {
    if let Some(tools) = find(maven_needed, postgres_major) {
        return Ok(tools);
    }
    let missing = missing(maven_needed, postgres_major);
    if docker_answers() {
        eprintln!(
            "stack: {} missing here, Docker is at hand: using compose.yaml",
            names(&missing)
        );
        return Ok(Tools::Docker);
    }
    if process::effective_uid() == 0 && Path::new("/usr/bin/apt-get").exists() {
        apt_install(&missing)?;
        if let Some(tools) = find(maven_needed, postgres_major) {
            return Ok(tools);
        }
    }
    bail!(
        "the local stack needs {}, not found here. {}",
        names(&missing),
        how_to_install(&missing)
    );
}

fn find(maven_needed: bool, postgres_major: Option<u32>) -> Option<Tools> {
    if maven_needed {
        on_path("mvn")?;
    }
    Some(Tools::Local {
        java: java()?,
        postgres: postgres(postgres_major)?,
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Missing {
    Java,
    Maven,
    Postgres(Option<u32>),
}

impl Missing {
    fn name(self) -> String {
        match self {
            Self::Java => format!("Java {} or newer", registry::OLDEST_JAVA),
            Self::Maven => "Maven".to_owned(),
            Self::Postgres(None) => "the PostgreSQL server".to_owned(),
            Self::Postgres(Some(major)) => format!(
                "PostgreSQL {major} (it made the data of this stack; `cargo xtask stack reset` drops them)"
            ),
        }
    }

    fn apt_package(self) -> String {
        match self {
            Self::Java => "default-jre-headless".to_owned(),
            Self::Maven => "maven".to_owned(),
            Self::Postgres(None) => "postgresql".to_owned(),
            Self::Postgres(Some(major)) => format!("postgresql-{major}"),
        }
    }
}

fn missing(maven_needed: bool, postgres_major: Option<u32>) -> Vec<Missing> {
    let mut missing = Vec::new();
    if java().is_none() {
        missing.push(Missing::Java);
    }
    if maven_needed && on_path("mvn").is_none() {
        missing.push(Missing::Maven);
    }
    if postgres(postgres_major).is_none() {
        missing.push(Missing::Postgres(postgres_major));
    }
    missing
}

fn names(missing: &[Missing]) -> String {
    missing
        .iter()
        .map(|m| m.name())
        .collect::<Vec<_>>()
        .join(", ")
}

fn how_to_install(missing: &[Missing]) -> String {
    let packages: Vec<String> = missing.iter().map(|m| m.apt_package()).collect();
    if cfg!(target_os = "macos") {
        return "Install it: brew install openjdk maven postgresql@17".to_owned();
    }
    if Path::new("/usr/bin/dnf").exists() {
        return "Install it: sudo dnf install java-latest-openjdk-headless maven postgresql-server"
            .to_owned();
    }
    format!(
        "Install it: sudo apt-get install {} (or start a Docker engine)",
        packages.join(" ")
    )
}

fn apt_install(missing: &[Missing]) -> Result<()> {
    eprintln!("stack: installing {} by apt", names(missing));
    apt(&["update", "-qq"])?;
    let packages: Vec<String> = missing
        .iter()
        .map(|m| match m {
            // The newest registry wants a newer Java than the default one of older releases.
            Missing::Java => newest_apt_java().unwrap_or_else(|| m.apt_package()),
            other => other.apt_package(),
        })
        .collect();
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(packages.iter().map(String::as_str));
    apt(&arguments)
}

fn newest_apt_java() -> Option<String> {
    [25, 21]
        .iter()
        .map(|release| format!("openjdk-{release}-jre-headless"))
        .find(|package| {
            let shown = Command::new("apt-cache")
                .args(["show", package])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            shown.is_ok_and(|status| status.success())
        })
}

fn apt(arguments: &[&str]) -> Result<()> {
    // Its progress belongs on stderr: stdout is for what the caller asked for.
    let status = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .status()?;
    if !status.success() {
        bail!("apt-get {}: {status}", arguments.join(" "));
    }
    Ok(())
}

fn docker_answers() -> bool {
    let asked = Command::new("docker")
        .arg("info")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

/// The newest Java that can run the stack; `SWIFT_EATS_JAVA_HOME` decides when set.
fn java() -> Option<Java> {
    if let Some(home) = env::var_os("SWIFT_EATS_JAVA_HOME") {
        return java_at(PathBuf::from(home));
    }
    let mut homes: Vec<PathBuf> = env::var_os("JAVA_HOME")
        .map(PathBuf::from)
        .into_iter()
        .collect();
    homes.extend(on_path("java").and_then(|java| {
        Some(
            fs::canonicalize(java)
                .ok()?
                .parent()?
                .parent()?
                .to_path_buf(),
        )
    }));
    homes.extend(children("/usr/lib/jvm"));
    homes.extend(
        children("/Library/Java/JavaVirtualMachines")
            .into_iter()
            .map(|dir| dir.join("Contents/Home")),
    );
    for brew in ["/opt/homebrew/opt", "/usr/local/opt"] {
        homes.extend(
            children(brew)
                .into_iter()
                .filter(|dir| file_name(dir).starts_with("openjdk")),
        );
    }
    homes
        .into_iter()
        .filter_map(java_at)
        .filter(|java| java.release >= registry::OLDEST_JAVA)
        .max_by_key(|java| java.release)
}

/// Reads the release from the file every JDK carries, which is cheaper than starting it.
fn java_at(home: PathBuf) -> Option<Java> {
    if !home.join("bin/java").exists() {
        return None;
    }
    let text = fs::read_to_string(home.join("release")).ok()?;
    let version = text
        .lines()
        .find_map(|line| line.strip_prefix("JAVA_VERSION="))?
        .trim_matches('"');
    let release = version.split(['.', '+', '-']).next()?.parse().ok()?;
    Some(Java { home, release })
}

/// The newest PostgreSQL server, or the one of the version asked for.
fn postgres(major: Option<u32>) -> Option<Postgres> {
    let mut bins: Vec<PathBuf> = on_path("postgres")
        .and_then(|p| p.parent().map(Path::to_path_buf))
        .into_iter()
        .collect();
    bins.extend(
        children("/usr/lib/postgresql")
            .into_iter()
            .map(|dir| dir.join("bin")),
    );
    bins.extend(
        children("/usr")
            .into_iter()
            .filter(|dir| file_name(dir).starts_with("pgsql-"))
            .map(|dir| dir.join("bin")),
    );
    for brew in ["/opt/homebrew/opt", "/usr/local/opt"] {
        bins.extend(
            children(brew)
                .into_iter()
                .filter(|dir| file_name(dir).starts_with("postgresql"))
                .map(|dir| dir.join("bin")),
        );
    }
    bins.into_iter()
        .filter_map(postgres_at)
        .filter(|p| major.is_none_or(|m| m == p.major))
        .max_by_key(|p| p.major)
}

fn postgres_at(bin: PathBuf) -> Option<Postgres> {
    if !["initdb", "pg_isready", "psql"]
        .iter()
        .all(|program| bin.join(program).exists())
    {
        return None;
    }
    let out = Command::new(bin.join("postgres"))
        .arg("--version")
        .output()
        .ok()?;
    // "postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)"
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let version = text.split_whitespace().nth(2)?;
    let major = version.split(['.', 'b', 'r']).next()?.parse().ok()?;
    Some(Postgres { bin, major })
}

fn on_path(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

fn children(dir: &str) -> Vec<PathBuf> {
    fs::read_dir(dir)
        .map(|entries| entries.flatten().map(|e| e.path()).collect())
        .unwrap_or_default()
}

fn file_name(path: &Path) -> String {
    path.file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default()
}
