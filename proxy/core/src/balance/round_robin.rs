//! Each in turn, over all workers.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct RoundRobin {
    next: AtomicUsize,
}

impl RoundRobin {
    /// The index of the next of `n`; `None` if there are none.
    pub(super) fn next(&self, n: usize) -> Option<usize> {
        self.next.fetch_add(1, Ordering::Relaxed).checked_rem(n)
    }
}
