//! How often something is told that may happen a million times a second.
//!
//! Not what: whoever tells it asks first.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Millis;

/// Lets a few through at once after a quiet time, for these are the first to say what has happened, then one
/// in so long, and counts the others; for all threads together.
///
/// The generic cell rate algorithm (ITU-T I.371, annex A): one word, no lock.
#[derive(Debug, Default)]
pub struct Pace<const BURST: u64 = 5, const EVERY_MS: u64 = 1_000> {
    /// When all that was told would have been told at one in so long.
    due: AtomicU64,
    missed: AtomicU64,
}

// === impl Pace ===

impl<const BURST: u64, const EVERY_MS: u64> Pace<BURST, EVERY_MS> {
    /// If it may be told now: how many were not since the last one that was.
    pub fn turn(&self, now: Millis) -> Option<u64> {
        let next = |due: u64| {
            let due = due.max(now.0) + EVERY_MS;
            (due <= now.0 + BURST * EVERY_MS).then_some(due)
        };
        if self.due.fetch_update(Relaxed, Relaxed, next).is_err() {
            self.missed.fetch_add(1, Relaxed);
            return None;
        }
        Some(self.missed.swap(0, Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_told_at_once_then_one_a_second_and_none_is_lost() {
        let pace: Pace = Pace::default();
        let mut told = Vec::new();
        let mut missed = 0;
        for ms in 0..10_000 {
            if let Some(more) = pace.turn(Millis(50_000 + ms)) {
                told.push(ms);
                missed += more;
            }
        }
        assert_eq!(told[..6], [0, 1, 2, 3, 4, 1_000]);
        assert_eq!(told.len(), 14);
        assert_eq!(missed + pace.missed.load(Relaxed), 10_000 - 14);
        assert_eq!((0..10).filter_map(|_| pace.turn(Millis(90_000))).count(), 5);
    }

    #[test]
    fn of_many_threads_as_many_get_a_turn_as_of_one() {
        let pace: Pace = Pace::default();
        let told: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..1000).filter_map(|_| pace.turn(Millis(1))).count()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(told, 5);
    }
}
