//! Two tables of the same shape, row by row: both are read in the order of their keys, side by side, so neither is held in memory.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use futures::TryStreamExt;
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::{AssertSqlSafe, PgConnection, Row};

use crate::lanes::quoted;
use crate::output::{Format, line};
use crate::replay::excluded::Excluded;

/// Of the runtime; positions are what was read, the rest is of the instance.
const OF_THE_RUNTIME: [&str; 4] = ["lanes", "positions", "outbox", "instances"];

/// What came of a table.
#[derive(Debug, Default, Serialize)]
pub struct Table {
    pub table: String,
    pub equal: u64,
    pub differing: u64,
    pub only_live: u64,
    pub only_rebuilt: u64,
    /// How often each column differs.
    pub columns: BTreeMap<String, u64>,
    pub left_out: BTreeMap<&'static str, &'static str>,
}

/// A row that is not the same.
#[derive(Debug, Serialize)]
pub struct Difference {
    pub table: String,
    pub key: String,
    /// Only the columns that differ; null where there is no row.
    pub live: Value,
    pub rebuilt: Value,
}

#[derive(Debug, Serialize)]
pub struct Comparison {
    pub tables: Vec<Table>,
    pub differences: Vec<Difference>,
    /// What has to be known to judge by.
    pub notes: Vec<String>,
    #[serde(skip)]
    limit: usize,
}

/// A connection and a schema.
type Side<'a> = (&'a mut PgConnection, &'a str);

/// The tables of a schema that belong to its service.
pub async fn tables(db: &mut PgConnection, schema: &str) -> Result<Vec<String>> {
    let sql =
        "SELECT table_name::text FROM information_schema.tables WHERE table_schema = $1 ORDER BY 1";
    let names: Vec<String> = sqlx::query_scalar(sql).bind(schema).fetch_all(db).await?;
    let ours = |name: &String| !OF_THE_RUNTIME.contains(&name.as_str()) && !name.starts_with('_');
    Ok(names.into_iter().filter(ours).collect())
}

impl Comparison {
    pub fn new(limit: usize, notes: Vec<String>) -> Self {
        Self {
            tables: Vec::new(),
            differences: Vec::new(),
            notes,
            limit,
        }
    }

