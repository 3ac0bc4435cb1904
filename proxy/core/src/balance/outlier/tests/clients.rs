//! Whose word takes an endpoint from whom.

use super::*;

/// Two endpoints of a backend that ejects at the third gateway error or failure to connect in a row.
fn at_the_third() -> Arc<Backend> {
    backend_of(&endpoints(2), |s| {
        s.outliers.consecutive_gateway_errors = Some(count(3));
        s.outliers.consecutive_connect_failures = Some(count(3));
    })
}

/// What follows from what becomes of an attempt of `client` at the first endpoint.
fn told(backend: &Backend, client: u64, now: u64, report: Report) -> Vec<HealthEvent> {
    backend.ended(client, &backend.endpoints()[0], (Millis(now), Millis(now)), report)
}

/// What becomes of the first endpoint when `client` fails so at it so often.
fn fails(backend: &Backend, client: u64, now: u64, report: Report, times: usize) -> bool {
    let out = |_| ejection(&told(backend, client, now, report)).is_some();
    (0..times).any(out)
}

#[test]
fn what_one_client_cannot_do_takes_no_endpoint_from_another() {
    for report in [Report::NotConnected, Report::Lost, Report::Cut] {
        let backend = at_the_third();
        let endpoint = &backend.endpoints()[0];
        for now in (0..60_000).step_by(1_000) {
            told(&backend, 1, now, answered(200));
            endpoint.whole();
            assert!(!fails(&backend, 2, now, report, 50), "{report:?} at {now}");
            // Nor do two such make it.
            assert!(!fails(&backend, 3, now, report, 50), "{report:?} at {now}");
        }
        assert!(endpoint.latency_us(Millis(60_000)).is_some_and(|us| us < 10_001.0));
        let cost = endpoint.cost(0.0, Millis(60_000));
        assert!(cost < 10_001.0, "it is not shunned either: {cost}");
    }
}

#[test]
fn who_has_reached_it_itself_takes_it_from_others_only_with_one_of_them() {
    for report in [Report::NotConnected, Report::Lost, Report::Cut] {
        let backend = at_the_third();
        for client in [1, 2] {
            told(&backend, client, NOW.0, answered(200));
        }
        assert!(!fails(&backend, 2, NOW.0, report, 50), "{report:?}");
        assert!(fails(&backend, 1, NOW.0, report, 1), "{report:?}: the first of another");
    }
}

#[test]
fn one_client_s_word_is_enough_where_no_other_has_reached_it_of_late() {
    for report in [Report::NotConnected, Report::Lost, Report::Cut] {
        assert!(fails(&at_the_third(), 1, NOW.0, report, 3), "{report:?}: there is no other");
        let backend = at_the_third();
        told(&backend, 1, NOW.0, answered(200));
        told(&backend, 2, NOW.0, answered(200));
        assert!(!fails(&backend, 2, NOW.0, report, 3), "{report:?}");
        assert!(fails(&backend, 2, NOW.0 + 20_000, report, 3), "{report:?}: that was long ago");
    }
    // What an endpoint says itself is its own word, whoever hears it.
    let backend = at_the_third();
    told(&backend, 1, NOW.0, answered(200));
    assert!(fails(&backend, 2, NOW.0, answered(503), 3));
}

#[test]
fn an_answer_that_came_before_all_of_its_request_says_nothing_of_speed() {
    let backend = backend_of(&endpoints(2), |_| ());
    let endpoint = &backend.endpoints()[0];
    for _ in 0..10 {
        backend.report(endpoint, NOW, Report::Answered { status: 200, latency: None });
    }
    assert_eq!(endpoint.latency_us(NOW), None);
}
