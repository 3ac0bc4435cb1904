//! How even 100 000 requests are spread over ten endpoints, and which keys move when one goes.

use std::sync::Arc;

use nodeway_core::balance::{Backend, Caller, Endpoint, EndpointId, Lasting, Millis};
use nodeway_core::model::{
    AppProtocol, BackendSettings, Balancing, BalancingAlgorithm, ObjectName,
};

use super::fleet::SECOND;
use super::scenarios::Scenario;

const ENDPOINTS: usize = 10;
const REQUESTS: u64 = 100_000;
const NOW: Millis = Millis(1);

/// How even one algorithm is.
#[derive(Debug, Clone)]
pub(crate) struct Spread {
    pub(crate) what: &'static str,
    /// How far the endpoint with most or least is from an even share, as a part of it.
    pub(crate) off: f64,
    /// How far it may be.
    pub(crate) goal: Option<f64>,
    /// The part of the keys that an endpoint has lost though it is still there.
    pub(crate) moved: Option<f64>,
}

/// Of each algorithm that makes a promise.
pub(crate) fn all() -> Vec<Spread> {
    vec![
        round_robin(),
        least_request(),
        hashing(BalancingAlgorithm::Maglev),
        hashing(BalancingAlgorithm::RingHash),
    ]
}

/// One request after the other.
pub(crate) fn round_robin() -> Spread {
    let backend = backend(BalancingAlgorithm::RoundRobin, ENDPOINTS);
    let mut counts = [0; ENDPOINTS];
    for _ in 0..REQUESTS {
        counts[pick(&backend, None)] += 1;
    }
    Spread { what: "round robin", off: off(&counts), goal: Some(0.0), moved: None }
}

/// Requests that take their time and come at random, as many at once as half of what servers can do.
pub(crate) fn least_request() -> Spread {
    let mut setup = Scenario::Quiet.setup(BalancingAlgorithm::LeastRequest);
    setup.lasts = 51 * SECOND;
    let shares = super::fleet::run(setup).first(REQUESTS as usize).shares();
    let off = shares.iter().map(|share| (share * 10.0 - 1.0).abs()).fold(0.0, f64::max);
    Spread { what: "least request", off, goal: Some(0.03), moved: None }
}

/// Each request with a key of its own, the next number each, as clients have them; then one endpoint goes.
/// (Of keys drawn at random some endpoint would get a per cent or two more, however even its table is.)
pub(crate) fn hashing(algorithm: BalancingAlgorithm) -> Spread {
    let (all, fewer) = (backend(algorithm, ENDPOINTS), backend(algorithm, ENDPOINTS - 1));
    let mut counts = [0; ENDPOINTS];
    let mut moved = 0;
    for request in 0..REQUESTS {
        let before = pick(&all, Some(request));
        counts[before] += 1;
        if before != ENDPOINTS - 1 && pick(&fewer, Some(request)) != before {
            moved += 1;
        }
    }
    let (what, goal) = match algorithm {
        BalancingAlgorithm::Maglev => ("Maglev", Some(0.01)),
        _ => ("ring hash", None),
    };
    Spread { what, off: off(&counts), goal, moved: Some(f64::from(moved) / REQUESTS as f64) }
}

fn off(counts: &[u32; ENDPOINTS]) -> f64 {
    let even = REQUESTS as f64 / ENDPOINTS as f64;
    counts.iter().map(|count| (f64::from(*count) / even - 1.0).abs()).fold(0.0, f64::max)
}

fn backend(algorithm: BalancingAlgorithm, endpoints: usize) -> Backend {
    let endpoint = |i: usize| {
        let address = ([10, 0, 0, u8::try_from(i).unwrap()], 80).into();
        Arc::new(Endpoint::new(EndpointId(i as u64 + 1), address, None))
    };
    let all: Vec<_> = (0..endpoints).map(endpoint).collect();
    let balancing = Balancing { algorithm: Some(algorithm), ..Balancing::default() };
    let settings = BackendSettings { balancing, ..BackendSettings::default() };
    let key = (ObjectName::new("simulation", "web"), 80);
    Backend::new(Lasting::new(1), key, AppProtocol::Http, None, all)
        .with_settings(Arc::new(settings))
}

fn pick(backend: &Backend, hash: Option<u64>) -> usize {
    let caller = Caller { client: 1, family: None, hash, relayed: false };
    let mut random = fastrand::Rng::with_seed(1);
    let picked = backend.pick(NOW, &mut random, caller, None).unwrap();
    usize::try_from(picked.id.0).unwrap() - 1
}
