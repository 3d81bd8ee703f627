//! What the tests on the real stack share: endpoints, waiting, topics, databases, and a TCP proxy that breaks connections.
//!
//! Guarantees: every test gets topics and a database of its own, so tests run side by side; nothing pauses except
//! [`wait_for`], which always has a deadline and says what it waited for; every fault counts how often it happened, so
//! that a test can first assert that it did. Costs: some 100 ms per topic that is created, its leaders waited for.
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod broker;
mod connection;
mod database;
mod kafka_frames;
mod postgres_frames;
mod proxy;
mod stack;
mod wait;

pub use broker::{Broker, Isolation, Received};
pub use connection::{Chunks, Connection, Fault, Protocol, Relay, When};
pub use database::Database;
pub use kafka_frames::{ApiKey, KafkaFrames};
pub use postgres_frames::PostgresFrames;
pub use proxy::Proxy;
pub use stack::{FaultListener, Stack, unique};
pub use wait::{wait_for, wait_for_value};
