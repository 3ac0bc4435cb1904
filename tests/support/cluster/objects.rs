//! The objects of a small cluster, as the API serves them.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::manifests::Mesh;
use crate::world::Pod;

/// An endpoint of a slice.
#[derive(Debug, Clone)]
pub struct Endpoint {
    address: SocketAddr,
    pod: String,
    /// Conditions: ready, serving, terminating.
    conditions: (bool, bool, bool),
}

impl Endpoint {
    /// A ready one: this pod, on port 8080.
    #[must_use]
    pub fn ready(pod: &Pod) -> Self {
        let conditions = (true, true, false);
        Self { address: pod.v4(8080), pod: pod.name.clone(), conditions }
    }

    /// The same on its way out.
    #[must_use]
    pub fn terminating(self) -> Self {
        Self { conditions: (false, true, true), ..self }
    }
}

/// A Node.
#[must_use]
pub fn node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": "zone-a"}},
        "spec": {"unschedulable": true}})
}

/// A Pod bound to `node`, in an image that nobody pulls. A real cluster does not evict it from a node that no kubelet
/// speaks for.
#[must_use]
pub fn pod(namespace: &str, name: &str, node: &str, mesh: Mesh) -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {"nodeName": node, "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0, "tolerations": [{"operator": "Exists"}],
            "containers": [{"name": "main", "image": "example.invalid/none"}]}});
    if let Some(value) = mesh.value() {
        pod["metadata"]["labels"]["nodeway.dev/mesh"] = json!(value);
    }
    pod
}

/// The status of a pod that runs.
#[must_use]
pub fn pod_status(pod: &Pod) -> Value {
    json!({"phase": "Running", "podIP": pod.ipv4.to_string(),
        "podIPs": [{"ip": pod.ipv4.to_string()}, {"ip": pod.ipv6.to_string()}]})
}

/// A Service without a selector, HTTP on port 80; the API chooses its address.
#[must_use]
pub fn service(namespace: &str, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"ports": [{"port": 80, "targetPort": 8080, "protocol": "TCP", "appProtocol": "http"}]}})
}

/// The one slice of a Service.
#[must_use]
pub fn slice(namespace: &str, service: &str, endpoints: &[Endpoint]) -> Value {
    let endpoints: Vec<Value> = endpoints
        .iter()
        .map(|Endpoint { address, pod, conditions: (ready, serving, terminating) }| {
            json!({"addresses": [address.ip().to_string()],
                "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
                "targetRef": {"kind": "Pod", "name": pod, "namespace": namespace}})
        })
        .collect();
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{service}-1"), "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service}},
        "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "", "port": 8080, "protocol": "TCP", "appProtocol": "http"}]})
}

/// An HTTPRoute from the Service `parent` to the Service `backend`.
#[must_use]
pub fn route(namespace: &str, name: &str, parent: &str, backend: &str) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": parent}],
            "rules": [{"backendRefs": [{"name": backend, "port": 80}]}]}})
}
