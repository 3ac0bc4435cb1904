//! What is refused because too much is under way is counted, and told once a second.
//!
//! Not what is too much: that is `nodeway_core::balance`'s to say.

use nodeway_core::balance::{Overflow, Refused};
use nodeway_core::snapshot::Backend;

use crate::runtime::Worker;
use crate::telemetry::{Flag, OverflowKey, OverflowLabels};

/// Why a request, or a connection, goes to no endpoint of `backend`, as a metric's label.
pub(super) fn refused(worker: &Worker, backend: &Backend, why: Refused) -> Flag {
    match why {
        Refused::NoEndpoint => Flag::NoHealthyUpstream,
        Refused::Overflow(overflow) => {
            overflowed(worker, backend, overflow);
            Flag::Overflow
        }
    }
}

/// Counts it, and tells it if that is due.
#[cold]
pub(super) fn overflowed(worker: &Worker, backend: &Backend, overflow: Overflow) {
    let Overflow { limit, of, .. } = overflow;
    let key = OverflowKey { backend: backend.id, limit, of };
    worker.metrics.overflowed(worker.view().generation(), key, || OverflowLabels {
        backend: backend.service.clone(),
        limit,
        of,
    });
    let under_way = backend.lasting().under_way();
    if let Some(times) = under_way.overflowed(worker.clock.now()) {
        tracing::warn!(service = %backend.service, port = backend.port, %overflow, times,
            active = under_way.active(), retries = under_way.retries(),
            pending = under_way.pending(), connections = under_way.connections(),
            "refused: too much is under way");
    }
}
