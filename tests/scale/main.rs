//! `cargo xtask bench --scale`: a node of a big cluster. How soon it is ready, what it keeps in memory,
//! how soon a change is in force, and what a storm of changes costs.
//!
//! Figures, not a test: what misses its goal is marked, and nothing else depends on it.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a bench: the first surprise ends it, with a message"
)]

mod cluster;
mod node;
mod objects;
mod report;

use std::process::ExitCode;
use std::time::Duration;

use nodeway_tests::{janitor, skip};

use cluster::Cluster;
use node::Node;
use report::{Report, Times};

/// Changes of an endpoint whose way into force is timed.
const CHANGES: usize = 1000;
/// A storm: so many changes a second, for so long.
const STORM: u64 = 1000;
const STORM_LASTS: Duration = Duration::from_secs(10);
/// The whole thing is broken if it takes longer.
const AT_MOST: Duration = Duration::from_secs(300);

fn main() -> ExitCode {
    if let Some(missing) = skip::missing_privilege() {
        eprintln!("the bench needs {missing}");
        return ExitCode::FAILURE;
    }
    std::thread::spawn(|| {
        std::thread::sleep(AT_MOST);
        eprintln!("error: not done within {AT_MOST:?}");
        janitor::remove_owned_by(std::process::id());
        std::process::exit(1);
    });
    let mut report = Report::default();
    eprintln!("==> Making a cluster of {}", cluster::SIZE);
    let mut cluster = Cluster::make();
    eprintln!("==> Starting Nodeway on one of its nodes");
    let node = Node::start(&cluster);
    report.goal("ready after", node.ready, Duration::from_secs(20));
    report.figure("the first request through a Service after", node.served);
    report.memory("resident when ready", node.rss());
    report.memory_of_interest("at most until then", node.peak_rss());
    report.figure("the first snapshot took", node.compile());

    eprintln!("==> {CHANGES} changes of one endpoint, one after the other");
    let mut times = Times::default();
    for i in 0..CHANGES {
        times.push(node.change(&cluster, i));
        std::thread::sleep(Duration::from_millis(fastrand::u64(1..10)));
    }
    report.times("a change in force after", &mut times, Duration::from_millis(100));
    report.figure("the last snapshot took", node.compile());

    eprintln!("==> A storm: {STORM} changes/s for {STORM_LASTS:?}");
    let storm = node.storm(&mut cluster, STORM, STORM_LASTS);
    report.storm(&storm);
    report.memory("resident at the end", node.rss());
    report.memory_of_interest("at most until then", node.peak_rss());
    println!("\n{report}");
    node.stop();
    if report.failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
