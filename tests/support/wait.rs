//! Waiting for a condition, with a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Waits until `condition` holds, and panics with `what` if it does not within `limit`.
///
/// # Panics
/// When the deadline passes.
#[track_caller]
pub fn eventually(limit: Duration, what: &str, mut condition: impl FnMut() -> bool) {
    assert!(within(limit, &mut condition), "not within {limit:?}: {what}");
}

/// Whether `condition` comes to hold within `limit`.
pub fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Waits until `value` has stayed the same for `quiet`, and gives it; panics after `limit`.
///
/// # Panics
/// When it still moves at the deadline.
#[track_caller]
pub fn settled<T: PartialEq>(limit: Duration, quiet: Duration, mut value: impl FnMut() -> T) -> T {
    let mut last = value();
    let mut since = Instant::now();
    eventually(limit, "a value that stays the same", || {
        let now = value();
        if now != last {
            since = Instant::now();
            last = now;
        }
        since.elapsed() >= quiet
    });
    last
}

/// Lets `span` pass and gives what `measure` says of it: for promises about a span of time
/// ("costs no CPU while nothing happens"), which no condition can end sooner.
pub fn over<T>(span: Duration, mut measure: impl FnMut() -> T) -> (T, T) {
    let before = measure();
    thread::sleep(span);
    (before, measure())
}
