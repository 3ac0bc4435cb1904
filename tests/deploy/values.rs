//! values.yaml and values.schema.json are in step, and the schema has teeth.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::render::{TODAY, helm, parse, read};

fn schema() -> Value {
    serde_json::from_str(&read("chart/values.schema.json")).unwrap()
}

fn values() -> Value {
    parse(&read("chart/values.yaml")).remove(0)
}

#[test]
fn every_value_is_in_the_schema_and_the_other_way_round() {
    let (schema, values) = (schema(), values());
    let mut only = BTreeSet::new();
    compare(&schema, &values, "", &mut only);
    // Helm's own; and what a user fills in.
    only.remove("global");
    assert_eq!(only, BTreeSet::new(), "in one of the two only");
}

/// Collects the keys that only one of both has. A map that is empty by default is the user's to fill.
fn compare(schema: &Value, values: &Value, place: &str, only: &mut BTreeSet<String>) {
    let (Some(properties), Some(values)) = (schema["properties"].as_object(), values.as_object())
    else {
        return;
    };
    if values.is_empty() || place.ends_with("Profile") || place.ends_with("Options") {
        return;
    }
    let keys: BTreeSet<_> = properties.keys().chain(values.keys()).collect();
    for key in keys {
        let path = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
        match (properties.get(key), values.get(key)) {
            (Some(schema), Some(value)) => compare(schema, value, &path, only),
            _ => {
                only.insert(path);
            }
        }
    }
}

#[test]
fn no_map_of_ours_takes_what_it_does_not_know() {
    fn closed(schema: &Value, place: &str) {
        if let Some(properties) = schema["properties"].as_object() {
            assert_eq!(schema["additionalProperties"], false, "{place:?} takes any key");
            for (key, schema) in properties {
                closed(schema, &format!("{place}.{key}"));
            }
        }
        if schema["items"].is_object() {
            closed(&schema["items"], &format!("{place}[]"));
        }
    }
    closed(&schema(), "");
}

#[test]
fn every_value_is_explained() {
    let text = read("chart/values.yaml");
    let mut before = "";
    for line in text.lines() {
        let key = line.split_once(':').map(|(key, _)| key);
        let top = key.is_some_and(|key| !key.is_empty() && !key.starts_with([' ', '#', '-']));
        // What belongs together may share a comment.
        let explained = before.starts_with('#') || line.starts_with("podLabels");
        assert!(!top || explained, "not explained: {line}");
        before = line;
    }
}

#[test]
fn a_wrong_value_is_refused_by_its_name() {
    for (wrong, told) in [
        (json!({"iamge": {}}), "iamge"),
        (json!({"image": {"tagg": "x"}}), "tagg"),
        (json!({"image": {"digest": "sha256:abc"}}), "/image/digest"),
        (json!({"config": {"enroll": "some"}}), "/config/enroll"),
        // The chart itself sets it.
        (json!({"config": {"drainTimeout": "5s"}}), "drainTimeout"),
        (json!({"drainTimeoutSeconds": "30s"}), "/drainTimeoutSeconds"),
        (json!({"hostPaths": {"cgroup": "sys"}}), "/hostPaths/cgroup"),
        (json!({"metricsBind": "::"}), "/metricsBind"),
        (json!({"tolerations": {"operator": "Exists"}}), "/tolerations"),
        (json!({"updateStrategy": {"rollingUpdate": {"partition": 1}}}), "partition"),
        // The API takes one of both: the chart's own maxSurge is 1.
        (json!({"updateStrategy": {"rollingUpdate": {"maxUnavailable": 1}}}), "/rollingUpdate"),
        (json!({"updateStrategy": {"rollingUpdate": {"maxSurge": 0}}}), "/rollingUpdate"),
        (json!({"seccompProfile": {"type": "Localhost"}}), "localhostProfile"),
        // Twice the same key, or a pod that its DaemonSet does not know.
        (json!({"podLabels": {"nodeway.dev/mesh": "enabled"}}), "/podLabels/nodeway.dev~1mesh"),
        (json!({"podLabels": {"app.kubernetes.io/name": "x"}}), "/podLabels/app.kubernetes"),
        (json!({"podAnnotations": {"checksum/config": "x"}}), "/podAnnotations/checksum"),
        (json!({"podMonitor": {"enabled": "yes"}}), "/podMonitor/enabled"),
        (json!({"networkPolicy": {"apiServerPorts": [0]}}), "/networkPolicy/apiServerPorts/0"),
    ] {
        let Some(refused) = helm(&wrong, TODAY) else { return };
        match refused {
            Ok(_) => panic!("{wrong} is taken"),
            Err(error) => assert!(error.contains(told), "{wrong}: {error}"),
        }
    }
}

#[test]
fn a_strategy_and_a_profile_of_ones_own_are_taken() {
    for right in [
        json!({"updateStrategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "10%"}}}),
        json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}),
        json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "mine"}}),
    ] {
        let Some(taken) = helm(&right, TODAY) else { return };
        if let Err(error) = taken {
            panic!("{right}: {error}");
        }
    }
}
