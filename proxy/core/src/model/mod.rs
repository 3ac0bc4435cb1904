//! Our own words for what the cluster says, valid by construction.
//!
//! Not the Kubernetes types: those stop at `nodeway::translate`. What was invalid in an object is a
//! value here ([`BackendTarget::Invalid`], [`Filter::Invalid`]) that keeps its share of the traffic.

mod endpoint;
mod name;
mod pod;
mod route;
mod service;

pub use endpoint::{EndpointAddress, EndpointPort, EndpointSlice};
pub use name::ObjectName;
pub use pod::{Mesh, Namespace, Pod};
pub use route::{
    BackendRef, BackendTarget, Filter, HeaderMatch, HeaderModifier, HttpMatch, HttpRoute, HttpRule,
    ParentRef, PathMatch, QueryMatch, TextMatch,
};
pub use service::{AppProtocol, Service, ServicePort};

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
    /// An HTTPRoute with at least one parent of kind Service.
    HttpRoute(HttpRoute),
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
    /// See [`HttpRoute`].
    HttpRoute,
}

/// What a source says: the verbs of the control flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The object is now this (new or replaced).
    Apply(Object),
    /// The object is gone.
    Delete(Kind, ObjectName),
}

impl Object {
    /// The object's kind and name: its identity.
    pub fn key(&self) -> (Kind, &ObjectName) {
        match self {
            Self::Namespace(o) => (Kind::Namespace, &o.name),
            Self::Service(o) => (Kind::Service, &o.name),
            Self::EndpointSlice(o) => (Kind::EndpointSlice, &o.name),
            Self::Pod(o) => (Kind::Pod, &o.name),
            Self::HttpRoute(o) => (Kind::HttpRoute, &o.name),
        }
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
        })
    }
}
