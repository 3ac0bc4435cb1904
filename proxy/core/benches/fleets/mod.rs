//! Backends of many endpoints to pick from, with latencies and with some left out.

use std::sync::Arc;
use std::time::Duration;

use nodeway_core::balance::{Backend, Caller, Endpoint, EndpointId, Lasting, Millis, Report};
use nodeway_core::model::{
    AppProtocol, BackendSettings, Balancing, BalancingAlgorithm, ObjectName, OutlierDetection,
};

pub(crate) const ALGORITHMS: [BalancingAlgorithm; 6] = [
    BalancingAlgorithm::PeakEwma,
    BalancingAlgorithm::LeastRequest,
    BalancingAlgorithm::RoundRobin,
    BalancingAlgorithm::Random,
    BalancingAlgorithm::RingHash,
    BalancingAlgorithm::Maglev,
];
const NOW: Millis = Millis(1_000);

/// A backend with requests that come.
pub(crate) struct Fleet {
    backend: Backend,
    random: fastrand::Rng,
}

// === impl Fleet ===

impl Fleet {
    /// Every tenth endpoint is left out.
    pub(crate) fn new(algorithm: BalancingAlgorithm, endpoints: u32) -> Self {
        let endpoint = |i: u32| {
            let address = ((0x0a00_0000 + i).to_be_bytes(), 80).into();
            Arc::new(Endpoint::new(EndpointId(i.into()), address, None))
        };
        let all: Vec<_> = (0..endpoints).map(endpoint).collect();
        let balancing = Balancing { algorithm: Some(algorithm), ..Balancing::default() };
        let outliers = OutlierDetection { max_ejected: 50, ..OutlierDetection::default() };
        let settings = BackendSettings { balancing, outliers, ..BackendSettings::default() };
        let key = (ObjectName::new("shop", "web"), 80);
        let backend = Backend::new(Lasting::new(1), key, AppProtocol::Http, None, &all)
            .with_settings(Arc::new(settings));
        for (i, endpoint) in (0..).zip(&all) {
            let latency = Duration::from_micros(1_000 + i % 7 * 100);
            backend.report(endpoint, NOW, Report::Answered { status: 200, latency: Some(latency) });
            if i % 10 == 3 {
                (0..10).for_each(|_| drop(backend.report(endpoint, NOW, Report::NotConnected)));
                assert!(!endpoint.usable(NOW));
            }
        }
        Self { backend, random: fastrand::Rng::with_seed(1) }
    }

    /// A request comes, and ends at once.
    pub(crate) fn pick(&mut self) -> u64 {
        let caller =
            Caller { client: 1, family: None, hash: Some(self.random.u64(..)), relayed: false };
        let picked = self.backend.pick(NOW, &mut self.random, caller, None).unwrap();
        picked.begin();
        picked.end();
        picked.id.0
    }
}
