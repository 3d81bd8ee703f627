//! A toy processor as a process: started with a fault, watched from outside, ended in every way there is.
//!
//! What it printed is shown when a test fails. A process is killed when its handle is dropped, so none outlives its test.

use std::fs::File;
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use harness::{wait_for, wait_for_value};
use runtime::Step;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{DEADLINE, World};

/// What a process does when it reaches its step.
#[derive(Clone, Copy, Debug)]
pub enum Halt {
    /// It aborts, as by `kill -9`, but exactly there.
    Abort,
    /// It stops (SIGSTOP), and knows nothing of the time that passes.
    Stop,
}

/// How a process is to be started.
pub struct Start<'a> {
    world: &'a World,
    instance: String,
    variables: Vec<(String, String)>,
}

impl<'a> Start<'a> {
    pub fn new(world: &'a World, instance: &str) -> Self {
        Self {
            world,
            instance: instance.to_owned(),
            variables: Vec::new(),
        }
    }

    /// Halts when it reaches `step` for the n-th time.
    pub fn halt(mut self, step: Step, n: u32, halt: Halt) -> Self {
        let how = match halt {
            Halt::Abort => "abort",
            Halt::Stop => "stop",
        };
        self.variables
            .push(("TOY_HALT".to_owned(), format!("{step:?}:{n}:{how}")));
        self
    }

    /// Halts when it reaches `step` for the n-th time while another of its threads stands at `beside`.
    pub fn halt_beside(self, step: Step, beside: Step, n: u32, halt: Halt) -> Self {
        let mut start = self.halt(step, n, halt);
        if let Some((_, at)) = start.variables.last_mut() {
            *at += &format!(":{beside:?}");
        }
        start
    }

    /// Overrides a setting, `SECTION__FIELD`.
    pub fn set(mut self, setting: &str, value: impl ToString) -> Self {
        self.variables
            .push((format!("SWIFT_EATS__{setting}"), value.to_string()));
        self
    }

    pub fn start(self) -> Toy {
        let name = self.world.process_name(&self.instance);
        let file = |suffix: &str| self.world.directory.join(format!("{name}.{suffix}"));
        let (out, log, announce) = (file("out"), file("log"), file("announce"));
        let child = Command::new(program())
            .env("SWIFT_EATS_CONFIG", self.world.directory.join("toy.toml"))
            .env("SWIFT_EATS__RUNTIME__INSTANCE", &self.instance)
            .env("SWIFT_EATS__HTTP__ANNOUNCE", &announce)
            .envs(self.variables)
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Toy {
            child,
            out,
            log,
            announce,
        }
    }
}

/// The example that `cargo test -p runtime` builds beside this test; with `--test faults` it is not brought up to date.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples/toy");
    let missing = "cargo build -p runtime --example toy";
    assert!(program.exists(), "no toy: `{missing}` builds it");
    program
}

pub struct Toy {
    child: Child,
    out: PathBuf,
    log: PathBuf,
    announce: PathBuf,
}

impl Toy {
    /// Waits until it has halted by itself, at its step and in its way.
    pub async fn aborted(mut self) {
        let status = self.ended().await;
        assert!(
            self.has_halted(),
            "ended with {status} before it reached its step"
        );
        assert_eq!(status.signal(), Some(libc::SIGABRT));
    }

    pub async fn stopped(&self) {
        wait_for("the process to stop at its step", DEADLINE, async || {
            self.has_halted() && self.is_stopped()
        })
        .await;
    }

    fn has_halted(&self) -> bool {
        std::fs::read_to_string(&self.out).unwrap().contains("halt")
    }

    fn is_stopped(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, state) = stat.rsplit_once(") ").unwrap();
        state.starts_with('T')
    }

    /// Wakes a stopped process.
    pub fn wake(&self) {
        self.signal(libc::SIGCONT);
    }

    pub async fn kill(mut self) {
        self.signal(libc::SIGKILL);
        self.ended().await;
    }

    /// SIGTERM, and the clean end it must lead to.
    pub async fn terminate(mut self) {
        self.signal(libc::SIGTERM);
        let status = self.ended().await;
        assert_eq!(status.code(), Some(0), "after SIGTERM");
    }

    /// The exit code of a process that nobody told to end.
    pub async fn ended_by_itself(mut self) -> Option<u8> {
        let code = self.ended().await.code();
        code.and_then(|code| u8::try_from(code).ok())
    }

    #[expect(unsafe_code, reason = "std sends no signal but SIGKILL")]
    fn signal(&self, signal: i32) {
        let pid = i32::try_from(self.child.id()).unwrap();
        // SAFETY: the child has not been waited for to its end, so the id is still its own.
        assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
    }

    async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        wait_for_value("the process to end", DEADLINE, async || {
            child.try_wait().unwrap()
        })
        .await
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits until it runs so many lanes.
    pub async fn runs(&self, lanes: u32) {
        self.reaches("runtime_lanes{phase=\"running\"}", f64::from(lanes))
            .await;
    }

    /// Waits until a series has exactly that value.
    pub async fn reaches(&self, series: &str, value: f64) {
        wait_for(&format!("{series} = {value}"), DEADLINE, async || {
            (self.metric(series).await).is_some_and(|now| (now - value).abs() < 0.5)
        })
        .await;
    }

    /// Waits until a counter has moved.
    pub async fn counts(&self, series: &str) {
        wait_for(&format!("{series} > 0"), DEADLINE, async || {
            self.metric(series).await.is_some_and(|now| now > 0.5)
        })
        .await;
    }

    /// A series as `/metrics` shows it: name and labels. `None` also while the process does not answer.
    pub async fn metric(&self, series: &str) -> Option<f64> {
        let text = self.get("/metrics").await?;
        let line = text.lines().find_map(|line| line.strip_prefix(series));
        line.and_then(|value| value.trim().parse().ok())
    }

    /// What must never happen, whatever fails.
    pub async fn has_violated_nothing(&self) {
        let text = self.get("/metrics").await.unwrap();
        let violation = text
            .lines()
            .find(|line| line.starts_with("runtime_invariant_violations_total"));
        assert_eq!(violation, None);
        assert!(text.contains("runtime_invariant_checks_total"));
    }

    pub async fn is_ready(&self) -> bool {
        let answer = self.get("/health/ready").await;
        answer.is_some_and(|answer| answer.starts_with("HTTP/1.0 200"))
    }

    async fn get(&self, path: &str) -> Option<String> {
        let announced = std::fs::read_to_string(&self.announce).ok()?;
        let announced: serde_json::Value = serde_json::from_str(&announced).ok()?;
        let address: SocketAddr = announced["http"]
            .as_str()?
            .strip_prefix("http://")?
            .parse()
            .ok()?;
        let exchange = async {
            let mut stream = TcpStream::connect(address).await?;
            stream
                .write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes())
                .await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = tokio::time::timeout(Duration::from_secs(2), exchange).await;
        answer.ok()?.ok()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Toy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let from = log.lines().count().saturating_sub(40);
            let tail: Vec<&str> = log.lines().skip(from).collect();
            eprintln!("--- {}\n{}", self.log.display(), tail.join("\n"));
        }
        // Both fail only when it has ended already.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}
