//! Clients of HTTP/2 that ask and take it back at once, over and over (rapid reset, CVE-2023-44487): each time an
//! endpoint has been asked in vain, over a connection that it costs.
//!
//! Not for what is taken back before it is handed over: HTTP/2's own layer counts that.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// So many are not counted: a client may change its mind.
const FREE: u64 = 100;
/// Who waits for an answer for as long may give up.
const PREMATURE: Duration = Duration::from_secs(1);

/// What a connection's client has taken back.
#[derive(Debug, Default)]
pub(super) struct Resets {
    asked: Cell<u64>,
    taken_back: Cell<u64>,
    spent: Cell<bool>,
    told: Notify,
}

/// A request under way; dropped before it is answered, it has been taken back.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    resets: &'a Resets,
    at: Instant,
    answered: bool,
}

// === impl Resets ===

impl Resets {
    /// A request has come.
    pub(super) fn asked(&self) -> Asked<'_> {
        self.asked.set(self.asked.get() + 1);
        Asked { resets: self, at: Instant::now(), answered: false }
    }

    /// Whether more than half of all requests, and not just a few, were taken back: no more are served.
    pub(super) fn spent(&self) -> bool {
        self.spent.get()
    }

    /// Waits for that.
    pub(super) async fn until_spent(&self) {
        while !self.spent() {
            self.told.notified().await;
        }
    }

    fn taken_back(&self) {
        let taken_back = self.taken_back.get() + 1;
        self.taken_back.set(taken_back);
        if taken_back > FREE && taken_back > self.asked.get() / 2 && !self.spent.replace(true) {
            self.told.notify_one();
        }
    }
}

// === impl Asked ===

impl Asked<'_> {
    /// It has an answer.
    pub(super) fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        if !self.answered && self.at.elapsed() < PREMATURE {
            self.resets.taken_back();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_most_of_it_back_is_served_no_more() {
        let resets = Resets::default();
        for _ in 0..FREE {
            drop(resets.asked());
        }
        assert!(!resets.spent());
        drop(resets.asked());
        assert!(resets.spent());
    }

    #[test]
    fn who_takes_the_smaller_part_back_is_served_on() {
        let resets = Resets::default();
        for _ in 0..10 * FREE {
            resets.asked().answered();
            resets.asked().answered();
            drop(resets.asked());
        }
        assert!(!resets.spent());
    }
}
