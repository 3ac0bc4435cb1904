//! What holds whatever happens in whatever order, also of several workers at once.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::balance::{Backend, Caller, Endpoint, EndpointId, Lasting, Millis, Report};
use crate::model::{
    AppProtocol, BackendSettings, BalancingAlgorithm, HealthCheck, LatencyOutlier, ObjectName,
    OutlierDetection, Probe, SuccessRate,
};

const LATENCY: Duration = Duration::from_millis(5);
const GOOD: Report = Report::Answered { status: 200, latency: Some(LATENCY) };

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn endpoints(n: u64) -> Vec<Arc<Endpoint>> {
    let endpoint = |id: u64| {
        let [.., low] = id.to_be_bytes();
        Arc::new(Endpoint::new(EndpointId(id), ([10, 0, 0, low], 80).into(), None))
    };
    (1..=n).map(endpoint).collect()
}

fn backend_of(
    lasting: &Arc<Lasting>,
    all: &[Arc<Endpoint>],
    outliers: &OutlierDetection,
    checked: bool,
) -> Backend {
    let check = HealthCheck { unhealthy: count(2), ..HealthCheck::of(Probe::Tcp) };
    let settings = BackendSettings {
        outliers: outliers.clone(),
        health_check: checked.then_some(check),
        ..BackendSettings::default()
    };
    let key = (ObjectName::new("ns", "web"), 80);
    let made = Backend::new(Arc::clone(lasting), key, AppProtocol::Http, None, all);
    made.with_settings(Arc::new(settings))
}

fn most(endpoints: usize, share: u8) -> usize {
    if share == 0 { 0 } else { (endpoints * usize::from(share) / 100).max(1) }
}

/// What may happen at a backend.
#[derive(Debug, Clone)]
enum Event {
    Report(usize, Report),
    Check(usize, bool),
    Whole(usize),
    /// So much time passes, milliseconds.
    Time(u64),
    /// Another snapshot: with so many of the endpoints, and checks or not.
    Snapshot(usize, bool),
    /// Whoever makes a roster.
    Settle,
}

fn event() -> impl Strategy<Value = Event> {
    let slow = Report::Answered { status: 200, latency: Some(LATENCY * 100) };
    let status = |status| Report::Answered { status, latency: Some(LATENCY) };
    let report = prop_oneof![
        2 => Just(GOOD),
        1 => Just(slow),
        1 => prop::sample::select(vec![status(404), status(500), status(503)]),
        4 => prop::sample::select(vec![Report::Lost, Report::NotConnected, Report::Cut]),
        1 => Just(Report::Connected { latency: LATENCY }),
    ];
    prop_oneof![
        20 => (0..8usize, report).prop_map(|(e, report)| Event::Report(e, report)),
        3 => (0..8usize, any::<bool>()).prop_map(|(e, ok)| Event::Check(e, ok)),
        1 => (0..8usize).prop_map(Event::Whole),
        3 => prop_oneof![1..100u64, 500..15_000u64].prop_map(Event::Time),
        1 => (1..9usize, any::<bool>()).prop_map(|(n, checked)| Event::Snapshot(n, checked)),
        1 => Just(Event::Settle),
    ]
}

fn detection() -> impl Strategy<Value = OutlierDetection> {
    let run = || prop::option::of((1..5u32).prop_map(count));
    let compared = any::<(bool, bool)>();
    (run(), run(), run(), compared, 0..=100u8, 1..3_000u64, 1..8_000u64).prop_map(
        |(errors, gateway, connect, (rate, latency), share, base, longest)| OutlierDetection {
            consecutive_5xx: errors,
            consecutive_gateway_errors: gateway,
            consecutive_connect_failures: connect,
            success_rate: rate.then_some(SuccessRate {
                endpoints: count(2),
                requests: count(2),
                stdev_factor: 500,
            }),
            latency: latency.then_some(LatencyOutlier {
                endpoints: count(2),
                requests: count(1),
                factor: 2_000,
                least: LATENCY,
            }),
            interval: Duration::from_millis(500),
            base_ejection: Duration::from_millis(base),
            max_ejection: Duration::from_millis(longest.max(base)),
            max_ejected: share,
        },
    )
}

