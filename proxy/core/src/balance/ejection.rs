//! Ejection: an endpoint that fails several times in a row is left out for a while.
//!
//! Passive only (Envoy calls it outlier detection); readiness is Kubernetes' and stands above it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::Millis;

/// So many failures in a row eject. Envoy's and linkerd's defaults are 5 and 7: a single restart or
/// deploy shows fewer in a row to one client than a dead server does.
pub const FAILURES_TO_EJECT: u32 = 5;
/// The first ejection's length. Short: most failures are a restart.
const BASE_MS: u64 = 10_000;
/// The longest ejection. A server that comes back is found within five minutes.
const MAX_MS: u64 = 300_000;
/// After an ejection, each such span without another takes one doubling back.
const DECAY_MS: u64 = 60_000;
/// Ejections in a row after which the length no longer grows (10 s doubled five times passes 300 s).
const MAX_LEVEL: u64 = 6;

/// An endpoint has just been left out, and why: for the log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// Failures in a row that led to it.
    pub failures: u32,
    /// Which ejection this is since the endpoint was last well for long; the first is 1.
    pub repeat: u32,
    /// How long it is left out, milliseconds.
    pub length_ms: u64,
    /// When it is tried again.
    pub until: Millis,
}

/// The failures of one endpoint.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Failures since the last success.
    run: AtomicU32,
    /// Responses that were cut since the last whole one. Apart from the others: the head of the next one
    /// would end their run, and an endpoint that breaks off each of its responses would never be out.
    cuts: AtomicU32,
    /// End of the last ejection (milliseconds, upper 56 bits) and its level (lower 8 bits; 0: none
    /// yet). One word, so that of several threads that see the last failure one alone ejects.
    last: AtomicU64,
}

// === impl Health ===

impl Health {
    #[inline]
    pub(super) fn succeeded(&self) {
        if self.run.load(Relaxed) != 0 {
            self.run.store(0, Relaxed);
        }
    }

    #[inline]
    pub(super) fn ejected(&self, now: Millis) -> bool {
        now.0 < self.last.load(Relaxed) >> 8
    }

    pub(super) fn ejected_for(&self, now: Millis) -> Option<u64> {
        (self.last.load(Relaxed) >> 8).checked_sub(now.0).filter(|left| *left > 0)
    }

    #[inline]
    pub(super) fn whole(&self) {
        if self.cuts.load(Relaxed) != 0 {
            self.cuts.store(0, Relaxed);
        }
    }

    pub(super) fn failed(&self, now: Millis) -> Option<Ejection> {
        self.count(&self.run, now)
    }

    pub(super) fn cut(&self, now: Millis) -> Option<Ejection> {
        self.count(&self.cuts, now)
    }

    fn count(&self, run: &AtomicU32, now: Millis) -> Option<Ejection> {
        let last = self.last.load(Relaxed);
        let (until, level) = (last >> 8, last & 0xff);
        if now.0 < until {
            // What had begun before the ejection, or what went there because all are ejected.
            return None;
        }
        let failures = run.fetch_add(1, Relaxed).saturating_add(1);
        if failures < FAILURES_TO_EJECT {
            return None;
        }
        let well_ms = now.0 - until;
        let level = (level.saturating_sub(well_ms / DECAY_MS) + 1).min(MAX_LEVEL);
        let length_ms = (BASE_MS << (level - 1)).min(MAX_MS);
        let until = now.0.saturating_add(length_ms);
        self.last.compare_exchange(last, until << 8 | level, Relaxed, Relaxed).ok()?;
        self.run.store(0, Relaxed);
        self.cuts.store(0, Relaxed);
        let repeat = u32::try_from(level).unwrap_or(u32::MAX);
        Some(Ejection { failures, repeat, length_ms, until: Millis(until) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fail(health: &Health, times: u32, now: u64) -> Option<Ejection> {
        (0..times).filter_map(|_| health.failed(Millis(now))).last()
    }

    #[test]
    fn the_fifth_failure_in_a_row_ejects_for_ten_seconds() {
        let health = Health::default();
        assert_eq!(fail(&health, 4, 1_000), None);
        assert!(!health.ejected(Millis(1_000)));
        let ejection = health.failed(Millis(1_000)).unwrap();
        assert_eq!((ejection.failures, ejection.repeat, ejection.length_ms), (5, 1, 10_000));
        assert_eq!(ejection.until, Millis(11_000));
        assert!(health.ejected(Millis(10_999)));
        assert!(!health.ejected(Millis(11_000)));
    }

    #[test]
    fn a_success_ends_the_run() {
        let health = Health::default();
        for _ in 0..10 {
            assert_eq!(fail(&health, 4, 0), None);
            health.succeeded();
        }
    }

    #[test]
    fn responses_that_are_cut_eject_although_their_heads_were_good() {
        let health = Health::default();
        let cut = |now| {
            health.succeeded();
            health.cut(Millis(now))
        };
        assert_eq!((0..4).filter_map(|_| cut(0)).count(), 0);
        health.whole();
        assert_eq!((0..4).filter_map(|_| cut(0)).count(), 0, "a whole one ends the run");
        assert!(cut(0).is_some() && health.ejected(Millis(0)));
    }

    #[test]
    fn failures_of_requests_already_under_way_do_not_lengthen_it() {
        let health = Health::default();
        assert!(fail(&health, 5, 0).is_some());
        assert_eq!(fail(&health, 100, 9_999), None);
        assert!(!health.ejected(Millis(10_000)));
        assert_eq!(fail(&health, 4, 10_000), None);
    }

    #[test]
    fn each_further_ejection_doubles_up_to_five_minutes() {
        let health = Health::default();
        let mut now = 0;
        let mut lengths = Vec::new();
        for _ in 0..8 {
            let ejection = fail(&health, 5, now).unwrap();
            lengths.push(ejection.length_ms / 1000);
            now = ejection.until.0;
        }
        assert_eq!(lengths, [10, 20, 40, 80, 160, 300, 300, 300]);
    }

    #[test]
    fn being_well_takes_doublings_back() {
        let health = Health::default();
        let first = fail(&health, 5, 0).unwrap();
        let second = fail(&health, 5, first.until.0).unwrap();
        let third = fail(&health, 5, second.until.0).unwrap();
        assert_eq!(third.repeat, 3);
        let fourth = fail(&health, 5, third.until.0 + 2 * DECAY_MS).unwrap();
        assert_eq!((fourth.repeat, fourth.length_ms), (2, 20_000));
        let fifth = fail(&health, 5, fourth.until.0 + 100 * DECAY_MS).unwrap();
        assert_eq!(fifth.repeat, 1);
    }

    #[test]
    fn of_many_threads_one_reports_the_ejection() {
        for _ in 0..50 {
            let health = Health::default();
            let reports: usize = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| (0..100).filter_map(|_| health.failed(Millis(1))).count())
                    })
                    .collect();
                threads.into_iter().map(|t| t.join().unwrap()).sum()
            });
            assert_eq!(reports, 1);
        }
    }
}
