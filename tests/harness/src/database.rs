//! A fresh PostgreSQL database per test.
//!
//! It is not dropped: the stack's data directory goes with the stack, and a failed test can be looked at.

use std::str::FromStr;

use anyhow::Context;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Executor};

/// A database of its own for one test.
#[derive(Clone, Debug)]
pub struct Database {
    options: PgConnectOptions,
}

impl Database {
    /// Creates one on the server that `server` (a URL) points at.
    pub async fn create(server: &str) -> anyhow::Result<Self> {
        let options = PgConnectOptions::from_str(server)
            .with_context(|| format!("postgres url {server:?}"))?;
        let name = crate::unique("test").replace('-', "_");
        let mut connection = options
            .connect()
            .await
            .with_context(|| format!("connecting to {server}"))?;
        // The name is ours: letters, digits and underscores.
        connection
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .await?;
        Ok(Self {
            options: options.database(&name),
        })
    }

    /// The database as a URL.
    pub fn url(&self) -> String {
        self.options.to_url_lossy().to_string()
    }

    /// The same database seen through a proxy that listens on `address`. Without TLS, which a proxy could not look into.
    pub fn url_through(&self, address: std::net::SocketAddr) -> String {
        let options = self
            .options
            .clone()
            .host(&address.ip().to_string())
            .port(address.port());
        options
            .ssl_mode(sqlx::postgres::PgSslMode::Disable)
            .to_url_lossy()
            .to_string()
    }

    /// `host:port` of the server, for a proxy to forward to.
    pub fn address(&self) -> String {
        format!("{}:{}", self.options.get_host(), self.options.get_port())
    }

    /// A small pool on it.
    pub async fn pool(&self) -> anyhow::Result<PgPool> {
        Ok(PgPoolOptions::new()
            .max_connections(4)
            .connect_with(self.options.clone())
            .await?)
    }
}
