//! Round robin: each endpoint in turn.
//!
//! For connections whose length and cost are unknown: what is under way says little about load, and
//! turns spread them evenly from the first one on.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::Endpoint;

/// Picks the next in turn that `usable` lets through; `None` if it lets none through.
///
/// Passing over one takes a turn too, so that the neighbour of an ejected endpoint does not inherit
/// its share.
pub(super) fn pick<'a>(
    endpoints: &'a [Arc<Endpoint>],
    turn: &AtomicUsize,
    usable: impl Fn(&Endpoint) -> bool,
) -> Option<&'a Arc<Endpoint>> {
    for _ in endpoints {
        let next = turn.fetch_add(1, Relaxed).checked_rem(endpoints.len())?;
        if let Some(endpoint) = endpoints.get(next).filter(|e| usable(e)) {
            return Some(endpoint);
        }
    }
    // Other threads took the turns in between.
    endpoints.iter().find(|e| usable(e))
}
