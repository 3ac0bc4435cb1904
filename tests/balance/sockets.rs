//! The same on sockets: a real Nodeway between an open-loop load and ten servers on loopback.

use std::net::SocketAddr;
use std::time::Duration;

use nodeway_core::model::BalancingAlgorithm;
use nodeway_tests::Plain;

use crate::curve::{Curve, Of, name};
use crate::load::{self, Answers};
use crate::servers::{self, Server};
use crate::simulation::scenarios::ALGORITHMS;

/// How long a request takes, on average.
const MEAN: Duration = Duration::from_millis(10);
/// What the slow one takes.
const SLOW: Duration = Duration::from_millis(200);
/// Requests a second.
pub(crate) const RATE: f64 = 400.0;
/// Everyone has his turn so often: what else the machine does then hits all alike.
const ROUNDS: u64 = 4;
/// Before what counts: pools are filled, and code is touched.
const WARM_UP: Duration = Duration::from_secs(1);

/// What it came to.
pub(crate) struct Sockets {
    pub(crate) runs: Vec<Run>,
}

/// One algorithm's.
pub(crate) struct Run {
    pub(crate) curve: Curve,
    pub(crate) failed: u64,
    /// The slow server's share of the requests.
    pub(crate) slow: f64,
    /// How late requests were sent, at most.
    pub(crate) late: Duration,
}

struct Case {
    of: Of,
    at: SocketAddr,
    answers: Answers,
    slow: u64,
}

/// Three minutes, or half a minute.
pub(crate) fn run(quick: bool) -> Sockets {
    let turn = Duration::from_secs(if quick { 1 } else { 6 });
    let mut means = [MEAN; 10];
    means[9] = SLOW;
    let servers = servers::start(&means);
    let mut plain = Plain::new();
    let all = ALGORITHMS.map(Of::With);
    let cases = [Of::Without].into_iter().chain(all).map(|of| case(of, &mut plain, &servers));
    let mut cases: Vec<Case> = cases.collect();
    plain.start();
    for case in &mut cases {
        let _ = load::run(case.at, RATE, WARM_UP, 0);
    }
    for round in 0..ROUNDS {
        eprintln!("==> On sockets, round {} of {ROUNDS}", round + 1);
        for case in &mut cases {
            case.turn(&servers, turn, round);
        }
        cases.rotate_left(1);
    }
    cases.sort_by_key(|case| match case.of {
        Of::Without => 0,
        Of::With(algorithm) => 1 + ALGORITHMS.iter().position(|a| *a == algorithm).unwrap(),
    });
    Sockets { runs: cases.into_iter().map(Case::run).collect() }
}

/// A Service with a policy of its own; endpoints are each Service's own too.
fn case(of: Of, plain: &mut Plain, servers: &[Server]) -> Case {
    let (service, algorithm, servers) = match of {
        Of::Without => ("without".to_owned(), BalancingAlgorithm::PeakEwma, &servers[..9]),
        Of::With(algorithm) => {
            (name(algorithm).to_lowercase().replace(' ', "-"), algorithm, servers)
        }
    };
    let to = |all: nodeway_tests::Service, server: &Server| all.to(server.at);
    let made = servers.iter().fold(Plain::service(&service, "http"), to);
    plain.manifests.service(&made);
    plain
        .manifests
        .backend_policy(&service, &format!("loadBalancing: {{algorithm: {algorithm:?}}}"));
    Case { of, at: plain.listen(&service), answers: Answers::default(), slow: 0 }
}

// === impl Sockets ===

impl Sockets {
    pub(crate) fn curves(&self) -> Vec<Curve> {
        self.runs.iter().map(|run| run.curve.clone()).collect()
    }
}

// === impl Case ===

impl Case {
    fn turn(&mut self, servers: &[Server], lasts: Duration, seed: u64) {
        let before = servers[9].served();
        let answers = load::run(self.at, RATE, lasts, seed);
        self.slow += servers[9].served() - before;
        self.answers.latencies.extend(answers.latencies);
        self.answers.failed += answers.failed;
        self.answers.late = self.answers.late.max(answers.late);
    }

    fn run(self) -> Run {
        let Answers { latencies, failed, late } = self.answers;
        let slow = self.slow as f64 / latencies.len().max(1) as f64;
        Run { curve: Curve::new(self.of, latencies), failed, slow, late }
    }
}
