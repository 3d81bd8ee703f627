//! The orders processor: from a placed order to a delivered meal, or to another end that costs nobody anything.
//!
//! It reads what checkouts, payments, assignment and kitchens say, asks [`lifecycle`] what that does to the order, and
//! tells everybody. Guarantees: an order that is not valid is rejected with all reasons; every message of an order goes to
//! one partition, dealt round-robin once; every transition raises the version, leaves a row in the audit and is published
//! with it; what a kitchen or customer says before the order is known waits for it.
//! Costs: four or five statements per cycle, whatever the number of messages.

pub mod config;
pub mod decide;
pub mod early_store;
pub mod emission;
pub mod fact;
mod limit;
pub mod order;
pub mod round_robin;
pub mod store;
mod validate;
pub mod working_set;

/// Creates and changes the tables of the schema `orders`.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/orders");
