//! Objects to play with.

use serde_json::{Value, json};

pub(crate) fn service(name: &str, app: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": app}},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 81}]}})
}

pub(crate) fn pod(name: &str, node: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "shop"},
        "spec": {"nodeName": node, "containers": []},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}})
}

pub(crate) fn lease(holder: &str) -> Value {
    json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "leader", "namespace": "shop"}, "spec": {"holderIdentity": holder}})
}
