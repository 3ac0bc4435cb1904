//! Kubernetes objects become our own; what is wrong with them is said by object and field.
//!
//! Not where they come from: that is `source`. A fault refuses the whole object (its last good
//! version stays in force) where the object's meaning is in doubt; what concerns one endpoint, one
//! backend or one filter only is left out or marked invalid there, and the rest is taken.

mod attempts;
mod backend_policy;
mod config_map;
mod duration;
mod endpoint_slice;
mod fault;
mod fields;
mod filter;
mod grpc_route;
mod header_modifier;
mod http_match;
mod http_route;
mod l4_route;
mod meta;
mod namespace;
mod node;
mod pod;
mod policy_targets;
mod reference_grant;
mod route;
mod service;
#[cfg(test)]
mod tests;
mod tls_policy;
mod traffic_policy;

use gateway_api::experimental::grpcroutes::GrpcRoute;
use gateway_api::experimental::httproutes::HttpRoute;
use gateway_api::experimental::referencegrants::ReferenceGrant;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Node, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use nodeway_core::model::{Kind, Object, ObjectName, RefusedRoute};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

pub use fault::{Fault, Faults};
use l4_route::L4Route;

/// What an object has become.
#[derive(Debug, Default)]
pub struct Translated {
    /// The object; none if it was refused, or if it is not for us (a route to a Gateway).
    pub object: Option<Object>,
    /// What is known of a route that was refused, for its status.
    pub refused: Option<RefusedRoute>,
    /// What is wrong with it.
    pub faults: Vec<Fault>,
}

/// An object's identity, read from its document before anything else of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Its kind.
    pub kind: Kind,
    /// Its namespace and name.
    pub name: ObjectName,
}

/// What a document is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recognised {
    /// One of ours.
    Ours(Identity),
    /// Of a kind that we have no use for.
    Foreign(String),
    /// Nothing that can be told: no kind, no name, or an unknown version of a kind of ours.
    Unclear(Fault),
}

// === impl Translated ===

impl Translated {
    /// An object with which nothing is wrong.
    pub(super) fn of(object: Object) -> Self {
        Self { object: Some(object), ..Self::default() }
    }
}

/// Tells what `document` is.
pub fn recognise(document: &Value) -> Recognised {
    let text = |path: &str| document.pointer(path).and_then(Value::as_str);
    let unclear = |field: &str, message: String| {
        Recognised::Unclear(Fault { field: field.to_owned(), message })
    };
    let Some(kind_name) = text("/kind") else {
        return unclear("kind", "missing: not a Kubernetes object".to_owned());
    };
    let Some(version) = text("/apiVersion") else {
        return unclear("apiVersion", format!("missing in a {kind_name}"));
    };
    let (kind, expected) = match kind_name {
        "Namespace" => (Kind::Namespace, "v1"),
        "Service" => (Kind::Service, "v1"),
        "Pod" => (Kind::Pod, "v1"),
        "EndpointSlice" => (Kind::EndpointSlice, "discovery.k8s.io/v1"),
        "HTTPRoute" => (Kind::HttpRoute, "gateway.networking.k8s.io/v1"),
        "GRPCRoute" => (Kind::GrpcRoute, "gateway.networking.k8s.io/v1"),
        "TLSRoute" => (Kind::TlsRoute, "gateway.networking.k8s.io/v1"),
        "TCPRoute" => (Kind::TcpRoute, "gateway.networking.k8s.io/v1alpha2"),
        "Node" => (Kind::Node, "v1"),
        "ReferenceGrant" => (Kind::ReferenceGrant, "gateway.networking.k8s.io/v1"),
        "BackendTLSPolicy" => (Kind::BackendTlsPolicy, "gateway.networking.k8s.io/v1"),
        "ConfigMap" => (Kind::ConfigMap, "v1"),
        "BackendPolicy" => (Kind::BackendPolicy, "nodeway.dev/v1alpha1"),
        "XBackendTrafficPolicy" => {
            (Kind::BackendTrafficPolicy, "gateway.networking.x-k8s.io/v1alpha1")
        }
        other => return Recognised::Foreign(other.to_owned()),
    };
    let group = |version: &str| match version.rsplit_once('/') {
        Some((group, _)) => group.to_owned(),
        None => String::new(),
    };
    // Kubernetes' own groups have no other kind of these names: a slip of the pen.
    let kubernetes = |group: &str| !group.contains('.') || group.ends_with(".k8s.io");
    if group(version) != group(expected) && !kubernetes(&group(version)) {
        // Another API's kind of the same name (a Knative Service, say).
        return Recognised::Foreign(format!("{version} {kind_name}"));
    }
    // The served versions of these have one schema.
    let others: &[&str] = match kind {
        Kind::HttpRoute | Kind::ReferenceGrant => &["v1beta1"],
        Kind::TlsRoute => &["v1alpha2", "v1alpha3"],
        Kind::TcpRoute => &["v1"],
        Kind::BackendTlsPolicy => &["v1alpha3"],
        _ => &[],
    };
    let other = version.strip_prefix("gateway.networking.k8s.io/");
    if version != expected && other.is_none_or(|other| !others.contains(&other)) {
        return unclear("apiVersion", format!("{version}: a {kind_name} is of {expected}"));
    }
    for field in ["name", "namespace"] {
        let value = document.pointer(&format!("/metadata/{field}"));
        if let Some(value) = value.filter(|value| !value.is_string() && !value.is_null()) {
            let message = format!("{value}: must be a text; put it in quotes");
            return unclear(&format!("metadata.{field}"), message);
        }
    }
    let Some(name) = text("/metadata/name").filter(|name| !name.is_empty()) else {
        return unclear("metadata.name", format!("missing in a {kind_name}"));
    };
    let namespace = match kind {
        Kind::Namespace | Kind::Node => "",
        _ => text("/metadata/namespace").filter(|n| !n.is_empty()).unwrap_or("default"),
    };
    Recognised::Ours(Identity { kind, name: ObjectName::new(namespace, name) })
}

