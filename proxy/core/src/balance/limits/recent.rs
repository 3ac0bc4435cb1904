//! How many there have been lately, by any number of threads, without a lock and without a task that
//! forgets.
//!
//! Time is cut into slots; a slot says which one it is and how many fell into it, in one word, so that who
//! finds it to be an old one makes it new in the same step.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::balance::Millis;

/// The finer, the less of the oldest is forgotten too early: a tenth of the span here.
const SLOTS: usize = 10;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Recent([AtomicU64; SLOTS]);

/// Which slot a moment belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slot(u32);

// === impl Recent ===

impl Recent {
    /// One more now; the sum is over `span_ms`.
    pub(super) fn add(&self, now: Millis, span_ms: u64) -> Slot {
        let slot = Slot::at(now, span_ms);
        // The closure always gives a value.
        let _ = self.0[slot.place()].fetch_update(Relaxed, Relaxed, |word| {
            let (of, count) = unpack(word);
            let count = if of == slot { count } else { 0 };
            Some(pack(slot, count.saturating_add(1)))
        });
        slot
    }

    /// What was added to `slot` last was none.
    pub(super) fn undo(&self, slot: Slot) {
        // A slot that has become another has forgotten it already.
        let _ = self.0[slot.place()].fetch_update(Relaxed, Relaxed, |word| {
            let (of, count) = unpack(word);
            (of == slot && count > 0).then(|| pack(slot, count - 1))
        });
    }

    /// How many in the `span_ms` until now.
    pub(super) fn sum(&self, now: Millis, span_ms: u64) -> u64 {
        let last = Slot::at(now, span_ms);
        let counts = self.0.iter().map(|word| {
            let (of, count) = unpack(word.load(Relaxed));
            let age = last.0.wrapping_sub(of.0);
            if (age as usize) < SLOTS { u64::from(count) } else { 0 }
        });
        counts.sum()
    }
}

fn pack(slot: Slot, count: u32) -> u64 {
    u64::from(slot.0) << 32 | u64::from(count)
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is what is wanted")]
fn unpack(word: u64) -> (Slot, u32) {
    (Slot((word >> 32) as u32), word as u32)
}

// === impl Slot ===

impl Slot {
    #[expect(clippy::cast_possible_truncation, reason = "numbers of slots come round")]
    fn at(now: Millis, span_ms: u64) -> Self {
        let each = (span_ms / SLOTS as u64).max(1);
        Self((now.0 / each) as u32)
    }

    fn place(self) -> usize {
        self.0 as usize % SLOTS
    }
}
