//! Monotonic time in the core's unit, and waiting for a moment of it.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use nodeway_core::balance::Millis;

/// The time of day, milliseconds since the epoch: for what other nodes read too.
pub fn wall_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Waits for this moment, or for ever.
pub async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}

/// Milliseconds since this clock was made; the same clock serves all workers.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts at zero now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// The time on this clock.
    pub fn now(&self) -> Millis {
        self.at(Instant::now())
    }

    /// `instant` on this clock.
    pub fn at(&self, instant: Instant) -> Millis {
        let elapsed = instant.saturating_duration_since(self.start);
        Millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }
}
