//! The binary's shell.
fn main() {}
