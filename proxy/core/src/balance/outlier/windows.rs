//! What endpoints have done in the last interval, compared: who succeeds far less often than the others, or
//! is far slower.
//!
//! Not the runs of failures, which need no others to compare with.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Cause;
use super::health::millis;
use crate::balance::{Endpoint, Millis, Report};
use crate::model::{LatencyOutlier, OutlierDetection, SuccessRate};

/// Successes in the lower half of the word.
const SUCCESSES: u32 = 32;

/// What one endpoint has done since it was last looked at.
///
/// Who looks takes the counts out, so that none is lost and none counted twice; what is reported in that
/// very moment may belong to the next interval.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(in crate::balance) struct Window {
    /// Attempts (upper half) and successes among them, in one word so that their ratio is never off.
    counts: AtomicU64,
    /// Those of the successes that broke off when they had been counted.
    cuts: AtomicU64,
    /// How long the successes took together, also those that broke off, microseconds.
    latency_us: AtomicU64,
    /// Successes of which it is not known how long they took.
    untimed: AtomicU64,
}

/// When a backend's endpoints are compared.
#[derive(Debug, Default)]
pub(in crate::balance) struct Windows {
    /// When the interval that is under way ends; 0: none has begun.
    end: AtomicU64,
}

/// What is known of an endpoint that may be compared.
#[derive(Debug, Clone)]
struct Sample<'a> {
    endpoint: &'a Arc<Endpoint>,
    requests: u64,
    /// Attempts that were answered without an error.
    successes: u64,
    /// Those of them that broke off then.
    cuts: u64,
    /// Successes of which it is known how long they took.
    timed: u64,
    latency_us: u64,
}

// === impl Window ===

impl Window {
    /// Takes in what became of an attempt.
    #[inline]
    pub(in crate::balance) fn take(&self, report: Report) {
        let attempt = 1 << SUCCESSES;
        if report == Report::Cut {
            self.cuts.fetch_add(1, Relaxed);
            return;
        }
        if report.is_failure() {
            self.counts.fetch_add(attempt, Relaxed);
            return;
        }
        match report {
            Report::Answered { latency: Some(latency), .. } | Report::Connected { latency } => {
                let latency = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
                self.latency_us.fetch_add(latency, Relaxed);
            }
            _ => drop(self.untimed.fetch_add(1, Relaxed)),
        }
        self.counts.fetch_add(attempt | 1, Relaxed);
    }

    /// What `sample` takes out: attempts, successes, microseconds.
    #[cfg(test)]
    pub(super) fn counts(&self, endpoint: &Arc<Endpoint>) -> (u64, u64, u64) {
        let sample = self.sample(endpoint);
        (sample.requests, sample.successes, sample.latency_us)
    }

    fn sample<'a>(&self, endpoint: &'a Arc<Endpoint>) -> Sample<'a> {
        let counts = self.counts.swap(0, Relaxed);
        let successes = counts & ((1 << SUCCESSES) - 1);
        let untimed = match self.untimed.load(Relaxed) {
            0 => 0,
            _ => self.untimed.swap(0, Relaxed),
        };
        Sample {
            endpoint,
            requests: counts >> SUCCESSES,
            successes,
            cuts: self.cuts.swap(0, Relaxed),
            timed: successes.saturating_sub(untimed),
            latency_us: self.latency_us.swap(0, Relaxed),
        }
    }
}

// === impl Windows ===

impl Windows {
    /// Whether the interval is over. Of all that ask one alone is told so, and the next one begins.
    #[inline]
    fn over(&self, now: Millis, interval_ms: u64) -> Option<Over> {
        let end = self.end.load(Relaxed);
        // Also if it would take longer than it may by now: the settings have changed.
        if now.0 < end && end - now.0 <= interval_ms {
            return None;
        }
        let next = now.0.saturating_add(interval_ms);
        self.end.compare_exchange(end, next, Relaxed, Relaxed).ok()?;
        let late = now.0.saturating_sub(end);
        Some(if end > now.0 || late >= interval_ms { Over::Stale } else { Over::InTime })
    }

