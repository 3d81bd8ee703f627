//! The payments processor.
fn main() {}
