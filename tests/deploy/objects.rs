//! The objects are what the API server would take, every field of them.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::render::{kustomize, objects, parse, read, title};

/// Values that bring out every object and every branch of the templates.
pub(crate) fn everything() -> Value {
    json!({
        "image": {"repository": "registry.example/nodeway", "digest": format!("sha256:{}", "0".repeat(64))},
        "imagePullSecrets": [{"name": "mine"}],
        "config": {"enroll": "all", "failPolicy": "closed", "workers": 2, "accessLog": true, "logFormat": "json"},
        "nodeSelector": {"pool": "a"},
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms":
            [{"matchExpressions": [{"key": "x", "operator": "Exists"}]}]}}},
        "podAnnotations": {"a": "b"},
        "podLabels": {"team": "mesh"},
        "podMonitor": {"enabled": true, "labels": {"release": "prometheus"}},
        "networkPolicy": {"enabled": true, "metricsFrom": [{"namespaceSelector": {"matchLabels": {"a": "b"}}}]},
    })
}

#[test]
fn the_chart_and_kustomize_make_the_same_objects() {
    let (Some(kustomize), Some(chart)) = (kustomize(), objects(&json!({}))) else { return };
    let by_title = |objects: Vec<Value>| -> BTreeMap<String, Value> {
        objects.into_iter().map(|object| (title(&object), object)).collect()
    };
    let (mut kustomize, chart) = (by_title(kustomize), by_title(chart));
    // Helm makes the Namespace by itself (--create-namespace).
    kustomize.remove("Namespace nodeway-system").expect("the Namespace");
    // It installs the chart's CRDs before all the rest, and does not render them.
    let crd = kustomize.remove("CustomResourceDefinition backendpolicies.nodeway.dev");
    assert_eq!(crd, Some(parse(&read("chart/crds/backendpolicies.yaml")).remove(0)));
    assert_eq!(kustomize.keys().collect::<Vec<_>>(), chart.keys().collect::<Vec<_>>());
    for (title, object) in kustomize {
        assert_eq!(object, chart[&title], "{title}: kustomize's and the chart's");
    }
}

#[test]
fn every_object_is_in_kubernetes_own_terms() {
    let mut all = Vec::new();
    all.extend(kustomize().unwrap_or_default());
    all.extend(objects(&json!({})).unwrap_or_default());
    all.extend(objects(&everything()).unwrap_or_default());
    for object in &all {
        if let Err(wrong) = strictly(object) {
            panic!("{}: {wrong}", title(object));
        }
    }
}

#[test]
fn a_field_that_kubernetes_does_not_know_is_noticed() {
    let mut daemon_set = parse(&read("kustomize/daemonset.yaml")).remove(0);
    assert_eq!(strictly(&daemon_set), Ok(()));
    daemon_set["spec"]["template"]["spec"]["hostPid"] = json!(true);
    assert!(strictly(&daemon_set).is_err_and(|wrong| wrong.contains("hostPid")));
}

/// Read into Kubernetes' type and written again: what the type does not know is gone.
fn strictly(object: &Value) -> Result<(), String> {
    let kind = object["kind"].as_str().unwrap_or_default();
    match kind {
        "CustomResourceDefinition" => round::<CustomResourceDefinition>(object),
        "ClusterRole" => round::<ClusterRole>(object),
        "ClusterRoleBinding" => round::<ClusterRoleBinding>(object),
        "ConfigMap" => round::<ConfigMap>(object),
        "DaemonSet" => round::<DaemonSet>(object),
        "Namespace" => round::<Namespace>(object),
        "NetworkPolicy" => round::<NetworkPolicy>(object),
        "Role" => round::<Role>(object),
        "RoleBinding" => round::<RoleBinding>(object),
        "ServiceAccount" => round::<ServiceAccount>(object),
        // Not Kubernetes' own: see `a_pod_monitor_names_the_port_of_the_pod`.
        "PodMonitor" => Ok(()),
        _ => Err(format!("{kind} is not expected here")),
    }
}

fn round<T: DeserializeOwned + Serialize>(object: &Value) -> Result<(), String> {
    let read: T = serde_json::from_value(object.clone()).map_err(|error| error.to_string())?;
    let written = serde_json::to_value(read).map_err(|error| error.to_string())?;
    match differs(object, &written, "") {
        None => Ok(()),
        Some(place) => Err(format!("{place} is no field of it, or has a wrong value")),
    }
}

/// Where `written` has not what `object` has.
fn differs(object: &Value, written: &Value, place: &str) -> Option<String> {
    match (object, written) {
        (Value::Object(object), Value::Object(written)) => {
            object.iter().find_map(|(key, value)| {
                differs(value, written.get(key).unwrap_or(&Value::Null), &format!("{place}.{key}"))
            })
        }
        (Value::Array(object), Value::Array(written)) if object.len() == written.len() => {
            let both = object.iter().zip(written).enumerate();
            both.into_iter().find_map(|(i, (a, b))| differs(a, b, &format!("{place}[{i}]")))
        }
        // An integer where the schema has any number.
        (Value::Number(object), Value::Number(written)) if object.as_f64() == written.as_f64() => {
            None
        }
        (object, written) => (object != written).then(|| place.to_owned()),
    }
}
