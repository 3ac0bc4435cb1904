//! Services: what a client dials.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::ObjectName;

/// A Service with its frontends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Namespace and name.
    pub name: ObjectName,
    /// Whether clients reach it by an address of its own.
    pub kind: ServiceKind,
    /// The addresses clients dial (ClusterIPs, both families). Empty for headless and ExternalName.
    pub cluster_ips: Vec<IpAddr>,
    /// Further addresses that lead to it from within the cluster: `spec.externalIPs` and the load
    /// balancer's, if that does not have to see the traffic itself.
    pub external_ips: Vec<IpAddr>,
    /// `sessionAffinity: ClientIP`: how long after its last connection a client stays with its endpoint.
    pub affinity: Option<Duration>,
    /// `internalTrafficPolicy: Local`: by its cluster IPs only endpoints of the client's node serve.
    pub internal_local: bool,
    /// The TCP ports; ports of other protocols are left out.
    pub ports: Vec<ServicePort>,
}

/// Whether a Service has an address of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServiceKind {
    /// It has, whatever its `type`.
    ClusterIp,
    /// `clusterIP: None`: clients find its pods by DNS.
    Headless,
    /// `type: ExternalName`: a name in DNS and nothing more.
    ExternalName,
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

// === impl Service ===

impl Service {
    /// A Service with these cluster IPs and ports, and nothing out of the ordinary.
    pub fn new(name: ObjectName, cluster_ips: Vec<IpAddr>, ports: Vec<ServicePort>) -> Self {
        let (kind, external_ips) = (ServiceKind::ClusterIp, Vec::new());
        let (affinity, internal_local) = (None, false);
        Self { name, kind, cluster_ips, external_ips, affinity, internal_local, ports }
    }
}
