//! What is known of an endpoint's health stays while objects change.

use std::num::NonZeroU32;
use std::time::Duration;

use super::*;
use crate::balance::{Backend, Endpoint};

const SLOW: SlowStart = SlowStart {
    window: Duration::from_secs(10),
    aggression: NonZeroU32::new(1_000).unwrap(),
    least: 10,
};

/// The backend of the Service `web` after these changes, as the first request finds it at `now`.
fn at(compiler: &mut Compiler, store: &mut Store, now: u64, changes: Vec<Change>) -> Arc<Backend> {
    for change in changes {
        assert!(store.apply(change));
    }
    let snapshot = next(compiler, store);
    let backend = Arc::clone(&snapshot.service_port(&name("web"), 80).unwrap().backend);
    backend.settle(Millis(now));
    backend
}

#[expect(clippy::cast_possible_truncation, reason = "it is small")]
fn ramps(backend: &Backend, now: u64) -> Vec<u32> {
    let share = |e: &Arc<Endpoint>| (e.ramp(Millis(now), &SLOW) * 100.0).round() as u32;
    backend.endpoints().iter().map(share).collect()
}

#[test]
fn who_comes_to_others_starts_slowly_and_who_moves_goes_on() {
    let (mut store, mut compiler) = (Store::default(), compiler());
    let mut at = |now, changes| at(&mut compiler, &mut store, now, changes);
    let two = [("10.0.0.1", READY), ("10.0.0.2", READY)];
    let first = at(1_000, vec![service("web", "10.96.0.1"), slice("web", "a", &two)]);
    assert_eq!(ramps(&first, 1_000), [100, 100], "they are not new to each other");
    let three = [two[0], two[1], ("10.0.0.3", READY)];
    let second = at(20_000, vec![slice("web", "a", &three)]);
    assert_eq!(ramps(&second, 20_000), [100, 100, 10]);
    assert_eq!(ramps(&second, 25_000), [100, 100, 50]);
    // It moves to another slice, another one is not ready any more, and a port is added.
    let moved = at(
        26_000,
        vec![
            slice("web", "a", &[two[0], ("10.0.0.2", [false, false, false])]),
            slice("web", "b", &three[2..]),
        ],
    );
    assert_eq!(ramps(&moved, 26_000), [100, 60]);
    // Ready again, it has come back.
    let back = at(30_000, vec![slice("web", "a", &two)]);
    assert_eq!(ramps(&back, 30_000), [100, 10, 100]);
    assert_eq!(ramps(&back, 40_000), [100, 100, 100]);
}

#[test]
fn who_is_out_stays_out_whatever_changes_about_it() {
    let (mut store, mut compiler) = (Store::default(), compiler());
    let mut at = |now, changes| at(&mut compiler, &mut store, now, changes);
    let two = [("10.0.0.1", READY), ("10.0.0.2", READY)];
    let first = at(0, vec![service("web", "10.96.0.1"), slice("web", "a", &two)]);
    let broken = Arc::clone(&first.endpoints()[1]);
    (0..5).for_each(|_| drop(first.report(&broken, Millis(0), Report::NotConnected)));
    assert!(broken.ejected(Millis(1)));
    let last = at(
        1_000,
        vec![
            slice("web", "a", &[("10.0.0.3", READY)]),
            slice("web", "b", &two),
            route("web", vec![backend(1, "web")]),
        ],
    );
    assert!(last.endpoints()[1].ejected(Millis(1_000)));
    assert!(Arc::ptr_eq(&last.endpoints()[1], &broken));
    // Its room is taken: one of three may be out.
    let third = &last.endpoints()[2];
    (0..5).for_each(|_| drop(last.report(third, Millis(1_000), Report::NotConnected)));
    assert!(third.usable(Millis(1_000)));
}