    /// If the interval is over: who is an outlier in it, the worst first of each kind.
    pub(super) fn outliers<'a>(
        &self,
        endpoints: &'a [Arc<Endpoint>],
        settings: &OutlierDetection,
        now: Millis,
    ) -> Vec<(&'a Arc<Endpoint>, Cause)> {
        let interval_ms = millis(settings.interval).max(1);
        let Some(over) = self.over(now, interval_ms) else { return Vec::new() };
        let samples: Vec<_> = endpoints
            .iter()
            .filter_map(|e| Some(e.window.get()?.sample(e)))
            // What stragglers and trials say of those that are out says nothing of the others.
            .filter(|sample| sample.endpoint.usable(now))
            .collect();
        if over == Over::Stale {
            return Vec::new();
        }
        let mut found = Vec::new();
        if let Some(settings) = settings.success_rate {
            found.extend(by_success_rate(&samples, settings));
        }
        if let Some(settings) = settings.latency {
            found.extend(by_latency(&samples, settings));
        }
        found
    }
}

/// How an interval has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Over {
    /// By now, or a little ago.
    InTime,
    /// It has never begun, or nobody has come for as long again: its counts say nothing of today.
    Stale,
}

/// Envoy's "success rate" ejection: below the mean of all by so many standard deviations.
fn by_success_rate<'a>(
    samples: &[Sample<'a>],
    settings: SuccessRate,
) -> Vec<(&'a Arc<Endpoint>, Cause)> {
    let enough = |s: &&Sample<'_>| s.requests >= settings.requests.get().into();
    let mut rates: Vec<_> = samples
        .iter()
        .filter(enough)
        .map(|s| (s.successes.saturating_sub(s.cuts) as f64 / s.requests as f64, s))
        .collect();
    let endpoints = rates.len();
    if endpoints < at_least(settings.endpoints.get()) {
        return Vec::new();
    }
    let mean = rates.iter().map(|(rate, _)| rate).sum::<f64>() / endpoints as f64;
    let variance =
        rates.iter().map(|(rate, _)| (rate - mean).powi(2)).sum::<f64>() / endpoints as f64;
    let stdev = variance.sqrt();
    let least = mean - f64::from(settings.stdev_factor) / 1000.0 * stdev;
    rates.retain(|(rate, _)| *rate < least);
    rates.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let outlier = |(rate, s): (f64, &Sample<'a>)| {
        let cause = Cause::SuccessRate { rate, mean, stdev, requests: s.requests, endpoints };
        (s.endpoint, cause)
    };
    rates.into_iter().map(outlier).collect()
}

/// Slower than the median of the others by a factor. (The median, not the mean as for successes: one that
/// hangs would draw the mean after itself.)
fn by_latency<'a>(
    samples: &[Sample<'a>],
    settings: LatencyOutlier,
) -> Vec<(&'a Arc<Endpoint>, Cause)> {
    let enough = |s: &&Sample<'_>| s.timed >= u64::from(settings.requests.get()).max(1);
    let mut means: Vec<_> =
        samples.iter().filter(enough).map(|s| (s.latency_us / s.timed, s)).collect();
    let endpoints = means.len();
    // Without another there is nothing to compare with.
    if endpoints < at_least(settings.endpoints.get()).max(2) {
        return Vec::new();
    }
    means.sort_by_key(|(mean, _)| *mean);
    let least = u64::try_from(settings.least.as_micros()).unwrap_or(u64::MAX);
    let outlier = |(place, (mean_us, s)): (usize, &(u64, &Sample<'a>))| {
        let median_us = median_without(&means, place);
        let limit = u128::from(median_us) * u128::from(settings.factor);
        let is_out = *mean_us >= least && u128::from(*mean_us) * 1000 > limit;
        let (mean_us, requests) = (*mean_us, s.timed);
        let cause = Cause::Latency { mean_us, median_us, requests, endpoints };
        is_out.then_some((s.endpoint, cause))
    };
    means.iter().enumerate().rev().filter_map(outlier).collect()
}

/// The median of all but the one at `place`; of two in the middle their mean.
fn median_without(sorted: &[(u64, &Sample<'_>)], place: usize) -> u64 {
    let left = sorted.len().saturating_sub(1);
    let at = |i: usize| sorted.get(if i < place { i } else { i + 1 }).map_or(0, |(mean, _)| *mean);
    if left % 2 == 1 {
        at(left / 2)
    } else {
        at((left / 2).saturating_sub(1)).midpoint(at(left / 2))
    }
}

fn at_least(endpoints: u32) -> usize {
    usize::try_from(endpoints).unwrap_or(usize::MAX)
}
