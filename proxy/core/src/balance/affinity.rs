//! Session affinity: a client stays with its endpoint (`sessionAffinity: ClientIP`).
//!
//! Clients are this node's pods, so the table is small: it is copied when a client comes to it for the
//! first time, and read without a lock.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;

use super::{Endpoint, Millis};

/// Which client is with which endpoint.
#[derive(Debug, Default)]
pub(super) struct Affinity {
    clients: ArcSwap<HashMap<u64, Arc<Sticky>, RandomState>>,
}

#[derive(Debug)]
struct Sticky {
    /// The endpoint's id; 0 before the first choice.
    endpoint: AtomicU64,
    /// Where it was last found among the endpoints: looked at first.
    place: AtomicUsize,
    /// When it was last used.
    used: AtomicU64,
}

// === impl Affinity ===

impl Affinity {
    /// The endpoint that `client` is with, if it may still be used; else the one that `choose` gives,
    /// which it is with from now on. As kube-proxy does, each use begins the time anew.
    pub(super) fn pick<'a>(
        &self,
        client: u64,
        timeout_ms: u64,
        now: Millis,
        endpoints: &'a [Arc<Endpoint>],
        usable: impl Fn(&Endpoint) -> bool,
        choose: impl FnOnce() -> Option<&'a Arc<Endpoint>>,
    ) -> Option<&'a Arc<Endpoint>> {
        let sticky = self.client(client, timeout_ms, now);
        let known = sticky.endpoint.load(Relaxed);
        let fresh = now.0.saturating_sub(sticky.used.load(Relaxed)) < timeout_ms;
        sticky.used.store(now.0, Relaxed);
        if fresh && let Some(endpoint) = sticky.find(known, endpoints).filter(|e| usable(e)) {
            return Some(endpoint);
        }
        let chosen = choose()?;
        match sticky.endpoint.compare_exchange(known, chosen.id.0, Relaxed, Relaxed) {
            Ok(_) => Some(chosen),
            // Another worker was first: the client is with what that one chose.
            Err(other) => {
                Some(sticky.find(other, endpoints).filter(|e| usable(e)).unwrap_or(chosen))
            }
        }
    }

    fn client(&self, client: u64, timeout_ms: u64, now: Millis) -> Arc<Sticky> {
        if let Some(sticky) = self.clients.load().get(&client) {
            return Arc::clone(sticky);
        }
        let new = Arc::new(Sticky {
            endpoint: AtomicU64::new(0),
            place: AtomicUsize::new(0),
            used: AtomicU64::new(now.0),
        });
        let mut mine = Arc::clone(&new);
        self.clients.rcu(|clients| {
            let mut clients = HashMap::clone(clients);
            // Those whose time is over go now: nobody else looks after them.
            clients
                .retain(|_, sticky| now.0.saturating_sub(sticky.used.load(Relaxed)) < timeout_ms);
            mine = Arc::clone(clients.entry(client).or_insert_with(|| Arc::clone(&new)));
            clients
        });
        mine
    }
}

// === impl Sticky ===

impl Sticky {
    fn find<'a>(&self, id: u64, endpoints: &'a [Arc<Endpoint>]) -> Option<&'a Arc<Endpoint>> {
        if let Some(endpoint) =
            endpoints.get(self.place.load(Relaxed)).filter(|endpoint| endpoint.id.0 == id)
        {
            return Some(endpoint);
        }
        let place = endpoints.iter().position(|endpoint| endpoint.id.0 == id)?;
        self.place.store(place, Relaxed);
        endpoints.get(place)
    }
}
