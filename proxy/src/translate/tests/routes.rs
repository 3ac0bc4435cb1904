//! HTTPRoutes.

use nodeway_core::model::{BackendTarget, Filter, PathMatch};
use serde_json::json;

use super::*;

fn route(spec: Value) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "r", "namespace": "shop", "creationTimestamp": "2024-05-01T10:00:00Z"}, "spec": spec})
}

/// A route on Service web with this rule.
fn rule(rule: Value) -> Value {
    route(json!({"parentRefs": [{"group": "", "kind": "Service", "name": "web"}], "rules": [rule]}))
}

fn http_route(document: Value) -> (nodeway_core::model::Route, Vec<String>) {
    let translated = read(document);
    let told = told(&translated);
    let Some(Object::Route(route)) = translated.object else { panic!("{told:?}") };
    (route, told)
}

#[test]
fn a_route_is_read_whole() {
    let (route, told) = http_route(route(json!({
        "parentRefs": [{"group": "", "kind": "Service", "name": "web", "port": 80},
            {"kind": "Service", "group": "core", "name": "b"}, {"name": "a-gateway"}],
        "rules": [{"name": "api",
            "matches": [{"path": {"type": "RegularExpression", "value": "/a|/b"}, "method": "GET",
                "headers": [{"name": "X-A", "value": "1"}, {"name": "x-a", "value": "2"}],
                "queryParams": [{"name": "q", "type": "RegularExpression", "value": "[0-9]+"}]}],
            "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "a", "value": "b"}], "remove": ["c"]}}],
            "backendRefs": [{"name": "web", "port": 80}, {"name": "b", "port": 81, "weight": 0}]},
        {}]})));
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(route.created, Some(1_714_557_600));
    let parents: Vec<_> = route.parents.iter().map(|p| (&*p.service.name, p.port)).collect();
    assert_eq!(parents, [("web", Some(80)), ("b", None)]);
    let [rule, empty] = route.rules.http() else { panic!() };
    let PathMatch::Regex(path) = &rule.matches[0].path else { panic!() };
    assert!(
        path.is_match("/a")
            && path.is_match("/b")
            && !path.is_match("/ab")
            && !path.is_match("x/b")
    );
    assert_eq!((rule.matches[0].headers.len(), rule.matches[0].queries.len()), (1, 1));
    assert!(
        matches!(&rule.filters[..], [Filter::RequestHeaders(m)] if m.set.len() == 1 && m.remove.len() == 1)
    );
    let weights: Vec<_> = rule.backends.iter().map(|b| b.weight).collect();
    assert_eq!(weights, [1, 0], "a missing weight is 1");
    assert!(
        matches!(&empty.matches[..], [m] if matches!(&m.path, PathMatch::Prefix(p) if &**p == "/"))
    );
}

#[test]
fn a_gateways_route_is_somebody_elses() {
    let read = read(route(
        json!({"parentRefs": [{"name": "gw"}], "rules": [{"matches": [{"path": {"value": "bad"}}]}]}),
    ));
    assert!(read.object.is_none() && read.faults.is_empty());
}

