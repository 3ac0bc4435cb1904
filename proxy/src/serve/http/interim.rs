//! Interim responses (RFC 9110, 15.2) to clients that speak HTTP/1.1.
//!
//! hyper's server cannot send them, so they are written beside it, by the socket's wrapper (`io`), between
//! two of its messages. Not 100: hyper sends that when a body is first asked for.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

use http::{HeaderMap, StatusCode};

use super::headers::strip_hop_by_hop;
use crate::upstream::Inform;

/// Interim responses that a request's client is told. They are optional: a client that does not read must not
/// make us keep more and more of them.
const MOST_TOLD: usize = 16;
/// Octets of theirs.
const MOST_OCTETS: usize = 64 << 10;
/// Of one without fields.
const EMPTY: usize = 48;

/// What a request's client has been told before its response.
#[derive(Debug, Default)]
pub(super) struct Told {
    responses: usize,
    octets: usize,
    asked: bool,
}

/// What one connection's current request is to be told before its response. Must be `Send` for hyper; all
/// who hold it are on one thread.
#[derive(Debug, Default)]
pub(super) struct Interim {
    /// Whether there may be something in `state` for the socket; looked at with each write.
    news: AtomicBool,
    /// Whether what hyper writes next can only be the current request's response: it had nothing left to
    /// write after that request had begun.
    clear: AtomicBool,
    /// Whether nothing has been said of the current request.
    begun: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    unwritten: Vec<u8>,
    told: Told,
    /// The connection's task.
    waker: Option<Waker>,
}

// === impl Told ===

impl Told {
    /// Whether the client is told this one too.
    pub(super) fn takes(&mut self, status: StatusCode, headers: &HeaderMap) -> bool {
        if status == StatusCode::CONTINUE {
            // It waits for that, once.
            return !std::mem::replace(&mut self.asked, true);
        }
        let fields = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
        let octets = fields.fold(self.octets + EMPTY, usize::saturating_add);
        if self.responses == MOST_TOLD || octets > MOST_OCTETS {
            return false;
        }
        (self.responses, self.octets) = (self.responses + 1, octets);
        true
    }
}

// === impl Interim ===

impl Interim {
    /// A request begins: what the one before it is told may still be unwritten.
    pub(super) fn begin(&self) {
        self.clear.store(false, Ordering::Relaxed);
        self.news.store(false, Ordering::Relaxed);
        self.begun.store(true, Ordering::Relaxed);
    }

    /// Its request is being served by the task of `cx`.
    pub(super) fn serving(&self, cx: &Context<'_>) {
        let mut state = self.state();
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
    }

    /// hyper has written all that it had.
    pub(super) fn drained(&self) {
        self.clear.store(true, Ordering::Relaxed);
    }

    /// hyper writes.
    pub(super) fn written(&self) {
        self.clear.store(false, Ordering::Relaxed);
    }

    /// Whether hyper has written all that it had.
    pub(super) fn is_written(&self) -> bool {
        self.clear.load(Ordering::Relaxed)
    }

    /// What is to be written before anything else is; none if there is nothing, or if it cannot be told where
    /// it would stand.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        if !self.news.load(Ordering::Relaxed) || !self.clear.load(Ordering::Relaxed) {
            return None;
        }
        self.news.store(false, Ordering::Relaxed);
        Some(std::mem::take(&mut self.state().unwritten))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inform for Interim {
    fn inform(&self, status: StatusCode, headers: &HeaderMap) {
        if status == StatusCode::CONTINUE {
            return;
        }
        let mut headers = headers.clone();
        strip_hop_by_hop(&mut headers, false);
        let mut state = self.state();
        if self.begun.swap(false, Ordering::Relaxed) {
            state.told = Told::default();
        }
        if !state.told.takes(status, &headers) {
            return;
        }
        if !self.news.swap(true, Ordering::Relaxed) {
            // What a former request was not told in time.
            state.unwritten.clear();
        }
        let reason = status.canonical_reason().unwrap_or_default();
        let out = &mut state.unwritten;
        // Writing to memory does not fail.
        let _ = write!(out, "HTTP/1.1 {} {reason}\r\n", status.as_u16());
        for (name, value) in &headers {
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        if let Some(waker) = &state.waker {
            waker.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn hint() -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("link", HeaderValue::from_static("</a.css>"));
        headers.insert("connection", HeaderValue::from_static("close"));
        headers
    }

    #[test]
    fn an_interim_response_waits_until_the_response_before_it_is_written() {
        let interim = Interim::default();
        interim.begin();
        interim.inform(StatusCode::EARLY_HINTS, &hint());
        assert_eq!(interim.take(), None);
        interim.drained();
        let said = String::from_utf8(interim.take().unwrap()).unwrap();
        assert_eq!(said, "HTTP/1.1 103 Early Hints\r\nlink: </a.css>\r\n\r\n");
        assert_eq!(interim.take(), None);
    }

    #[test]
    fn what_a_request_was_not_told_is_not_told_the_next_one_and_100_is_hypers() {
        let interim = Interim::default();
        interim.begin();
        interim.inform(StatusCode::EARLY_HINTS, &hint());
        interim.begin();
        interim.inform(StatusCode::CONTINUE, &hint());
        interim.drained();
        assert_eq!(interim.take(), None);
        interim.inform(StatusCode::PROCESSING, &HeaderMap::new());
        assert_eq!(interim.take().unwrap(), b"HTTP/1.1 102 Processing\r\n\r\n");
    }

    #[test]
    fn a_client_is_told_so_much_and_no_more() {
        let interim = Interim::default();
        for _ in 0..2 {
            interim.begin();
            for _ in 0..100 {
                interim.inform(StatusCode::EARLY_HINTS, &hint());
            }
            interim.drained();
            let said = String::from_utf8(interim.take().unwrap()).unwrap();
            assert_eq!(said.matches("103").count(), MOST_TOLD);
        }
        let mut large = HeaderMap::new();
        large.insert("link", HeaderValue::from_bytes(&[b'a'; 8192]).unwrap());
        let mut told = Told::default();
        let taken = (0..16).filter(|_| told.takes(StatusCode::EARLY_HINTS, &large)).count();
        assert_eq!(taken, 7);
        let asked = [(); 2].map(|()| told.takes(StatusCode::CONTINUE, &HeaderMap::new()));
        assert_eq!(asked, [true, false]);
    }
}
