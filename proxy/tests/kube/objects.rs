//! Objects, as a real API server shows them; and what is wrong with some.

use nodeway_core::model::Kind;
use serde_json::{Value, json};

use crate::follower::World;

pub(crate) const GATEWAY: &str = "gateway.networking.k8s.io";
/// All that the source asks for.
pub(crate) const KINDS: [(Kind, &str); 13] = [
    (Kind::Namespace, "namespaces"),
    (Kind::Node, "nodes"),
    (Kind::Pod, "pods"),
    (Kind::Service, "services"),
    (Kind::EndpointSlice, "endpointslices.discovery.k8s.io"),
    (Kind::HttpRoute, "httproutes.gateway.networking.k8s.io"),
    (Kind::GrpcRoute, "grpcroutes.gateway.networking.k8s.io"),
    (Kind::TlsRoute, "tlsroutes.gateway.networking.k8s.io"),
    (Kind::TcpRoute, "tcproutes.gateway.networking.k8s.io"),
    (Kind::ReferenceGrant, "referencegrants.gateway.networking.k8s.io"),
    (Kind::BackendTlsPolicy, "backendtlspolicies.gateway.networking.k8s.io"),
    (Kind::BackendPolicy, "backendpolicies.nodeway.dev"),
    (Kind::BackendTrafficPolicy, "xbackendtrafficpolicies.gateway.networking.x-k8s.io"),
];

/// What a real object carries and nobody here wants.
fn metadata(namespace: &str, name: &str) -> Value {
    let mut metadata = json!({"name": name, "managedFields": [{"manager": "kubectl",
        "operation": "Update", "apiVersion": "v1", "time": "2025-01-01T00:00:00Z",
        "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:ports": {}}}}]});
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
    metadata
}

pub(crate) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata("", name)})
}

pub(crate) fn node(name: &str, zone: &str) -> Value {
    let mut metadata = metadata("", name);
    metadata["labels"] = json!({"topology.kubernetes.io/zone": zone});
    json!({"apiVersion": "v1", "kind": "Node", "metadata": metadata})
}

pub(crate) fn pod(name: &str, node: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata("shop", name),
        "spec": {"nodeName": node, "containers": [{"name": "app"}]},
        "status": {"phase": "Running", "podIP": "10.0.0.1"}})
}

pub(crate) fn service(name: &str, ip: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata("shop", name),
        "spec": {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip],
            "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]}})
}

/// A slice of the Service `of`, with these endpoints.
pub(crate) fn slice(name: &str, of: &str, endpoints: &Value) -> Value {
    let mut metadata = metadata("shop", name);
    metadata["labels"] = json!({"kubernetes.io/service-name": of});
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
        "addressType": "IPv4", "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
        "endpoints": endpoints})
}

pub(crate) fn endpoint(address: &str) -> Value {
    json!({"addresses": [address],
        "conditions": {"ready": true, "serving": true, "terminating": false}})
}

pub(crate) fn route(kind: &str, name: &str, to: &str) -> Value {
    json!({"apiVersion": format!("{GATEWAY}/v1"), "kind": kind, "metadata": metadata("shop", name),
        "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": to}],
            "rules": [{"backendRefs": [{"name": to, "port": 80}]}]}})
}

/// A TLSRoute or a TCPRoute.
pub(crate) fn l4_route(kind: &str, name: &str, to: &str) -> Value {
    let mut route = route(kind, name, to);
    match kind {
        "TCPRoute" => route["apiVersion"] = format!("{GATEWAY}/v1alpha2").into(),
        _ => route["spec"]["hostnames"] = json!([format!("{name}.test")]),
    }
    route
}

pub(crate) fn grant(name: &str) -> Value {
    json!({"apiVersion": format!("{GATEWAY}/v1beta1"), "kind": "ReferenceGrant",
        "metadata": metadata("shop", name),
        "spec": {"from": [{"group": GATEWAY, "kind": "HTTPRoute", "namespace": "bank"}],
            "to": [{"group": "", "kind": "Service"}]}})
}

/// For the Service `of`; believes these ConfigMaps, or the system's CAs if there are none.
pub(crate) fn policy(name: &str, of: &str, bundles: &[&str]) -> Value {
    let refs = bundles.iter().map(|name| json!({"group": "", "kind": "ConfigMap", "name": name}));
    let mut validation = json!({"hostname": "web.example.com"});
    if bundles.is_empty() {
        validation["wellKnownCACertificates"] = json!("System");
    } else {
        validation["caCertificateRefs"] = refs.collect();
    }
    json!({"apiVersion": format!("{GATEWAY}/v1"), "kind": "BackendTLSPolicy",
        "metadata": metadata("shop", name), "spec": {
            "targetRefs": [{"group": "", "kind": "Service", "name": of}],
            "validation": validation}})
}

