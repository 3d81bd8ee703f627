//! PostgreSQL: a cluster of our own in a directory of ours, on loopback only.
//!
//! The server refuses to run as root, so under root it runs as the user `postgres`, which then must reach its data: when a directory above
//! the repository is closed to it (a checkout under /root), the data go to /var/tmp and the stack's directory holds a link.
//! Durability is as in production (`fsync`, `synchronous_commit`): the tests of crashes mean something only so.

use std::{
    fs,
    os::unix::{
        self,
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::{dir::StackDir, registry, tools::Postgres};
use crate::process::{self, Process};

pub const NAME: &str = "postgres";
pub const USER: &str = "swift";
pub const DATABASE: &str = "swift_eats";

/// The user the server runs as, when it cannot be the one we are.
#[derive(Debug, Clone, Copy)]
struct Account {
    uid: u32,
    gid: u32,
}

/// Major version of the server that made the data on disk.
pub fn data_version(dir: &StackDir) -> Option<u32> {
    fs::read_to_string(dir.postgres().join("PG_VERSION"))
        .ok()?
        .trim()
        .parse()
        .ok()
}

/// Starts the server; makes its cluster first when there is none.
pub fn start(dir: &StackDir, tools: &Postgres, port: u16) -> Result<Process> {
    let account = account()?;
    if data_version(dir).is_none() {
        create(dir, tools, account)?;
    }
    let data = fs::canonicalize(dir.postgres())?;
    drop_stale_lock(&data)?;
    let log = dir.log(NAME);
    fs::write(&log, "")?;
    let mut command = as_account(Command::new(tools.bin.join("postgres")), account, &data);
    command.arg("-D").arg(&data).arg("-p").arg(port.to_string());
    for setting in [
        "listen_addresses=127.0.0.1",
        // A socket's path must be short, a checkout's need not be; loopback TCP serves all.
        "unix_socket_directories=",
        "fsync=on",
        "synchronous_commit=on",
        "wal_level=replica",
        "max_connections=200",
        "shared_buffers=128MB",
    ] {
        command.arg("-c").arg(setting);
    }
    process::spawn_detached(command, &log)
}

pub fn serves(tools: &Postgres, port: u16) -> bool {
    let asked = Command::new(tools.bin.join("pg_isready"))
        .args([
            "-q",
            "-h",
            "127.0.0.1",
            "-d",
            "postgres",
            "-U",
            USER,
            "-p",
            &port.to_string(),
        ])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    asked.is_ok_and(|status| status.success())
}

/// Creates the databases that are not there yet.
pub fn create_databases(tools: &Postgres, port: u16) -> Result<()> {
    for database in [DATABASE, registry::DATABASE] {
        let there = psql(
            tools,
            port,
            &format!("SELECT 1 FROM pg_database WHERE datname = '{database}'"),
        )?;
        if there.trim() != "1" {
            psql(tools, port, &format!("CREATE DATABASE {database}"))?;
        }
    }
    Ok(())
}

/// The server's full version.
pub fn version(tools: &Postgres, port: u16) -> Result<String> {
    let version = psql(tools, port, "SHOW server_version")?;
    Ok(version
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_owned())
}

/// Deletes the data, wherever they are.
pub fn remove(dir: &StackDir) -> Result<()> {
    let link = dir.postgres();
    if link.is_symlink() {
        if let Ok(data) = fs::canonicalize(&link) {
            fs::remove_dir_all(&data).with_context(|| format!("remove {}", data.display()))?;
        }
        return fs::remove_file(&link).with_context(|| format!("remove {}", link.display()));
    }
    match fs::remove_dir_all(&link) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("remove {}", link.display()))
        }
        _ => Ok(()),
    }
}

fn create(dir: &StackDir, tools: &Postgres, account: Option<Account>) -> Result<()> {
    remove(dir)?;
    let data = data_place(dir, account);
    fs::create_dir_all(&data).with_context(|| format!("create {}", data.display()))?;
    fs::set_permissions(&data, fs::Permissions::from_mode(0o700))?;
    if let Some(account) = account {
        unix::fs::chown(&data, Some(account.uid), Some(account.gid))
            .with_context(|| format!("give {} to its user", data.display()))?;
    }
    if data != dir.postgres() {
        eprintln!(
            "stack: PostgreSQL's user cannot reach {}, its data go to {}",
            dir.root().display(),
            data.display()
        );
        unix::fs::symlink(&data, dir.postgres())?;
    }
    let mut command = as_account(Command::new(tools.bin.join("initdb")), account, &data);
    command.arg("-D").arg(&data).args([
        "--username",
        USER,
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--no-instructions",
    ]);
    process::run_logged(command, &dir.log("postgres-initdb"))
}

