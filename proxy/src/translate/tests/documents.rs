//! Any document: recognised, or told; never a panic.

use proptest::prelude::*;
use serde_json::json;

use super::*;

#[test]
fn documents_are_recognised_or_it_is_told_why_not() {
    let document = |version: &str, kind: &str| json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}});
    for (version, kind) in [
        ("apps/v1", "Deployment"),
        ("serving.knative.dev/v1", "Service"),
        ("policy.linkerd.io/v1beta1", "HTTPRoute"),
    ] {
        assert!(
            matches!(recognise(&document(version, kind)), Recognised::Foreign(_)),
            "{version} {kind}"
        );
    }
    for (version, kind) in [
        ("v1", "HTTPRoute"),
        ("v2", "Service"),
        ("discovery.k8s.io/v1beta1", "EndpointSlice"),
        ("apps/v1", "Pod"),
    ] {
        let Recognised::Unclear(fault) = recognise(&document(version, kind)) else {
            panic!("{version} {kind}")
        };
        assert_eq!(fault.field, "apiVersion");
    }
    for (metadata, field) in [
        (json!({}), "metadata.name"),
        (json!({"name": 8}), "metadata.name"),
        (json!({"name": "a", "namespace": 8}), "metadata.namespace"),
    ] {
        let Recognised::Unclear(fault) =
            recognise(&json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata}))
        else {
            panic!()
        };
        assert_eq!(fault.field, field);
    }
    let empty = recognise(
        &json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "namespace": ""}}),
    );
    assert_eq!(
        empty,
        Recognised::Ours(Identity { kind: Kind::Pod, name: ObjectName::new("default", "a") })
    );
}

/// Any JSON, with words that our kinds know more often than chance has them.
fn any_value() -> impl Strategy<Value = Value> {
    let word = prop_oneof![
        "[a-z]{0,4}".boxed(),
        proptest::sample::select(
            &[
                "name",
                "port",
                "ports",
                "path",
                "value",
                "type",
                "kind",
                "group",
                "Service",
                "10.0.0.1",
                "matches",
                "rules",
                "filters",
                "backendRefs",
                "parentRefs",
                "clusterIPs",
                "addresses",
                "endpoints",
                "None"
            ][..]
        )
        .prop_map(str::to_owned)
        .boxed(),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-2..70_000_i64).prop_map(Value::from),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(word.clone(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_object_makes_it_panic(kind in 0..5_usize, body in any_value(), metadata in any_value()) {
        let (version, kind) = [("v1", "Namespace"), ("v1", "Service"), ("v1", "Pod"),
            ("discovery.k8s.io/v1", "EndpointSlice"), ("gateway.networking.k8s.io/v1", "HTTPRoute")][kind];
        let mut document = json!({"apiVersion": version, "kind": kind, "metadata": metadata, "spec": body});
        if let Some(body) = body.as_object() {
            document.as_object_mut().unwrap().extend(body.clone());
        }
        document["kind"] = kind.into();
        document["apiVersion"] = version.into();
        if document["metadata"].is_object() {
            document["metadata"]["name"] = "x".into();
        }
        if let Recognised::Ours(identity) = recognise(&document) {
            let _ = translate(&identity, document);
        }
    }
}
