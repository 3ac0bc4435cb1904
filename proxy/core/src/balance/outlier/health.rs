//! One endpoint's health: whether it is left out, and until when; since when it is new or back.
//!
//! What leaves it out is `judge`'s to say.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::reach::Reach;
use super::runs::Runs;
use crate::balance::Millis;
use crate::model::{HealthCheck, OutlierDetection, SlowStart};

/// So many times the length of a first ejection without another one takes one doubling back.
const DECAY: u64 = 6;
/// Doublings that are counted.
const MOST_LEVEL: u64 = 32;
/// In `checks`: found ill. The rest counts the results in a row that speak against what is believed.
const ILL: u32 = 1 << 31;
/// An ejection that is longer than it may be by no more than this is left as it is, milliseconds.
const SLACK_MS: u64 = 50;
/// In `since`: it is new, and nobody has said yet what time that is.
const JOINS: u64 = u64::MAX;

/// The health of one endpoint, shared by all workers.
#[derive(Debug, Default)]
pub(in crate::balance) struct Health {
    pub(super) runs: Runs,
    pub(super) reach: Reach,
    /// End of the last ejection (milliseconds, upper 56 bits) and its level (lower 8 bits; 0: none
    /// yet). One word, so that of several threads that see the last failure one alone ejects.
    ejection: AtomicU64,
    /// When it came, or comes, back or joined the others, milliseconds: its slow start. 0: it has been here
    /// from the beginning.
    since: AtomicU64,
    /// What active checks say.
    checks: AtomicU32,
}

/// An ejection that could begin now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Next {
    /// The word that it replaces.
    last: u64,
    pub(super) level: u64,
    pub(super) length_ms: u64,
    pub(super) until: u64,
}

// === impl Health ===

impl Health {
    /// Whether it is left out for neither reason.
    #[inline]
    pub(in crate::balance) fn usable(&self, now: Millis) -> bool {
        !self.ejected(now) && !self.ill()
    }

    /// Whether it is left out for what became of requests.
    #[inline]
    pub(in crate::balance) fn ejected(&self, now: Millis) -> bool {
        now.0 < self.until()
    }

    /// How long it still is, milliseconds.
    pub(in crate::balance) fn ejected_for(&self, now: Millis) -> Option<u64> {
        self.until().checked_sub(now.0).filter(|left| *left > 0)
    }

    /// Whether active checks have found it ill.
    #[inline]
    pub(in crate::balance) fn ill(&self) -> bool {
        self.checks.load(Relaxed) & ILL != 0
    }

    /// A response has ended as it should.
    #[inline]
    pub(in crate::balance) fn whole(&self) {
        self.runs.whole();
    }

    /// It joins others that have been here for longer.
    pub(in crate::balance) fn joins(&self) {
        self.since.store(JOINS, Relaxed);
    }

    /// The share of its weight that it gets now.
    pub(in crate::balance) fn ramp(&self, now: Millis, slow_start: &SlowStart) -> f32 {
        match self.since.load(Relaxed) {
            0 => 1.0,
            JOINS => f32::from(slow_start.least) / 100.0,
            // Its return is still to come: who uses it all the same uses all of it.
            since if now.0 < since => 1.0,
            since => slow_start.share(Duration::from_millis(now.0 - since)),
        }
    }

    /// End of the last ejection.
    pub(super) fn until(&self) -> u64 {
        self.ejection.load(Relaxed) >> 8
    }

    /// Which ejection the last one was.
    pub(super) fn repeat(&self) -> u32 {
        u32::try_from(self.ejection.load(Relaxed) & 0xff).unwrap_or(u32::MAX)
    }

    /// The ejection that would begin now; none while there is one.
    pub(super) fn next(&self, now: Millis, settings: &OutlierDetection) -> Option<Next> {
        let last = self.ejection.load(Relaxed);
        let (until, level) = (last >> 8, last & 0xff);
        let well_ms = now.0.checked_sub(until)?;
        let base = millis(settings.base_ejection).max(1);
        let most = millis(settings.max_ejection).max(base);
        let level = level.saturating_sub(well_ms / base.saturating_mul(DECAY));
        // What no longer doubles no longer counts up, or it would take as long to count down.
        let grows = |level: &u64| *level == 0 || base << (level - 1) < most;
        let level = level.min(MOST_LEVEL - 1);
        let level = if grows(&level) { level + 1 } else { level };
        let length_ms = (base << (level - 1)).min(most);
        Some(Next { last, level, length_ms, until: now.0.saturating_add(length_ms) })
    }

