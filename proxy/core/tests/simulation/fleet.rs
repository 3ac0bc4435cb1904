//! A made world: servers with queues, nodes that ask them through real [`Backend`]s, and a clock that goes
//! from event to event.
//!
//! Not a judge: what a run should come to stands in the tests, what it came to in an [`Outcome`]. The same
//! seed gives the same run.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use nodeway_core::balance::{Backend, Caller, Endpoint, EndpointId, Lasting, Millis, Report};
use nodeway_core::model::{AppProtocol, BackendSettings, ObjectName};

use super::outcome::{Fate, Outcome};

/// Microseconds since the world began.
pub(crate) type Micros = u64;
/// One second.
pub(crate) const SECOND: Micros = 1_000_000;
/// There and back over the network.
const NETWORK: Micros = 500;
/// How long a server takes to say that it is broken.
const REFUSAL: Micros = 200;
/// Of the logarithm of service times: their p99 is 3.4 times their mean.
const SIGMA: f64 = 0.6;
/// The clock's origin is not the world's: nothing may depend on it.
const ORIGIN: u64 = 77_777;

/// What is simulated.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) settings: BackendSettings,
    pub(crate) servers: Vec<Server>,
    /// How many nodes ask; each has its own view of the servers.
    pub(crate) nodes: usize,
    /// From when on how many requests come a second, from all nodes together.
    pub(crate) rates: Vec<(Micros, f64)>,
    /// When the last request comes.
    pub(crate) lasts: Micros,
    pub(crate) seed: u64,
}

/// One server. Requests that find all slots taken queue.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server {
    /// How long a request takes, on average.
    pub(crate) mean: Micros,
    /// How many it serves at once.
    pub(crate) slots: usize,
    /// When it is ready for the first time.
    pub(crate) joins: Micros,
    /// When it is so no more; what it has begun it ends.
    pub(crate) leaves: Micros,
    /// How many times as long requests take when it has just joined, and for how long that wears off: caches
    /// are empty, code is not compiled.
    pub(crate) cold: (f64, Micros),
    /// In this time everything is answered at once, with 500.
    pub(crate) broken: (Micros, Micros),
}

/// Runs it.
pub(crate) fn run(setup: Setup) -> Outcome {
    World::new(setup).run()
}

struct World {
    setup: Setup,
    random: fastrand::Rng,
    /// The pickers' chance, apart from the world's: all algorithms meet the same requests.
    chance: fastrand::Rng,
    nodes: Vec<Node>,
    live: Vec<Live>,
    events: BinaryHeap<Reverse<(Micros, u64, Event)>>,
    /// Ties between events are broken by which was made first.
    made: u64,
    outcome: Outcome,
}

struct Node {
    lasting: Arc<Lasting>,
    endpoints: Vec<Arc<Endpoint>>,
    /// The numbers of those that are ready, and what they make.
    backend: Backend,
}

/// A server's state.
#[derive(Default)]
struct Live {
    busy: usize,
    queue: VecDeque<Request>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Request {
    came: Micros,
    node: usize,
    server: usize,
    /// Standard deviations from the mean's logarithm, millionths: what it costs is the request's doing, so
    /// that all algorithms meet the same costs.
    cost: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Comes,
    Done(Request, Fate),
    Changes,
}

// === impl Server ===

impl Server {
    /// One like most: 10 ms, four at once.
    pub(crate) fn usual() -> Self {
        Self {
            mean: 10_000,
            slots: 4,
            joins: 0,
            leaves: Micros::MAX,
            cold: (1.0, 0),
            broken: (0, 0),
        }
    }

    /// How long a request takes that is begun now, on average.
    fn mean(&self, now: Micros) -> f64 {
        let (times, span) = self.cold;
        let left = (self.joins + span).saturating_sub(now) as f64 / span.max(1) as f64;
        self.mean as f64 * (1.0 + (times - 1.0) * left)
    }

    fn is_there(&self, now: Micros) -> bool {
        (self.joins..self.leaves).contains(&now)
    }
}

// === impl World ===

impl World {
    fn new(setup: Setup) -> Self {
        let settings = Arc::new(setup.settings.clone());
        let node = |n: usize| {
            let lasting = Lasting::new(n as u64 + 1);
            let endpoint = |i: usize| {
                let address = ([10, 0, 0, u8::try_from(i).unwrap()], 80).into();
                Arc::new(Endpoint::new(EndpointId(i as u64 + 1), address, None))
            };
            let endpoints: Vec<_> = (0..setup.servers.len()).map(endpoint).collect();
            let ready = ready(&setup.servers, &endpoints, 0);
            let backend = backend(&lasting, &settings, ready);
            Node { lasting, endpoints, backend }
        };
        Self {
            random: fastrand::Rng::with_seed(setup.seed),
            chance: fastrand::Rng::with_seed(!setup.seed),
            nodes: (0..setup.nodes).map(node).collect(),
            live: setup.servers.iter().map(|_| Live::default()).collect(),
            events: BinaryHeap::new(),
            made: 0,
            outcome: Outcome::new(setup.servers.len()),
            setup,
        }
    }

