//! Filters of HTTPRoutes and GRPCRoutes.

use std::time::Duration;

use http::uri::Scheme;
use nodeway_core::model::{
    Allowed, AllowedOrigin, BackendTarget, Filter, PathModifier, RefFault, Route,
};
use serde_json::json;

use super::*;

fn route(rule: Value) -> Value {
    json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
        "metadata": {"name": "r", "namespace": "shop"},
        "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "web"}], "rules": [rule]}})
}

fn translated(document: Value) -> Route {
    let read = read(document);
    let told = told(&read);
    assert!(told.is_empty(), "{told:?}");
    let Some(Object::Route(route)) = read.object else { panic!("no route") };
    route
}

fn filters(filters: Value) -> Vec<Filter> {
    translated(route(json!({"filters": filters}))).rules.http()[0].filters.clone()
}

fn one(filter: Value) -> Filter {
    filters(json!([filter])).remove(0)
}

#[test]
fn a_redirect_is_read_whole() {
    let whole = json!({"type": "RequestRedirect", "requestRedirect": {"scheme": "https",
        "hostname": "www.example.org", "port": 8443, "statusCode": 308,
        "path": {"type": "ReplaceFullPath", "replaceFullPath": "/new"}}});
    let Filter::Redirect(redirect) = one(whole) else { panic!() };
    assert_eq!(redirect.scheme, Some(Scheme::HTTPS));
    assert_eq!(
        (redirect.hostname.as_deref(), redirect.port),
        (Some("www.example.org"), Some(8443))
    );
    assert_eq!(redirect.path, Some(PathModifier::Full("/new".into())));
    assert_eq!(redirect.status, 308);
    let Filter::Redirect(least) = one(json!({"type": "RequestRedirect", "requestRedirect": {}}))
    else {
        panic!()
    };
    assert_eq!((least.scheme, least.hostname, least.port, least.path), (None, None, None, None));
    assert_eq!(least.status, 302, "a redirect is temporary unless it says otherwise");
}

#[test]
fn a_rewrite_is_read_whole() {
    let whole = json!({"type": "URLRewrite", "urlRewrite": {"hostname": "one.example.org",
        "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": ""}}});
    let Filter::Rewrite(rewrite) = one(whole) else { panic!() };
    assert_eq!(rewrite.hostname.unwrap(), "one.example.org");
    assert_eq!(rewrite.path, Some(PathModifier::Prefix("".into())));
}

