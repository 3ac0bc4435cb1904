//! Interim responses (RFC 9110, 15.2): what an endpoint says before its final response.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

use http::{HeaderMap, Request, StatusCode};

use super::{ContinueGate, RequestBody};

/// Interim responses to one request; an endpoint that has more to say is not going to answer.
pub(super) const MOST_INTERIM: u32 = 100;

/// Who is told of interim responses to a request.
#[derive(Clone)]
pub struct Informer(Rc<dyn Inform>);

/// Takes interim responses.
pub trait Inform {
    /// An interim response has come. 101 is none: it ends a request.
    fn inform(&self, status: StatusCode, headers: &HeaderMap);
}

/// All that waits for a request's interim responses.
#[derive(Debug)]
pub(super) struct Listener {
    informer: Option<Informer>,
    gate: Option<ContinueGate>,
    heard: Cell<u32>,
}

// === impl Informer ===

impl Informer {
    /// Tells `whom`.
    pub fn new(whom: Rc<dyn Inform>) -> Self {
        Self(whom)
    }

    pub(super) fn inform(&self, status: StatusCode, headers: &HeaderMap) {
        self.0.inform(status, headers);
    }
}

impl fmt::Debug for Informer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Informer")
    }
}

// === impl Listener ===

impl Listener {
    /// Who listens to what is said of `request`, if anybody does.
    pub(super) fn of(request: &Request<RequestBody>) -> Option<Self> {
        let informer = request.body().informer().cloned();
        let gate = request.body().gate();
        (informer.is_some() || gate.is_some()).then(|| Self { informer, gate, heard: Cell::new(0) })
    }

    /// Tells all.
    pub(super) fn hear(&self, status: StatusCode, headers: &HeaderMap) {
        self.heard.set(self.heard.get() + 1);
        if self.heard.get() > MOST_INTERIM {
            return;
        }
        if status == StatusCode::CONTINUE {
            // RFC 9110, 10.1.1: only for who has asked for it.
            let Some(gate) = &self.gate else { return };
            gate.open();
        }
        if let Some(informer) = &self.informer {
            informer.inform(status, headers);
        }
    }

    /// Whether there have been too many.
    pub(super) fn is_flooded(&self) -> bool {
        self.heard.get() > MOST_INTERIM
    }
}
