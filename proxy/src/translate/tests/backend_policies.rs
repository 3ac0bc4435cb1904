//! What becomes of BackendPolicies.

use std::sync::Arc;
use std::time::Duration;

use nodeway_core::model::{
    BackendPolicy, BackendSettings, BalancingAlgorithm, HashOn, Object, Probe, WeightOf,
};

use serde_json::json;

use super::*;

/// A policy for the Service `web`, with this `spec` besides.
pub(super) fn policy(spec: &str) -> Value {
    let text = format!(
        "apiVersion: nodeway.dev/v1alpha1\nkind: BackendPolicy\n\
         metadata: {{name: web, namespace: shop, generation: 3}}\n\
         spec:\n  targetRefs: [{{group: '', kind: Service, name: web}}]\n{spec}"
    );
    serde_saphyr::from_str(&text).unwrap()
}

fn policy_of(document: Value) -> (Option<BackendPolicy>, Vec<String>) {
    let Recognised::Ours(identity) = recognise(&document) else { panic!("{document}") };
    let translated = translate(&identity, document);
    let policy = translated.object.map(|object| match object {
        Object::BackendPolicy(policy) => policy,
        other => panic!("{other:?}"),
    });
    (policy, translated.faults.iter().map(ToString::to_string).collect())
}

fn settings(spec: &str) -> Arc<BackendSettings> {
    let (policy, faults) = policy_of(policy(spec));
    assert_eq!(faults, <[String; 0]>::default());
    policy.unwrap().settings.unwrap()
}

#[test]
fn what_is_left_out_has_its_default() {
    assert_eq!(*settings(""), BackendSettings::default());
    let empty =
        "  loadBalancing: {}\n  outlierDetection: {}\n  circuitBreaker: {}\n  connection: {}";
    assert_eq!(*settings(empty), BackendSettings::default());
}

#[test]
fn a_policy_means_what_it_says() {
    let settings = settings(
        "  loadBalancing:
    algorithm: Maglev
    hashOn:
    - {type: Header, header: {name: X-User}}
    - {type: Cookie, cookie: {name: who, ttl: 1h}}
    - {type: SourceIP}
    weights:
    - {zone: a, weight: 4}
    - {cidr: 10.1.0.0/16, weight: 2}
    slowStart: {window: 30s, aggression: 1.5}
    zoneAware: Disabled
    panicThresholdPercent: 0
  healthCheck:
    http: {path: '/healthz?full', expectedStatuses: [200-204, 401]}
    port: 8081
    interval: 2s
  outlierDetection:
    consecutive5xx: 3
    consecutiveGatewayErrors: 0
    successRate: {stdevFactor: 2}
    baseEjectionTime: 10m
  circuitBreaker:
    maxRequests: 100
    maxPendingRequests: 0
    perEndpoint: {maxConnections: 10}
    overloadedHeader: true
  retryBudget: {percent: 10, minConcurrent: 1}
  connection:
    maxAge: 1h
    idleTimeout: 5s
    tcpKeepalive: {idle: 30s}
    http2Keepalive: {}
    drainTimeout: 0s
    preconnect: 2",
    );
    let balancing = &settings.balancing;
    assert_eq!(balancing.algorithm, Some(BalancingAlgorithm::Maglev));
    let [HashOn::Header(header), HashOn::Cookie(cookie), HashOn::SourceIp] = &*balancing.hash_on
    else {
        panic!("{:?}", balancing.hash_on)
    };
    assert_eq!((header.as_str(), &*cookie.name, &*cookie.path), ("x-user", "who", "/"));
    assert_eq!(cookie.ttl, Some(Duration::from_secs(3600)));
    assert_eq!(balancing.weights[0].of, WeightOf::Zone("a".into()));
    assert_eq!(balancing.weights[1].of, WeightOf::Cidr("10.1.0.0".parse().unwrap(), 16));
    assert_eq!(balancing.weights[1].weight.get(), 2);
    let slow = balancing.slow_start.unwrap();
    assert_eq!(
        (slow.window, slow.aggression.get(), slow.least),
        (Duration::from_secs(30), 1500, 10)
    );
    assert!(!balancing.zone_aware && balancing.panic_threshold == 0);
    let check = settings.health_check.as_ref().unwrap();
    let Probe::Http { path, statuses, .. } = &check.probe else { panic!("{check:?}") };
    assert_eq!((&**path, &**statuses), ("/healthz?full", &[(200, 204), (401, 401)][..]));
    assert_eq!((check.interval, check.timeout), (Duration::from_secs(2), Duration::from_secs(1)));
    let outliers = &settings.outliers;
    assert_eq!(outliers.consecutive_5xx.map(|n| n.get()), Some(3));
    assert_eq!(outliers.consecutive_gateway_errors, None);
    assert_eq!(outliers.consecutive_connect_failures.map(|n| n.get()), Some(5));
    assert_eq!(outliers.success_rate.unwrap().stdev_factor, 2000);
    assert_eq!(outliers.max_ejection, Duration::from_secs(600));
    let limits = &settings.limits;
    assert_eq!(limits.backend.active.map(|n| n.get()), Some(100));
    assert_eq!((limits.backend.pending, limits.backend.connections), (Some(0), None));
    assert_eq!(limits.endpoint.connections.map(|n| n.get()), Some(10));
    assert!(limits.tell);
    let budget = settings.retry_budget.unwrap();
    assert_eq!((budget.percent, budget.least, budget.interval), (10, 1, None));
    let life = &settings.connections;
    assert_eq!((life.drain, life.prewarm), (Some(Duration::ZERO), 2));
    assert_eq!(life.tcp_keepalive.idle, Duration::from_secs(30));
    assert!(life.http2_keepalive.is_some() && life.max_requests.is_none());
}

