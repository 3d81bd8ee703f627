//! Tests of the four processors together on the real stack.