    /// Begins it, unless another worker has begun one since.
    pub(super) fn eject(&self, next: Next) -> bool {
        let word = next.until << 8 | next.level;
        if self.ejection.compare_exchange(next.last, word, Relaxed, Relaxed).is_err() {
            return false;
        }
        self.since.store(next.until, Relaxed);
        self.runs.out();
        true
    }

    /// Takes in one active check's verdict; `Some` with how many in a row led to it if that changes whether
    /// it is ill.
    pub(super) fn checked(&self, now: Millis, healthy: bool, check: &HealthCheck) -> Option<u32> {
        let next = |word: u32| {
            let ill = word & ILL;
            if healthy == (ill == 0) {
                return (ill, None);
            }
            let run = (word & !ILL).saturating_add(1).min(!ILL);
            let enough = if healthy { check.healthy } else { check.unhealthy };
            if run >= enough.get() { (ill ^ ILL, Some(run)) } else { (ill | run, None) }
        };
        let before = self.checks.load(Relaxed);
        if next(before).0 == before {
            return None;
        }
        let update = self.checks.fetch_update(Relaxed, Relaxed, |word| Some(next(word).0));
        let turned = next(update.unwrap_or_else(|word| word)).1?;
        if healthy {
            self.back(now);
            self.runs.clear();
        }
        Some(turned)
    }

    /// What active checks have said is forgotten.
    pub(super) fn forget_checks(&self, now: Millis) -> bool {
        let ill = self.checks.load(Relaxed) != 0 && self.checks.swap(0, Relaxed) & ILL != 0;
        if ill {
            self.back(now);
        }
        ill
    }

    /// Whether its ejection is over, and nothing has been heard of it since.
    pub(super) fn is_back(&self, now: Millis) -> bool {
        self.runs.was_out() && !self.ejected(now)
    }

    /// Brings it in line with settings that may be others than those that led to it, and says what time it
    /// is to those that have joined. Returns whether that shortens an ejection.
    pub(super) fn settle(&self, now: Millis, outliers: &OutlierDetection, checked: bool) -> bool {
        if self.since.load(Relaxed) == JOINS {
            let _ = self.since.compare_exchange(JOINS, now.0, Relaxed, Relaxed);
        }
        if !checked {
            self.forget_checks(now);
        }
        let last = self.ejection.load(Relaxed);
        let longest = if outliers.is_off() {
            0
        } else {
            millis(outliers.max_ejection).max(millis(outliers.base_ejection))
        };
        let until = now.0.saturating_add(longest);
        // Clocks of workers differ a little, and a moment too long is no reason to cut.
        if last >> 8 <= until.saturating_add(SLACK_MS) {
            return false;
        }
        let word = until << 8 | last & 0xff;
        let cut = self.ejection.compare_exchange(last, word, Relaxed, Relaxed).is_ok();
        if cut {
            self.since.store(until, Relaxed);
        }
        cut
    }

    /// It is used from now on; if it is ejected too, from the end of that.
    fn back(&self, now: Millis) {
        self.since.fetch_max(now.0, Relaxed);
    }

    /// Leaves it out without a reason.
    #[cfg(test)]
    pub(in crate::balance) fn leave_out(&self, until: Millis) {
        self.ejection.store(until.0 << 8 | 1, Relaxed);
    }
}

// === impl OutlierDetection ===

impl OutlierDetection {
    /// Whether it leaves nobody out.
    pub(super) fn is_off(&self) -> bool {
        let runs = [
            self.consecutive_5xx,
            self.consecutive_gateway_errors,
            self.consecutive_connect_failures,
        ];
        self.max_ejected == 0
            || (runs.iter().all(Option::is_none)
                && self.success_rate.is_none()
                && self.latency.is_none())
    }
}

// === impl SlowStart ===

impl SlowStart {
    /// The share of its weight that an endpoint gets so long after its start: Envoy's formula
    /// ("Slow start mode", its documentation of load balancing).
    fn share(&self, elapsed: Duration) -> f32 {
        let time = elapsed.as_secs_f32() / self.window.as_secs_f32();
        if time.is_nan() || time >= 1.0 {
            return 1.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "a curve's exponent")]
        let curve = 1000.0 / self.aggression.get() as f32;
        time.powf(curve).max(f32::from(self.least) / 100.0)
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