#[test]
fn all_that_is_wrong_is_told_with_its_field_and_the_targets_are_known() {
    let (policy, faults) = policy_of(policy(
        "  loadBalancing:
    algorithm: Fastest
    hashOn: [{type: Header}]
    weights: [{node: a, zone: b, weight: 0}, {cidr: 10.0.0.0/33, weight: 1}]
  healthCheck: {tcp: {}, grpc: {}, interval: 10}
  outlierDetection: {baseEjectionTime: 20s, maxEjectionTime: 10s, consecutive5XX: 1}
  circuitBreaker: {maxRequests: 0, perEndpoint: 7}
  connection: {tcpKeepalive: {idle: 1500ms}, maxAge: 1 day}
  timeouts: {}",
    ));
    let policy = policy.unwrap();
    assert_eq!(policy.targets.len(), 1);
    let told = policy.settings.unwrap_err();
    assert_eq!(told.as_ref(), faults.join("; "));
    let expected = [
        "spec.loadBalancing.algorithm: \"Fastest\": must be one of PeakEwma, ",
        "spec.loadBalancing.hashOn[0].header: missing",
        "spec.loadBalancing.weights[0]: must have one of node, zone and cidr",
        "spec.loadBalancing.weights[0].weight: 0: must be an integer from 1 to 128",
        "spec.loadBalancing.weights[1].cidr: \"10.0.0.0/33\": must be a network",
        "spec.healthCheck: must have one of http, tcp and grpc",
        "spec.healthCheck.interval: 10: must be a text such as \"10s\"",
        "spec.outlierDetection.maxEjectionTime: must not be less than baseEjectionTime, 20s",
        "spec.outlierDetection.consecutive5XX: unknown; there are consecutive5xx, ",
        "spec.circuitBreaker.maxRequests: 0: must be an integer from 1 to 1000000",
        "spec.circuitBreaker.perEndpoint: 7: must be an object",
        "spec.connection.tcpKeepalive.idle: 1.5s: must be whole seconds",
        "spec.connection.maxAge: \"1 day\": must be one to four of",
        "spec.timeouts: unknown; there are targetRefs, loadBalancing, ",
    ];
    for expected in expected {
        let there = faults.iter().filter(|fault| fault.starts_with(expected)).count();
        assert_eq!(there, 1, "{expected}\nin {faults:#?}");
    }
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
}

#[test]
fn a_policy_is_for_services_of_its_namespace_and_nothing_else() {
    let mut document = policy("");
    document["spec"]["targetRefs"] = json!([
        {"group": "", "kind": "Service", "name": "a"},
        {"group": "", "kind": "Service", "name": "a"},
        {"group": "", "kind": "Service", "name": "a", "sectionName": "http"},
        {"group": "apps", "kind": "Deployment", "name": "b"},
        {"group": "", "kind": "Service", "namespace": "other"},
    ]);
    let (policy, faults) = policy_of(document.clone());
    let policy = policy.unwrap();
    let targets: Vec<_> =
        policy.targets.iter().map(|t| (t.service.to_string(), t.section.as_deref())).collect();
    assert!(
        targets.starts_with(&[("shop/a".into(), None), ("shop/a".into(), Some("http"))]),
        "{targets:?}"
    );
    assert!(policy.settings.is_err());
    for field in ["[3].group", "[3].kind", "[4].name: missing", "[4].namespace: unknown"] {
        let field = format!("spec.targetRefs{field}");
        assert!(faults.iter().any(|fault| fault.starts_with(&field)), "{field}: {faults:?}");
    }
    document["spec"]["targetRefs"] = json!([]);
    let (policy, faults) = policy_of(document);
    assert!(policy.is_none());
    assert_eq!(faults, ["spec.targetRefs: must be a list of 1 to 16"]);
}
