//! The binary's shell: parse, call, map to an exit code.

mod cli;

use std::process::ExitCode;

/// Buffers that one thread fills and another frees, as an export's batches are, stay mapped for the next one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run()
}
