//! A limit on what is under way that finds itself: where latency begins to grow, requests only wait longer.
//!
//! The gradient algorithm of Netflix's concurrency-limits (`Gradient2Limit`) and of Envoy's adaptive
//! concurrency filter: from one window to the next the limit is multiplied by the ratio of the latency without
//! load to the latency now, and may grow by its own square root. As in BBR's search for the least round trip
//! (Cardwell et al., "BBR: Congestion-Based Congestion Control", ACM Queue 14(5), 2016) the latency without
//! load is the least of some time, and measured anew, with half the limit, only if it has not been met again
//! for so long, and at the start; if answers then come clearly sooner, that half is the limit, and it is
//! measured again. Netflix's average follows a backend that stays overloaded, and Envoy goes down to a handful of
//! requests each time. A limit that nobody comes near does not grow, for nothing is learnt there.
//!
//! Not what counts as under way: that is `active`.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::counts::UnderWay;
use crate::balance::{Backend, Millis, Report};
use crate::model::AdaptiveConcurrency;

/// A window lasts as long at least, and as long as two answers take, so that it hears what the last change
/// has done.
const WINDOW_MS: u64 = 100;
/// It has so many samples at least,
const WINDOW_SAMPLES: u32 = 20;
/// unless it has lasted so long: what is so seldom asked needs no limit.
const WINDOW_MOST_MS: u64 = 10_000;
/// The latency without load is measured anew if it has not been met for so long.
const BASELINE_MS: u64 = 30_000;
/// What a backend starts from that nobody knows yet.
const START: u32 = 100;
/// A latency is clearly less that is less than this share of another.
const SOONER: f64 = 0.9;
/// In one window it falls to this share at most.
const STEEPEST: f64 = 0.5;

/// See the module. One worker turns the window; what others add meanwhile counts here or there.
#[derive(Debug)]
pub(super) struct Gradient {
    /// A float's bits.
    limit: AtomicU64,
    /// Requests that may be under way now.
    allowed: AtomicU32,
    window: Window,
    /// The latency without load, microseconds; 0 if not known.
    baseline: AtomicU64,
    /// When it was last met.
    baseline_at: AtomicU64,
    /// See [`Probe`].
    probe: AtomicU32,
}

/// What has been seen since it began.
#[derive(Debug, Default)]
struct Window {
    /// When it began, milliseconds.
    start: AtomicU64,
    samples: AtomicU32,
    /// Of latencies, microseconds.
    sum: AtomicU64,
    /// The most that were under way.
    most: AtomicU32,
    /// The mean latency of the one before, microseconds.
    mean_before: AtomicU64,
}

/// How far the latency without load is measured anew.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Probe {
    /// It is known.
    No,
    /// What waits at the endpoints is answered first.
    Settling,
    /// This window's is it.
    Measuring,
}

// === impl Backend ===

impl Backend {
    /// Takes in how long an answer took, if its limit goes by that. An error may be quick without any
    /// request's having been served.
    #[inline]
    pub(in crate::balance) fn learn_limit(&self, now: Millis, report: Report) {
        let Some(settings) = &self.settings().limits.adaptive else { return };
        if let Report::Answered { status, latency: Some(latency) } = report
            && status < 500
        {
            let under_way = self.lasting().under_way();
            under_way.adaptive(settings).sample(now, latency, under_way.active(), settings);
        }
    }
}

// === impl UnderWay ===

impl UnderWay {
    pub(super) fn adaptive(&self, settings: &AdaptiveConcurrency) -> &Gradient {
        self.gradient.get_or_init(|| Box::new(Gradient::new(settings)))
    }
}

// === impl Gradient ===

impl Gradient {
    fn new(settings: &AdaptiveConcurrency) -> Self {
        let start = START.min(settings.most.get()).max(settings.least.get());
        Self {
            limit: AtomicU64::new(f64::from(start).to_bits()),
            allowed: AtomicU32::new(start),
            window: Window::default(),
            baseline: AtomicU64::new(0),
            baseline_at: AtomicU64::new(0),
            probe: AtomicU32::new(Probe::No as u32),
        }
    }

