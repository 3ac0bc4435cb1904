//! What is refused because too much is under way, and how often that is told.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

use super::counts::UnderWay;
use crate::balance::Millis;

/// It is told so often.
const TOLD_EVERY_MS: u64 = 1_000;

/// A limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow {
    /// Which.
    pub limit: Limit,
    /// Whose.
    pub of: Scope,
    /// How many it allows.
    pub most: u32,
}

/// A limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Limit {
    /// On connections that are open or being made.
    Connections,
    /// On requests that wait for a connection.
    Pending,
    /// On what is under way.
    Active,
    /// On what is under way, found by latency.
    Adaptive,
    /// On retries.
    Retries,
}

/// Whose limit it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// All endpoints' together.
    Backend,
    /// One endpoint's.
    Endpoint,
}

// === impl Overflow ===

impl Overflow {
    pub(super) fn of_backend(limit: Limit, most: u32) -> Self {
        Self { limit, of: Scope::Backend, most }
    }

    pub(super) fn of_endpoint(limit: Limit, most: u32) -> Self {
        Self { limit, of: Scope::Endpoint, most }
    }
}

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.limit {
            Limit::Connections => "connections",
            Limit::Pending => "waiting requests",
            Limit::Active => "active requests",
            Limit::Adaptive => "active requests (adaptive)",
            Limit::Retries => "retries",
        };
        let of = match self.of {
            Scope::Backend => "of the backend",
            Scope::Endpoint => "of an endpoint",
        };
        write!(f, "{} {what} {of} are allowed", self.most)
    }
}

// === impl Limit ===

impl Limit {
    /// Its name, for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Adaptive => "adaptive",
            Self::Retries => "retries",
        }
    }
}

// === impl Scope ===

impl Scope {
    /// Its name, for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Endpoint => "endpoint",
        }
    }
}

// === impl UnderWay ===

impl UnderWay {
    /// Something was refused. At most once a second, over all workers, it says how often that was since it
    /// last said so: then it is to be told.
    pub fn overflowed(&self, now: Millis) -> Option<u32> {
        self.untold.fetch_add(1, Relaxed);
        let told = self.told.load(Relaxed);
        // 0 is never: the clock's first second is told, too.
        let due = told == 0 || now.0.saturating_sub(told - 1) >= TOLD_EVERY_MS;
        let first = due
            && self.told.compare_exchange(told, now.0.saturating_add(1), Relaxed, Relaxed).is_ok();
        first.then(|| self.untold.swap(0, Relaxed))
    }
}
