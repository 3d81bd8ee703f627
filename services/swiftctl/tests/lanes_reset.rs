//! `lanes reset` gives something up for good: it asks whoever sits at a terminal to type what for, and does not act on silence.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use harness::{Database, Stack, unique};
use sqlx::{AssertSqlSafe, PgPool, Row};

const DROP: &str =
    "nobody knows what was published: swiftctl lanes reset --drop-outbox or --publish-outbox";
const AHEAD: &str = "Kafka is ahead: swiftctl lanes reset --to-kafka";

/// A service without a process: four lanes, of which two are refused for what `--drop-outbox` resolves.
struct Toy {
    stack: Stack,
    database: Database,
    pool: PgPool,
    group: String,
}

impl Toy {
    async fn new() -> Toy {
        let stack = Stack::from_env();
        let database = stack.database().await.unwrap();
        let pool = database.pool().await.unwrap();
        let toy = Toy {
            group: unique("toy"),
            stack,
            database,
            pool,
        };
        toy.run("CREATE SCHEMA toy").await;
        for tables in [
            include_str!("../../../migrations/runtime/0001_lanes.sql"),
            include_str!("../../../migrations/runtime/0002_operators.sql"),
        ] {
            toy.run(&format!("SET search_path = toy; {tables}")).await;
        }
        for (lane, refused) in [
            ("a/0", Some(DROP)),
            ("b/0", Some(DROP)),
            ("c/0", Some(AHEAD)),
            ("d/0", None),
        ] {
            let refused = refused.map_or("NULL".to_owned(), |reason| format!("'{reason}'"));
            toy.run(&format!(
                "INSERT INTO toy.lanes (lane, seq, refused) VALUES ('{lane}', 2, {refused}); \
                 INSERT INTO toy.outbox (lane, seq, records) VALUES ('{lane}', 2, '\\x00')"
            ))
            .await;
        }
        toy
    }

    async fn run(&self, sql: &str) {
        let mut connection = self.pool.acquire().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(&mut *connection)
            .await
            .unwrap();
    }

    /// Names of the lanes that are refused, and of those with rows in their outbox.
    async fn left(&self) -> (Vec<String>, Vec<String>) {
        let names = async |sql| {
            let rows = sqlx::query(sql).fetch_all(&self.pool).await.unwrap();
            rows.iter().map(|row| row.get(0)).collect::<Vec<String>>()
        };
        (
            names("SELECT lane FROM toy.lanes WHERE refused IS NOT NULL ORDER BY 1").await,
            names("SELECT lane FROM toy.outbox ORDER BY 1").await,
        )
    }

    fn reset(&self, arguments: &str) -> String {
        let swiftctl = env!("CARGO_BIN_EXE_swiftctl");
        format!(
            "{swiftctl} lanes reset --service toy --group {} {arguments}",
            self.group
        )
    }

    /// With the addresses that the command takes from there.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command
            .env("SWIFT_EATS_KAFKA", &self.stack.kafka)
            .env("SWIFT_EATS_POSTGRES", self.database.url());
        command
    }

    /// Without a terminal.
    fn alone(&self, arguments: &str) -> Output {
        let line = self.reset(arguments);
        let mut words = line.split(' ');
        let mut command = self.command(words.next().unwrap());
        command.args(words).stdin(Stdio::null()).output().unwrap()
    }

    /// At a terminal, which `script` provides; what is typed there.
    fn at_terminal(&self, arguments: &str, typed: &str) -> Output {
        let line = self.reset(arguments);
        let mut command = self.command("script");
        command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut script = command.spawn().unwrap();
        let mut keyboard = script.stdin.take().unwrap();
        writeln!(keyboard, "{typed}").unwrap();
        // It stays at the terminal until the command has ended.
        let ended = script.wait_with_output().unwrap();
        drop(keyboard);
        ended
    }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test]
async fn what_is_given_up_is_typed_at_a_terminal_and_all_means_those_that_the_decision_resolves() {
    let toy = Toy::new().await;
    let untouched = (
        names(&["a/0", "b/0", "c/0"]),
        names(&["a/0", "b/0", "c/0", "d/0"]),
    );
    let said = |output: &Output| {
        let both = [&output.stdout[..], &output.stderr[..]].concat();
        (output.status.code(), String::from_utf8(both).unwrap())
    };

    let (code, told) = said(&toy.alone("--drop-outbox --all"));
    assert!(
        code == Some(3) && told.contains("--yes does it"),
        "{code:?}: {told}"
    );
    assert_eq!(toy.left().await, untouched);
    let (code, told) = said(&toy.at_terminal("--drop-outbox --all", "yes"));
    assert!(
        code == Some(3) && told.contains("Type toy to do it"),
        "{code:?}: {told}"
    );
    assert!(
        told.contains("not confirmed, nothing was changed"),
        "{told}"
    );
    assert_eq!(toy.left().await, untouched);
    let (code, told) = said(&toy.alone("--drop-outbox --all --dry-run"));
    assert!(
        code == Some(0) && told.contains("2 to reset: planned"),
        "{code:?}: {told}"
    );
    assert_eq!(toy.left().await, untouched);

    // One lane is confirmed by its own name.
    let (code, told) = said(&toy.at_terminal("--drop-outbox a/0", "toy"));
    assert!(
        code == Some(3) && told.contains("Type a/0 to do it"),
        "{code:?}: {told}"
    );
    let (code, told) = said(&toy.at_terminal("--drop-outbox a/0", "a/0"));
    assert!(
        code == Some(0) && told.contains("1 reset"),
        "{code:?}: {told}"
    );
    assert_eq!(
        toy.left().await,
        (names(&["b/0", "c/0"]), names(&["b/0", "c/0", "d/0"]))
    );

    // Neither the lane of another decision nor the one that nobody refuses is among all.
    toy.run(&format!(
        "UPDATE toy.lanes SET refused = '{DROP}' WHERE lane = 'a/0'"
    ))
    .await;
    let (code, told) = said(&toy.at_terminal("--drop-outbox --all", "toy"));
    assert!(
        code == Some(0) && told.contains("2 reset"),
        "{code:?}: {told}"
    );
    assert_eq!(toy.left().await, (names(&["c/0"]), names(&["c/0", "d/0"])));
    let (code, told) = said(&toy.alone("--drop-outbox --all --yes"));
    assert!(
        code == Some(0) && told.contains("0 reset"),
        "{code:?}: {told}"
    );
}
