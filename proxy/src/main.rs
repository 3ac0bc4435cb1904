//! The binary: everything is in the library.

use std::process::ExitCode;

/// Faster and less fragmented than the system's for many short-lived small objects.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    nodeway::cli::main()
}