/// A BackendPolicy for the Service `of`, with so many requests under way.
pub(crate) fn backend_policy(name: &str, of: &str, requests: u32) -> Value {
    json!({"apiVersion": "nodeway.dev/v1alpha1", "kind": "BackendPolicy",
        "metadata": metadata("shop", name), "spec": {
            "targetRefs": [{"group": "", "kind": "Service", "name": of}],
            "circuitBreaker": {"maxRequests": requests}}})
}

/// An XBackendTrafficPolicy for the Service `of`, with such a share of retries.
pub(crate) fn traffic_policy(name: &str, of: &str, percent: u32) -> Value {
    json!({"apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XBackendTrafficPolicy",
        "metadata": metadata("shop", name), "spec": {
            "targetRefs": [{"group": "", "kind": "Service", "name": of}],
            "retryConstraint": {"budget": {"percent": percent}}}})
}

pub(crate) fn config_map(name: &str, ca: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("shop", name),
        "data": {"ca.crt": ca}})
}

/// One of each kind.
pub(crate) fn one_of_each() -> Vec<Value> {
    vec![
        namespace("shop"),
        node("n1", "a"),
        pod("p", "n1"),
        service("web", "10.96.0.1"),
        slice("web-1", "web", &json!([endpoint("10.0.0.1")])),
        route("HTTPRoute", "r", "web"),
        route("GRPCRoute", "g", "web"),
        l4_route("TLSRoute", "t", "web"),
        l4_route("TCPRoute", "c", "web"),
        grant("all"),
        policy("tls", "web", &[]),
        backend_policy("limits", "web", 100),
        traffic_policy("retries", "web", 30),
    ]
}

#[test]
fn each_object_that_is_bad_costs_itself_alone_and_is_named() {
    let world = World::with(|server| {
        server.put_all(&one_of_each());
        server.put(&service("bad", "10.96.0"));
        let mut odd = slice("odd", "web", &json!([endpoint("10.0.0.2")]));
        odd["ports"] = json!("none");
        server.put(&odd);
        let mut path = route("HTTPRoute", "path", "web");
        path["spec"]["rules"][0]["matches"] = json!([{"path": {"value": "no slash"}}]);
        server.put(&path);
    });
    world.until("the first state", |known| known.events > 0);
    {
        let known = world.follower.known();
        assert_eq!(known.objects.len(), KINDS.len(), "all the good ones");
        assert_eq!(known.endpoints("web"), ["10.0.0.1:8080".parse().unwrap()]);
        for parts in [
            ["Service shop/bad: ", "spec.clusterIPs[0]", "\"10.96.0\""],
            ["EndpointSlice shop/odd: ", "ports", "invalid type"],
            ["HTTPRoute shop/path: ", "spec.rules[0].matches[0].path", "no slash"],
        ] {
            assert!(known.told(&parts), "{parts:?} in {:?}", known.problems);
        }
        assert_eq!(known.problems.len(), 3, "{:?}", known.problems);
    }
    // Bad from good: the last good one stays in force.
    world.server.put(&service("web", "nowhere"));
    world.until("word of it", |known| known.told(&["Service shop/web", "\"nowhere\""]));
    assert_eq!(world.follower.known().ip("web").as_deref(), Some("10.96.0.1"));
    world.server.put(&service("web", "10.96.0.2"));
    world.until("the good one", |known| known.ip("web").as_deref() == Some("10.96.0.2"));
    world.server.put(&service("bad", "10.96.0.3"));
    world.server.delete("endpointslices.discovery.k8s.io", "shop", "odd");
    world.server.delete("httproutes.gateway.networking.k8s.io", "shop", "path");
    world.until("no more problems", |known| known.problems.is_empty());
}

#[test]
fn only_this_nodes_pods_and_this_node_are_asked_for() {
    let world = World::with(|server| {
        for name in ["n1", "n2"] {
            server.put(&node(name, "a"));
        }
        server.put(&pod("mine", "n1"));
        server.put(&pod("other", "n2"));
    });
    world.until("the first state", |known| known.events > 0);
    {
        let known = world.follower.known();
        assert!(known.has(Kind::Pod, "shop", "mine") && known.has(Kind::Node, "", "n1"));
        assert_eq!((known.count(Kind::Pod), known.count(Kind::Node)), (1, 1));
    }
    world.server.put(&pod("another", "n2"));
    world.server.put(&pod("second", "n1"));
    world.until("the second", |known| known.has(Kind::Pod, "shop", "second"));
    world.server.delete("pods", "shop", "mine");
    world.until("its end", |known| known.count(Kind::Pod) == 1);
}
