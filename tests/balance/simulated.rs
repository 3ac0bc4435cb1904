//! All scenarios with all algorithms, and how even the spread is.

use std::time::Duration;

use nodeway_core::model::BalancingAlgorithm;

use crate::curve::{Curve, Of};
use crate::simulation::outcome::Outcome;
use crate::simulation::scenarios::{ALGORITHMS, Scenario};
use crate::simulation::spread::{self, Spread};

/// What all runs came to.
pub(crate) struct Simulated {
    pub(crate) rows: Vec<Row>,
    pub(crate) spreads: Vec<Spread>,
}

/// One scenario under one algorithm.
pub(crate) struct Row {
    pub(crate) scenario: Scenario,
    pub(crate) of: Of,
    pub(crate) outcome: Outcome,
}

/// Runs them: some seconds.
pub(crate) fn all() -> Simulated {
    let mut rows = Vec::new();
    for scenario in Scenario::ALL {
        if scenario.has_an_odd_one() {
            let outcome = scenario.play_without(BalancingAlgorithm::PeakEwma);
            rows.push(Row { scenario, of: Of::Without, outcome });
        }
        for algorithm in ALGORITHMS {
            let outcome = scenario.play(algorithm);
            rows.push(Row { scenario, of: Of::With(algorithm), outcome });
        }
    }
    Simulated { rows, spreads: spread::all() }
}

// === impl Simulated ===

impl Simulated {
    /// The curves of the slow server's scenario.
    pub(crate) fn slow(&self) -> Vec<Curve> {
        let rows = self.rows.iter().filter(|row| row.scenario == Scenario::OneSlow);
        rows.map(|row| Curve::new(row.of, row.outcome.latencies())).collect()
    }
}

// === impl Row ===

impl Row {
    /// How many times its even share the server with most got, and the one that the scenario is about.
    pub(crate) fn shares(&self) -> (f64, f64) {
        let shares = self.outcome.shares();
        let even = shares.iter().filter(|share| **share > 0.0).count() as f64;
        let most = shares.iter().copied().fold(0.0, f64::max);
        (most * even, shares.last().copied().unwrap_or_default())
    }

    pub(crate) fn quantiles(&self) -> [Duration; 3] {
        self.outcome.quantiles([500, 990, 999])
    }
}
