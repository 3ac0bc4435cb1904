//! Objects as real controllers write them, with all that nobody here needs.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};

const MADE: &str = "2025-03-01T09:15:27Z";
const NODES: usize = 500;

/// Where a Service's objects are: its number, and from it all names.
pub(crate) struct Names {
    pub(crate) namespace: String,
    pub(crate) name: String,
}

// === impl Names ===

impl Names {
    /// A hundred to a namespace.
    pub(crate) fn of(service: usize) -> Self {
        let namespace = format!("team-{:03}", service / 100);
        Self { namespace, name: format!("service-{service:05}") }
    }
}

/// A random UUID, as any.
fn uid(seed: usize) -> String {
    format!("{seed:08x}-9f2e-4c1b-8a77-5d3e9b1c{:04x}", seed % 65_536)
}

fn managed(manager: &str, fields: &Value) -> Value {
    json!([{"apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields, "manager": manager,
        "operation": "Update", "time": MADE}])
}

pub(crate) fn cluster_ip(service: usize) -> Ipv4Addr {
    let n = u32::try_from(service).unwrap();
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 96, 1, 0)) + n)
}

/// The pod of an endpoint.
fn pod_ip(service: usize, endpoint: usize) -> Ipv4Addr {
    let n = u32::try_from(service * 16 + endpoint).unwrap();
    Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 128, 0, 1)) + n)
}

pub(crate) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name,
        "creationTimestamp": MADE, "labels": {"kubernetes.io/metadata.name": name},
        "managedFields": managed("kubectl-create", &json!({"f:metadata": {"f:labels": {".": {}}}}))},
        "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})
}

pub(crate) fn service(number: usize) -> Value {
    let Names { namespace, name } = Names::of(number);
    let ip = cluster_ip(number).to_string();
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": namespace, "uid": uid(number), "creationTimestamp": MADE,
            "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "Helm",
                "helm.sh/chart": "service-1.2.3"},
            "annotations": {"meta.helm.sh/release-name": name, "meta.helm.sh/release-namespace": namespace},
            "managedFields": managed("helm", &json!({"f:metadata": {"f:labels": {".": {}}},
                "f:spec": {"f:internalTrafficPolicy": {}, "f:ports": {".": {},
                    "k:{\"port\":80,\"protocol\":\"TCP\"}": {".": {}, "f:name": {}, "f:port": {},
                        "f:protocol": {}, "f:targetPort": {}}}, "f:selector": {}, "f:type": {}}}))},
        "spec": {"clusterIP": ip, "clusterIPs": [ip], "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
            "ports": [{"appProtocol": "http", "name": "http", "port": 80, "protocol": "TCP",
                "targetPort": "http"}],
            "selector": {"app.kubernetes.io/name": name}, "sessionAffinity": "None", "type": "ClusterIP"},
        "status": {"loadBalancer": {}}})
}

/// A slice with so many endpoints that nobody can reach.
pub(crate) fn slice(number: usize, endpoints: usize) -> Value {
    let pods = (0..endpoints).map(|i| (pod_ip(number, i), 8080));
    slice_of(number, &pods.map(SocketAddr::from).collect::<Vec<_>>())
}

/// A slice with these endpoints, all of one port.
pub(crate) fn slice_of(number: usize, endpoints: &[SocketAddr]) -> Value {
    let Names { namespace, name } = Names::of(number);
    let endpoint = |(i, address): (usize, &SocketAddr)| {
        let node = (number * 7 + i * 31) % NODES;
        let pod = format!("{name}-7d9c5b6f4d-{:05x}", number * 16 + i);
        json!({"addresses": [address.ip().to_string()],
            "conditions": {"ready": true, "serving": true, "terminating": false},
            "nodeName": format!("node-{node:03}"), "zone": format!("zone-{}", node % 3),
            "targetRef": {"kind": "Pod", "name": pod, "namespace": namespace,
                "uid": uid(number * 16 + i + 1_000_000)}})
    };
    let all: Vec<Value> = endpoints.iter().enumerate().map(endpoint).collect();
    let port = endpoints.first().map_or(8080, SocketAddr::port);
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{name}-x7k2p"), "generateName": format!("{name}-"),
            "namespace": namespace, "uid": uid(number + 2_000_000), "creationTimestamp": MADE,
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": MADE},
            "labels": {"app.kubernetes.io/name": name, "app.kubernetes.io/managed-by": "Helm",
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                "helm.sh/chart": "service-1.2.3", "kubernetes.io/service-name": name},
            "ownerReferences": [{"apiVersion": "v1", "blockOwnerDeletion": true, "controller": true,
                "kind": "Service", "name": name, "uid": uid(number)}],
            "managedFields": managed("kube-controller-manager", &json!({"f:addressType": {},
                "f:endpoints": {}, "f:metadata": {"f:annotations": {".": {}}, "f:generateName": {},
                    "f:labels": {".": {}, "f:kubernetes.io/service-name": {}},
                    "f:ownerReferences": {".": {}}}, "f:ports": {}}))},
        "endpoints": all,
        "ports": [{"appProtocol": "http", "name": "http", "port": port, "protocol": "TCP"}]})
}

/// A route of two rules for one Service: some paths to another Service, the rest to its own.
pub(crate) fn route(number: usize, other: usize) -> Value {
    let Names { namespace, name } = Names::of(number);
    let reference = |to: &Names| json!({"group": "", "kind": "Service", "name": to.name, "port": 80, "weight": 1});
    let parent = json!({"group": "", "kind": "Service", "name": name, "port": 80});
    let (own, other) = (Names::of(number), Names::of(other));
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": namespace, "uid": uid(number + 3_000_000),
            "creationTimestamp": MADE,
            "managedFields": managed("kubectl-client-side-apply", &json!({"f:spec": {".": {},
                "f:parentRefs": {}, "f:rules": {}}}))},
        "spec": {"parentRefs": [parent], "rules": [
            {"matches": [{"path": {"type": "PathPrefix", "value": "/api/v2"},
                "headers": [{"type": "Exact", "name": "x-canary", "value": "yes"}]}],
                "filters": [{"type": "RequestHeaderModifier",
                    "requestHeaderModifier": {"set": [{"name": "x-route", "value": "canary"}]}}],
                "backendRefs": [reference(&other)]},
            {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
                "backendRefs": [reference(&own)]}]},
        "status": {"parents": [{"controllerName": "nodeway.dev/mesh-controller", "parentRef": parent,
            "conditions": [{"type": "Accepted", "status": "True", "reason": "Accepted", "message": "",
                "lastTransitionTime": MADE, "observedGeneration": 1}]}]}})
}

pub(crate) fn node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "creationTimestamp": MADE,
        "labels": {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": "zone-0"}}})
}

pub(crate) fn pod(name: &str, uid: &str, node: &str, ip: Ipv4Addr) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "bench",
        "uid": uid, "creationTimestamp": MADE, "labels": {"nodeway.dev/mesh": "enabled"}},
        "spec": {"nodeName": node, "containers": [{"name": "main", "image": "example.invalid/none"}]},
        "status": {"phase": "Running", "podIP": ip.to_string(), "podIPs": [{"ip": ip.to_string()}]}})
}
