//! What becomes known late, by exact numbers, on a made clock.

use super::*;

/// The first endpoint fails at so many attempts that began at one time and are told of at another.
fn lost(backend: &Backend, times: usize, began: Millis, now: Millis) -> Vec<HealthEvent> {
    let endpoint = &backend.endpoints()[0];
    let told = |_| backend.ended(1, endpoint, (began, now), Report::Lost);
    (0..times).flat_map(told).collect()
}

#[test]
fn what_began_before_an_ejection_ended_leads_to_no_other_one_however_late_it_fails() {
    let backend = backend_of(&endpoints(2), |s| s.outliers.consecutive_5xx = Some(count(2)));
    let (_, found) = until_out(&backend, 0, Millis(NOW.0 + 1), repeat(Report::Lost)).unwrap();
    let (during, back) = (Millis(found.until.0 - 1), found.until);
    assert_eq!(lost(&backend, 10, NOW, back), []);
    assert_eq!(lost(&backend, 10, during, back), []);
    assert!(backend.endpoints()[0].usable(back));
    let again = ejection(&lost(&backend, 2, back, Millis(back.0 + 1))).unwrap();
    assert_eq!((again.repeat, again.cause), (2, Cause::Errors { run: 2 }));
}

#[test]
fn what_began_before_an_ejection_ended_is_not_compared_either() {
    let backend = backend_of(&endpoints(5), by_success_rate);
    backend.endpoints()[0].leave_out(Millis(NOW.0 + 100));
    let good = (100, 100, 10);
    assert_eq!(traffic(&backend, Millis(NOW.0 + 200), &[good; 5]), []);
    assert_eq!(lost(&backend, 100, NOW, Millis(NOW.0 + 300)), []);
    assert_eq!(traffic(&backend, Millis(NOW.0 + 10_200), &[good]), [], "all are alike");
}