#[test]
fn mirrors_have_shares() {
    let mirror = |more: Value| {
        let mut mirror = json!({"backendRef": {"name": "copy", "port": 80}});
        mirror.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({"type": "RequestMirror", "requestMirror": mirror})
    };
    let several = filters(json!([
        mirror(json!({})),
        mirror(json!({"percent": 0})),
        mirror(json!({"fraction": {"numerator": 7}})),
        mirror(json!({"fraction": {"numerator": 1, "denominator": 3}})),
        mirror(json!({"backendRef": {"name": "copy"}})),
    ]));
    let shares: Vec<_> = several
        .iter()
        .map(|filter| match filter {
            Filter::Mirror(mirror) => mirror.share,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(shares, [(1, 1), (0, 100), (7, 100), (1, 3), (1, 1)]);
    let Filter::Mirror(bad) = &several[4] else { panic!() };
    assert!(matches!(bad.target, BackendTarget::Invalid { fault: RefFault::InvalidKind, .. }));
}

#[test]
fn cors_is_read_whole() {
    let whole = json!({"type": "CORS", "cors": {
        "allowOrigins": ["https://WWW.foo.com:443", "http://*.bar.com:8080", "https://*"],
        "allowCredentials": true, "allowMethods": ["GET", "PUT"], "allowHeaders": ["X-A"],
        "exposeHeaders": ["*"], "maxAge": 60}});
    let Filter::Cors(cors) = one(whole) else { panic!() };
    let wildcard = |before: &str, behind: &str| AllowedOrigin::Wildcard {
        before: before.into(),
        behind: behind.into(),
    };
    assert_eq!(
        cors.origins,
        [
            AllowedOrigin::Exact("https://www.foo.com".into()),
            wildcard("http://", ".bar.com:8080"),
            wildcard("https://", "")
        ]
    );
    assert!(cors.credentials);
    assert!(matches!(&cors.methods, Allowed::These(methods) if methods.len() == 2));
    assert!(matches!(&cors.headers, Allowed::These(names) if names == &["x-a"]));
    assert_eq!((cors.expose, cors.max_age), (Allowed::Any, Some(Duration::from_secs(60))));
    let Filter::Cors(any) = one(json!({"type": "CORS", "cors": {"allowOrigins": ["*"]}})) else {
        panic!()
    };
    assert_eq!((any.origins, any.max_age), (vec![AllowedOrigin::Any], None));
}

#[test]
fn what_we_do_not_have_is_invalid_and_the_rest_stays() {
    let extension = json!({"type": "ExtensionRef",
        "extensionRef": {"group": "example.net", "kind": "Limit", "name": "slow"}});
    let Filter::Invalid { message, fault } = one(extension.clone()) else { panic!() };
    assert_eq!(
        (&*message, fault),
        ("no filter of kind Limit (example.net) is known: slow", Some(RefFault::InvalidKind))
    );
    let auth = json!({"type": "ExternalAuth", "externalAuth": {"protocol": "HTTP",
        "backendRef": {"name": "auth", "port": 80}}});
    let Filter::Invalid { fault, .. } = one(auth) else { panic!() };
    assert_eq!(fault, None, "it is no reference that is missing");
    let grpc = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "GRPCRoute",
        "metadata": {"name": "r", "namespace": "shop"},
        "spec": {"parentRefs": [{"group": "", "kind": "Service", "name": "web"}],
            "rules": [{"filters": [extension], "backendRefs": [{"name": "web", "port": 80,
                "filters": [extension, {"type": "RequestMirror",
                    "requestMirror": {"backendRef": {"name": "copy", "port": 80}}}]}]}]}});
    let rule = translated(grpc).rules.http()[0].clone();
    assert!(matches!(&rule.filters[..], [Filter::Invalid { .. }]));
    assert!(matches!(&rule.backends[0].filters[..], [Filter::Invalid { .. }, Filter::Mirror(_)]));
}

