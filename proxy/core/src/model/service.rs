//! Services: what a client dials.

use std::net::IpAddr;
use std::sync::Arc;

use serde::Serialize;

use super::ObjectName;

/// A Service with its frontends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub name: ObjectName,
    /// The addresses clients dial (ClusterIPs, both families). Empty for headless and ExternalName.
    pub cluster_ips: Vec<IpAddr>,
    /// The TCP ports; ports of other protocols are left out.
    pub ports: Vec<ServicePort>,
}

/// A TCP port of a [`Service`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePort {
    /// The port's name, by which EndpointSlices refer to it; empty if it has none.
    pub name: Arc<str>,
    /// The port clients dial.
    pub port: u16,
    /// What the port is declared to speak.
    pub protocol: AppProtocol,
}

/// What a port is declared to speak, by `appProtocol`, by its name, or by its well-known number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub enum AppProtocol {
    /// Nothing is declared: found out per connection.
    Detect,
    /// HTTP: version by what the client speaks first; towards endpoints the client's version.
    Http,
    /// HTTP/2 with prior knowledge towards endpoints (`kubernetes.io/h2c`, gRPC).
    Http2,
    /// HTTP/1.1 towards endpoints (`kubernetes.io/ws`).
    Http1,
    /// TLS: relayed as it is.
    Tls,
    /// Any other TCP protocol: relayed as it is, and the server may speak first.
    Tcp,
}
