//! How long an endpoint takes to answer: a moving average that follows a peak at once.
//!
//! Peak-EWMA as Finagle has it (`com.twitter.finagle.loadbalancer.p2c.PeakEwma`) and Linkerd after it: an
//! answer that took longer than the average is the average from now on; quicker ones lower it by and by;
//! and it falls by itself, so that an endpoint that nobody dares to ask is asked again in the end. Beyond
//! both, an endpoint that answers fast because it fails is not taken for a fast one.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::Millis;

/// In so long an average falls to 1/e of what it was, milliseconds. Finagle's and Linkerd's default.
const DECAY_MS: f32 = 10_000.0;
/// What an endpoint counts that has failed and never answered, microseconds: as slow as it takes that one of
/// a quick fleet's is asked again in a quarter of a minute, and no longer.
const FAILING_US: f32 = 20_000.0;
/// How much more an endpoint counts that does nothing but fail.
const BLAME: f32 = 31.0;
/// Latencies below this are as good as this, microseconds: what they differ by is this machine's noise.
const NOISE_US: f32 = 1_000.0;
/// Another worker, or another report of the same moment, may be ahead by no more than this, milliseconds:
/// beyond it what looks like the time to come is a time so long ago that its clock has gone round.
const AHEAD_MS: u32 = 5_000;
/// More than any latency.
const UNKNOWN_US: f32 = 1e12;

/// One endpoint's latency as this node sees it, for all workers.
#[derive(Debug, Default)]
pub(super) struct Latency {
    /// The average, microseconds (upper half, an `f32`), and when it was that (lower half, milliseconds, of
    /// which the lower 32 bits). 0: nothing is known. One word, so that workers agree without a lock.
    average: AtomicU64,
    /// How large a part of its answers of late were failures (upper half, of 65 535), and when that was so
    /// (lower half, in 256 milliseconds). 0: none.
    failing: AtomicU32,
}

/// A moving average that makes no more of peaks than of other latencies: of many endpoints together.
#[derive(Debug, Default)]
pub(super) struct Mean {
    /// As [`Latency::average`].
    average: AtomicU64,
}

// === impl Mean ===

impl Mean {
    /// One of them has answered after so long.
    pub(super) fn observe(&self, after: Duration, now: Millis) {
        let us = (after.as_secs_f32() * 1e6).max(1.0);
        let known = self.average.load(Relaxed);
        let (average, passed) = parts(known, now);
        let next = match (known, passed) {
            (0, _) => us,
            (_, 0) => return,
            _ => average * kept(passed) + us * (1.0 - kept(passed)),
        };
        // If another worker was quicker, that is the sample of this moment.
        let _ = self.average.compare_exchange(known, word(next, now), Relaxed, Relaxed);
    }

    /// The average, microseconds, fading with the time since the last answer.
    pub(super) fn us(&self, now: Millis) -> Option<f32> {
        match self.average.load(Relaxed) {
            0 => None,
            word => Some(decayed(word, now)),
        }
    }
}

// === impl Latency ===

impl Latency {
    /// It has answered after so long.
    #[inline]
    pub(super) fn answered(&self, after: Duration, now: Millis) {
        self.observe(after, now, false);
        self.well(now);
    }

    /// It has answered; after how long is not its own doing.
    #[inline]
    pub(super) fn well(&self, now: Millis) {
        if self.failing.load(Relaxed) != 0 {
            // Some thirty good answers make up for one failure in a few.
            self.blame(now, |share| share * (31.0 / 32.0));
        }
    }

    /// It has failed; after so long, if it has said so itself.
    pub(super) fn failed(&self, after: Option<Duration>, now: Millis) {
        if let Some(after) = after {
            self.observe(after, now, true);
        }
        self.blame(now, |share| share + (1.0 - share) / 4.0);
    }