    /// So many may be under way.
    #[inline]
    pub(super) fn limit(&self) -> u32 {
        self.allowed.load(Relaxed)
    }

    fn sample(&self, now: Millis, latency: Duration, active: u32, settings: &AdaptiveConcurrency) {
        let window = &self.window;
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).clamp(1, 1 << 40);
        window.sum.fetch_add(micros, Relaxed);
        window.most.fetch_max(active, Relaxed);
        let samples = window.samples.fetch_add(1, Relaxed) + 1;
        let start = window.start.load(Relaxed);
        if start == 0 {
            // The first of all, whoever it is.
            let _ = window.start.compare_exchange(0, now.0.max(1), Relaxed, Relaxed);
            return;
        }
        let age = now.0.saturating_sub(start);
        let two_answers = 2 * window.mean_before.load(Relaxed) / 1_000;
        let over = age >= WINDOW_MS.max(two_answers) && samples >= WINDOW_SAMPLES;
        if !over && age < WINDOW_MOST_MS {
            return;
        }
        if window.start.compare_exchange(start, now.0.max(1), Relaxed, Relaxed).is_err() {
            return;
        }
        let (samples, sum) = (window.samples.swap(0, Relaxed), window.sum.swap(0, Relaxed));
        let most = window.most.swap(active, Relaxed);
        let Some(mean) = sum.checked_div(u64::from(samples)).filter(|mean| *mean > 0) else {
            return;
        };
        window.mean_before.store(mean, Relaxed);
        if samples >= WINDOW_SAMPLES {
            self.turn(now, mean, most, settings);
        }
    }

    /// A window is over, in which answers took `mean` and `most` were under way.
    #[expect(clippy::cast_possible_truncation, reason = "a limit is between two of its kind")]
    fn turn(&self, now: Millis, mean: u64, most: u32, settings: &AdaptiveConcurrency) {
        let limit = f64::from_bits(self.limit.load(Relaxed));
        let before = self.baseline.load(Relaxed);
        let probe = Probe::of(self.probe.load(Relaxed));
        let met = before == 0 || mean <= before || probe == Probe::Measuring;
        if met {
            self.baseline.store(mean, Relaxed);
            self.baseline_at.store(now.0, Relaxed);
        }
        // Half as many were answered clearly sooner: they had waited, and may still.
        let deeper = probe == Probe::Measuring && (mean as f64) < before as f64 * SOONER;
        let next = match probe {
            Probe::Settling => Probe::Measuring,
            Probe::Measuring if deeper => Probe::Settling,
            Probe::Measuring => Probe::No,
            Probe::No => {
                let old = now.0.saturating_sub(self.baseline_at.load(Relaxed)) >= BASELINE_MS;
                if old || before == 0 { Probe::Settling } else { Probe::No }
            }
        };
        self.probe.store(next as u32, Relaxed);
        let (least, highest) = (f64::from(settings.least.get()), f64::from(settings.most.get()));
        let mut limit = if deeper { limit / 2.0 } else { limit };
        // What is measured under half of the limit says nothing about the limit.
        if probe == Probe::No {
            let baseline = self.baseline.load(Relaxed) as f64;
            let tolerated = baseline * (1.0 + f64::from(settings.tolerance) / 100.0);
            let gradient = (tolerated / mean as f64).clamp(STEEPEST, 1.0);
            let wanted = limit * gradient + limit.sqrt();
            let tried = f64::from(most) >= limit / 2.0;
            if tried || wanted < limit {
                limit = wanted;
            }
        }
        let limit = limit.max(least).min(highest.max(least));
        self.limit.store(limit.to_bits(), Relaxed);
        let allowed = if next == Probe::No { limit } else { (limit / 2.0).max(least) };
        self.allowed.store(allowed as u32, Relaxed);
    }
}

// === impl Probe ===

impl Probe {
    fn of(number: u32) -> Self {
        match number {
            1 => Self::Settling,
            2 => Self::Measuring,
            _ => Self::No,
        }
    }
}
