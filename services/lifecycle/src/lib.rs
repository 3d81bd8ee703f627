//! The lifecycle of an order as one total function.
