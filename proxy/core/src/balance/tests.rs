//! What picks promise, whatever the algorithm.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::model::{
    AppProtocol, BackendSettings, Balancing, BalancingAlgorithm as Algorithm, ObjectName,
};

const NOW: Millis = Millis(1);
const ANYONE: Caller = Caller { client: 0, family: None, hash: None, relayed: false };

fn endpoints(n: u8) -> Vec<Arc<Endpoint>> {
    (0..n)
        .map(|i| {
            let address = ([10, 0, 0, i], 80).into();
            Arc::new(Endpoint::new(EndpointId(i.into()), address, None))
        })
        .collect()
}

/// Those that know nothing of keys.
const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::PeakEwma, Algorithm::LeastRequest, Algorithm::RoundRobin, Algorithm::Random];

fn backend(algorithm: Algorithm, endpoints: &[Arc<Endpoint>]) -> Backend {
    by(Balancing { algorithm: Some(algorithm), ..Balancing::default() }, endpoints)
}

fn by(balancing: Balancing, endpoints: impl IntoIterator<Item: Into<Member>>) -> Backend {
    let key = (ObjectName::new("ns", "web"), 80);
    Backend::new(Lasting::new(1), key, AppProtocol::Http, None, endpoints)
        .with_settings(Arc::new(BackendSettings { balancing, ..BackendSettings::default() }))
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
fn who_is_a_little_quicker_does_not_get_it_all_and_who_is_far_slower_gets_nothing() {
    for (quick, slow, least, most) in [
        (200, 900, 450, 550),
        (5_000, 6_000, 350, 450),
        (5_000, 8_000, 150, 250),
        (5_000, 11_000, 0, 0),
    ] {
        let all = endpoints(2);
        let backend = backend(Algorithm::PeakEwma, &all);
        for (endpoint, us) in all.iter().zip([quick, slow]) {
            let latency = std::time::Duration::from_micros(us);
            backend.report(endpoint, NOW, Report::Answered { status: 200, latency: Some(latency) });
        }
        let shares = shares(&backend, 1_000, None);
        assert!((least..=most).contains(&shares[1]), "{quick} and {slow} us: {shares:?}");
    }
}

#[test]
fn the_share_of_an_ejected_one_goes_to_all_others_evenly() {
    for algorithm in ALGORITHMS {
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
    for algorithm in ALGORITHMS {
        let all = endpoints(3);
        all.iter().for_each(|e| eject(e));
        let shares = shares(&backend(algorithm, &all), 900, None);
        assert!(shares.iter().all(|s| (200..=400).contains(s)), "{algorithm:?} {shares:?}");
    }
}

#[test]
fn a_retry_gets_the_same_one_only_if_no_other_is_well() {
    for algorithm in ALGORITHMS {
        let all = endpoints(2);
        let backend = backend(algorithm, &all);
        assert_eq!(shares(&backend, 10, Some(&all[0])), [0, 10]);
        eject(&all[1]);
        assert!(!backend.panicking_at(NOW));
        assert_eq!(shares(&backend, 10, Some(&all[0])), [10, 0], "the other is ejected");
        eject(&all[0]);
        backend.refresh();
        assert_eq!(shares(&backend, 10, Some(&all[0])), [0, 10], "both are");
        assert!(backend.panicking_at(NOW));
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

#[test]
fn with_too_few_usable_ones_all_are_used() {
    for algorithm in ALGORITHMS {
        let all = endpoints(10);
        let backend = backend(algorithm, &all);
        all[..5].iter().for_each(|e| eject(e));
        assert_eq!(shares(&backend, 1_000, None)[..5], [0; 5], "half of them are enough");
        assert!(!backend.panicking_at(NOW));
        eject(&all[5]);
        backend.refresh();
        let shares = shares(&backend, 5_000, None);
        assert!(shares.iter().all(|s| (400..=600).contains(s)), "{algorithm:?} {shares:?}");
        assert!(backend.panicking_at(NOW));
        assert_eq!(backend.usable(NOW), 4);
    }
}

#[test]
fn panic_is_told_whichever_family_it_is_in() {
    let mut all = endpoints(2);
    all.extend((1..=2_u16).map(|i| {
        let address = ([0xfd00, 0, 0, 0, 0, 0, 0, i], 80).into();
        Arc::new(Endpoint::new(EndpointId(u64::from(i) + 10), address, None))
    }));
    let backend = backend(Algorithm::RoundRobin, &all);
    assert_eq!((backend.panicking_at(NOW), backend.panic_turned(NOW)), (false, None));
    backend.endpoints()[..2].iter().for_each(|e| eject(e));
    backend.refresh();
    let later = Millis(NOW.0 + 1);
    backend.endpoints()[..2].iter().for_each(|e| e.leave_out(Millis(later.0 + 5_000)));
    let panics = |family| backend.panics_for(family, later);
    assert!(panics(Some(Family::V4)), "nobody of it is well");
    assert!(!panics(Some(Family::V6)) && !panics(None), "half of all are well");
    assert!(backend.panicking_at(later));
    assert_eq!(backend.panic_turned(later), Some(true));
}

#[test]
fn one_that_is_alone_panics_as_long_as_it_is_not_well() {
    let one = endpoints(1);
    let backend = backend(Algorithm::RoundRobin, &one);
    let mut random = fastrand::Rng::with_seed(1);
    let mut pick = |now| backend.pick(now, &mut random, ANYONE, None).is_some();
    assert!(pick(NOW));
    assert_eq!((backend.panicking_at(NOW), backend.panic_turned(NOW)), (false, None));
    one[0].leave_out(Millis(NOW.0 + 100));
    assert!(pick(NOW));
    assert_eq!((backend.panicking_at(NOW), backend.panic_turned(NOW)), (true, Some(true)));
    let back = Millis(NOW.0 + 100);
    assert!(pick(back));
    assert!(!backend.panicking_at(back), "also if nothing has told that it is back");
    let later = Millis(NOW.0 + 20_000);
    assert_eq!(backend.panic_turned(later), Some(false));
}

#[test]
fn one_that_is_alone_is_out_no_longer_than_its_settings_say() {
    let one = endpoints(1);
    one[0].leave_out(Millis(NOW.0 + 300_000));
    let key = (ObjectName::new("ns", "web"), 80);
    let mut settings = BackendSettings::default();
    settings.balancing.panic_threshold = 0;
    settings.outliers.max_ejected = 0;
    let backend = Backend::new(Lasting::new(1), key, AppProtocol::Http, None, &*one)
        .with_settings(Arc::new(settings));
    let picked = backend.pick(NOW, &mut fastrand::Rng::with_seed(1), ANYONE, None);
    assert!(picked.is_some(), "nobody is to be left out any more");
}

#[test]
fn without_panic_nobody_is_picked_who_is_not_usable() {
    for algorithm in ALGORITHMS {
        for n in 1..4 {
            let all = endpoints(n);
            let backend = by(
                Balancing {
                    algorithm: Some(algorithm),
                    panic_threshold: 0,
                    ..Balancing::default()
                },
                &all,
            );
            all[1..].iter().for_each(|e| eject(e));
            assert_eq!(shares(&backend, 10, Some(&all[0]))[0], 10);
            eject(&all[0]);
            let mut random = fastrand::Rng::with_seed(1);
            assert!(backend.pick(NOW, &mut random, ANYONE, None).is_none());
            backend.refresh();
            assert!(backend.pick(NOW, &mut random, ANYONE, None).is_none());
        }
    }
}

#[test]
fn who_has_been_left_out_long_enough_is_back() {
    for algorithm in ALGORITHMS {
        let all = endpoints(3);
        let backend = backend(algorithm, &all);
        all[1].leave_out(Millis(10_001));
        let mut random = fastrand::Rng::with_seed(1);
        let mut picked = |now| {
            (0..100)
                .filter(|_| backend.pick(Millis(now), &mut random, ANYONE, None).unwrap().id.0 == 1)
                .count()
        };
        assert_eq!(picked(10_000), 0);
        assert!(picked(10_001) > 10);
    }
}

#[test]
fn weights_are_kept() {
    let weight = |i: usize| [1, 2, 3, 4, 10][i];
    for algorithm in ALGORITHMS {
        let members: Vec<Member> = endpoints(5)
            .iter()
            .enumerate()
            .map(|(i, e)| Member { weight: weight(i).try_into().unwrap(), ..e.into() })
            .collect();
        let balancing = Balancing { algorithm: Some(algorithm), ..Balancing::default() };
        let all = by(balancing.clone(), members.clone());
        // Latencies are the same, and a little different all the time.
        let mut random = fastrand::Rng::with_seed(2);
        let mut shares = [0_u32; 5];
        for now in 0..40_000 {
            let picked = all.pick(Millis(now), &mut random, ANYONE, None).unwrap();
            let place = all.endpoints().iter().position(|e| e.id == picked.id).unwrap();
            shares[place] += 1;
            let latency = std::time::Duration::from_micros(1_000 + random.u64(..100));
            all.report(
                picked,
                Millis(now),
                Report::Answered { status: 200, latency: Some(latency) },
            );
        }
        for (place, share) in shares.into_iter().enumerate() {
            let wanted = 2_000 * u32::from(weight(place));
            let slack = if algorithm == Algorithm::RoundRobin { 5 } else { wanted / 5 };
            assert!(share.abs_diff(wanted) <= slack, "{algorithm:?} {shares:?}");
        }
        // Under load, what is under way goes by weight as well.
        if matches!(algorithm, Algorithm::PeakEwma | Algorithm::LeastRequest) {
            let loaded = by(balancing, members);
            for _ in 0..20_000 {
                loaded.pick(NOW, &mut random, ANYONE, None).unwrap().begin();
            }
            for (place, endpoint) in loaded.endpoints().iter().enumerate() {
                let wanted = 1_000 * u32::from(weight(place));
                assert!(endpoint.active().abs_diff(wanted) < wanted / 20 + 5, "{endpoint:?}");
            }
        }
    }
}

#[test]
fn peak_ewma_shuns_a_slow_one_and_one_that_fails_fast() {
    for (status, ms) in [(200, 200), (500, 1)] {
        let all = endpoints(4);
        let backend = backend(Algorithm::PeakEwma, &all);
        let mut random = fastrand::Rng::with_seed(3);
        let mut bad = 0;
        for now in 0..20_000 {
            let picked = backend.pick(Millis(now), &mut random, ANYONE, None).unwrap();
            let (status, ms) = if picked.id.0 == 1 { (status, ms) } else { (200, 10) };
            bad += usize::from(picked.id.0 == 1);
            let latency = std::time::Duration::from_millis(ms);
            backend.report(
                picked,
                Millis(now),
                Report::Answered { status, latency: Some(latency) },
            );
        }
        assert!((1..20).contains(&bad), "asked at times, not more: {bad}");
    }
}

#[test]
fn what_is_relayed_goes_in_turn_whatever_its_port_speaks_and_says_nothing_of_requests() {
    use std::time::Duration;
    for (protocol, algorithm, even) in [
        (AppProtocol::Detect, None, true),
        (AppProtocol::Http, None, true),
        (AppProtocol::Tcp, None, true),
        (AppProtocol::Detect, Some(Algorithm::PeakEwma), false),
    ] {
        let key = (ObjectName::new("ns", "web"), 80);
        let balancing = Balancing { algorithm, ..Balancing::default() };
        let settings = BackendSettings { balancing, ..BackendSettings::default() };
        let backend = Backend::new(Lasting::new(1), key, protocol, None, endpoints(3))
            .with_settings(Arc::new(settings));
        // One is on this node: connections to it are made in a tenth of the time.
        let mut random = fastrand::Rng::with_seed(1);
        let mut shares = [0; 3];
        for now in 0..3_000 {
            let caller = Caller { relayed: true, ..ANYONE };
            let picked = backend.pick(Millis(now), &mut random, caller, None).unwrap();
            let place = usize::try_from(picked.id.0).unwrap();
            shares[place] += 1;
            let latency = Duration::from_micros(if place == 0 { 50 } else { 500 });
            backend.report(picked, Millis(now), Report::Connected { latency });
        }
        let least = if even { 1_000 } else { 700 };
        assert!(
            shares.iter().all(|share| *share >= least),
            "{protocol:?} {algorithm:?} {shares:?}"
        );
        let known = backend.endpoints().iter().filter(|e| e.latency_us(Millis(3_000)).is_some());
        assert_eq!(known.count(), 0, "no request has been answered");
    }
}

#[test]
fn peak_ewma_neither_starves_nor_buries_a_new_one() {
    let all = endpoints(10);
    let backend = backend(Algorithm::PeakEwma, &all);
    let latency = std::time::Duration::from_millis(5);
    let heard = |e: &Endpoint| {
        backend.report(e, NOW, Report::Answered { status: 200, latency: Some(latency) });
    };
    all[1..].iter().for_each(|e| heard(e));
    let mut random = fastrand::Rng::with_seed(4);
    let mut picks = |times| {
        let mut pick = || backend.pick(NOW, &mut random, ANYONE, None).unwrap();
        (0..times).for_each(|_| pick().begin());
        all[0].active()
    };
    assert_eq!(picks(100), 1, "one, until it has answered");
    heard(&all[0]);
    // Twenty are its share of both hundreds; chance is off by four.
    assert!((8..=32).contains(&picks(100)), "then as many as others");
}

#[test]
fn workers_together_are_as_even_as_one() {
    let all = endpoints(10);
    let backend = backend(Algorithm::RoundRobin, &all);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let backend = &backend;
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                for _ in 0..25_000 {
                    backend.pick(NOW, &mut random, ANYONE, None).unwrap().begin();
                }
            });
        }
    });
    assert!(all.iter().all(|e| e.active() == 10_000));
}

