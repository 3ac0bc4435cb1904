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
//! A server that turns away, or loses, what is too much for it may be as quick as ever with the rest. So what fails
//! like that is no sample of latency (as in Envoy's filter, `cancelLatencySample`), and if it is more than a few the
//! limit falls by a tenth, whatever the latency (Netflix's `GradientLimit` and `AIMDLimit`, `backoffRatio`); once for
//! all that had begun before it fell, as TCP takes the losses of one flight for one (RFC 6582, `recover`).
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
/// Drops are too many if they are more than one in so many; fewer are bad luck.
const DROPS: u32 = 20;
/// Then the limit falls by this share, or by what it may grow in a window if that is more.
const BACKOFF: f64 = 0.1;
/// and does not grow for so many windows: what is tried again at once is turned away again.
const HOLD: u32 = 10;

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
    /// When it last fell for drops.
    dropped_at: AtomicU64,
    /// For so many windows it does not grow.
    hold: AtomicU32,
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
    /// Attempts, samples or not,
    heard: AtomicU32,
    /// and those of them that were too much for the endpoint, as it seems.
    drops: AtomicU32,
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
    /// Takes in what became of an attempt, if its limit goes by that.
    #[inline]
    pub(in crate::balance) fn learn_limit(&self, began: Millis, now: Millis, report: Report) {
        let Some(settings) = &self.settings().limits.adaptive else { return };
        // Where nobody listens nobody has too much to do.
        if report != Report::NotConnected {
            let under_way = self.lasting().under_way();
            let seen = (under_way.active(), report);
            under_way.adaptive(settings).take(began, now, seen, settings);
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
            dropped_at: AtomicU64::new(0),
            hold: AtomicU32::new(0),
            probe: AtomicU32::new(Probe::No as u32),
        }
    }

    /// So many may be under way.
    #[inline]
    pub(super) fn limit(&self) -> u32 {
        self.allowed.load(Relaxed)
    }

    /// An attempt that `began` then has come to this, while so many were under way.
    fn take(
        &self,
        began: Millis,
        now: Millis,
        (active, report): (u32, Report),
        settings: &AdaptiveConcurrency,
    ) {
        let window = &self.window;
        if is_drop(report) {
            if began.0 <= self.dropped_at.load(Relaxed) {
                // The limit was too high then; that is known.
                return;
            }
            window.drops.fetch_add(1, Relaxed);
        }
        // What is cut has been answered, and heard, before.
        if report != Report::Cut {
            window.heard.fetch_add(1, Relaxed);
        }
        if let Some(latency) = latency(report) {
            let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).clamp(1, 1 << 40);
            window.sum.fetch_add(micros, Relaxed);
            window.samples.fetch_add(1, Relaxed);
        }
        window.most.fetch_max(active, Relaxed);
        let start = window.start.load(Relaxed);
        if start == 0 {
            // The first of all, whoever it is.
            let _ = window.start.compare_exchange(0, now.0.max(1), Relaxed, Relaxed);
            return;
        }
        let age = now.0.saturating_sub(start);
        let two_answers = 2 * window.mean_before.load(Relaxed) / 1_000;
        let enough = |count: &AtomicU32| count.load(Relaxed) >= WINDOW_SAMPLES;
        let over =
            age >= WINDOW_MS.max(two_answers) && (enough(&window.samples) || enough(&window.drops));
        if !over && age < WINDOW_MOST_MS {
            return;
        }
        if window.start.compare_exchange(start, now.0.max(1), Relaxed, Relaxed).is_err() {
            return;
        }
        let (samples, sum) = (window.samples.swap(0, Relaxed), window.sum.swap(0, Relaxed));
        let (heard, drops) = (window.heard.swap(0, Relaxed), window.drops.swap(0, Relaxed));
        let most = window.most.swap(active, Relaxed);
        let mean = sum.checked_div(u64::from(samples)).filter(|mean| *mean > 0);
        if let Some(mean) = mean {
            window.mean_before.store(mean, Relaxed);
        }
        if heard >= WINDOW_SAMPLES && drops > heard / DROPS {
            self.back_off(now, settings);
        } else if let Some(mean) = mean.filter(|_| samples >= WINDOW_SAMPLES) {
            self.turn(now, mean, most, settings);
        }
    }

    /// A window is over in which too much was dropped. How long the rest took says nothing of the latency without
    /// load: if that is being measured, the next window goes on.
    fn back_off(&self, now: Millis, settings: &AdaptiveConcurrency) {
        self.dropped_at.store(now.0, Relaxed);
        self.hold.store(HOLD, Relaxed);
        let limit = f64::from_bits(self.limit.load(Relaxed));
        let limit = limit - (limit * BACKOFF).max(limit.sqrt());
        self.set(limit, Probe::of(self.probe.load(Relaxed)), settings);
    }

    /// A window is over, in which answers took `mean` and `most` were under way.
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
        let mut limit = if deeper { limit / 2.0 } else { limit };
        // What is measured under half of the limit says nothing about the limit.
        if probe == Probe::No {
            let baseline = self.baseline.load(Relaxed) as f64;
            let tolerated = baseline * (1.0 + f64::from(settings.tolerance) / 100.0);
            let gradient = (tolerated / mean as f64).clamp(STEEPEST, 1.0);
            let hold = self.hold.load(Relaxed);
            self.hold.store(hold.saturating_sub(1), Relaxed);
            let growth = if hold == 0 { limit.sqrt() } else { 0.0 };
            let wanted = limit * gradient + growth;
            let tried = f64::from(most) >= limit / 2.0;
            if tried || wanted < limit {
                limit = wanted;
            }
        }
        self.set(limit, next, settings);
    }

    /// This is the limit from now on, or half of it while the latency without load is measured.
    #[expect(clippy::cast_possible_truncation, reason = "a limit is between two of its kind")]
    fn set(&self, limit: f64, probe: Probe, settings: &AdaptiveConcurrency) {
        let (least, highest) = (f64::from(settings.least.get()), f64::from(settings.most.get()));
        let limit = limit.max(least).min(highest.max(least));
        self.limit.store(limit.to_bits(), Relaxed);
        let allowed = if probe == Probe::No { limit } else { (limit / 2.0).max(least) };
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

/// Whether it was too much for the endpoint, as it seems: it says so, or has said nothing in time, or not all.
fn is_drop(report: Report) -> bool {
    match report {
        Report::Answered { status, .. } => matches!(status, 503 | 504),
        Report::Lost | Report::Cut => true,
        Report::Connected { .. } | Report::NotConnected => false,
    }
}

/// How long it took to serve a request, if it was served: errors, and refusals, may be quicker than that.
fn latency(report: Report) -> Option<Duration> {
    match report {
        Report::Answered { status: 429 | 500.., .. } => None,
        Report::Answered { latency, .. } => latency,
        _ => None,
    }
}
