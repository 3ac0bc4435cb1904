//! How one comes, or comes back.

use super::*;

const SLOW: SlowStart = SlowStart {
    window: Duration::from_secs(10),
    aggression: NonZeroU32::new(1_000).unwrap(),
    least: 10,
};

#[expect(clippy::cast_possible_truncation, reason = "it is small")]
fn shares(endpoint: &Endpoint, start: u64, slow_start: &SlowStart) -> Vec<u32> {
    let share = |ms| (endpoint.ramp(Millis(start + ms), slow_start) * 1000.0).round() as u32;
    [0, 500, 2_500, 5_000, 9_999, 10_000, 60_000].map(share).to_vec()
}

#[test]
fn the_first_endpoints_of_a_backend_have_all_of_their_share_and_those_that_join_by_and_by() {
    let backend = backend_of(&endpoints(2), |_| ());
    let [old, new] = backend.endpoints() else { panic!("two") };
    new.joins();
    backend.settle(NOW);
    assert_eq!(shares(old, NOW.0, &SLOW), [1000; 7]);
    assert_eq!(shares(new, NOW.0, &SLOW), [100, 100, 250, 500, 1000, 1000, 1000]);
    let quick = SlowStart { aggression: count(2_000), least: 1, ..SLOW };
    assert_eq!(shares(new, NOW.0, &quick), [10, 224, 500, 707, 1000, 1000, 1000]);
    // Another snapshot does not begin it anew.
    backend.settle(Millis(NOW.0 + 5_000));
    assert_eq!(shares(new, NOW.0, &SLOW)[3], 500);
}

#[test]
fn who_comes_back_from_an_ejection_or_from_being_ill_starts_slowly() {
    let backend = backend_of(&endpoints(2), |s| {
        checked_by(s);
        s.outliers.consecutive_5xx = Some(count(1));
    });
    let [ejected, ill] = backend.endpoints() else { panic!("two") };
    let (_, out) = until_out(&backend, 0, NOW, [Report::Lost]).unwrap();
    assert_eq!(shares(ejected, out.until.0, &SLOW)[..4], [100, 100, 250, 500]);
    check(&backend, ill, NOW, &[false; 3]);
    let later = Millis(NOW.0 + 30_000);
    check(&backend, ill, later, &[true; 2]);
    assert_eq!(shares(ill, later.0, &SLOW)[..4], [100, 100, 250, 500]);
}

// === whose failures ===
