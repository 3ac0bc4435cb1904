//! The promises of limits, also when many threads ask at the same time.
#![expect(clippy::cast_possible_truncation, reason = "numbers are small")]

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use super::recent::Recent;
use crate::balance::{
    Active, Backend, Caller, Endpoint, EndpointId, Lasting, Limit, Millis, Refused, Scope,
};
use crate::model::{Amounts, AppProtocol, BackendSettings, Limits, ObjectName, RetryBudget};

pub(super) const ANYONE: Caller = Caller { client: 0, family: None, hash: None, relayed: false };

pub(super) fn some(n: u32) -> Option<NonZeroU32> {
    NonZeroU32::new(n)
}

pub(super) fn backend(endpoints: u64, settings: BackendSettings) -> Backend {
    let endpoint = |i: u64| {
        let address = SocketAddr::from(([10, 0, (i >> 8) as u8, i as u8], 80));
        Arc::new(Endpoint::new(EndpointId(i + 1), address, None))
    };
    let endpoints: Vec<_> = (0..endpoints).map(endpoint).collect();
    let service = (ObjectName::new("shop", "web"), 80);
    let made = Backend::new(Lasting::new(1), service, AppProtocol::Http, None, endpoints);
    made.with_settings(Arc::new(settings))
}

fn limited(backend: Amounts, endpoint: Amounts) -> BackendSettings {
    let limits = Limits { backend, endpoint, ..Limits::default() };
    BackendSettings { limits, ..BackendSettings::default() }
}

fn active(n: u32) -> Amounts {
    Amounts { active: some(n), ..Amounts::default() }
}

fn admit(backend: &Backend, random: &mut fastrand::Rng) -> Result<Active, Refused> {
    backend.admit(Millis(1), random, ANYONE, None, None)
}

