//! Our own words for what the cluster says, valid by construction.
//!
//! Not the Kubernetes types: those stop at `nodeway::translate`. What was invalid in an object is a
//! value here ([`BackendTarget::Invalid`], [`Filter::Invalid`]) that keeps its share of the traffic.

mod backend_policy;
mod endpoint;
mod filter;
mod grant;
mod l4;
mod name;
mod node;
mod pod;
mod policy;
mod route;
mod service;
mod tls_policy;

pub use backend_policy::{
    AdaptiveConcurrency, Amounts, BackendPolicy, BackendSettings, Balancing, BalancingAlgorithm,
    ConnectionLife, EndpointWeight, HashCookie, HashOn, HealthCheck, Http2Keepalive,
    LatencyOutlier, Limits, OutlierDetection, Probe, RetryBudget, SlowStart, SuccessRate,
    TcpKeepalive, TrafficPolicy, TrafficSettings, WeightOf,
};
pub use endpoint::{EndpointAddress, EndpointPort, EndpointSlice};
pub use filter::{
    Allowed, AllowedOrigin, Cors, Filter, HeaderModifier, Mirror, PathModifier, Redirect, Rewrite,
};
pub use grant::ReferenceGrant;
pub use l4::{Hostname, L4Rule};
pub use name::ObjectName;
pub use node::Node;
pub use pod::{Mesh, Namespace, Pod};
pub use policy::{Policy, PolicyTarget};
pub use route::{
    BackendRef, BackendTarget, HeaderMatch, HttpMatch, HttpRule, ParentRef, PathMatch, QueryMatch,
    RefFault, RefusedRoute, Retry, Route, Rules, SessionCarrier, SessionPersistence, TextMatch,
    Timeouts,
};
pub use service::{AppProtocol, Service, ServiceKind, ServicePort};
pub use tls_policy::{CaBundle, Certificate, TlsName, TlsPolicy, TlsValidation, Trust};

/// One object of any kind, as a source says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A Namespace.
    Namespace(Namespace),
    /// A Service.
    Service(Service),
    /// An EndpointSlice.
    EndpointSlice(EndpointSlice),
    /// A Pod.
    Pod(Pod),
    /// A route of any kind with at least one parent of kind Service.
    Route(Route),
    /// A Node.
    Node(Node),
    /// A ReferenceGrant.
    ReferenceGrant(ReferenceGrant),
    /// A BackendTLSPolicy.
    TlsPolicy(TlsPolicy),
    /// A ConfigMap.
    CaBundle(CaBundle),
    /// A BackendPolicy.
    BackendPolicy(BackendPolicy),
    /// An XBackendTrafficPolicy.
    TrafficPolicy(TrafficPolicy),
}

/// The kinds of [`Object`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// See [`Namespace`]; its `ObjectName::namespace` is empty.
    Namespace,
    /// See [`Service`].
    Service,
    /// See [`EndpointSlice`].
    EndpointSlice,
    /// See [`Pod`].
    Pod,
    /// See [`Route`].
    HttpRoute,
    /// See [`Route`].
    GrpcRoute,
    /// See [`Route`].
    TlsRoute,
    /// See [`Route`].
    TcpRoute,
    /// See [`Node`]; its `ObjectName::namespace` is empty.
    Node,
    /// See [`ReferenceGrant`].
    ReferenceGrant,
    /// An XMesh: no object of ours; what it says of us is status.
    Mesh,
    /// See [`TlsPolicy`].
    BackendTlsPolicy,
    /// See [`CaBundle`].
    ConfigMap,
    /// See [`BackendPolicy`].
    BackendPolicy,
    /// See [`TrafficPolicy`].
    BackendTrafficPolicy,
}

/// What a source says: the verbs of the control flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The object is now this (new or replaced).
    Apply(Object),
    /// The object is gone.
    Delete(Kind, ObjectName),
    /// The route, as it is now, cannot be taken; what was last good stays in force.
    Refuse(RefusedRoute),
}

impl Object {
    /// The object's kind and name: its identity.
    pub fn key(&self) -> (Kind, &ObjectName) {
        match self {
            Self::Namespace(o) => (Kind::Namespace, &o.name),
            Self::Service(o) => (Kind::Service, &o.name),
            Self::EndpointSlice(o) => (Kind::EndpointSlice, &o.name),
            Self::Pod(o) => (Kind::Pod, &o.name),
            Self::Route(o) => (o.kind, &o.name),
            Self::Node(o) => (Kind::Node, &o.name),
            Self::ReferenceGrant(o) => (Kind::ReferenceGrant, &o.name),
            Self::TlsPolicy(o) => (Kind::BackendTlsPolicy, &o.name),
            Self::CaBundle(o) => (Kind::ConfigMap, &o.name),
            Self::BackendPolicy(o) => (Kind::BackendPolicy, &o.name),
            Self::TrafficPolicy(o) => (Kind::BackendTrafficPolicy, &o.name),
        }
    }
}

// === impl Kind ===

impl Kind {
    /// The kinds of routes; of those at one Service's port the first has it (GEP-1294, "Route types").
    pub const ROUTES: [Self; 4] =
        [Self::GrpcRoute, Self::HttpRoute, Self::TlsRoute, Self::TcpRoute];

    /// The kinds of policies that are for Services.
    pub const POLICIES: [Self; 3] =
        [Self::BackendTlsPolicy, Self::BackendPolicy, Self::BackendTrafficPolicy];

    /// Whether it is one of [`Self::POLICIES`].
    pub fn is_policy(self) -> bool {
        Self::POLICIES.contains(&self)
    }

    /// Whether it is one of [`Self::ROUTES`].
    pub fn is_route(self) -> bool {
        Self::ROUTES.contains(&self)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Namespace => "Namespace",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
            Self::Pod => "Pod",
            Self::HttpRoute => "HTTPRoute",
            Self::GrpcRoute => "GRPCRoute",
            Self::TlsRoute => "TLSRoute",
            Self::TcpRoute => "TCPRoute",
            Self::Node => "Node",
            Self::ReferenceGrant => "ReferenceGrant",
            Self::Mesh => "XMesh",
            Self::BackendTlsPolicy => "BackendTLSPolicy",
            Self::ConfigMap => "ConfigMap",
            Self::BackendPolicy => "BackendPolicy",
            Self::BackendTrafficPolicy => "XBackendTrafficPolicy",
        })
    }
}
