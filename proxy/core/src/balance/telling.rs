//! How often what goes wrong with a backend is told, and what has been told.
//!
//! Not in which words: that is the data plane's.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::{Backend, Family, Millis, Pace};

/// Goes with a backend as long as it lasts.
#[derive(Debug, Default)]
pub struct Telling {
    /// That endpoints are left out and come back.
    pub health: Pace,
    /// That attempts fail.
    pub failures: Pace,
    /// That all are used: health that comes and goes every second is not told every second.
    panic: Pace<2, 10_000>,
    panics: AtomicBool,
}

// === impl Backend, what is told of it ===

impl Backend {
    /// What has been told of it.
    pub fn telling(&self) -> &Telling {
        &self.lasting().telling
    }

    /// Whether so few of its endpoints are usable now that all are used, also if nobody asks for one: for
    /// callers of one family at least. Not for the common path.
    pub fn panicking_at(&self, now: Millis) -> bool {
        [None, Some(Family::V4), Some(Family::V6)]
            .into_iter()
            .any(|family| self.panics_for(family, now))
    }

    /// Whether all of its endpoints are used, whatever their health, if that has changed: this call
    /// alone says so. What changes too often is told later, if it is still so then.
    pub fn panic_turned(&self, now: Millis) -> Option<bool> {
        let panics = self.panicking_at(now);
        let told = &self.telling();
        if told.panics.load(Relaxed) == panics || told.panic.turn(now).is_none() {
            return None;
        }
        (told.panics.swap(panics, Relaxed) != panics).then_some(panics)
    }
}
