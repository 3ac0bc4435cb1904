//! What manifests of cases leave unsaid: API versions and namespaces, and how kinds are called in paths.

use serde_json::{Value, json};

const GATEWAY: &str = "gateway.networking.k8s.io";

/// With what is usual for its kind.
pub(crate) fn completed(manifest: &Value, namespace: &str) -> Value {
    let mut object = manifest.clone();
    let kind = object["kind"].as_str().unwrap_or_else(|| panic!("a kind: {manifest}"));
    let version = match kind {
        "Service" | "ConfigMap" | "Namespace" => "v1".to_owned(),
        "EndpointSlice" => "discovery.k8s.io/v1".to_owned(),
        "ReferenceGrant" => format!("{GATEWAY}/v1beta1"),
        "TCPRoute" => format!("{GATEWAY}/v1alpha2"),
        _ => format!("{GATEWAY}/v1"),
    };
    if object["apiVersion"].is_null() {
        object["apiVersion"] = json!(version);
    }
    if object["metadata"]["namespace"].is_null() {
        object["metadata"]["namespace"] = json!(namespace);
    }
    object
}

/// Namespace and name.
pub(crate) fn key(object: &Value) -> (&str, &str) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default();
    (text("namespace"), text("name"))
}

/// `KIND/NAME`, as cases call it.
pub(crate) fn title(object: &Value) -> String {
    format!("{}/{}", object["kind"].as_str().unwrap_or_default(), key(object).1)
}

/// As RBAC calls it: `httproutes.gateway.networking.k8s.io`.
pub(crate) fn resource(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap_or_default().to_lowercase();
    let plural = match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{kind}s"),
    };
    match object["apiVersion"].as_str().unwrap_or_default().split_once('/') {
        Some((group, _)) => format!("{plural}.{group}"),
        None => plural,
    }
}
