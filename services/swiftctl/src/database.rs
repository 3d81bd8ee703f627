//! The services' database, as an operator looks into it: one connection, by the services' own address.

use anyhow::{Context, Result};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgConnection};

/// Connects to `postgres://user:password@host:port/database`. The address is not repeated in errors: it holds a password.
pub async fn connect(url: &str) -> Result<PgConnection> {
    let options: PgConnectOptions = url
        .parse()
        .context("the address of PostgreSQL cannot be read")?;
    let place = format!("{}:{}", options.get_host(), options.get_port());
    let named = options.application_name("swiftctl");
    let connection = named.disable_statement_logging().connect().await;
    connection.with_context(|| format!("PostgreSQL at {place} does not answer"))
}