#[track_caller]
fn overflows(refused: Result<Active, Refused>, of: Scope, most: u32) {
    match refused {
        Err(Refused::Overflow(overflow)) => {
            assert_eq!((overflow.limit, overflow.of, overflow.most), (Limit::Active, of, most));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_backend_has_no_more_under_way_than_it_may_and_all_is_given_back() {
    let backend = backend(3, limited(active(4), Amounts::default()));
    let mut random = fastrand::Rng::with_seed(1);
    let under_way: Vec<_> = (0..4).map(|_| admit(&backend, &mut random).unwrap()).collect();
    overflows(admit(&backend, &mut random), Scope::Backend, 4);
    drop(under_way);
    assert_eq!(backend.lasting().under_way().active(), 0);
    assert!(backend.endpoints().iter().all(|e| e.active() == 0));
    assert!(admit(&backend, &mut random).is_ok());
}

#[test]
fn endpoints_that_are_full_are_passed_over_until_all_are() {
    for endpoints in [1, 2, 50] {
        let backend = backend(endpoints, limited(Amounts::default(), active(2)));
        let mut random = fastrand::Rng::with_seed(endpoints);
        let all = 2 * endpoints;
        let under_way: Vec<_> = (0..all).map(|_| admit(&backend, &mut random).unwrap()).collect();
        assert!(backend.endpoints().iter().all(|e| e.active() == 2));
        overflows(admit(&backend, &mut random), Scope::Endpoint, 2);
        assert_eq!(
            u64::from(backend.lasting().under_way().active()),
            all,
            "who is refused is not counted"
        );
        drop(under_way);
        assert!(backend.endpoints().iter().all(|e| e.active() == 0));
    }
}

#[test]
fn in_a_panic_those_that_are_left_out_have_room_too() {
    let endpoints = 500;
    let backend = backend(endpoints, limited(Amounts::default(), active(2)));
    // Before anybody has picked.
    for endpoint in backend.endpoints() {
        endpoint.leave_out(Millis(1_000_000));
    }
    let mut random = fastrand::Rng::with_seed(1);
    let all = 2 * endpoints;
    let under_way: Vec<_> = (0..all).map(|_| admit(&backend, &mut random).unwrap()).collect();
    overflows(admit(&backend, &mut random), Scope::Endpoint, 2);
    drop(under_way);
}

#[test]
fn without_panic_those_that_are_left_out_have_none() {
    let mut settings = limited(Amounts::default(), active(2));
    settings.balancing.panic_threshold = 0;
    let backend = backend(20, settings);
    for endpoint in &backend.endpoints()[1..] {
        endpoint.leave_out(Millis(1_000_000));
    }
    let mut random = fastrand::Rng::with_seed(1);
    let _under_way = [(); 2].map(|()| admit(&backend, &mut random).unwrap());
    overflows(admit(&backend, &mut random), Scope::Endpoint, 2);
}

#[test]
fn a_session_is_not_moved_because_its_endpoint_is_full() {
    let backend = backend(3, limited(Amounts::default(), active(1)));
    let mut random = fastrand::Rng::with_seed(1);
    let wanted = &backend.endpoints()[1];
    let mut ask = || backend.admit(Millis(1), &mut random, ANYONE, None, Some(wanted));
    let first = ask().unwrap();
    assert_eq!(first.endpoint().id, wanted.id);
    overflows(ask(), Scope::Endpoint, 1);
}

#[test]
fn without_endpoints_nothing_is_counted() {
    let backend = backend(0, BackendSettings::default());
    let refused = admit(&backend, &mut fastrand::Rng::with_seed(1));
    assert!(matches!(refused, Err(Refused::NoEndpoint)));
    assert_eq!(backend.lasting().under_way().active(), 0);
}

#[test]
fn many_threads_never_pass_a_limit_and_leave_nothing_behind() {
    let limits = |backend, endpoint| Amounts {
        active: some(backend),
        connections: some(endpoint),
        ..Amounts::default()
    };
    let backend = backend(4, limited(limits(7, 6), limits(3, 2)));
    let most = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (backend, most) = (&backend, &most);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                let mut held = Vec::new();
                for _ in 0..20_000 {
                    if random.bool() {
                        if let Ok(active) = admit(backend, &mut random) {
                            let connected = backend.connect(active.endpoint());
                            held.push((active, connected));
                        }
                    } else if !held.is_empty() {
                        drop(held.swap_remove(random.usize(..held.len())));
                    }
                    let under_way = backend.lasting().under_way();
                    most.fetch_max(under_way.active(), Relaxed);
                    assert!(under_way.active() <= 7 && under_way.connections() <= 6);
                    for endpoint in backend.endpoints() {
                        assert!(endpoint.active() <= 3 && endpoint.connections().get() <= 2);
                    }
                }
            });
        }
    });
    let under_way = backend.lasting().under_way();
    assert_eq!(most.load(Relaxed), 7, "the limit was met");
    assert_eq!((under_way.active(), under_way.connections()), (0, 0));
    for endpoint in backend.endpoints() {
        assert_eq!((endpoint.active(), endpoint.connections().get()), (0, 0));
    }
}

#[test]
fn a_limit_that_comes_later_finds_true_numbers() {
    let before = backend(1, BackendSettings::default());
    let mut random = fastrand::Rng::with_seed(1);
    let held: Vec<_> = (0..3).map(|_| admit(&before, &mut random).unwrap()).collect();
    let after = before.with_settings(Arc::new(limited(active(3), Amounts::default())));
    overflows(admit(&after, &mut random), Scope::Backend, 3);
    drop(held);
    assert!(admit(&after, &mut random).is_ok());
}

#[test]
fn one_of_many_refusals_in_a_second_is_told_with_their_number() {
    let backend = backend(1, BackendSettings::default());
    let under_way = backend.lasting().under_way();
    assert_eq!(under_way.overflowed(Millis(0)), Some(1));
    for ms in 1..1_000 {
        assert_eq!(under_way.overflowed(Millis(ms)), None, "{ms}");
    }
    assert_eq!(under_way.overflowed(Millis(1_000)), Some(1_000));
    assert_eq!(under_way.overflowed(Millis(1_001)), None);
}