    /// What one more request there costs, in microseconds of waiting: the average, once for the request
    /// and once for each of the load's. A new endpoint is asked at once, and no second time before it has
    /// answered: it is neither left waiting nor buried (Finagle's penalty).
    #[inline]
    pub(super) fn cost(&self, load: f32, now: Millis) -> f32 {
        let blame = match self.failing.load(Relaxed) {
            0 => 0.0,
            word => share_of(word, now),
        };
        let us = match self.average.load(Relaxed) {
            0 if blame > 0.0 => FAILING_US * blame,
            0 if load > 0.0 => UNKNOWN_US,
            0 => return 0.0,
            word => decayed(word, now).max(NOISE_US),
        };
        // Squared: of the odd failure, which any server has, little is made.
        us * (1.0 + load) * (1.0 + BLAME * blame * blame)
    }

    /// The average now, microseconds.
    pub(super) fn us(&self, now: Millis) -> Option<f32> {
        match self.average.load(Relaxed) {
            0 => None,
            word => Some(decayed(word, now)),
        }
    }

    /// Its failures are forgotten.
    pub(super) fn forgive(&self) {
        self.failing.store(0, Relaxed);
    }

    fn observe(&self, after: Duration, now: Millis, only_peaks: bool) {
        let us = (after.as_secs_f32() * 1e6).max(1.0);
        let mut known = self.average.load(Relaxed);
        loop {
            let (average, passed) = parts(known, now);
            let next = if us > average && !(known == 0 && only_peaks) {
                us
            } else if passed == 0 || only_peaks {
                // Of those that come in the same millisecond one is enough.
                return;
            } else {
                let keep = kept(passed);
                average * keep + us * (1.0 - keep)
            };
            match self.average.compare_exchange_weak(known, word(next, now), Relaxed, Relaxed) {
                Ok(_) => return,
                Err(other) => known = other,
            }
        }
    }

    fn blame(&self, now: Millis, change: impl Fn(f32) -> f32) {
        let next = |word| {
            let share = change(share_of(word, now)).clamp(0.0, 1.0);
            #[expect(clippy::cast_possible_truncation, reason = "it is at most 65 535")]
            let share = (share * 65_535.0) as u32;
            Some(if share == 0 { 0 } else { share << 16 | quarter(now) })
        };
        // It does nothing but what `next` wants.
        let _ = self.failing.fetch_update(Relaxed, Relaxed, next);
    }
}

/// The lower 16 bits of the time, in 256 milliseconds.
fn quarter(now: Millis) -> u32 {
    u32::try_from(now.0 >> 8 & 0xffff).unwrap_or(0)
}

fn share_of(word: u32, now: Millis) -> f32 {
    let passed = quarter(now).wrapping_sub(word) & 0xffff;
    let passed = if passed > 0xffff - (AHEAD_MS >> 8) { 0 } else { passed << 8 };
    (word >> 16) as f32 / 65_535.0 * kept(passed)
}

fn word(us: f32, now: Millis) -> u64 {
    u64::from(us.to_bits()) << 32 | now.0 & 0xffff_ffff
}

/// The average, and how many milliseconds ago it was that.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "both halves are meant")]
fn parts(word: u64, now: Millis) -> (f32, u32) {
    let passed = (now.0 as u32).wrapping_sub(word as u32);
    let passed = if passed > u32::MAX - AHEAD_MS { 0 } else { passed };
    (f32::from_bits((word >> 32) as u32), passed)
}

#[inline]
fn decayed(word: u64, now: Millis) -> f32 {
    let (average, passed) = parts(word, now);
    if passed == 0 { average } else { average * kept(passed) }
}