    fn run(mut self) -> Outcome {
        self.at(0, Event::Comes);
        for server in self.setup.servers.clone() {
            for when in [server.joins, server.leaves] {
                if when > 0 && when < self.setup.lasts {
                    self.at(when, Event::Changes);
                }
            }
        }
        while let Some(Reverse((now, _, event))) = self.events.pop() {
            match event {
                Event::Comes => self.comes(now),
                Event::Done(request, fate) => self.done(now, request, fate),
                Event::Changes => self.changes(now),
            }
        }
        for node in &self.nodes {
            assert!(node.endpoints.iter().all(|e| e.active() == 0), "all that begins ends");
        }
        self.outcome
    }

    fn at(&mut self, when: Micros, event: Event) {
        self.made += 1;
        self.events.push(Reverse((when, self.made, event)));
    }

    fn comes(&mut self, now: Micros) {
        let rate = self.setup.rates.iter().rev().find(|(from, _)| *from <= now).unwrap().1;
        // A Poisson process: they come as independent clients do.
        let gap = -(1.0 - self.random.f64()).ln() / rate * 1e6;
        if now + micros(gap) < self.setup.lasts {
            self.at(now + micros(gap), Event::Comes);
        }
        let node = self.random.usize(..self.nodes.len());
        let cost = (normal(&mut self.random) * 1e6) as i64;
        let caller = Caller { client: node as u64, family: None, hash: None, relayed: false };
        let backend = &self.nodes[node].backend;
        let endpoint = backend.pick(millis(now), &mut self.chance, caller, None).unwrap();
        endpoint.begin();
        let server = usize::try_from(endpoint.id.0).unwrap() - 1;
        assert!(self.setup.servers[server].is_there(now), "nobody is picked who is not there");
        self.outcome.picked(now, server);
        let request = Request { came: now, node, server, cost };
        let (from, until) = self.setup.servers[server].broken;
        if (from..until).contains(&now) {
            self.at(now + NETWORK + REFUSAL, Event::Done(request, Fate::Refused));
            return;
        }
        self.live[server].queue.push_back(request);
        self.serve(now, server);
    }

    /// Takes what waits as long as there are slots.
    fn serve(&mut self, now: Micros, server: usize) {
        let (mean, slots) =
            (self.setup.servers[server].mean(now), self.setup.servers[server].slots);
        while self.live[server].busy < slots
            && let Some(request) = self.live[server].queue.pop_front()
        {
            self.live[server].busy += 1;
            let deviation = request.cost as f64 / 1e6 * SIGMA;
            let takes = mean * (deviation - SIGMA * SIGMA / 2.0).exp();
            self.at(now + micros(takes) + NETWORK, Event::Done(request, Fate::Answered));
        }
    }

    fn done(&mut self, now: Micros, request: Request, fate: Fate) {
        let Request { came, node, server, .. } = request;
        let latency = Duration::from_micros(now - came);
        let status = match fate {
            Fate::Answered => 200,
            Fate::Refused => 500,
        };
        let Node { endpoints, backend, .. } = &self.nodes[node];
        endpoints[server].end();
        let _ = backend.report(
            &endpoints[server],
            millis(now),
            Report::Answered { status, latency: Some(latency) },
        );
        self.outcome.ended(came, latency, fate);
        if fate == Fate::Answered {
            self.live[server].busy -= 1;
            self.serve(now, server);
        }
    }

    /// Servers have come or gone: a new snapshot.
    fn changes(&mut self, now: Micros) {
        for node in &mut self.nodes {
            for (server, endpoint) in self.setup.servers.iter().zip(&node.endpoints) {
                if server.joins == now {
                    endpoint.joins();
                }
            }
            let ready = ready(&self.setup.servers, &node.endpoints, now);
            node.backend = backend(&node.lasting, node.backend.settings(), ready);
        }
    }
}

fn ready(servers: &[Server], endpoints: &[Arc<Endpoint>], now: Micros) -> Vec<Arc<Endpoint>> {
    let there = servers.iter().zip(endpoints).filter(|(server, _)| server.is_there(now));
    there.map(|(_, endpoint)| Arc::clone(endpoint)).collect()
}

fn backend(
    lasting: &Arc<Lasting>,
    settings: &Arc<BackendSettings>,
    endpoints: Vec<Arc<Endpoint>>,
) -> Backend {
    let key = (ObjectName::new("simulation", "web"), 80);
    Backend::new(Arc::clone(lasting), key, AppProtocol::Http, None, endpoints)
        .with_settings(Arc::clone(settings))
}

fn millis(now: Micros) -> Millis {
    Millis(ORIGIN + now / 1000)
}

/// Half a year at most.
fn micros(of: f64) -> Micros {
    of.clamp(1.0, 1e13) as Micros
}

/// By Box and Muller ("A Note on the Generation of Random Normal Deviates", 1958).
fn normal(random: &mut fastrand::Rng) -> f64 {
    let (radius, angle) = (1.0 - random.f64(), random.f64() * std::f64::consts::TAU);
    (-2.0 * radius.ln()).sqrt() * angle.cos()
}
