//! Endpoints: what may answer for a Service.

use std::net::IpAddr;
use std::sync::Arc;

use super::ObjectName;

/// One EndpointSlice; a Service's endpoints are the union of its slices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSlice {
    /// Namespace and name of the slice.
    pub name: ObjectName,
    /// The Service it belongs to (label `kubernetes.io/service-name`).
    pub service: ObjectName,
    /// The ports that every endpoint of this slice serves.
    pub ports: Vec<EndpointPort>,
    /// The endpoints.
    pub endpoints: Vec<EndpointAddress>,
}

/// A port of an [`EndpointSlice`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointPort {
    /// The name of the Service port that it serves; empty if that has none.
    pub name: Arc<str>,
    /// The port the endpoint listens on.
    pub port: u16,
}

/// One endpoint of an [`EndpointSlice`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointAddress {
    /// Its address. (Kubernetes lists several; consumers use the first.)
    pub address: IpAddr,
    /// Condition `ready`; absent counts as ready.
    pub ready: bool,
    /// Condition `serving`; absent counts as `ready`.
    pub serving: bool,
    /// Condition `terminating`.
    pub terminating: bool,
    /// The pod behind it, if the slice names one.
    pub pod: Option<ObjectName>,
    /// The node it is on, if the slice says so.
    pub node: Option<Arc<str>>,
    /// The zone it is in, if the slice says so.
    pub zone: Option<Arc<str>>,
    /// `hints.forZones`: the zones whose clients it is meant for; empty if it has no such hint.
    pub for_zones: Arc<[Arc<str>]>,
    /// `hints.forNodes`: the nodes whose clients it is meant for; empty if it has no such hint.
    pub for_nodes: Arc<[Arc<str>]>,
}

// === impl EndpointAddress ===

impl EndpointAddress {
    /// A ready endpoint of which nothing else is known.
    pub fn new(address: IpAddr) -> Self {
        Self {
            address,
            ready: true,
            serving: true,
            terminating: false,
            pod: None,
            node: None,
            zone: None,
            for_zones: Arc::default(),
            for_nodes: Arc::default(),
        }
    }
}
