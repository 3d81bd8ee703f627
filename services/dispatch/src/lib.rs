//! When to look for a driver, and which one: pure scheduling and matching.
