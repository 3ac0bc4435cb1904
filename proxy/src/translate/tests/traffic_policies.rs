//! What becomes of XBackendTrafficPolicies.

use std::time::Duration;

use nodeway_core::model::{RetryBudget, SessionCarrier, TrafficPolicy};
use serde_json::json;

use super::*;

fn policy(rest: &Value) -> Value {
    let mut spec = json!({"targetRefs": [
        {"group": "", "kind": "Service", "name": "web"},
        {"group": "multicluster.x-k8s.io", "kind": "ServiceImport", "name": "far"},
    ]});
    let fields = rest.as_object().cloned().unwrap_or_default();
    spec.as_object_mut().unwrap().extend(fields);
    json!({"apiVersion": "gateway.networking.x-k8s.io/v1alpha1", "kind": "XBackendTrafficPolicy",
        "metadata": {"name": "web", "namespace": "shop", "generation": 2, "uid": "u-1"}, "spec": spec})
}

fn policy_of(document: Value) -> TrafficPolicy {
    match read(document).object {
        Some(Object::TrafficPolicy(policy)) => policy,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_left_out_of_a_retry_constraint_has_the_default_of_the_schema() {
    let second = Duration::from_secs(1);
    let budget = |constraint: Value| {
        let policy = policy_of(policy(&json!({ "retryConstraint": constraint })));
        assert_eq!((policy.targets.len(), policy.generation), (1, 2), "others' targets are theirs");
        policy.settings.unwrap().retry_budget.unwrap()
    };
    let whole = RetryBudget {
        percent: 20,
        interval: Some(10 * second),
        least: 10,
        least_interval: Some(second),
    };
    assert_eq!(budget(json!({})), whole);
    let given = json!({"budget": {"percent": 0, "interval": "1m"}, "minRetryRate": {"count": 3}});
    let part = RetryBudget { percent: 0, interval: Some(60 * second), least: 3, ..whole };
    assert_eq!(budget(given), part);
    let none = policy_of(policy(&json!({}))).settings.unwrap();
    assert!(none.retry_budget.is_none() && none.session.is_none());
}

#[test]
fn a_service_that_is_named_by_several_of_its_sections_is_one_target() {
    let target = |name: &str, section: &str| json!({"group": "", "kind": "Service", "name": name, "sectionName": section});
    let spec = json!({"targetRefs": [target("a", "x"), target("b", ""), target("a", "y")]});
    let targets = policy_of(policy(&spec)).targets;
    let names: Vec<_> = targets.iter().map(|target| &*target.service.name).collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn a_session_is_sealed_by_the_policys_uid() {
    let spec = json!({"sessionPersistence": {"type": "Cookie", "absoluteTimeout": "1h",
        "cookieConfig": {"lifetimeType": "Permanent"}}});
    let session = policy_of(policy(&spec)).settings.unwrap().session.clone().unwrap();
    assert_eq!((&*session.secret, session.carrier), ("u-1", SessionCarrier::PermanentCookie));
}

#[test]
fn what_is_wrong_is_told_by_its_field_and_the_targets_are_known() {
    for (spec, fault) in [
        (
            json!({"retryConstraint": {"budget": {"percent": 101}}}),
            "spec.retryConstraint.budget.percent: ",
        ),
        (
            json!({"retryConstraint": {"budget": {"interval": "2h"}}}),
            "spec.retryConstraint.budget.interval: ",
        ),
        (
            json!({"retryConstraint": {"minRetryRate": {"count": 0}}}),
            "spec.retryConstraint.minRetryRate.count: ",
        ),
        (
            json!({"retryConstraint": {"minRetryRate": {"interval": "1"}}}),
            "spec.retryConstraint.minRetryRate.interval: ",
        ),
        (
            json!({"sessionPersistence": {"idleTimeout": "1 h"}}),
            "spec.sessionPersistence.idleTimeout: ",
        ),
        (json!({"retryConstraint": "none"}), "spec.retryConstraint: "),
    ] {
        let translated = read(policy(&spec));
        let [told] = &told(&translated)[..] else { panic!("{:?}", translated.faults) };
        assert!(told.starts_with(fault), "{told}, not {fault}");
        let policy = policy_of(policy(&spec));
        assert_eq!(policy.settings.unwrap_err().as_ref(), told);
        assert_eq!(policy.targets.len(), 1);
    }
}
