//! What detection promises, by exact numbers, on a made clock.

mod clients;
mod slow_start;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::balance::{Backend, Caller, Endpoint, EndpointId, Lasting, Millis, Report};
use crate::model::{
    AppProtocol, BackendSettings, HealthCheck, LatencyOutlier, ObjectName, OutlierDetection, Probe,
    SlowStart, SuccessRate,
};

mod late;

const NOW: Millis = Millis(1_000);

fn count(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

fn endpoints(n: u64) -> Vec<Arc<Endpoint>> {
    (1..=n)
        .map(|id| {
            let [.., high, low] = id.to_be_bytes();
            Arc::new(Endpoint::new(EndpointId(id), ([10, 0, high, low], 80).into(), None))
        })
        .collect()
}

/// Of all detectors none but what `change` turns on; all may be out.
fn backend_of(
    endpoints: &[Arc<Endpoint>],
    change: impl FnOnce(&mut BackendSettings),
) -> Arc<Backend> {
    on(&Lasting::new(1), endpoints, change)
}

fn on(
    lasting: &Arc<Lasting>,
    endpoints: &[Arc<Endpoint>],
    change: impl FnOnce(&mut BackendSettings),
) -> Arc<Backend> {
    let outliers = OutlierDetection {
        consecutive_gateway_errors: None,
        consecutive_connect_failures: None,
        max_ejected: 100,
        ..OutlierDetection::default()
    };
    let mut settings = BackendSettings { outliers, ..BackendSettings::default() };
    change(&mut settings);
    let key = (ObjectName::new("ns", "web"), 80);
    let made = Backend::new(Arc::clone(lasting), key, AppProtocol::Http, None, endpoints);
    Arc::new(made.with_settings(Arc::new(settings)))
}

const CONNECTED: Report = Report::Connected { latency: Duration::ZERO };

fn answered(status: u16) -> Report {
    Report::Answered { status, latency: Some(Duration::from_millis(10)) }
}

/// The ejection among these events.
fn ejection(events: &[HealthEvent]) -> Option<Ejection> {
    events.iter().find_map(|event| match event.change {
        Change::Ejected(ejection) => Some(ejection),
        _ => None,
    })
}

/// Reports until the endpoint is out; with which report that was, from 1, and the ejection.
fn until_out(
    backend: &Backend,
    endpoint: usize,
    now: Millis,
    reports: impl IntoIterator<Item = Report>,
) -> Option<(usize, Ejection)> {
    let endpoint = &backend.endpoints()[endpoint];
    reports.into_iter().enumerate().find_map(|(place, report)| {
        let found = ejection(&backend.report(endpoint, now, report))?;
        assert!(!endpoint.usable(now) && endpoint.ejected(now));
        Some((place + 1, found))
    })
}

fn repeat(report: Report) -> impl Iterator<Item = Report> {
    std::iter::repeat_n(report, 100)
}

// === runs ===

#[test]
fn without_a_policy_the_fifth_gateway_error_in_a_row_ejects_for_ten_seconds() {
    let all = endpoints(3);
    for report in [answered(502), answered(503), answered(504), Report::Lost] {
        let key = (ObjectName::new("ns", "web"), 80);
        let backend = Backend::new(Lasting::new(1), key, AppProtocol::Http, None, &*endpoints(3));
        let (place, found) = until_out(&backend, 1, NOW, repeat(report)).unwrap();
        let cause = Cause::GatewayErrors { run: 5 };
        let until = Millis(NOW.0 + 10_000);
        assert_eq!((place, found), (5, Ejection { cause, repeat: 1, length_ms: 10_000, until }));
        let endpoint = &backend.endpoints()[1];
        assert!(endpoint.ejected(Millis(until.0 - 1)) && endpoint.usable(until));
        assert_eq!(endpoint.changes_at(Millis(until.0 - 7)), Some(until));
        assert_eq!(endpoint.ejected_for(until), None);
    }
    let backend = backend_of(&all, |s| s.outliers = OutlierDetection::default());
    assert_eq!(until_out(&backend, 0, NOW, repeat(answered(500))), None, "it has said no");
    let (place, found) = until_out(&backend, 0, NOW, repeat(Report::NotConnected)).unwrap();
    assert_eq!((place, found.cause), (5, Cause::ConnectFailures { run: 5 }));
}

#[test]
fn each_detector_counts_what_is_its_own_and_is_off_if_not_asked_for() {
    let errors = |s: &mut BackendSettings| s.outliers.consecutive_5xx = Some(count(3));
    let gateway = |s: &mut BackendSettings| s.outliers.consecutive_gateway_errors = Some(count(3));
    let connect =
        |s: &mut BackendSettings| s.outliers.consecutive_connect_failures = Some(count(3));
    type Change = fn(&mut BackendSettings);
    let [errors, gateway, connect]: [Change; 3] = [errors, gateway, connect];
    let (lost, refused) = (Report::Lost, Report::NotConnected);
    for (detector, reports, out) in [
        // 5xx includes gateway errors and no answer.
        (errors, vec![answered(500), answered(503), lost], Some(3)),
        (errors, vec![answered(501), refused, answered(599)], Some(3)),
        (errors, vec![answered(500), answered(500), answered(499), answered(500)], None),
        // A connection makes up for those that failed, and for nothing else.
        (errors, vec![refused, refused, CONNECTED, refused, refused], None),
        (errors, vec![answered(503), refused, CONNECTED, lost, CONNECTED, lost], Some(6)),
        (connect, vec![refused, refused, CONNECTED, refused, refused], None),
        // A plain 500 is an answer to who counts gateway errors.
        (gateway, vec![answered(502), lost, answered(500), answered(504), refused], None),
        (gateway, vec![answered(500), answered(502), lost, refused], Some(4)),
        // Whoever answers has been connected to; who loses a connection need not have been.
        (connect, vec![refused, refused, answered(503), refused, refused], None),
        (connect, vec![refused, lost, refused, lost, refused], Some(5)),
        (connect, vec![lost; 50], None),
        // Heads are no excuse for bodies.
        (
            gateway,
            vec![answered(200), Report::Cut, answered(200), Report::Cut, Report::Cut],
            Some(5),
        ),
        (errors, vec![Report::Cut; 3], Some(3)),
        (connect, vec![Report::Cut; 50], None),
    ] {
        let backend = backend_of(&endpoints(2), detector);
        let found = until_out(&backend, 0, NOW, reports.clone()).map(|(place, _)| place);
        assert_eq!(found, out, "{reports:?}");
        let none = backend_of(&endpoints(2), |_| ());
        assert_eq!(until_out(&none, 0, NOW, reports), None);
    }
}

#[test]
fn a_whole_response_ends_the_run_of_those_that_were_cut() {
    let backend =
        backend_of(&endpoints(2), |s| s.outliers.consecutive_gateway_errors = Some(count(2)));
    let endpoint = &backend.endpoints()[0];
    for _ in 0..10 {
        assert_eq!(backend.report(endpoint, NOW, answered(200)), []);
        assert_eq!(backend.report(endpoint, NOW, Report::Cut), []);
        endpoint.whole();
    }
    backend.report(endpoint, NOW, Report::Cut);
    let found = ejection(&backend.report(endpoint, NOW, Report::Cut)).unwrap();
    assert_eq!(found.cause, Cause::Cuts { run: 2 });
}

#[test]
fn what_fails_while_it_is_out_does_not_lengthen_that() {
    let backend = backend_of(&endpoints(2), |s| s.outliers.consecutive_5xx = Some(count(5)));
    let (_, first) = until_out(&backend, 0, NOW, repeat(Report::Lost)).unwrap();
    let last = Millis(first.until.0 - 1);
    assert_eq!(until_out(&backend, 0, last, repeat(Report::Lost)), None);
    assert!(backend.endpoints()[0].usable(first.until));
    let (place, second) = until_out(&backend, 0, first.until, repeat(Report::Lost)).unwrap();
    assert_eq!((place, second.repeat), (5, 2));
}

#[test]
fn each_further_ejection_is_twice_as_long_up_to_the_most_and_being_well_takes_doublings_back() {
    let backend = backend_of(&endpoints(1), |s| {
        s.outliers.consecutive_5xx = Some(count(1));
        s.outliers.base_ejection = Duration::from_secs(3);
        s.outliers.max_ejection = Duration::from_secs(20);
    });
    let fail = |now: u64| {
        let (_, found) = until_out(&backend, 0, Millis(now), [Report::Lost]).unwrap();
        ((found.repeat, found.length_ms), found.until.0)
    };
    let mut until = 0;
    for told in [(1, 3_000), (2, 6_000), (3, 12_000), (4, 20_000), (4, 20_000)] {
        let found = fail(until);
        assert_eq!(found.0, told);
        until = found.1;
    }
    // Six times the first length for each.
    let (found, until) = fail(until + 2 * 18_000);
    assert_eq!(found, (3, 12_000));
    assert_eq!(fail(until + 100 * 18_000).0, (1, 3_000));
}

#[test]
fn its_return_is_told_once_with_its_first_request() {
    let backend = backend_of(&endpoints(2), |s| s.outliers.consecutive_5xx = Some(count(1)));
    let endpoint = &backend.endpoints()[0];
    let (_, out) = until_out(&backend, 0, NOW, [Report::Lost]).unwrap();
    assert_eq!(backend.report(endpoint, NOW, answered(200)), [], "a straggler's answer");
    let later = Millis(out.until.0 + 250);
    let told = backend.report(endpoint, later, answered(200));
    let change = Change::Returned { repeat: 1, since_ms: 250 };
    assert_eq!(told, [HealthEvent { endpoint: endpoint.address, change }]);
    assert_eq!(backend.report(endpoint, later, answered(200)), []);
}

#[test]
fn one_that_comes_back_is_asked_at_once_whatever_it_failed_at_before() {
    let backend = backend_of(&endpoints(2), |s| s.outliers.consecutive_5xx = Some(count(20)));
    let [good, back] = backend.endpoints() else { panic!("two") };
    let mut random = fastrand::Rng::with_seed(3);
    let mut asks = |now| {
        let caller = Caller { client: 1, family: None, hash: None, relayed: false };
        let mut picks = (0..10).map(|_| backend.pick(now, &mut random, caller, None).unwrap().id);
        picks.any(|id| id == back.id)
    };
    backend.report(good, NOW, answered(200));
    assert!(asks(NOW), "it is new");
    let (_, out) = until_out(&backend, 1, NOW, repeat(Report::NotConnected)).unwrap();
    backend.report(back, Millis(out.until.0 - 1), Report::NotConnected);
    assert!(!asks(Millis(out.until.0 - 1)) && asks(out.until));
}

// === how many ===

#[test]
fn no_more_than_the_share_are_out_but_one_always_may() {
    for (n, percent, most) in
        [(1, 10, 1), (4, 10, 1), (10, 50, 5), (3, 67, 2), (10, 100, 10), (5, 0, 0), (3, 50, 1)]
    {
        let backend = backend_of(&endpoints(n), |s| {
            s.outliers.consecutive_5xx = Some(count(2));
            s.outliers.max_ejected = percent;
        });
        for place in 0..backend.endpoints().len() {
            let _ = until_out(&backend, place, NOW, repeat(Report::Lost));
        }
        let out = backend.endpoints().iter().filter(|e| e.ejected(NOW)).count();
        assert_eq!(out, most, "{percent} % of {n}");
    }
}

#[test]
fn where_nobody_may_be_left_out_nobody_is_said_to_be_kept() {
    let backend = backend_of(&endpoints(5), |s| {
        by_success_rate(s);
        s.outliers.consecutive_5xx = Some(count(2));
        s.outliers.max_ejected = 0;
    });
    let good = (200, 200, 10);
    assert_eq!(after(&backend, &[good, good, (200, 0, 10), good, good]), []);
}

#[test]
fn room_is_taken_by_the_next_who_fails_and_who_is_kept_is_told_once_a_second() {
    let backend = backend_of(&endpoints(3), |s| {
        s.outliers.consecutive_5xx = Some(count(2));
        s.outliers.max_ejected = 34;
        s.outliers.base_ejection = Duration::from_secs(2);
    });
    let (_, first) = until_out(&backend, 0, NOW, repeat(Report::Lost)).unwrap();
    let second = &backend.endpoints()[1];
    let told = |now: u64, reports: u32| {
        let events = (0..reports).flat_map(|_| backend.report(second, Millis(now), Report::Lost));
        events.map(|event| event.change).collect::<Vec<_>>()
    };
    let kept = |run| Change::Kept { cause: Cause::Errors { run }, out: 1, of: 3 };
    assert_eq!(told(NOW.0, 10), [kept(2)]);
    assert_eq!(told(NOW.0 + 1_000, 10), [kept(12)]);
    // The first comes back: there is room.
    assert!(matches!(told(first.until.0, 2)[..], [Change::Ejected(_)]));
}

#[test]
fn one_that_is_gone_takes_nobodys_room() {
    let (lasting, all) = (Lasting::new(1), endpoints(4));
    let change = |s: &mut BackendSettings| {
        s.outliers.consecutive_5xx = Some(count(1));
        s.outliers.max_ejected = 25;
    };
    let before = on(&lasting, &all, change);
    assert!(until_out(&before, 0, NOW, [Report::Lost]).is_some());
    assert!(until_out(&before, 1, NOW, [Report::Lost]).is_none());
    let after = on(&lasting, &all[1..], change);
    assert!(until_out(&after, 0, Millis(NOW.0 + 1_000), [Report::Lost]).is_some());
}

#[test]
fn another_policy_holds_for_who_is_out_already() {
    let (lasting, all) = (Lasting::new(1), endpoints(2));
    let ejecting = |s: &mut BackendSettings| {
        s.outliers.consecutive_5xx = Some(count(1));
        s.outliers.max_ejected = 50;
    };
    let before = on(&lasting, &all, ejecting);
    assert!(until_out(&before, 0, NOW, [Report::Lost]).is_some());
    before.settle(NOW);
    assert!(all[0].ejected(Millis(NOW.0 + 9_999)), "the same settings change nothing");
    let shorter = on(&lasting, &all, |s| {
        ejecting(s);
        s.outliers.base_ejection = Duration::from_secs(1);
        s.outliers.max_ejection = Duration::from_secs(2);
    });
    shorter.settle(NOW);
    assert_eq!(all[0].ejected_for(NOW), Some(2_000));
    let none = on(&lasting, &all, |_| ());
    none.settle(NOW);
    assert!(all[0].usable(NOW), "nobody is left out any more");
    assert!(until_out(&before, 1, NOW, [Report::Lost]).is_some(), "and takes nobody's room");
}

#[test]
fn what_a_worker_has_claimed_holds_while_another_cuts_ejections_short() {
    let (lasting, all) = (Lasting::new(1), endpoints(4));
    let ejecting = |s: &mut BackendSettings| {
        s.outliers.consecutive_5xx = Some(count(1));
        s.outliers.max_ejected = 50;
    };
    let before = on(&lasting, &all, ejecting);
    assert!(until_out(&before, 0, NOW, [Report::Lost]).is_some());
    let shorter = on(&lasting, &all, |s| {
        ejecting(s);
        s.outliers.max_ejection = Duration::from_secs(2);
        s.outliers.base_ejection = Duration::from_secs(2);
    });
    let claims = &shorter.outliers().claims;
    let claim = |place: usize| claims.claim(&all, 2, all[place].id, NOW, NOW.0 + 2_000);
    assert_eq!(claim(1), Ok(()), "it is about to be left out");
    shorter.settle(NOW);
    assert_eq!(all[0].ejected_for(NOW), Some(2_000));
    assert_eq!(claim(2), Err(claims::Refusal::Full { out: 2, told: false }));
}

#[test]
fn an_ejection_that_a_worker_with_a_faster_clock_began_is_not_cut() {
    let backend = backend_of(&endpoints(2), |s| {
        s.outliers.consecutive_5xx = Some(count(1));
        s.outliers.max_ejection = Duration::from_secs(10);
    });
    let (_, found) = until_out(&backend, 0, Millis(NOW.0 + 5), [Report::Lost]).unwrap();
    backend.settle(NOW);
    assert_eq!(backend.endpoints()[0].ejected_for(NOW), Some(found.until.0 - NOW.0));
}

// === compared ===

/// So many attempts at each, of which so many succeed, each in so many milliseconds.
fn traffic(backend: &Backend, now: Millis, each: &[(u32, u32, u64)]) -> Vec<HealthEvent> {
    let mut events = Vec::new();
    for (endpoint, (requests, successes, latency)) in backend.endpoints().iter().zip(each) {
        for request in 0..*requests {
            let status = if request < *successes { 200 } else { 500 };
            let latency = Duration::from_millis(*latency);
            events.extend(backend.report(
                endpoint,
                now,
                Report::Answered { status, latency: Some(latency) },
            ));
        }
    }
    events
}

fn by_success_rate(settings: &mut BackendSettings) {
    settings.outliers.success_rate =
        Some(SuccessRate { endpoints: count(5), requests: count(100), stdev_factor: 1_900 });
}

fn by_latency(settings: &mut BackendSettings) {
    settings.outliers.latency = Some(LatencyOutlier {
        endpoints: count(3),
        requests: count(10),
        factor: 3_000,
        least: Duration::from_millis(20),
    });
}

/// What is told at the end of an interval with this traffic.
fn after(backend: &Backend, each: &[(u32, u32, u64)]) -> Vec<HealthEvent> {
    assert_eq!(traffic(backend, NOW, &[(1, 1, 10)]), [], "an interval begins");
    assert_eq!(traffic(backend, Millis(NOW.0 + 9_999), each), [], "it is not over yet");
    traffic(backend, Millis(NOW.0 + 10_000), &[(1, 1, 10)])
}

#[test]
fn who_succeeds_far_less_often_than_the_others_is_out_after_the_interval() {
    let backend = backend_of(&endpoints(5), by_success_rate);
    let good = (200, 200, 10);
    let events = after(&backend, &[(199, 199, 10), good, (200, 50, 10), good, good]);
    let found = ejection(&events).unwrap();
    assert_eq!((events.len(), events[0].endpoint), (1, backend.endpoints()[2].address));
    let Cause::SuccessRate { rate, mean, stdev, requests, endpoints } = found.cause else {
        panic!("{found:?}")
    };
    assert_eq!((rate, requests, endpoints), (0.25, 200, 5));
    assert!((mean - 0.85).abs() < 1e-9 && (stdev - 0.3).abs() < 1e-9, "{mean} {stdev}");
}

#[test]
fn a_response_that_breaks_off_is_one_attempt_and_no_success() {
    let backend = backend_of(&endpoints(5), by_success_rate);
    let good = (200, 200, 10);
    assert_eq!(traffic(&backend, NOW, &[(1, 1, 10)]), [], "an interval begins");
    let broken = &backend.endpoints()[2];
    for _ in 0..200 {
        assert_eq!(backend.report(broken, NOW, answered(200)), []);
        assert_eq!(backend.report(broken, NOW, Report::Cut), []);
    }
    assert_eq!(traffic(&backend, NOW, &[good, good, (0, 0, 0), good, good]), []);
    let found = ejection(&traffic(&backend, Millis(NOW.0 + 10_000), &[(1, 1, 10)])).unwrap();
    let Cause::SuccessRate { rate, requests, .. } = found.cause else { panic!("{found:?}") };
    assert_eq!((rate, requests), (0.0, 200));
}

#[test]
fn success_rates_need_enough_endpoints_with_enough_requests_and_a_distance() {
    let good = (100, 100, 10);
    for (told, each) in [
        ("one too few endpoints", vec![(100, 0, 10), good, good, good, (99, 99, 10)]),
        ("all alike", vec![(100, 40, 10); 5]),
        (
            "two of five are not far from the mean",
            vec![(100, 0, 10), (100, 0, 10), good, good, good],
        ),
    ] {
        let backend = backend_of(&endpoints(5), by_success_rate);
        assert_eq!(after(&backend, &each), [], "{told}");
    }
}

#[test]
fn who_is_far_slower_than_the_median_of_the_others_is_out_after_the_interval() {
    let backend = backend_of(&endpoints(4), by_latency);
    let events = after(&backend, &[(10, 10, 10), (20, 20, 30), (20, 20, 61), (20, 20, 20)]);
    // The median of 10 (with two requests more), 20 and 30.
    let cause = Cause::Latency { mean_us: 61_000, median_us: 20_000, requests: 20, endpoints: 4 };
    assert_eq!((events.len(), ejection(&events).unwrap().cause), (1, cause));
    assert_eq!(events[0].endpoint, backend.endpoints()[2].address);
}

#[test]
fn latencies_need_enough_endpoints_enough_requests_a_distance_and_to_be_long_at_all() {
    for (told, each) in [
        ("too few endpoints", vec![(20, 20, 10), (20, 20, 900), (9, 9, 10)]),
        ("its failures are no requests", vec![(20, 20, 10), (20, 9, 900), (20, 20, 10)]),
        ("not far enough", vec![(20, 20, 10), (20, 20, 30), (20, 20, 10)]),
        ("not long", vec![(20, 20, 1), (20, 20, 19), (20, 20, 1)]),
    ] {
        let backend = backend_of(&endpoints(3), by_latency);
        assert_eq!(after(&backend, &each), [], "{told}");
    }
}

#[test]
fn counts_of_long_ago_say_nothing_of_today_and_each_interval_begins_from_nothing() {
    let backend = backend_of(&endpoints(5), by_success_rate);
    let (good, bad) = ((200, 200, 10), (200, 0, 10));
    assert_eq!(traffic(&backend, NOW, &[good, good, good, good, bad]), []);
    assert_eq!(traffic(&backend, Millis(NOW.0 + 3_600_000), &[(1, 1, 10)]), [], "an hour later");
    assert_eq!(traffic(&backend, Millis(NOW.0 + 3_610_000), &[(1, 1, 10)]), [], "none since");
}

#[test]
fn of_several_outliers_the_worst_go_first_and_no_more_than_may() {
    let backend = backend_of(&endpoints(6), |s| {
        by_latency(s);
        s.outliers.max_ejected = 34;
    });
    let slow = |ms| (20, 20, ms);
    let each = [slow(100), slow(300), slow(200), slow(10), slow(10), slow(10)];
    // The medians without them are over 10 ms: 55 ms.
    let events = after(&backend, &each);
    let out: Vec<_> =
        backend.endpoints().iter().map(|e| e.ejected(Millis(NOW.0 + 10_000))).collect();
    assert_eq!(out, [false, true, true, false, false, false], "{events:?}");
}

// === active checks ===

fn checked_by(settings: &mut BackendSettings) {
    settings.health_check = Some(HealthCheck::of(Probe::Tcp));
}

fn check(backend: &Backend, endpoint: &Endpoint, now: Millis, verdicts: &[bool]) -> Vec<Change> {
    let events = verdicts.iter().filter_map(|ok| backend.checked(endpoint, now, *ok));
    events.map(|event| event.change).collect()
}

#[test]
fn so_many_failed_checks_in_a_row_take_it_out_and_so_many_good_ones_bring_it_back() {
    let backend = backend_of(&endpoints(2), checked_by);
    let endpoint = &backend.endpoints()[0];
    let check = |verdicts: &[bool]| check(&backend, endpoint, NOW, verdicts);
    assert_eq!(check(&[true, false, false, true, false, false]), []);
    assert!(endpoint.usable(NOW));
    assert_eq!(check(&[false]), [Change::Ill { failures: 3 }]);
    assert!(!endpoint.usable(NOW) && endpoint.ill() && !endpoint.ejected(NOW));
    assert_eq!(check(&[false, true, false, true]), []);
    assert!(!endpoint.usable(NOW));
    assert_eq!(check(&[true, true]), [Change::Well { successes: 2 }]);
    assert!(endpoint.usable(NOW));
}

#[test]
fn requests_that_succeed_do_not_make_it_well_nor_checks_end_an_ejection() {
    let backend = backend_of(&endpoints(2), |s| {
        checked_by(s);
        s.outliers.consecutive_5xx = Some(count(1));
    });
    let endpoint = &backend.endpoints()[0];
    check(&backend, endpoint, NOW, &[false; 3]);
    backend.report(endpoint, NOW, answered(200));
    assert!(!endpoint.usable(NOW));
    assert!(until_out(&backend, 0, NOW, [Report::Lost]).is_some());
    check(&backend, endpoint, NOW, &[true; 2]);
    assert!(!endpoint.ill() && endpoint.ejected(NOW) && !endpoint.usable(NOW));
}

#[test]
fn what_checks_have_said_holds_in_further_snapshots_and_not_without_checks() {
    let (lasting, all) = (Lasting::new(1), endpoints(2));
    let first = on(&lasting, &all, checked_by);
    check(&first, &all[0], NOW, &[false; 3]);
    let second = on(&lasting, &all[..1], |s| {
        checked_by(s);
        s.balancing.panic_threshold = 10;
    });
    second.settle(NOW);
    assert!(!all[0].usable(NOW));
    let without = on(&lasting, &all, |_| ());
    assert_eq!(without.checked(&all[0], NOW, false), None);
    without.settle(NOW);
    assert!(all[0].usable(NOW));
    check(&first, &all[0], NOW, &[false; 3]);
    first.unchecked(NOW, |_| true);
    assert!(all[0].usable(NOW), "nobody has asked it for long");
}

// === slow start ===
