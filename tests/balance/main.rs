//! `cargo xtask bench balance`: what the algorithms do for a fleet one of whose servers is unlike the
//! others, in a simulation and on sockets.
//!
//! Figures and a plot, not a test: the promises are tested in `proxy/core/tests/balancing.rs`.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench: the first surprise ends it, with a message"
)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "figures for people"
)]

mod curve;
mod load;
mod page;
mod plot;
mod servers;
mod simulated;
#[path = "../../proxy/core/tests/simulation/mod.rs"]
#[allow(dead_code, reason = "what the tests need besides")]
mod simulation;
mod sockets;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use nodeway_tests::janitor;

/// The whole thing is broken if it takes longer.
const AT_MOST: Duration = Duration::from_secs(240);
const USAGE: &str = "usage: balance [--quick] [--write FOLDER]";

fn main() -> ExitCode {
    let (mut quick, mut folder) = (false, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--quick" => quick = true,
            "--write" => folder = arguments.next().map(PathBuf::from),
            other => {
                eprintln!("{other}? {USAGE}");
                return ExitCode::FAILURE;
            }
        }
    }
    std::thread::spawn(|| {
        std::thread::sleep(AT_MOST);
        eprintln!("error: not done within {AT_MOST:?}");
        janitor::remove_owned_by(std::process::id());
        std::process::exit(1);
    });
    eprintln!("==> Simulating");
    let simulated = simulated::all();
    let sockets = sockets::run(quick);
    let page = page::page(&simulated, &sockets);
    println!("\n{page}");
    if let Some(folder) = folder {
        let plot = plot::plot(&simulated.slow(), &sockets.curves());
        for (name, text) in [("balance.md", &page), ("balance.svg", &plot)] {
            let file = folder.join(name);
            std::fs::create_dir_all(&folder).expect("a folder for results");
            std::fs::write(&file, text).expect("a file of results");
            println!("written: {}", file.display());
        }
    }
    ExitCode::SUCCESS
}