    pub async fn table(
        &mut self,
        name: &str,
        left_out: Excluded,
        geo: &str,
        (live, fresh): (Side<'_>, Side<'_>),
    ) -> Result<()> {
        let key = key(fresh.0, fresh.1, name, left_out).await?;
        let names: Vec<&str> = left_out.iter().map(|(name, _)| *name).collect();
        let sql = |schema: &str| {
            let from = format!("{}.{}", quoted(schema), quoted(name));
            AssertSqlSafe(format!(
                "SELECT concat_ws('/', {key}) COLLATE \"C\" AS key, (to_jsonb(t) - $2::text[])::text AS row FROM {from} t \
                 WHERE geo = $1 ORDER BY 1"
            ))
        };
        let mut table = Table {
            table: name.to_owned(),
            left_out: left_out.iter().copied().collect(),
            ..Table::default()
        };
        let mut live = sqlx::query(sql(live.1))
            .bind(geo)
            .bind(&names)
            .fetch(live.0);
        let mut fresh = sqlx::query(sql(fresh.1))
            .bind(geo)
            .bind(&names)
            .fetch(fresh.0);
        let read = |row: sqlx::postgres::PgRow| -> Result<(String, Map<String, Value>)> {
            Ok((row.try_get(0)?, serde_json::from_str(row.try_get(1)?)?))
        };
        let mut a = live.try_next().await?.map(read).transpose()?;
        let mut b = fresh.try_next().await?.map(read).transpose()?;
        loop {
            let order = match (&a, &b) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((a, _)), Some((b, _))) => a.as_bytes().cmp(b.as_bytes()),
            };
            let (was, is) = match order {
                Ordering::Less => (a.take(), None),
                Ordering::Greater => (None, b.take()),
                Ordering::Equal => (a.take(), b.take()),
            };
            self.row(&mut table, was, is);
            if order != Ordering::Greater {
                a = live.try_next().await?.map(read).transpose()?;
            }
            if order != Ordering::Less {
                b = fresh.try_next().await?.map(read).transpose()?;
            }
        }
        self.tables.push(table);
        Ok(())
    }

    fn row(
        &mut self,
        table: &mut Table,
        live: Option<(String, Map<String, Value>)>,
        rebuilt: Option<(String, Map<String, Value>)>,
    ) {
        let (key, live, rebuilt) = match (live, rebuilt) {
            (Some((key, mut live)), Some((_, mut rebuilt))) => {
                live.retain(|column, value| {
                    let differs = rebuilt.get(column) != Some(value);
                    if !differs {
                        rebuilt.remove(column);
                    }
                    differs
                });
                if live.is_empty() && rebuilt.is_empty() {
                    table.equal += 1;
                    return;
                }
                table.differing += 1;
                for column in live.keys() {
                    *table.columns.entry(column.clone()).or_default() += 1;
                }
                (key, Value::Object(live), Value::Object(rebuilt))
            }
            (Some((key, live)), None) => {
                table.only_live += 1;
                (key, live.into(), Value::Null)
            }
            (None, Some((key, rebuilt))) => {
                table.only_rebuilt += 1;
                (key, Value::Null, rebuilt.into())
            }
            (None, None) => return,
        };
        if self.differences.len() < self.limit {
            self.differences.push(Difference {
                table: table.table.clone(),
                key,
                live,
                rebuilt,
            });
        }
    }

    pub fn print(&self, format: Format, service: &str, kept: Option<&str>) -> Result<()> {
        if format == Format::Json {
            return line(&serde_json::to_string_pretty(self)?);
        }
        for note in &self.notes {
            line(note)?;
        }
        for it in &self.tables {
            let Table {
                table,
                equal,
                differing,
                only_live,
                only_rebuilt,
                ..
            } = it;
            line(&format!(
                "{service}.{table}: {equal} rows equal, {differing} differ, {only_live} only live, {only_rebuilt} only rebuilt"
            ))?;
            for (column, why) in &it.left_out {
                line(&format!("  not compared: {column} ({why})"))?;
            }
            for (column, count) in &it.columns {
                line(&format!("  differs in {count} rows: {column}"))?;
            }
        }
        for it in &self.differences {
            line(&format!(
                "{} {}: live {}, rebuilt {}",
                it.table, it.key, it.live, it.rebuilt
            ))?;
        }
        if let Some(schema) = kept {
            line(&format!("the rebuilt tables are in the schema {schema}"))?;
        }
        Ok(())
    }
}

/// What tells the rows of a table apart that has no primary key.
fn identity(table: &str) -> &'static [&'static str] {
    match table {
        "order_transitions" => &["geo", "order_id", "version"],
        _ => &[],
    }
}

/// The columns of the primary key, as SQL; without those that are left out, what is left of a row has to do.
async fn key(
    db: &mut PgConnection,
    schema: &str,
    table: &str,
    left_out: Excluded,
) -> Result<String> {
    let sql = "SELECT a.attname::text FROM pg_index i \
        JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey) \
        WHERE i.indisprimary AND i.indrelid = ($1 || '.' || $2)::regclass ORDER BY a.attnum";
    let query = sqlx::query_scalar(sql)
        .bind(quoted(schema))
        .bind(quoted(table));
    let mut names: Vec<String> = query.fetch_all(&mut *db).await?;
    names.extend(identity(table).iter().map(|&name| name.to_owned()));
    let kept = |name: &String| !left_out.iter().any(|(column, _)| column == name);
    if !names.iter().all(kept) {
        names.retain(kept);
        names.extend(["event_id", "outcome", "kind"].map(str::to_owned));
        let sql = "SELECT column_name::text FROM information_schema.columns WHERE table_schema = $1 AND table_name = $2";
        let query = sqlx::query_scalar(sql).bind(schema).bind(table);
        let known: Vec<String> = query.fetch_all(db).await?;
        names.retain(|name| known.contains(name));
    }
    ensure!(
        !names.is_empty(),
        "{schema}.{table}: no primary key, and nothing else is known to tell its rows apart"
    );
    let columns = names.iter().map(|name| format!("t.{}::text", quoted(name)));
    Ok(columns.collect::<Vec<_>>().join(", "))
}