#[inline]
fn kept(passed_ms: u32) -> f32 {
    (passed_ms as f32 / -DECAY_MS).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn us(latency: &Latency, now: u64) -> u32 {
        #[expect(clippy::cast_possible_truncation, reason = "it is small")]
        let us = latency.us(Millis(now)).unwrap() as u32;
        us
    }

    #[test]
    fn it_follows_a_peak_at_once_and_forgets_it_by_and_by() {
        let latency = Latency::default();
        assert_eq!(latency.us(Millis(0)), None);
        latency.answered(5 * MS, Millis(100));
        assert_eq!(us(&latency, 100), 5_000);
        latency.answered(50 * MS, Millis(100));
        assert_eq!(us(&latency, 100), 50_000, "a peak");
        for now in 101..=10_100 {
            latency.answered(5 * MS, Millis(now));
        }
        // 5 + 45 / e
        assert!((21_300..21_800).contains(&us(&latency, 10_100)), "{}", us(&latency, 10_100));
        assert!((2_800..3_000).contains(&us(&latency, 30_100)), "nobody has asked for 20 s");
    }

    #[test]
    fn a_new_one_is_asked_once_until_it_has_answered() {
        let latency = Latency::default();
        let known = Latency::default();
        known.answered(MS, Millis(0));
        assert!(latency.cost(0.0, Millis(0)) < known.cost(0.0, Millis(0)));
        assert!(latency.cost(1.0, Millis(0)) > known.cost(1000.0, Millis(0)));
    }

    #[test]
    fn failing_fast_is_not_fast() {
        let (good, bad, new) = (Latency::default(), Latency::default(), Latency::default());
        new.failed(None, Millis(0));
        assert!(new.cost(0.0, Millis(0)) > FAILING_US / 4.0);
        for now in 0..100 {
            good.answered(10 * MS, Millis(now));
            bad.answered(10 * MS, Millis(now));
        }
        for now in 100..110 {
            bad.failed(Some(MS / 10), Millis(now));
        }
        let cost = |of: &Latency, now| of.cost(0.0, Millis(now));
        assert!(cost(&bad, 110) > 20.0 * cost(&good, 110));
        assert!(cost(&bad, 120_000) < cost(&good, 110), "it is asked again in the end");
        for now in 110..400 {
            bad.answered(10 * MS, Millis(now));
        }
        assert!(cost(&bad, 400) < 1.1 * cost(&good, 400), "it has made up for it");
    }

    #[test]
    fn the_odd_failure_costs_little() {
        let latency = Latency::default();
        for now in 0..1_000 {
            latency.answered(MS, Millis(now));
            if now % 100 == 0 {
                latency.failed(Some(MS), Millis(now));
            }
        }
        assert!(latency.cost(0.0, Millis(1_000)) < 2_000.0);
    }

    #[test]
    fn a_clock_that_goes_back_a_little_or_round_changes_nothing() {
        let latency = Latency::default();
        latency.answered(10 * MS, Millis(1_000));
        assert_eq!(us(&latency, 990), 10_000);
        let wraps = Latency::default();
        wraps.answered(10 * MS, Millis(0xffff_fff0));
        assert!((9_900..10_000).contains(&us(&wraps, 0x1_0000_0010)));
    }

    #[test]
    fn what_was_long_ago_stays_so() {
        const HOUR: u64 = 3_600_000;
        let latency = Latency::default();
        latency.answered(10 * MS, Millis(1_000));
        (0..20).for_each(|_| latency.failed(None, Millis(1_000)));
        let blame = |now| {
            let now = Millis(now);
            latency.cost(0.0, now) / latency.us(now).unwrap_or(1.0)
        };
        assert!(blame(1_000) > 20.0 && blame(0) > 20.0);
        for tenths in 1..46 {
            let now = 1_000 + tenths * HOUR / 10;
            let share = share_of(latency.failing.load(Relaxed), Millis(now));
            assert!(share < 0.001, "{tenths} tenths of an hour: {share}");
        }
        for days in 1..49 {
            assert!(us(&latency, 1_000 + days * 24 * HOUR) == 0, "{days} days");
        }
    }

    #[test]
    fn workers_come_to_one_average() {
        let latency = Latency::default();
        std::thread::scope(|scope| {
            for worker in 1..=4 {
                let latency = &latency;
                scope.spawn(move || {
                    (0..10_000).for_each(|i| latency.answered(MS * worker, Millis(i / 100)));
                });
            }
        });
        assert!((3_900..=4_000).contains(&us(&latency, 99)), "the peak of them, a little decayed");
    }
}
