//! How current a source's state is.

use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Shared by a source, which says when it loses and finds touch with what it reads, and by the metrics.
#[derive(Debug)]
pub struct Health {
    /// Since when the state may be old; none while it is current.
    since: Mutex<Option<Instant>>,
}

// === impl Health ===

impl Health {
    /// Of a source that has read nothing yet.
    pub fn new() -> Self {
        Self { since: Mutex::new(Some(Instant::now())) }
    }

    /// The state is no longer known to be current.
    pub(super) fn lost(&self) {
        self.with(|since| {
            since.get_or_insert_with(Instant::now);
        });
    }

    /// The state is current; how old it was.
    pub(super) fn found(&self) -> Duration {
        self.with(|since| since.take().map_or(Duration::ZERO, |since| since.elapsed()))
    }

    /// How old the state may be; zero while it is current.
    pub fn age(&self) -> Duration {
        self.with(|since| since.map_or(Duration::ZERO, |since| since.elapsed()))
    }

    fn with<T>(&self, f: impl FnOnce(&mut Option<Instant>) -> T) -> T {
        // A panic elsewhere leaves the value as good as it was.
        f(&mut self.since.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}
