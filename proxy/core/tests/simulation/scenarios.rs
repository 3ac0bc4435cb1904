//! What fleets go through: the scenarios that tests judge and `cargo xtask bench balance` prints.
//!
//! Ten servers with four slots each, and requests of 10 ms on average: 4 000 a second is all they can do,
//! and half of that is asked.

use std::num::NonZeroU32;
use std::time::Duration;

use nodeway_core::model::{
    BackendSettings, Balancing, BalancingAlgorithm, OutlierDetection, SlowStart,
};

use super::fleet::{Micros, SECOND, Server, Setup, run};
use super::outcome::Outcome;

/// Those that need no key.
pub(crate) const ALGORITHMS: [BalancingAlgorithm; 4] = [
    BalancingAlgorithm::PeakEwma,
    BalancingAlgorithm::LeastRequest,
    BalancingAlgorithm::RoundRobin,
    BalancingAlgorithm::Random,
];

/// A straight line, from a tenth on.
const TEN_SECONDS: SlowStart = SlowStart {
    window: Duration::from_secs(10),
    aggression: NonZeroU32::MIN.saturating_add(999),
    least: 10,
};

/// Something that happens to a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scenario {
    /// Nothing.
    Quiet,
    /// One takes twenty times as long as the others; all have slots enough.
    OneSlow,
    /// The same with four slots each: an even share is ten times what it can do.
    OneOverloaded,
    /// For two seconds five times as much is asked.
    Burst,
    /// Five more join five.
    Joining,
    /// They do, and are cold: ten times as slow at first, for five seconds.
    JoiningCold,
    /// The same with a slow start of ten seconds.
    SlowStart,
    /// One leaves.
    Leaving,
    /// One answers everything with 500, at once, and is not left out for it.
    OneFails,
    /// Two hundred nodes, each with a few requests a second; one server comes late and is idle.
    ManyNodes,
}

// === impl Scenario ===

impl Scenario {
    pub(crate) const ALL: [Self; 10] = [
        Self::Quiet,
        Self::OneSlow,
        Self::OneOverloaded,
        Self::Burst,
        Self::Joining,
        Self::JoiningCold,
        Self::SlowStart,
        Self::Leaving,
        Self::OneFails,
        Self::ManyNodes,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Quiet => "ten alike",
            Self::OneSlow => "one of ten 20 x slower",
            Self::OneOverloaded => "one of ten 20 x slower, and it queues",
            Self::Burst => "five times as much for 2 s",
            Self::Joining => "five more join five",
            Self::JoiningCold => "five more join, cold",
            Self::SlowStart => "five more join, cold, with slow start",
            Self::Leaving => "one of ten leaves",
            Self::OneFails => "one of ten answers 500 at once",
            Self::ManyNodes => "200 nodes, one of ten is new",
        }
    }

    /// When it happens what it is about.
    pub(crate) fn since(self) -> Micros {
        match self {
            Self::Quiet | Self::OneSlow | Self::OneOverloaded | Self::OneFails => 0,
            _ => 5 * SECOND,
        }
    }

    /// Whether the last server is what it is about, and can be done without.
    pub(crate) fn has_an_odd_one(self) -> bool {
        matches!(self, Self::OneSlow | Self::OneOverloaded | Self::OneFails)
    }

    /// What that part of it comes to.
    pub(crate) fn play(self, algorithm: BalancingAlgorithm) -> Outcome {
        self.of(self.setup(algorithm))
    }

    /// The same without the server that is unlike the others.
    pub(crate) fn play_without(self, algorithm: BalancingAlgorithm) -> Outcome {
        let mut setup = self.setup(algorithm);
        setup.servers.pop();
        self.of(setup)
    }

    fn of(self, setup: Setup) -> Outcome {
        let until = setup.lasts;
        run(setup).between(self.since(), until)
    }

    pub(crate) fn setup(self, algorithm: BalancingAlgorithm) -> Setup {
        let balancing = Balancing { algorithm: Some(algorithm), ..Balancing::default() };
        let mut setup = Setup {
            settings: BackendSettings { balancing, ..BackendSettings::default() },
            servers: vec![Server::usual(); 10],
            nodes: 4,
            rates: vec![(0, 2000.0)],
            lasts: 15 * SECOND,
            seed: 20_010_815,
        };
        match self {
            Self::Quiet => {}
            Self::OneSlow | Self::OneOverloaded => {
                setup.servers[9].mean *= 20;
                if self == Self::OneSlow {
                    // Long enough for what was learned of it to be forgotten.
                    setup.lasts = 60 * SECOND;
                    setup.servers.iter_mut().for_each(|server| server.slots = 100);
                }
            }
            Self::Burst => {
                setup.rates = vec![(0, 700.0), (5 * SECOND, 3500.0), (7 * SECOND, 700.0)];
                setup.lasts = 9 * SECOND;
            }
            Self::Joining | Self::JoiningCold | Self::SlowStart => {
                setup.rates = vec![(0, 1500.0)];
                for server in &mut setup.servers[5..] {
                    server.joins = 5 * SECOND;
                    if self != Self::Joining {
                        server.cold = (10.0, 5 * SECOND);
                    }
                }
                if self == Self::SlowStart {
                    setup.settings.balancing.slow_start = Some(TEN_SECONDS);
                }
            }
            Self::Leaving => setup.servers[9].leaves = 5 * SECOND,
            Self::OneFails => {
                setup.servers[9].broken = (0, Micros::MAX);
                setup.settings.outliers = never();
            }
            Self::ManyNodes => {
                setup.nodes = 200;
                setup.servers[9].joins = 5 * SECOND;
            }
        }
        setup
    }
}

/// Nobody is left out.
fn never() -> OutlierDetection {
    OutlierDetection {
        consecutive_5xx: None,
        consecutive_gateway_errors: None,
        consecutive_connect_failures: None,
        ..OutlierDetection::default()
    }
}
