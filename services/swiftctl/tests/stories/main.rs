//! The stories of OPERATING.md, played on the real stack with the services as processes.
//!
//! Run with `--nocapture`, the commands and their output are the ones that the page shows.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod broken_schema;
mod city;
mod late_order;
mod platform;
mod recorded;
mod slack_tolerance;
