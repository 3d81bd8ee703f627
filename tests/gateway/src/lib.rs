//! The mock payment gateway: a real HTTP server with a ledger.