proptest! {
    #[test]
    fn no_more_are_out_than_may_none_for_longer_than_it_may_and_all_come_back(
        outliers in detection(),
        events in prop::collection::vec(event(), 1..400),
    ) {
        let (lasting, all) = (Lasting::new(1), endpoints(8));
        let mut now = Millis(10_000);
        let mut backend = backend_of(&lasting, &all, &outliers, true);
        let longest = u64::try_from(outliers.max_ejection.as_millis()).unwrap();
        let out = |backend: &Backend, now| {
            backend.endpoints().iter().filter(|e| e.ejected(now)).count()
        };
        for event in events {
            let before = out(&backend, now);
            let endpoints = backend.endpoints();
            let place = |e: usize| &endpoints[e % endpoints.len()];
            let mut told = Vec::new();
            match event {
                Event::Report(e, report) => told = backend.report(place(e), now, report),
                Event::Check(e, healthy) => told.extend(backend.checked(place(e), now, healthy)),
                Event::Whole(e) => place(e).whole(),
                Event::Time(ms) => now.0 += ms,
                Event::Settle => backend.settle(now),
                Event::Snapshot(n, checked) => {
                    backend = backend_of(&lasting, &all[..n.min(8)], &outliers, checked);
                    backend.settle(now);
                    // Fewer endpoints may leave more of them out than there would be by now.
                    continue;
                }
            }
            let after = out(&backend, now);
            let most = most(backend.endpoints().len(), outliers.max_ejected);
            prop_assert!(after <= most || after <= before, "{after} of {most}");
            let ejections =
                told.iter().filter(|e| matches!(e.change, Change::Ejected(_))).count();
            prop_assert!(after <= before + ejections, "nobody is left out untold");
            for endpoint in backend.endpoints() {
                prop_assert!(endpoint.ejected_for(now).unwrap_or(0) <= longest);
                prop_assert!(!endpoint.ejected(now) || !endpoint.usable(now));
                prop_assert_eq!(endpoint.changes_at(now).is_some(), endpoint.ejected(now));
            }
        }
        now.0 += longest;
        prop_assert_eq!(out(&backend, now), 0);
        let check = |ok| {
            for endpoint in backend.endpoints() {
                backend.checked(endpoint, now, ok);
            }
        };
        (0..2).for_each(|_| check(true));
        prop_assert!(backend.endpoints().iter().all(|e| e.usable(now)), "nobody is stuck");
        // And whoever fails then is out as ever.
        if let (Some(run), 1..) = (outliers.consecutive_5xx, outliers.max_ejected) {
            now.0 += 1_000;
            let first = &backend.endpoints()[0];
            backend.report(first, now, GOOD);
            for _ in 0..run.get() {
                backend.report(first, now, Report::Lost);
            }
            prop_assert!(backend.endpoints().iter().any(|e| e.ejected(now)));
        }
    }
}

#[test]
fn of_many_workers_that_see_failures_at_once_no_more_are_left_out_than_may_be_and_each_is_told_once()
 {
    let outliers = OutlierDetection {
        consecutive_5xx: Some(count(3)),
        max_ejected: 40,
        base_ejection: Duration::from_secs(1),
        max_ejection: Duration::from_secs(1),
        ..OutlierDetection::default()
    };
    let all = endpoints(20);
    let lasting = Lasting::new(1);
    let backend = backend_of(&lasting, &all, &outliers, false);
    for round in 0..100u64 {
        let now = Millis(10_000 + round * 2_000);
        let done = AtomicBool::new(false);
        let told: usize = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                while !done.load(Relaxed) {
                    let out = all.iter().filter(|e| e.ejected(now)).count();
                    assert!(out <= 8, "{out} of 8");
                }
            });
            let workers: Vec<_> = (0..4)
                .map(|worker| {
                    let (backend, all) = (&backend, &all);
                    scope.spawn(move || {
                        let mut random = fastrand::Rng::with_seed(round * 4 + worker);
                        let mut told = 0;
                        for _ in 0..500 {
                            let endpoint = &all[random.usize(..all.len())];
                            let events = backend.report(endpoint, now, Report::Lost);
                            let ejected = |e: &&HealthEvent| matches!(e.change, Change::Ejected(_));
                            told += events.iter().filter(ejected).count();
                        }
                        told
                    })
                })
                .collect();
            let told = workers.into_iter().map(|w| w.join().unwrap()).sum();
            done.store(true, Relaxed);
            watcher.join().unwrap();
            told
        });
        assert_eq!(told, 8);
        assert_eq!(all.iter().filter(|e| e.ejected(now)).count(), 8);
    }
}

