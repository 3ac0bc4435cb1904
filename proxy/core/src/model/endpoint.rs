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
}
