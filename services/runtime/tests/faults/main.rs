//! The runtime against the real broker and the real database, with everything broken that can break.
//!
//! A toy processor counts keys and publishes every count, in a process of its own that is killed, stopped, or cut off
//! from a server at a chosen moment. Whatever happens to it, each test ends with the same question, asked of both logs
//! ([`world::World::settle`]): is every message counted once, every count published once, in order, on its partition?
//! Before that each test asserts that its fault happened. Costs some two minutes on two cores, most of it waiting for
//! sessions and transactions to expire. One target, since linking is dear.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod crash;
mod cut_connection;
mod group_lane;
mod lag;
mod missing_commit;
mod operator;
mod outage;
mod patience;
mod poison;
mod rebalance;
mod refusal;
mod stale_owner;
mod toy;
mod trace;
mod world;
