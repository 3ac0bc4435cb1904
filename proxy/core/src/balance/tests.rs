//! What picks promise, whatever the algorithm.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::{AppProtocol, ObjectName};

const NOW: Millis = Millis(1);
const ANYONE: Caller = Caller { client: 0, family: None, hash: None };

fn endpoints(n: u8) -> Vec<Arc<Endpoint>> {
    (0..n)
        .map(|i| {
            let address = ([10, 0, 0, i], 80).into();
            Arc::new(Endpoint::new(EndpointId(i.into()), address, None))
        })
        .collect()
}

fn backend(algorithm: Algorithm, endpoints: &[Arc<Endpoint>]) -> Backend {
    let key = (ObjectName::new("ns", "web"), 80);
    let protocol = match algorithm {
        Algorithm::LeastRequest => AppProtocol::Http,
        Algorithm::RoundRobin => AppProtocol::Tcp,
    };
    Backend::new(Lasting::new(1), key, protocol, None, endpoints)
}

fn eject(endpoint: &Endpoint) {
    endpoint.leave_out(Millis(NOW.0 + 1));
}

/// How often each is picked in `times` picks; nothing is ever under way.
fn shares(backend: &Backend, times: usize, avoid: Option<&Endpoint>) -> Vec<usize> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut shares = vec![0; backend.endpoints().len()];
    for _ in 0..times {
        let picked = backend.pick(NOW, &mut random, ANYONE, avoid).unwrap();
        let place = backend.endpoints().iter().position(|e| e.id == picked.id).unwrap();
        shares[place] += 1;
    }
    shares
}

#[test]
fn round_robin_is_exact() {
    let backend = backend(Algorithm::RoundRobin, &endpoints(3));
    assert_eq!(shares(&backend, 300, None), [100, 100, 100]);
}

#[test]
fn least_request_keeps_the_load_even() {
    let backend = backend(Algorithm::LeastRequest, &endpoints(10));
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..10_000 {
        backend.pick(NOW, &mut random, ANYONE, None).unwrap().begin();
    }
    for endpoint in backend.endpoints() {
        assert!((970..=1030).contains(&endpoint.active()), "{}", endpoint.active());
    }
}

#[test]
fn least_request_shuns_a_busy_one() {
    let all = endpoints(4);
    (0..100).for_each(|_| all[2].begin());
    assert_eq!(shares(&backend(Algorithm::LeastRequest, &all), 1000, None)[2], 0);
}

#[test]
fn the_share_of_an_ejected_one_goes_to_all_others_evenly() {
    for algorithm in [Algorithm::LeastRequest, Algorithm::RoundRobin] {
        let all = endpoints(5);
        eject(&all[1]);
        let shares = shares(&backend(algorithm, &all), 4_000, None);
        assert_eq!(shares[1], 0);
        for place in [0, 2, 3, 4] {
            assert!((900..=1100).contains(&shares[place]), "{algorithm:?} {shares:?}");
        }
    }
}

#[test]
fn if_all_are_ejected_all_are_used() {
    for algorithm in [Algorithm::LeastRequest, Algorithm::RoundRobin] {
        let all = endpoints(3);
        all.iter().for_each(|e| eject(e));
        let shares = shares(&backend(algorithm, &all), 900, None);
        assert!(shares.iter().all(|s| (200..=400).contains(s)), "{algorithm:?} {shares:?}");
    }
}

#[test]
fn a_retry_gets_the_same_one_only_if_no_other_is_well() {
    for algorithm in [Algorithm::LeastRequest, Algorithm::RoundRobin] {
        let all = endpoints(2);
        let backend = backend(algorithm, &all);
        assert_eq!(shares(&backend, 10, Some(&all[0])), [0, 10]);
        eject(&all[1]);
        assert_eq!(shares(&backend, 10, Some(&all[0])), [10, 0], "the other is ejected");
        eject(&all[0]);
        assert_eq!(shares(&backend, 10, Some(&all[0])), [0, 10], "both are");
    }
}

#[test]
fn without_endpoints_there_is_nothing_to_pick() {
    let none = backend(Algorithm::LeastRequest, &[]);
    assert!(none.pick(NOW, &mut fastrand::Rng::with_seed(1), ANYONE, None).is_none());
    let one = endpoints(1);
    eject(&one[0]);
    assert_eq!(shares(&backend(Algorithm::RoundRobin, &one), 3, Some(&one[0])), [3]);
}

proptest! {
    #[test]
    fn nobody_ejected_is_picked_while_another_is_well(
        n in 1u8..12,
        out in prop::collection::vec(any::<bool>(), 12),
        avoid in prop::option::of(0usize..12),
        seed: u64,
        round_robin: bool,
    ) {
        let algorithm = if round_robin { Algorithm::RoundRobin } else { Algorithm::LeastRequest };
        let all = endpoints(n);
        let backend = backend(algorithm, &all);
        all.iter().zip(&out).filter(|(_, out)| **out).for_each(|(e, _)| eject(e));
        let avoid = avoid.and_then(|i| all.get(i)).map(|e| &**e);
        let avoided = |e: &Endpoint| avoid.is_some_and(|a| a.id == e.id);
        let any_in = all.iter().any(|e| !e.ejected(NOW));
        let any_other_in = all.iter().any(|e| !e.ejected(NOW) && !avoided(e));
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..20 {
            let picked = backend.pick(NOW, &mut random, ANYONE, avoid).unwrap();
            prop_assert!(all.iter().any(|e| Arc::ptr_eq(e, picked)));
            prop_assert!(!any_in || !picked.ejected(NOW));
            prop_assert!(!any_other_in || !avoided(picked));
        }
    }
}