#[test]
fn two_workers_do_not_both_take_the_last_place() {
    let outliers = OutlierDetection {
        consecutive_5xx: Some(count(1)),
        max_ejected: 1,
        base_ejection: Duration::from_millis(1),
        max_ejection: Duration::from_millis(1),
        ..OutlierDetection::default()
    };
    let all = endpoints(200);
    let backend = backend_of(&Lasting::new(1), &all, &outliers, false);
    let most = most(all.len(), 1);
    let at_once = std::sync::Barrier::new(3);
    let work = |worker: usize| {
        let round = |round: u64| {
            let now = Millis(10_000 + round * 2_000);
            at_once.wait();
            for endpoint in &all[worker * 50..worker * 50 + 20] {
                let _ = backend.report(endpoint, now, Report::Lost);
            }
            at_once.wait();
            let out = all.iter().filter(|e| e.ejected(now)).count();
            assert_eq!(out, most, "in round {round}");
            at_once.wait();
        };
        (0..300).for_each(round);
    };
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let work = &work;
            scope.spawn(move || work(worker));
        }
    });
}

#[test]
fn of_many_workers_that_see_the_last_failure_one_tells_of_it() {
    let outliers = OutlierDetection::default();
    for _ in 0..200 {
        let backend = backend_of(&Lasting::new(1), &endpoints(2), &outliers, false);
        let told: usize = std::thread::scope(|scope| {
            let fail = || {
                let report = |_| backend.report(&backend.endpoints()[0], Millis(1), Report::Lost);
                (0..100).flat_map(report).count()
            };
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(fail)).collect();
            workers.into_iter().map(|w| w.join().unwrap()).sum()
        });
        assert_eq!(told, 1);
    }
}

#[test]
fn no_count_is_lost_however_often_windows_are_looked_at() {
    const TIMES: u64 = 1_000_000;
    let window = Window::default();
    let endpoint = &endpoints(1)[0];
    let seen = std::thread::scope(|scope| {
        let work = || {
            for _ in 0..TIMES {
                window.take(GOOD);
                window.take(Report::Lost);
            }
        };
        let workers: Vec<_> = (0..3).map(|_| scope.spawn(work)).collect();
        let mut seen = (0, 0, 0);
        let mut look = || {
            let (requests, successes, latency_us) = window.counts(endpoint);
            seen = (seen.0 + requests, seen.1 + successes, seen.2 + latency_us);
        };
        while workers.iter().any(|w| !w.is_finished()) {
            look();
        }
        workers.into_iter().for_each(|w| w.join().unwrap());
        look();
        seen
    });
    assert_eq!(seen, (6 * TIMES, 3 * TIMES, 3 * TIMES * 5_000));
}

/// How many of 10 000 requests fail where one of ten endpoints fails each, if so many are under way together;
/// by a policy of so many in a row.
fn failures(algorithm: BalancingAlgorithm, at_once: usize, in_a_row: u32) -> usize {
    let outliers = OutlierDetection {
        consecutive_5xx: Some(count(in_a_row)),
        consecutive_gateway_errors: None,
        max_ejected: 10,
        ..OutlierDetection::default()
    };
    let mut settings = BackendSettings { outliers, ..BackendSettings::default() };
    settings.balancing.algorithm = Some(algorithm);
    let key = (ObjectName::new("ns", "web"), 80);
    let backend = Backend::new(Lasting::new(1), key, AppProtocol::Http, None, endpoints(10));
    let backend = backend.with_settings(Arc::new(settings));
    let broken = backend.endpoints()[3].id;
    let mut random = fastrand::Rng::with_seed(5);
    let caller = Caller { client: 1, family: None, hash: None, relayed: false };
    let (mut failed, mut under_way) = (0, std::collections::VecDeque::new());
    for request in 0..10_000 {
        // It is out for longer than this takes.
        let now = Millis(1_000 + request / 2);
        let endpoint = Arc::clone(backend.pick(now, &mut random, caller, None).unwrap());
        endpoint.begin();
        under_way.push_back(endpoint);
        if under_way.len() >= at_once {
            let endpoint = under_way.pop_front().unwrap();
            endpoint.end();
            let fails = endpoint.id == broken;
            failed += usize::from(fails);
            let _ = backend.report(&endpoint, now, if fails { Report::Lost } else { GOOD });
        }
    }
    failed
}

#[test]
fn a_failing_endpoint_costs_as_many_failures_as_the_policy_says() {
    use BalancingAlgorithm::*;
    for in_a_row in [1, 2, 5, 20] {
        let n = usize::try_from(in_a_row).unwrap();
        for algorithm in [LeastRequest, Random, RoundRobin] {
            assert_eq!(failures(algorithm, 1, in_a_row), n);
            // And those that were on their way to it by then.
            let failed = failures(algorithm, 32, in_a_row);
            assert!((n..n + 32).contains(&failed), "{failed} with 32 at once, {n} in a row");
        }
        // This one shuns who fails by itself.
        assert!((1..=n).contains(&failures(PeakEwma, 1, in_a_row)));
    }
}