/// Translates `document`, a JSON value or text, which was recognised as `identity`.
pub fn translate<'de>(
    identity: &Identity,
    document: impl Deserializer<'de, Error = serde_json::Error>,
) -> Translated {
    match identity.kind {
        Kind::Namespace => parsed::<Namespace>(document, |o| namespace::namespace(identity, &o)),
        Kind::Service => parsed::<Service>(document, |o| service::service(identity, &o)),
        Kind::Pod => parsed::<Pod>(document, |o| pod::pod(identity, &o)),
        Kind::EndpointSlice => {
            parsed::<EndpointSlice>(document, |o| endpoint_slice::endpoint_slice(identity, &o))
        }
        Kind::HttpRoute => {
            parsed_route::<HttpRoute>(identity, document, |o| http_route::http_route(identity, &o))
        }
        Kind::GrpcRoute => {
            parsed_route::<GrpcRoute>(identity, document, |o| grpc_route::grpc_route(identity, &o))
        }
        Kind::TlsRoute | Kind::TcpRoute => {
            parsed_route::<L4Route>(identity, document, |o| l4_route::l4_route(identity, &o))
        }
        Kind::Node => parsed::<Node>(document, |o| node::node(identity, &o)),
        Kind::ReferenceGrant => {
            parsed::<ReferenceGrant>(document, |o| reference_grant::reference_grant(identity, &o))
        }
        Kind::BackendTlsPolicy => {
            parsed::<policy_targets::Document>(document, |o| tls_policy::tls_policy(identity, o))
        }
        Kind::BackendPolicy => parsed::<backend_policy::Document>(document, |o| {
            backend_policy::backend_policy(identity, &o)
        }),
        Kind::BackendTrafficPolicy => parsed::<policy_targets::Document>(document, |o| {
            traffic_policy::traffic_policy(identity, o)
        }),
        // Nobody's: see `status`.
        Kind::Mesh => Translated::default(),
        Kind::ConfigMap => parsed::<ConfigMap>(document, |o| config_map::config_map(identity, &o)),
    }
}

/// A route that cannot be read as a whole (a newer CRD's value, say) still has parents, which are told.
fn parsed_route<'de, T: DeserializeOwned>(
    identity: &Identity,
    document: impl Deserializer<'de, Error = serde_json::Error>,
    then: impl FnOnce(T) -> Translated,
) -> Translated {
    let whole = match Value::deserialize(document) {
        Ok(whole) => whole,
        Err(error) => return unread("object".to_owned(), error.to_string()),
    };
    match serde_path_to_error::deserialize(&whole) {
        Ok(object) => then(object),
        Err(error) => {
            let field = Some(error.path().to_string()).filter(|path| path != ".");
            let field = field.unwrap_or_else(|| "object".to_owned());
            route::unread(identity, &whole, field, error.into_inner().to_string())
        }
    }
}

fn unread(field: String, message: String) -> Translated {
    Translated { faults: vec![Fault { field, message }], ..Translated::default() }
}

fn parsed<'de, T: DeserializeOwned>(
    document: impl Deserializer<'de, Error = serde_json::Error>,
    then: impl FnOnce(T) -> Translated,
) -> Translated {
    match serde_path_to_error::deserialize(document) {
        Ok(object) => then(object),
        Err(error) => {
            // "." is the object's root.
            let field = Some(error.path().to_string()).filter(|path| path != ".");
            let field = field.unwrap_or_else(|| "object".to_owned());
            unread(field, error.into_inner().to_string())
        }
    }
}
