//! Connections to endpoints that are gone: when they are to be reset, if the policy says so.
//!
//! Not how: that is `diag`'s.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use nodeway_core::balance::Endpoint;
use nodeway_core::model::ObjectName;
use nodeway_core::snapshot::Backend;

/// Connections to be reset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Where they go.
    pub endpoint: SocketAddr,
    /// What they are counted under, one of these.
    pub series: Vec<u32>,
}

/// What is to be reset, and when.
#[derive(Debug, Default)]
pub(super) struct Resets {
    waiting: Vec<(Instant, Gone)>,
}

/// An endpoint that does not serve a Service's port any more.
#[derive(Debug, Clone)]
pub(super) struct Gone {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) service: ObjectName,
    pub(super) port: u16,
}

// === impl Resets ===

impl Resets {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Notes who of `backends`, as they were before a change, has gone by it, where the policy has a time for what
    /// is under way with them.
    pub(super) fn note(&mut self, backends: &[Arc<Backend>], at: Instant) {
        for backend in backends {
            let Some(patience) = backend.settings().connections.drain else { continue };
            for endpoint in backend.endpoints().iter().filter(|e| e.is_retired()) {
                if self.waiting.iter().any(|(_, gone)| Arc::ptr_eq(&gone.endpoint, endpoint)) {
                    continue;
                }
                let gone = Gone {
                    endpoint: Arc::clone(endpoint),
                    service: backend.service.clone(),
                    port: backend.port,
                };
                self.waiting.push((at + patience, gone));
            }
        }
    }

    /// Those whose time is over, but for who is back, `made_anew` perhaps.
    pub(super) fn due(&mut self, now: Instant, made_anew: impl Fn(&Gone) -> bool) -> Vec<Gone> {
        let waiting = std::mem::take(&mut self.waiting);
        let (due, waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|(at, _)| *at <= now);
        self.waiting = waiting;
        let due = due.into_iter().map(|(_, gone)| gone);
        due.filter(|gone| gone.endpoint.is_retired() && !made_anew(gone)).collect()
    }
}
