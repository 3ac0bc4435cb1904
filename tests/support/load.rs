//! Clients that ask without a pause while something happens around them.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use crate::binaries;
use crate::place::Place;
use crate::process::Proc;
use crate::wait::eventually;

/// How long the last requests may take.
const STOP: Duration = Duration::from_secs(30);

/// A load that runs, until it is stopped.
#[derive(Debug)]
pub struct Load {
    process: Proc,
}

/// What has become of its requests.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How many there were.
    pub requests: u64,
    /// How many had no answer, or another than 200.
    pub failed: u64,
    /// The whole, for messages.
    pub told: String,
}

impl Load {
    /// `clients` of `kind` (`h1`, `h2`, or `new` for a connection a request) in this place.
    #[must_use]
    pub fn start(place: &Place, kind: &str, clients: u32, to: SocketAddr) -> Self {
        let args = ["load", kind, &clients.to_string(), &to.to_string()];
        Self { process: place.start(binaries::testserver(), &args) }
    }

    /// What it has come to so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let out = self.process.out();
        // The last line may be half written.
        let whole = out.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let told = whole.lines().next_back().unwrap_or_default();
        let value: Value = serde_json::from_str(told).unwrap_or_default();
        let count = |key: &str| value[key].as_u64().unwrap_or(0);
        let told = format!("{told}{}", self.process.err());
        Report { requests: count("requests"), failed: count("failed"), told }
    }

    /// Waits until `n` more requests have ended.
    ///
    /// # Panics
    /// When they do not within 30 s.
    pub fn goes_on(&self, n: u64) {
        let before = self.report().requests;
        eventually(STOP, "requests go on", || self.report().requests >= before + n);
    }

    /// Lets the requests under way end.
    ///
    /// # Panics
    /// When they do not.
    #[must_use]
    pub fn stop(mut self) -> Report {
        assert!(self.process.runs(), "the load has ended by itself: {}", self.process.err());
        self.process.signal(libc::SIGTERM);
        eventually(STOP, "the load's end", || !self.process.runs());
        self.report()
    }
}

impl Report {
    /// Fails unless there were requests, and none failed.
    ///
    /// # Panics
    /// See above.
    #[track_caller]
    pub fn assert_none_failed(&self) {
        assert!(self.requests > 0 && self.failed == 0, "{}", self.told);
    }
}
