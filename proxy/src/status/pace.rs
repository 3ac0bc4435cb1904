//! How often something may be done: so many at once, and so many a second. Pure.

use std::time::{Duration, Instant};

/// A bucket of tokens.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    tokens: f64,
    most: f64,
    per_second: f64,
    at: Instant,
    /// Nothing is given out before.
    held: Instant,
}

/// A server that wants to be left alone is, for so long at least and at most.
const LEAST_HOLD: Duration = Duration::from_secs(1);
const MOST_HOLD: Duration = Duration::from_secs(30);

// === impl Bucket ===

impl Bucket {
    /// A full one.
    pub(super) fn new(most: u32, per_second: f64, now: Instant) -> Self {
        let most = f64::from(most);
        Self { tokens: most, most, per_second, at: now, held: now }
    }

    /// Takes one, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        self.fill(now);
        let any = self.tokens >= 1.0 && now >= self.held;
        if any {
            self.tokens -= 1.0;
        }
        any
    }

    /// When there is one.
    pub(super) fn ready(&mut self, now: Instant) -> Instant {
        self.fill(now);
        let missing = (1.0 - self.tokens).max(0.0);
        // A little later, lest rounding finds it not quite there.
        let there = match missing > 0.0 {
            true => now + Duration::from_secs_f64(missing / self.per_second + 0.001),
            false => now,
        };
        there.max(self.held)
    }

    /// Gives out nothing for about so long: it was asked for.
    pub(super) fn hold(&mut self, time: Duration, now: Instant) {
        self.held = self.held.max(now + time.clamp(LEAST_HOLD, MOST_HOLD));
    }

    /// Whether nothing has been taken for long.
    pub(super) fn is_full(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.tokens >= self.most
    }

    fn fill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + since * self.per_second).min(self.most);
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_a_pace() {
        let start = Instant::now();
        let mut bucket = Bucket::new(3, 2.0, start);
        let taken = |bucket: &mut Bucket, now| (0..10).filter(|_| bucket.take(now)).count();
        assert_eq!(taken(&mut bucket, start), 3);
        let ready = bucket.ready(start);
        assert!(ready > start && ready < start + Duration::from_millis(510));
        assert_eq!(taken(&mut bucket, ready), 1);
        assert_eq!(taken(&mut bucket, start + Duration::from_secs(100)), 3, "no more is saved up");
        assert!(!bucket.is_full(start + Duration::from_secs(101)));
        assert!(bucket.is_full(start + Duration::from_secs(102)));
    }

    #[test]
    fn while_it_is_held_nothing_is_given_out() {
        let start = Instant::now();
        for (asked, held) in [(0, 1), (7, 7), (3600, 30)] {
            let mut bucket = Bucket::new(3, 2.0, start);
            let end = start + Duration::from_secs(held);
            bucket.hold(Duration::from_secs(asked), start);
            assert_eq!(bucket.ready(start), end);
            assert!(!bucket.take(end - Duration::from_millis(1)) && bucket.take(end));
        }
    }
}
