//! The notifier processor.
fn main() {}
