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

use nodeway_tests::{janitor, skip};

fn main() -> ExitCode {
    let keep = std::env::args().any(|arg| arg == "--keep");
    if let Some(missing) = skip::missing_privilege() {
        eprintln!("the demo needs {missing}");
        return ExitCode::FAILURE;
    }
    clean_up_on_signal();
    let shown = steps::run(keep);
    show::summary(shown.iter().filter(|(_, good)| *good).count(), shown.len());
    if shown.iter().all(|(_, good)| *good) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Ctrl-C does not unwind: a thread waits for it and removes what the demo has made.
fn clean_up_on_signal() {
    // SAFETY: a signal set on the stack, filled before it is read; no other thread runs yet, and
    // all later ones inherit the mask. Programs that are started in a `Place` get an empty one.
    let signals = unsafe {
        let mut signals = std::mem::zeroed();
        libc::sigemptyset(&raw mut signals);
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::sigaddset(&raw mut signals, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const signals, std::ptr::null_mut());
        signals
    };
    std::thread::spawn(move || {
        let mut signal = 0;
        // SAFETY: both point to live values of the right types.
        unsafe { libc::sigwait(&raw const signals, &raw mut signal) };
        janitor::remove_owned_by(std::process::id());
        std::process::exit(128 + signal);
    });
}