#[test]
fn filters_are_refused_by_field() {
    let at = |part: &str| format!("spec.rules[0].filters[0].{part}");
    let redirect = |spec: Value| json!([{"type": "RequestRedirect", "requestRedirect": spec}]);
    let rewrite = |spec: Value| json!([{"type": "URLRewrite", "urlRewrite": spec}]);
    let mirror = |more: Value| {
        let mut mirror = json!({"backendRef": {"name": "copy", "port": 80}});
        mirror.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([{"type": "RequestMirror", "requestMirror": mirror}])
    };
    let cors = |spec: Value| json!([{"type": "CORS", "cors": spec}]);
    let headers = json!({"type": "RequestHeaderModifier", "requestHeaderModifier": {}});
    let path =
        |kind: &str, field: &str, value: &str| json!({"path": {"type": kind, (field): value}});
    let full = |value: &str| path("ReplaceFullPath", "replaceFullPath", value);
    for (bad, reason) in [
        (redirect(json!({"statusCode": 304})), at("requestRedirect.statusCode: 304: must be 301")),
        (redirect(json!({"port": 0})), at("requestRedirect.port: 0: must be from 1")),
        (redirect(json!({"scheme": "ftp"})), at("requestRedirect.scheme: unknown variant")),
        (redirect(json!({"hostname": "*.a"})), at("requestRedirect.hostname: \"*.a\": must be")),
        (redirect(json!({"hostname": "a:80"})), at("requestRedirect.hostname: \"a:80\"")),
        (redirect(json!({"hostname": "A"})), at("requestRedirect.hostname: \"A\"")),
        (redirect(json!({"hostname": ""})), at("requestRedirect.hostname: \"\"")),
        (redirect(full("a")), at("requestRedirect.path.replaceFullPath: \"a\": must begin")),
        (redirect(full("/a?b")), at("requestRedirect.path.replaceFullPath: \"/a?b\": a path")),
        (redirect(full("/a b")), at("requestRedirect.path.replaceFullPath: \"/a b\": has")),
        (
            redirect(path("ReplaceFullPath", "replacePrefixMatch", "/")),
            at("requestRedirect.path.replacePrefixMatch: given with type ReplaceFullPath"),
        ),
        (
            rewrite(json!({"path": {"type": "ReplacePrefixMatch"}})),
            at("urlRewrite.path.replacePrefixMatch: missing for type ReplacePrefixMatch"),
        ),
        (rewrite(json!({"hostname": "-a"})), at("urlRewrite.hostname: \"-a\": must be")),
        (mirror(json!({"percent": 101})), at("requestMirror.percent: 101: must be from 0")),
        (mirror(json!({"percent": -1})), at("requestMirror.percent: -1")),
        (
            mirror(json!({"percent": 1, "fraction": {"numerator": 1}})),
            at("requestMirror: percent and fraction"),
        ),
        (
            mirror(json!({"fraction": {"numerator": 101}})),
            at("requestMirror.fraction.numerator: 101: must be from 0"),
        ),
        (
            mirror(json!({"fraction": {"numerator": 0, "denominator": 0}})),
            at("requestMirror.fraction.denominator: 0: must be at least 1"),
        ),
        (cors(json!({"allowOrigins": ["foo.com"]})), at("cors.allowOrigins[0]: \"foo.com\"")),
        (
            cors(json!({"allowOrigins": ["https://a.*.com"]})),
            at("cors.allowOrigins[0]: \"https://a.*.com\""),
        ),
        (
            cors(json!({"allowOrigins": ["https://a/b"]})),
            at("cors.allowOrigins[0]: \"https://a/b\""),
        ),
        (
            cors(json!({"allowOrigins": ["https://a:70000"]})),
            at("cors.allowOrigins[0]: \"https://a:70000\": the port"),
        ),
        (
            cors(json!({"allowOrigins": ["https://a", "*"]})),
            at("cors.allowOrigins[1]: \"*\": stands alone"),
        ),
        (cors(json!({"allowMethods": ["get"]})), at("cors.allowMethods[0]: \"get\": must be")),
        (cors(json!({"allowHeaders": ["a b"]})), at("cors.allowHeaders[0]: \"a b\": must be")),
        (cors(json!({"maxAge": 0})), at("cors.maxAge: 0: must be at least 1")),
        (json!([{"type": "CORS"}]), at("cors: missing for type CORS")),
        (
            json!([{"type": "CORS", "cors": {}, "requestRedirect": {}}]),
            at("requestRedirect: given with type CORS"),
        ),
        (json!([{"type": "Magic"}]), at("type: unknown variant")),
        (
            json!([headers, headers]),
            "spec.rules[0].filters[1].type: a second RequestHeaderModifier".into(),
        ),
        (
            json!([{"type": "RequestRedirect", "requestRedirect": {}},
                {"type": "URLRewrite", "urlRewrite": {}}]),
            "spec.rules[0].filters: RequestRedirect and URLRewrite exclude".into(),
        ),
        (
            Value::Array(vec![mirror(json!({}))[0].clone(); 17]),
            "spec.rules[0].filters: 17 filters: at most 16".into(),
        ),
    ] {
        refused(route(json!({"filters": bad})), &reason);
    }
}

#[test]
fn a_filter_must_fit_its_rule() {
    let redirect = json!({"type": "RequestRedirect", "requestRedirect": {"port": 81}});
    let backends = json!([{"name": "web", "port": 80}]);
    refused(
        route(json!({"filters": [redirect], "backendRefs": backends})),
        "spec.rules[0].backendRefs: given with a RequestRedirect",
    );
    let prefix = json!({"type": "ReplacePrefixMatch", "replacePrefixMatch": "/x"});
    let rewrite = json!([{"type": "URLRewrite", "urlRewrite": {"path": prefix}}]);
    for matches in [
        json!([{"path": {"type": "Exact", "value": "/a"}}]),
        json!([{"path": {"type": "RegularExpression", "value": "/a"}}]),
        json!([{"path": {"value": "/a"}}, {"path": {"value": "/b"}}]),
    ] {
        let reason = "spec.rules[0].matches: a filter of type ReplacePrefixMatch needs exactly one";
        refused(route(json!({"matches": matches, "filters": rewrite})), reason);
        let backends = json!([{"name": "web", "port": 80, "filters": rewrite}]);
        refused(route(json!({"matches": matches, "backendRefs": backends})), reason);
    }
    for fits in [json!([]), json!([{}]), json!([{"path": {"value": "/a"}, "method": "GET"}])] {
        translated(route(json!({"matches": fits, "filters": rewrite, "backendRefs": backends})));
    }
}
