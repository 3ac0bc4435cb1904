//! What outlives snapshots: the state of endpoints, whose turn it is, and the ids of all things.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use foldhash::fast::RandomState;

use crate::balance::{Endpoint, EndpointId};
use crate::model::ObjectName;

/// A Service's port.
pub(super) type PortKey = (ObjectName, u16);
/// An address and the pod there: another pod at the same address is another endpoint.
type EndpointKey = (SocketAddr, Option<ObjectName>);
/// A rule's route, its place there, its name: what metrics tell apart.
type RuleKey = (ObjectName, usize, Option<Arc<str>>);

/// What has been named so far. What a compilation does not name is forgotten at its end.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// The last id given; never given again.
    last_id: u64,
    endpoints: Named<EndpointKey, Arc<Endpoint>>,
    backends: Named<PortKey, (u64, Arc<AtomicUsize>)>,
    frontends: Named<PortKey, u64>,
    rules: Named<RuleKey, u64>,
}

/// A map that remembers what has been asked for since the last sweep.
#[derive(Debug)]
struct Named<K, V> {
    map: HashMap<K, (bool, V), RandomState>,
}

// === impl Registry ===

impl Registry {
    pub(super) fn endpoint(
        &mut self,
        address: SocketAddr,
        pod: Option<&ObjectName>,
    ) -> Arc<Endpoint> {
        let last_id = &mut self.last_id;
        self.endpoints.get((address, pod.cloned()), || {
            Arc::new(Endpoint::new(EndpointId(next(last_id)), address, pod.cloned()))
        })
    }

    pub(super) fn backend(&mut self, key: PortKey) -> (u64, Arc<AtomicUsize>) {
        let last_id = &mut self.last_id;
        self.backends.get(key, || (next(last_id), Arc::default()))
    }

    pub(super) fn frontend(&mut self, key: PortKey) -> u64 {
        let last_id = &mut self.last_id;
        self.frontends.get(key, || next(last_id))
    }

    pub(super) fn rule(
        &mut self,
        route: &ObjectName,
        place: usize,
        name: Option<&Arc<str>>,
    ) -> u64 {
        let last_id = &mut self.last_id;
        self.rules.get((route.clone(), place, name.cloned()), || next(last_id))
    }

    /// Forgets what has not been asked for since the last call.
    pub(super) fn sweep(&mut self) {
        self.endpoints.sweep();
        self.backends.sweep();
        self.frontends.sweep();
        self.rules.sweep();
    }
}

fn next(last_id: &mut u64) -> u64 {
    *last_id += 1;
    *last_id
}

// === impl Named ===

impl<K: Eq + Hash, V: Clone> Named<K, V> {
    fn get(&mut self, key: K, make: impl FnOnce() -> V) -> V {
        let (named, value) = self.map.entry(key).or_insert_with(|| (true, make()));
        *named = true;
        value.clone()
    }

    fn sweep(&mut self) {
        self.map.retain(|_, (named, _)| std::mem::take(named));
    }
}

impl<K, V> Default for Named<K, V> {
    fn default() -> Self {
        Self { map: HashMap::default() }
    }
}
