//! Which clients have reached an endpoint of late.
//!
//! Not what follows from a client's failing to: that is `judge`'s to say.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::balance::Millis;

/// So long is a window, as a power of 2 in milliseconds; this one and the one before it are looked at: some
/// ten seconds.
const WINDOW: u32 = 13;
/// Clients have so many marks. Two that share one pass for one client, which makes failures count less or more
/// than they should, of one pair in so many.
const MARKS: u64 = 48;
const ALL: u64 = (1 << MARKS) - 1;

/// The clients that an endpoint has answered, or taken a connection of, in two windows. A client that is known
/// costs an answer one look.
#[derive(Debug, Default)]
pub(super) struct Reach {
    /// By the window's number: that number (upper bits), and a mark for each client.
    windows: [AtomicU64; 2],
}

// === impl Reach ===

impl Reach {
    /// `client` has reached it.
    #[inline]
    pub(super) fn reached(&self, client: u64, now: Millis) {
        let word = &self.windows[usize::from(now.0 >> WINDOW & 1 == 1)];
        let (number, mark, known) = (number(now.0 >> WINDOW), mark(client), word.load(Relaxed));
        if known & !ALL != number || known & mark == 0 {
            let marked = |known: u64| {
                let marks = if known & !ALL == number { known & ALL } else { 0 };
                Some(number | marks | mark)
            };
            // It does nothing but what `marked` wants.
            let _ = word.fetch_update(Relaxed, Relaxed, marked);
        }
    }

    /// Whether `client` itself has reached it of late, and whether others have.
    pub(super) fn of_late(&self, client: u64, now: Millis) -> (bool, bool) {
        let mut marks = 0;
        for window in [now.0 >> WINDOW, (now.0 >> WINDOW).wrapping_sub(1)] {
            let known = self.windows[usize::from(window & 1 == 1)].load(Relaxed);
            if known & !ALL == number(window) {
                marks |= known & ALL;
            }
        }
        let own = mark(client);
        (marks & own != 0, marks & !own != 0)
    }
}

/// A window's number, where it stands in a word; a word that says nothing has no number and no marks.
fn number(window: u64) -> u64 {
    window << MARKS
}

fn mark(client: u64) -> u64 {
    1 << (super::spread(client) % MARKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_reached_it_is_known_for_some_ten_seconds_and_not_for_ever() {
        for start in [0, 5_000, (1 << 29) - 1, u64::from(u32::MAX) << 13] {
            let reach = Reach::default();
            assert_eq!(reach.of_late(1, Millis(start)), (false, false));
            reach.reached(1, Millis(start));
            for passed in [0, 1, 4_000, 8_191] {
                let now = Millis(start + passed);
                assert_eq!(
                    (reach.of_late(1, now), reach.of_late(2, now)),
                    ((true, false), (false, true))
                );
            }
            reach.reached(2, Millis(start + 9_000));
            assert!(reach.of_late(2, Millis(start + 9_000)).0);
            let later = Millis(start + 17_000);
            assert!(!reach.of_late(1, later).0 && reach.of_late(1, later).1);
            assert_eq!(reach.of_late(1, Millis(start + 26_000)), (false, false));
        }
    }
}