fn budgeted(retry_budget: Option<RetryBudget>) -> BackendSettings {
    BackendSettings { retry_budget, ..BackendSettings::default() }
}

#[test]
fn retries_are_a_share_of_what_is_under_way_with_a_floor() {
    let budget = RetryBudget { percent: 25, interval: None, least: 2, least_interval: None };
    let backend = backend(2, budgeted(Some(budget)));
    let mut random = fastrand::Rng::with_seed(1);
    for (under_way, allowed) in [(1, 2), (11, 2), (12, 3), (100, 25)] {
        let held: Vec<_> = (0..under_way).map(|_| admit(&backend, &mut random).unwrap()).collect();
        let mut retries = Vec::new();
        while let Ok(retry) = backend.retry(Millis(1), true) {
            retries.push(retry);
        }
        assert_eq!(retries.len(), allowed, "{under_way} under way");
        let overflow = backend.retry(Millis(1), false).unwrap_err();
        assert_eq!((overflow.limit, overflow.most), (Limit::Retries, allowed as u32));
        retries.pop();
        assert!(backend.retry(Millis(1), true).is_ok(), "one is over");
        drop((retries, held));
        assert_eq!(backend.lasting().under_way().retries(), 0);
    }
}

#[test]
fn without_a_policy_what_routes_ask_for_is_bounded_and_what_was_lost_is_sent_again() {
    let backend = backend(2, budgeted(None));
    let asked: Vec<_> =
        std::iter::from_fn(|| backend.retry(Millis(1), true).ok()).take(99).collect();
    assert_eq!(asked.len(), 10);
    let lost: Vec<_> =
        std::iter::from_fn(|| backend.retry(Millis(1), false).ok()).take(99).collect();
    assert_eq!(lost.len(), 99);
}

#[test]
fn retries_are_a_share_of_the_requests_of_some_time_and_a_least_rate() {
    let second = Duration::from_secs(1);
    let budget = RetryBudget {
        percent: 20,
        interval: Some(10 * second),
        least: 3,
        least_interval: Some(second),
    };
    let backend = backend(2, budgeted(Some(budget)));
    let mut random = fastrand::Rng::with_seed(1);
    let mut at = |ms| backend.admit(Millis(ms), &mut random, ANYONE, None, None).unwrap();
    for ms in 0..100 {
        at(ms);
    }
    let asked = |ms| std::iter::from_fn(|| backend.retry(Millis(ms), true).ok()).take(99).count();
    assert_eq!(asked(100), 20);
    assert_eq!(asked(900), 0);
    assert_eq!(asked(1_100), 3, "a new second: the least rate");
    assert_eq!(asked(30_000), 3, "the requests are forgotten");
    let none = RetryBudget { percent: 0, least: 0, ..budget };
    let backend = backend.with_settings(Arc::new(budgeted(Some(none))));
    assert_eq!(asked_of(&backend), 0);
}

fn asked_of(backend: &Backend) -> usize {
    std::iter::from_fn(|| backend.retry(Millis(40_000), true).ok()).take(99).count()
}

#[test]
fn what_is_long_ago_is_not_lately() {
    let recent = Recent::default();
    for ms in 0..2_000 {
        recent.add(Millis(ms), 1_000);
        let sum = recent.sum(Millis(ms), 1_000);
        assert!(sum <= 1_000 && sum >= ms.min(900), "{ms}: {sum}");
    }
    assert_eq!(recent.sum(Millis(3_000), 1_000), 0);
    let slot = recent.add(Millis(3_000), 1_000);
    recent.undo(slot);
    assert_eq!(recent.sum(Millis(3_000), 1_000), 0);
}

#[test]
fn no_count_is_lost_between_threads() {
    let recent = Recent::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for i in 0..10_000 {
                    recent.add(Millis(i / 100), 1_000);
                }
            });
        }
    });
    assert_eq!(recent.sum(Millis(99), 1_000), 40_000);
}