#[test]
fn a_route_is_refused_by_field() {
    let path = |kind: &str, value: &str| json!({"matches": [{}, {"path": {"type": kind, "value": value}}]});
    let at = |part: &str| format!("spec.rules[0].matches[1].path.value: {part}");
    for (bad, reason) in [
        (path("Exact", "api"), at("\"api\": must begin with")),
        (path("PathPrefix", "/a?b"), at("\"/a?b\": a path has no query")),
        (path("PathPrefix", "/a//b"), at("\"/a//b\": must not have the elements")),
        (path("PathPrefix", "/a/../b"), at("\"/a/../b\": must not have the elements")),
        (path("Exact", "/a%2Fb"), at("\"/a%2Fb\": must not have an encoded slash")),
        (path("Exact", "/ä b"), at("\"/ä b\": has characters")),
        (path("RegularExpression", "a)(b"), at("\"a)(b\": regex parse error")),
        (
            path("RegularExpression", "((a{1000}){1000}){1000}"),
            at("\"((a{1000}){1000}){1000}\": Compiled regex exceeds"),
        ),
        (path("Glob", "/"), "spec.rules[0].matches[1].path.type: unknown variant".into()),
        (
            json!({"matches": [{"headers": [{"name": "a b", "value": ""}]}]}),
            "spec.rules[0].matches[0].headers[0].name: \"a b\"".into(),
        ),
        (
            json!({"matches": [{"queryParams": [{"name": "a", "type": "RegularExpression", "value": "["}]}]}),
            "spec.rules[0].matches[0].queryParams[0].value".into(),
        ),
        (
            json!({"matches": [{"method": "FETCH"}]}),
            "spec.rules[0].matches[0].method: unknown variant".into(),
        ),
        (
            json!({"filters": [{"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "a", "value": "\n"}]}}]}),
            "spec.rules[0].filters[0].responseHeaderModifier.add[0].value".into(),
        ),
        (
            json!({"filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["transfer-encoding"]}}]}),
            "spec.rules[0].filters[0].requestHeaderModifier.remove[0]".into(),
        ),
        (
            json!({"backendRefs": [{"name": "a", "port": 1, "weight": -1}]}),
            "spec.rules[0].backendRefs[0].weight: -1: must be from 0".into(),
        ),
        (
            json!({"backendRefs": [{"port": 1}]}),
            "spec.rules[0].backendRefs[0]: missing field `name`".into(),
        ),
    ] {
        refused(rule(bad), &reason);
    }
}

#[test]
fn what_is_invalid_keeps_its_share() {
    let (route, told) = http_route(rule(json!({
        "filters": [{"type": "ExtensionRef", "extensionRef": {"group": "x.y", "kind": "Z", "name": "z"}}],
        "backendRefs": [
            {"name": "a"}, {"name": "a", "port": 0}, {"name": "a", "kind": "Bucket", "group": "x", "port": 1},
            {"name": "a", "namespace": "bank", "port": 1}, {"name": "a", "namespace": "shop", "port": 1, "weight": 3}]})));
    assert!(told.is_empty(), "{told:?}");
    let rule = &route.rules.http()[0];
    assert!(rule.filters.iter().all(|f| matches!(f, Filter::Invalid { .. })));
    let message = |i: usize| match &rule.backends[i].target {
        BackendTarget::Invalid { message, .. } => message.to_string(),
        BackendTarget::Service { service, port } => format!("{service}:{port}"),
    };
    for (i, part) in ["port is required", "1 to 65535", "kind Bucket (x)", "bank/a:1", "shop/a:1"]
        .iter()
        .enumerate()
    {
        assert!(message(i).contains(part), "{}", message(i));
    }
    assert_eq!(rule.backends[4].weight, 3);
}

#[test]
fn parents_are_named_as_they_are_given() {
    let service = |name: &str| json!({"group": "", "kind": "Service", "name": name});
    let (mut section, mut foreign) = (service("a"), service("b"));
    section["sectionName"] = "http".into();
    foreign["namespace"] = "bank".into();
    let (route, told) =
        http_route(route(json!({"parentRefs": [section, foreign, service("c")], "rules": [{}]})));
    let parents: Vec<_> = route.parents.iter().map(|p| p.service.to_string()).collect();
    assert_eq!(parents, ["shop/a", "bank/b", "shop/c"]);
    assert_eq!(route.parents[0].section.as_deref(), Some("http"));
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn a_grpc_method_is_a_path() {
    let method = |method: Value| {
        let document = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute",
            "metadata": {"name": "r", "namespace": "shop"}, "spec": {
                "parentRefs": [{"group": "", "kind": "Service", "name": "web"}],
                "rules": [{"matches": [{"method": method}], "backendRefs": [{"name": "web", "port": 80}]}]}});
        let read = read(document);
        let told = told(&read);
        let Some(Object::Route(route)) = read.object else { return told.join(";") };
        assert_eq!(route.kind, Kind::GrpcRoute);
        match &route.rules.http()[0].matches[0].path {
            PathMatch::Exact(path) => format!("= {path}"),
            PathMatch::Prefix(path) => format!("^ {path}"),
            PathMatch::Regex(pattern) => format!("~ {}", pattern.as_str()),
            PathMatch::GrpcMethod(method) => format!("* {method}"),
        }
    };
    assert_eq!(method(json!({"service": "a.B", "method": "Get"})), "= /a.B/Get");
    assert_eq!(method(json!({"service": "a.B"})), "^ /a.B");
    assert_eq!(method(json!({"method": "Get"})), "* Get");
    assert_eq!(method(json!({})), "^ /");
    let regex = json!({"type": "RegularExpression", "service": "a\\.(B|C)", "method": ""});
    assert_eq!(method(regex), "~ ^(?:/(?:a\\.(B|C))/(?:[^/]+))$");
    let bad = json!({"type": "RegularExpression", "service": "a)(b"});
    assert!(method(bad).starts_with("spec.rules[0].matches[0].method.service"));
    assert!(
        method(json!({"service": "a/b"})).starts_with("spec.rules[0].matches[0].method.service")
    );
}

#[test]
fn of_a_refused_route_its_parents_are_known() {
    let mut bad =
        route(json!({"parentRefs": [{"group": "", "kind": "Service", "name": "web", "port": 80}],
        "rules": [{"matches": [{"path": {"value": "bad"}}]}]}));
    bad["metadata"]["generation"] = 7.into();
    let read = read(bad);
    let refused = read.refused.unwrap();
    assert!(read.object.is_none());
    assert_eq!(
        (refused.generation, refused.parents.len(), refused.parents[0].port),
        (7, 1, Some(80))
    );
    assert!(
        refused.message.starts_with("spec.rules[0].matches[0].path.value"),
        "{}",
        refused.message
    );
}

#[test]
fn of_a_route_that_cannot_be_read_its_parents_are_known() {
    let parents =
        json!([{"name": "gw"}, {"group": "", "kind": "Service", "name": "web", "port": 80}]);
    for (kind, rule, reason) in [
        ("HTTPRoute", json!({"matches": [{"method": "FETCH"}]}), "spec.rules[0].matches[0].method"),
        (
            "GRPCRoute",
            json!({"matches": [{"method": {"type": "New"}}]}),
            "spec.rules[0].matches[0]",
        ),
        ("TLSRoute", json!({"backendRefs": [7]}), "spec.rules[0].backendRefs[0]"),
        ("TCPRoute", json!({"backendRefs": 7}), "spec.rules[0].backendRefs"),
    ] {
        let mut document = route(json!({"parentRefs": parents, "rules": [rule]}));
        document["metadata"]["generation"] = 7.into();
        document["kind"] = kind.into();
        if kind == "TCPRoute" {
            document["apiVersion"] = "gateway.networking.k8s.io/v1alpha2".into();
        }
        let text = document.to_string();
        let Recognised::Ours(identity) = recognise(&document) else { panic!("{kind}") };
        let of_text = translate(&identity, &mut serde_json::Deserializer::from_str(&text));
        for read in [read(document), of_text] {
            let Some(refused) = read.refused else { panic!("{kind}: {:?}", read.faults) };
            assert!(read.object.is_none() && refused.message.starts_with(reason), "{refused:?}");
            let [parent] = &refused.parents[..] else { panic!("{refused:?}") };
            assert_eq!((refused.generation, parent.place, parent.port), (7, 1, Some(80)));
            assert_eq!(refused.kind, identity.kind);
        }
    }
}

#[test]
fn hostnames_say_nothing_in_a_mesh() {
    let parents = json!([{"group": "", "kind": "Service", "name": "web"}]);
    let spec = json!({"parentRefs": parents, "rules": [{}]});
    let mut named = spec.clone();
    named["hostnames"] = json!(["a.example.com"]);
    assert_eq!(http_route(route(spec)), http_route(route(named)));
}
