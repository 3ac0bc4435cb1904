//! Leaving an endpoint out after failures in a row, for longer each time.
//!
//! The scheme is Envoy's outlier detection by consecutive errors, with ejection times that double
//! instead of growing by one base interval.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::Millis;

/// So many failures in a row and an endpoint is left out.
pub const FAILURES_TO_EJECT: u32 = 5;
/// How long, the first time.
const BASE_MILLIS: u64 = 10_000;
/// How long, at most.
const MAX_MILLIS: u64 = 300_000;
/// An endpoint that has been in for so long since its last ejection starts again at the base.
const FORGIVE_MILLIS: u64 = 300_000;

/// An endpoint was left out, and the numbers that caused it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row.
    pub failures: u32,
    /// For how long, in milliseconds.
    pub for_millis: u64,
    /// How many times in a row, this one included.
    pub times: u32,
}

/// What is remembered of an endpoint's failures. Shared by all workers; exact to within a race of
/// two failures at the same moment.
#[derive(Debug, Default)]
pub(super) struct Failures {
    in_a_row: AtomicU32,
    /// Milliseconds; 0: never left out.
    out_until: AtomicU64,
    times: AtomicU32,
}

impl Failures {
    pub(super) fn succeeded(&self) {
        // The common case touches nothing.
        if self.in_a_row.load(Ordering::Relaxed) != 0 {
            self.in_a_row.store(0, Ordering::Relaxed);
        }
    }

    pub(super) fn failed(&self, now: Millis) -> Option<Ejection> {
        let failures = self.in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if failures < FAILURES_TO_EJECT {
            return None;
        }
        let until = self.out_until.load(Ordering::Relaxed);
        if now.0 < until {
            return None;
        }
        let forgiven = until == 0 || now.0 - until > FORGIVE_MILLIS;
        let times = if forgiven { 1 } else { self.times.load(Ordering::Relaxed).saturating_add(1) };
        let doublings = times.saturating_sub(1).min(16);
        let for_millis = (BASE_MILLIS << doublings).min(MAX_MILLIS);
        // Of several workers that see the same failure one tells the story.
        let won = self
            .out_until
            .compare_exchange(until, now.0 + for_millis, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        if !won {
            return None;
        }
        self.times.store(times, Ordering::Relaxed);
        self.in_a_row.store(0, Ordering::Relaxed);
        Some(Ejection { failures, for_millis, times })
    }

    pub(super) fn out(&self, now: Millis) -> bool {
        now.0 < self.out_until.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail_five(failures: &Failures, now: u64) -> Option<Ejection> {
        (0..FAILURES_TO_EJECT).filter_map(|_| failures.failed(Millis(now))).last()
    }

    #[test]
    fn the_fifth_failure_in_a_row_leaves_out_for_ten_seconds_then_twenty() {
        let failures = Failures::default();
        for _ in 0..4 {
            assert_eq!(failures.failed(Millis(1)), None);
        }
        failures.succeeded();
        assert_eq!(fail_five(&failures, 1).unwrap().for_millis, 10_000);
        assert!(failures.out(Millis(10_000)) && !failures.out(Millis(10_001)));
        let second = fail_five(&failures, 20_000).unwrap();
        assert_eq!((second.for_millis, second.times, second.failures), (20_000, 2, 5));
    }

    #[test]
    fn a_long_good_time_is_forgiving_and_the_time_out_has_a_cap() {
        let failures = Failures::default();
        let mut now = 1;
        for _ in 0..20 {
            let ejection = fail_five(&failures, now).unwrap();
            assert!(ejection.for_millis <= MAX_MILLIS);
            now += ejection.for_millis;
        }
        assert_eq!(fail_five(&failures, now + FORGIVE_MILLIS + 1).unwrap().for_millis, BASE_MILLIS);
    }

    #[test]
    fn an_ejection_is_told_once() {
        let failures = Failures::default();
        let told = (0..50).filter(|_| failures.failed(Millis(7)).is_some()).count();
        assert_eq!(told, 1);
    }
}
