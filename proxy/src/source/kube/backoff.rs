//! How long to wait after failures in a row.

use std::time::Duration;

/// Counts them, and takes its chance from the thread.
#[derive(Debug)]
pub(super) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
}

/// The wait after so many failures and one more: it doubles from `first` to `most`, and a random part of it
/// is left out (`chance` is from 0 to 1), so that thousands of nodes do not come back together.
pub(crate) fn back_off(first: Duration, most: Duration, failures: u32, chance: f64) -> Duration {
    let doubled = first.saturating_mul(1 << failures.min(20)).min(most);
    doubled.mul_f64(0.5 + chance / 2.0)
}

// === impl Backoff ===

impl Backoff {
    pub(super) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0 }
    }

    /// The next wait.
    pub(super) fn next(&mut self) -> Duration {
        let wait = back_off(self.first, self.most, self.failures, fastrand::f64());
        self.failures = self.failures.saturating_add(1);
        wait
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
            let bound = (first * (1 << i.min(10))).min(most);
            assert_eq!(back_off(first, most, i, 1.0), bound);
            assert_eq!(back_off(first, most, i, 0.0), bound / 2);
            let wait = backoff.next();
            assert!(wait >= bound / 2 && wait <= bound, "{i}: {wait:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= first);
    }
}
