//! What a run came to: latencies, errors, and who got how much.
//!
//! Not what it should have come to.

use std::time::Duration;

use super::fleet::Micros;

/// All that was asked, and how it went.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outcome {
    /// When each request came, and how long it took.
    latencies: Vec<(Micros, Duration)>,
    /// When each came, and to which server it went; in order of time.
    picked: Vec<(Micros, usize)>,
    errors: Vec<Micros>,
    servers: usize,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fate {
    Answered,
    /// With 500.
    Refused,
}

// === impl Outcome ===

impl Outcome {
    pub(crate) fn new(servers: usize) -> Self {
        Self { servers, ..Self::default() }
    }

    pub(crate) fn picked(&mut self, now: Micros, server: usize) {
        self.picked.push((now, server));
    }

    pub(crate) fn ended(&mut self, came: Micros, latency: Duration, fate: Fate) {
        self.latencies.push((came, latency));
        if fate == Fate::Refused {
            self.errors.push(came);
        }
    }

    /// The part of it that came in this time.
    pub(crate) fn between(&self, from: Micros, until: Micros) -> Self {
        let within = |came: &Micros| (from..until).contains(came);
        Self {
            latencies: self.latencies.iter().filter(|(came, _)| within(came)).copied().collect(),
            picked: self.picked.iter().filter(|(came, _)| within(came)).copied().collect(),
            errors: self.errors.iter().filter(|came| within(came)).copied().collect(),
            servers: self.servers,
        }
    }

    /// The part of it that its first requests are.
    pub(crate) fn first(&self, requests: usize) -> Self {
        let until = self.picked.get(requests).map_or(Micros::MAX, |(came, _)| *came);
        self.between(0, until)
    }

    pub(crate) fn requests(&self) -> usize {
        self.picked.len()
    }

    pub(crate) fn errors(&self) -> usize {
        self.errors.len()
    }

    /// In any order.
    pub(crate) fn latencies(&self) -> Vec<Duration> {
        self.latencies.iter().map(|(_, latency)| *latency).collect()
    }

    /// So many of a thousand took no longer.
    pub(crate) fn quantiles<const N: usize>(&self, per_mille: [usize; N]) -> [Duration; N] {
        let mut all = self.latencies();
        all.sort_unstable();
        per_mille.map(|q| {
            let at = (all.len() * q).div_ceil(1000).saturating_sub(1);
            all.get(at).copied().unwrap_or_default()
        })
    }

    pub(crate) fn p99(&self) -> Duration {
        self.quantiles([990])[0]
    }

    /// Each server's share of the requests.
    pub(crate) fn shares(&self) -> Vec<f64> {
        let mut counts = vec![0_u32; self.servers];
        for (_, server) in &self.picked {
            counts[*server] += 1;
        }
        let all = self.picked.len().max(1) as f64;
        counts.iter().map(|count| f64::from(*count) / all).collect()
    }
}
