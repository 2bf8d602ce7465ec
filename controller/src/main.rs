//! The controller as a process.

fn main() {}
