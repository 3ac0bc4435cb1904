//! How long to wait after failures in a row.

use std::time::Duration;

/// Doubles from `first` to `most`; a random part of each wait is left out, so that thousands of nodes do
/// not come back together.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

// === impl Backoff ===

impl Backoff {
    pub(super) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0 }
    }

    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.failures.min(16)).min(self.most);
        self.failures = self.failures.saturating_add(1);
        doubled.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_a_bound_and_begin_anew() {
        let (first, most) = (Duration::from_millis(200), Duration::from_secs(30));
        let mut backoff = Backoff::new(first, most);
        for i in 0..100 {
            let wait = backoff.next();
            let bound = (first * (1 << i.min(10))).min(most);
            assert!(wait >= bound / 2 && wait <= bound, "{i}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= first);
    }
}
