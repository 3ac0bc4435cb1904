//! Latencies of one kind of run, by the share of requests that took no longer.

use std::time::Duration;

use nodeway_core::model::BalancingAlgorithm;

/// Whose latencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// The fleet without the slow server, by peak-EWMA.
    Without,
    /// All of it.
    With(BalancingAlgorithm),
}

/// One line of a plot, one row of a table.
#[derive(Debug, Clone)]
pub(crate) struct Curve {
    pub(crate) of: Of,
    /// In ascending order.
    latencies: Vec<Duration>,
}

// === impl Of ===

impl Of {
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Without => "without the slow one",
            Self::With(algorithm) => name(algorithm),
        }
    }
}

// === impl Curve ===

impl Curve {
    pub(crate) fn new(of: Of, mut latencies: Vec<Duration>) -> Self {
        latencies.sort_unstable();
        Self { of, latencies }
    }

    pub(crate) fn requests(&self) -> usize {
        self.latencies.len()
    }

    /// The latency that `share` (0 to 1) of the requests did not exceed.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let at = (self.latencies.len() as f64 * share).ceil() as usize;
        self.latencies.get(at.saturating_sub(1)).copied().unwrap_or_default()
    }
}

/// As people call it.
pub(crate) fn name(algorithm: BalancingAlgorithm) -> &'static str {
    match algorithm {
        BalancingAlgorithm::PeakEwma => "peak-EWMA",
        BalancingAlgorithm::LeastRequest => "least request",
        BalancingAlgorithm::RoundRobin => "round robin",
        BalancingAlgorithm::Random => "random",
        BalancingAlgorithm::RingHash => "ring hash",
        BalancingAlgorithm::Maglev => "Maglev",
    }
}
