//! The live state of endpoints, which outlives snapshots, and the ids of all things.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use foldhash::fast::RandomState;

use super::PortKey;
use crate::balance::{Endpoint, EndpointId};
use crate::model::ObjectName;

/// A Service's port, an address and the pod there: another pod at the same address is another endpoint.
type EndpointKey = (PortKey, SocketAddr, Option<ObjectName>);

/// So many endpoints are made before it is looked which of the old ones nobody holds any more; at
/// least, and at most as many as there are.
const LOOK_AFTER: usize = 1024;

/// What has been named so far. Whoever names an endpoint holds it; one that nobody holds is forgotten.
#[derive(Debug, Default)]
pub(super) struct Registry {
    /// The last id given; never given again.
    last_id: u64,
    endpoints: HashMap<EndpointKey, Weak<Endpoint>, RandomState>,
    /// How many entries there may be before the dead are counted out.
    full_at: usize,
}

// === impl Registry ===

impl Registry {
    /// A number that nothing else has had.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// The endpoint of `port` at this address with this pod behind it: the one that somebody holds, or a
    /// new one.
    pub(super) fn endpoint(
        &mut self,
        port: &PortKey,
        address: SocketAddr,
        pod: Option<&ObjectName>,
    ) -> Arc<Endpoint> {
        let key = (port.clone(), address, pod.cloned());
        if let Some(known) = self.endpoints.get(&key).and_then(Weak::upgrade) {
            return known;
        }
        if self.endpoints.len() >= self.full_at.max(LOOK_AFTER) {
            self.endpoints.retain(|_, endpoint| endpoint.strong_count() > 0);
            self.full_at = self.endpoints.len() * 2;
        }
        let endpoint = Arc::new(Endpoint::new(EndpointId(self.next_id()), address, pod.cloned()));
        self.endpoints.insert(key, Arc::downgrade(&endpoint));
        endpoint
    }
}
