//! What has begun with an endpoint is counted, and how it went is told to the backend.
//!
//! Not what follows from it: that is `nodeway_core::balance`'s to say.

use std::error::Error;
use std::sync::Arc;

use nodeway_core::balance::{Endpoint, Report};
use nodeway_core::snapshot::Backend;

use crate::errors::chain;
use crate::runtime::Worker;

/// Tells `backend` what became of an attempt at `endpoint`, and says so if that leaves the endpoint out.
pub(super) fn report(worker: &Worker, backend: &Backend, endpoint: &Endpoint, report: Report) {
    if let Some(ejection) = backend.report(endpoint, worker.clock.now(), report) {
        worker.metrics.counters.ejections.add(1);
        tracing::warn!(service = %backend.service, endpoint = %endpoint.address, ?ejection,
            "endpoint left out");
    }
}

/// The same of an attempt that failed, with why.
pub(super) fn failed(
    worker: &Worker,
    backend: &Backend,
    endpoint: &Endpoint,
    outcome: Report,
    error: &dyn Error,
) {
    let error = chain(error);
    tracing::debug!(service = %backend.service, endpoint = %endpoint.address, %error, "endpoint failed");
    report(worker, backend, endpoint, outcome);
}

/// Counts as one of an endpoint's active requests or connections as long as it lives.
#[derive(Debug)]
pub(super) struct Active {
    endpoint: Arc<Endpoint>,
}

// === impl Active ===

impl Active {
    /// Begins to count.
    pub(super) fn begin(endpoint: Arc<Endpoint>) -> Self {
        endpoint.begin();
        Self { endpoint }
    }

    /// The endpoint.
    pub(super) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.endpoint.end();
    }
}
