//! `cargo xtask demo`: the main job, shown. Pods in network namespaces, the machine's own curl, eBPF
//! redirect, L7 routing; each step says what to look at and whether it was true.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a demonstration: the first surprise ends it, with a message"
)]

mod show;
mod steps;

use std::process::ExitCode;

use nodeway_tests::skip;

fn main() -> ExitCode {
    let keep = std::env::args().any(|arg| arg == "--keep");
    if let Some(missing) = skip::missing_privilege() {
        eprintln!("the demo needs {missing}");
        return ExitCode::FAILURE;
    }
    // A signal ends the process without unwinding; the next run's janitor tidies up then.
    let shown = steps::run(keep);
    show::summary(shown.iter().filter(|(_, good)| *good).count(), shown.len());
    if shown.iter().all(|(_, good)| *good) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
