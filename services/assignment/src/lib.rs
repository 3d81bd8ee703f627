//! The assignment processor: it decides when to look for a driver for an order, and which one.
//!
//! One lane per geo. The thinking is in the pure crate `dispatch`; this crate feeds it what the topics say ([`book`]),
//! makes its decisions durable before they become known ([`store`]), and tells the world ([`facts`]). What it guarantees:
//! a driver holds at most one active order and an order at most one active driver (compare-and-set on rows, unique indexes
//! as the last guard), a request is neither lost nor decided twice, and every decision can be repeated from the inputs and
//! positions that its tick recorded. Cost: memory for all open orders and drivers of the owned geos, a handful of
//! set-based statements per cycle.

pub mod book;
pub mod config;
pub mod decide;
pub mod event;
pub mod facts;
pub mod order;
pub mod store;
pub mod units;

/// The tables of the schema `assignment`.
pub static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("../../migrations/assignment");