proptest! {
    #[test]
    fn nobody_is_picked_who_is_not_usable_unless_in_panic(
        n in 1u8..12,
        out in prop::collection::vec(any::<bool>(), 12),
        late in prop::collection::vec(any::<bool>(), 12),
        avoid in prop::option::of(0usize..12),
        threshold in 0u8..=100,
        seed: u64,
        algorithm in prop::sample::select(&ALGORITHMS[..]),
    ) {
        let all = endpoints(n);
        let algorithm = Some(algorithm);
        let backend =
            by(Balancing { algorithm, panic_threshold: threshold, ..Balancing::default() }, &all);
        let avoid = avoid.and_then(|i| all.get(i)).map(|e| &**e);
        let avoided = |e: &Endpoint| avoid.is_some_and(|a| a.id == e.id);
        let mut random = fastrand::Rng::with_seed(seed);
        // Some are out before the roster is made, others since, and nobody has said so.
        all.iter().zip(&out).filter(|(_, out)| **out).for_each(|(e, _)| eject(e));
        for after in [false, true] {
            let late = all.iter().zip(&late).filter(|(e, late)| after && **late && e.usable(NOW));
            late.for_each(|(e, _)| eject(e));
            let any_in = all.iter().any(|e| e.usable(NOW));
            let any_other_in = all.iter().any(|e| e.usable(NOW) && !avoided(e));
            for _ in 0..20 {
                let picked = backend.pick(NOW, &mut random, ANYONE, avoid);
                prop_assert_eq!(picked.is_some(), any_in || threshold > 0);
                let Some(picked) = picked else { continue };
                prop_assert!(all.iter().any(|e| Arc::ptr_eq(e, picked)));
                if !backend.panicking_at(NOW) {
                    prop_assert!(!any_in || picked.usable(NOW));
                }
                prop_assert!(!any_other_in || !avoided(picked));
            }
        }
    }
}
