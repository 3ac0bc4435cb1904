//! TCPRoutes and TLSRoutes.

use nodeway_core::model::{BackendTarget, Hostname, RefFault, Route, Rules};
use serde_json::json;

use super::*;

fn route(kind: &str, version: &str, spec: Value) -> Value {
    let mut route = json!({"apiVersion": format!("gateway.networking.k8s.io/{version}"), "kind": kind,
        "metadata": {"name": "r", "namespace": "shop", "generation": 3}, "spec": spec});
    let parents = json!([{"group": "", "kind": "Service", "name": "db", "sectionName": "sql"}]);
    route["spec"]["parentRefs"] = parents;
    route
}

fn taken(document: Value) -> (Route, Vec<String>) {
    let translated = read(document);
    let told = told(&translated);
    let Some(Object::Route(route)) = translated.object else { panic!("{told:?}") };
    (route, told)
}

#[test]
fn a_tcp_route_is_read_in_each_version() {
    let spec = json!({"rules": [{"name": "all", "backendRefs": [{"name": "v1", "port": 5432, "weight": 3},
        {"name": "v2", "namespace": "bank", "port": 5432}, {"kind": "Gateway", "name": "x"}]}]});
    for version in ["v1alpha2", "v1"] {
        let (route, told) = taken(route("TCPRoute", version, spec.clone()));
        assert!(told.is_empty(), "{told:?}");
        assert_eq!((route.kind, route.generation), (Kind::TcpRoute, 3));
        assert_eq!(route.parents[0].section.as_deref(), Some("sql"));
        let Rules::Tcp(rules) = &route.rules else { panic!("{:?}", route.rules) };
        assert_eq!(rules[0].name.as_deref(), Some("all"));
        let weights: Vec<u32> = rules[0].backends.iter().map(|b| b.weight).collect();
        assert_eq!(weights, [3, 1, 1]);
        let service = ObjectName::new("bank", "v2");
        assert_eq!(rules[0].backends[1].target, BackendTarget::Service { service, port: 5432 });
        let invalid = &rules[0].backends[2].target;
        let BackendTarget::Invalid { fault, .. } = invalid else { panic!("{invalid:?}") };
        assert_eq!(*fault, RefFault::InvalidKind);
    }
}

#[test]
fn a_tls_route_has_its_hostnames_and_an_old_one_without_has_all() {
    let rules = json!([{"backendRefs": [{"name": "v1", "port": 443}]}]);
    for version in ["v1", "v1alpha3", "v1alpha2"] {
        let spec = json!({"hostnames": ["a.example.com", "*.example.com"], "rules": rules});
        let (route, told) = taken(route("TLSRoute", version, spec));
        assert!(told.is_empty(), "{told:?}");
        let Rules::Tls { hostnames, .. } = &route.rules else { panic!("{:?}", route.rules) };
        let wanted =
            [Hostname::Exact("a.example.com".into()), Hostname::Below("example.com".into())];
        assert_eq!(hostnames[..], wanted);
    }
    let (route, _) = taken(route("TLSRoute", "v1alpha2", json!({ "rules": rules })));
    let Rules::Tls { hostnames, .. } = &route.rules else { panic!("{:?}", route.rules) };
    assert_eq!(hostnames[..], [Hostname::Any]);
}

#[test]
fn what_no_hostname_is_refuses_the_route() {
    for bad in [
        "",
        ".",
        "*",
        "*.",
        "a..b",
        "A.test",
        "a.*.test",
        "*a.test",
        "-a.test",
        "a-.test",
        "a_b.test",
        "a.test.",
        "10.0.0.1",
        "*.10.0.0.1",
        "fd00::1",
        "*.*.test",
    ] {
        let spec = json!({"hostnames": ["a.test", bad], "rules": [{"backendRefs": []}]});
        refused(route("TLSRoute", "v1", spec), &format!("spec.hostnames[1]: {bad:?}: must be"));
    }
    for good in ["a", "*.a", "a-b.test", "1.test", "xn--bcher-kva.example"] {
        let spec = json!({"hostnames": [good], "rules": [{"backendRefs": []}]});
        assert_eq!(taken(route("TLSRoute", "v1", spec)).1, [""; 0]);
    }
}

#[test]
fn one_rule_counts_and_none_is_refused() {
    let rule = |name: &str| json!({"backendRefs": [{"name": name, "port": 80}]});
    let spec = json!({"rules": [rule("first"), rule("second")]});
    let (_, told) = taken(route("TCPRoute", "v1alpha2", spec));
    assert_eq!(told, ["spec.rules[1]: only the first rule has any effect"]);
    refused(route("TCPRoute", "v1alpha2", json!({"rules": []})), "spec.rules: must have a rule");
    refused(route("TCPRoute", "v1alpha2", json!({})), "spec.rules: must have a rule");
    let weight = json!({"rules": [{"backendRefs": [{"name": "a", "port": 80, "weight": -1}]}]});
    refused(route("TCPRoute", "v1alpha2", weight), "spec.rules[0].backendRefs[0].weight: -1");
}

#[test]
fn a_refused_route_tells_its_parents() {
    let translated = read(route("TCPRoute", "v1alpha2", json!({"rules": []})));
    let refused = translated.refused.unwrap();
    assert_eq!((refused.kind, refused.generation), (Kind::TcpRoute, 3));
    assert_eq!(refused.parents[0].service, ObjectName::new("shop", "db"));
}
