//! The assignment processor.
fn main() {}