/// Inside the stack's directory if the account can get there, else in /var/tmp.
fn data_place(dir: &StackDir, account: Option<Account>) -> PathBuf {
    match account {
        Some(account) if !can_reach(dir.root(), account) => {
            let name: String = dir
                .root()
                .to_string_lossy()
                .chars()
                .map(|c| if c.is_alphanumeric() { c } else { '-' })
                .collect();
            PathBuf::from(format!("/var/tmp/swift-eats{name}"))
        }
        _ => dir.postgres(),
    }
}

/// Whether the account may enter `dir` and everything above it.
fn can_reach(dir: &Path, account: Account) -> bool {
    let Ok(dir) = fs::canonicalize(dir) else {
        return false;
    };
    dir.ancestors().all(|above| {
        fs::metadata(above).is_ok_and(|meta| {
            let enter = if meta.uid() == account.uid {
                0o100
            } else if meta.gid() == account.gid {
                0o010
            } else {
                0o001
            };
            meta.mode() & enter != 0
        })
    })
}

/// A crash leaves `postmaster.pid` behind, and the server refuses to start when a stranger has that pid by now.
fn drop_stale_lock(data: &Path) -> Result<()> {
    let lock = data.join("postmaster.pid");
    let Ok(text) = fs::read_to_string(&lock) else {
        return Ok(());
    };
    let pid: Option<u32> = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse().ok());
    if let Some(process) = pid.and_then(Process::of) {
        let command = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
        if String::from_utf8_lossy(&command).contains(&*data.to_string_lossy()) {
            bail!(
                "a PostgreSQL server (pid {}) that this stack has no record of runs on {}: stop it first",
                process.pid,
                data.display()
            );
        }
    }
    fs::remove_file(&lock).with_context(|| format!("remove {}", lock.display()))
}

fn as_account(mut command: Command, account: Option<Account>, cwd: &Path) -> Command {
    command
        .current_dir(cwd)
        .env("LC_ALL", "C")
        .env_remove("PGDATA");
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

/// `None` when we can run the server ourselves; otherwise `postgres`, which comes with the package.
fn account() -> Result<Option<Account>> {
    if process::effective_uid() != 0 {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
    let found = ["postgres", "nobody"].iter().find_map(|wanted| {
        users.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [name, _, uid, gid, ..] = fields.as_slice() else {
                return None;
            };
            (name == wanted).then_some(Account {
                uid: uid.parse().ok()?,
                gid: gid.parse().ok()?,
            })
        })
    });
    found
        .map(Some)
        .context("PostgreSQL refuses to run as root and there is no user postgres or nobody")
}

fn psql(tools: &Postgres, port: u16, sql: &str) -> Result<String> {
    let out = Command::new(tools.bin.join("psql"))
        .args([
            "-X",
            "-A",
            "-t",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-U",
            USER,
            "-d",
            "postgres",
            "-p",
            &port.to_string(),
            "-c",
            sql,
        ])
        .stdin(Stdio::null())
        .output()
        .context("start psql")?;
    if !out.status.success() {
        bail!(
            "psql: {sql}: {}",
            String::from_utf8_lossy(&out.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_directory_above_is_noticed() {
        let top = std::env::temp_dir().join(format!("xtask-reach-{}", std::process::id()));
        let inner = top.join("repo/.stack");
        fs::create_dir_all(&inner).expect("temp dir");
        let stranger = Account {
            uid: 4_000_001,
            gid: 4_000_001,
        };
        assert!(can_reach(&inner, stranger));
        fs::set_permissions(&top, fs::Permissions::from_mode(0o700)).expect("close it");
        assert!(!can_reach(&inner, stranger));
        fs::remove_dir_all(&top).expect("clean up");
    }

    #[test]
    fn a_lock_of_a_dead_server_is_dropped_and_one_of_a_stranger_too() {
        let data = std::env::temp_dir().join(format!("xtask-pglock-{}", std::process::id()));
        fs::create_dir_all(&data).expect("temp dir");
        for pid in [4_000_000, std::process::id()] {
            fs::write(
                data.join("postmaster.pid"),
                format!("{pid}\n{}\n", data.display()),
            )
            .expect("write");
            drop_stale_lock(&data).expect("stale");
            assert!(!data.join("postmaster.pid").exists());
        }
        fs::remove_dir_all(&data).expect("clean up");
    }
}
