//! The mock payment gateway: a real HTTP server with a ledger.
//!
//! It behaves as payment providers do, at their worst: slow, failing, hanging, or cutting the connection after the
//! money has moved. What it guarantees is what a good provider guarantees: one operation per idempotency key, whose
//! outcome is remembered, and a ledger that tells the truth to the cent. Everything it draws (outcomes, faults,
//! latencies) follows from a seed and the key, never from the order in which requests arrive.
//!
//! | request | answer |
//! |---|---|
//! | `POST /v1/captures` `{amount_minor, currency, reference, payment_method}`, header `Idempotency-Key` | the operation: `captured` or `declined` |
//! | `POST /v1/refunds` `{capture_id, amount_minor}`, header `Idempotency-Key` | the operation: `refunded` |
//! | `GET /v1/operations/{key}` | the operation of that key, 404 when there is none (yet) |
//! | `GET /v1/ledger` | `{operations, totals}`, totals by currency |
//! | `GET`, `PUT /admin/behaviour` | the [`Behaviour`]; a field that is not given takes its default |
//!
//! A key used again with another body is refused with 422. A payment method that starts with `declined` always is.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test fails by panicking"))]

mod behaviour;
mod ledger;
mod server;

pub use behaviour::Behaviour;
pub use ledger::{Books, Capture, Kind, Operation, Refund, Status, Totals};
pub use server::Gateway;
