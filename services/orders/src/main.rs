//! The orders processor.
fn main() {}
