//! The API server does not go away, it just says nothing any more.

use std::io::Write as _;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::thread::{UnshareFlags, unshare_unsafe};

use crate::follower::{World, eventually};
use crate::objects::{KINDS, one_of_each, service};

#[test]
fn a_server_that_has_gone_without_a_word_is_noticed_within_a_minute() {
    // On a thread of its own, for a network of its own: the server and the source inherit it.
    std::thread::spawn(|| {
        // SAFETY: no files are unshared.
        if let Err(error) = unsafe { unshare_unsafe(UnshareFlags::NEWNET) } {
            return skipped(&format!("a network namespace: {error}"));
        }
        loopback("up");
        let world = World::with(|server| server.put_all(&one_of_each()));
        world.until("the first state", |known| known.events > 0);
        world.until_server("watches", |s| KINDS.iter().all(|(_, r)| s.watches(r) == 1));
        eventually("a current state", || world.follower.health.age() == Duration::ZERO);
        let begun = Instant::now();
        // Nothing arrives any more, and nobody is told.
        loopback("down");
        eventually("an age", || world.follower.health.age() > Duration::ZERO);
        assert!(begun.elapsed() > Duration::from_secs(5), "it was told: {:?}", begun.elapsed());
        loopback("up");
        world.server.put(&service("api", "10.96.0.2"));
        world.until("news", |known| known.ip("api").is_some());
    })
    .join()
    .unwrap();
}

fn loopback(state: &str) {
    let done = Command::new("ip").args(["link", "set", "lo", state]).status().unwrap();
    assert!(done.success(), "lo {state}: {done}");
}

/// A test that cannot run here says so, and fails where it has to run.
fn skipped(what: &str) {
    let set = |name: &str, value: &str| std::env::var(name).is_ok_and(|v| v == value);
    assert!(
        !set("NODEWAY_REQUIRE_PRIVILEGED", "1") && !set("CI", "true"),
        "SKIPPED: needs {what}, and this run allows no skips"
    );
    // Past the capture of the test harness.
    writeln!(std::io::stderr(), "SKIPPED: needs {what}").ok();
}
