//! A route's filters: redirects, rewrites, CORS, and what is not understood.

use std::net::SocketAddr;

use nodeway_tests::http::Response;
use nodeway_tests::{Plain, Proc};

/// `web` with this rule, and the Service `other` beside it.
fn ruled(rules: &str) -> (Plain, SocketAddr, [Proc; 2]) {
    let mut plain = Plain::new();
    let (web, other) = (Plain::backend(), Plain::backend());
    let servers = [plain.testserver(web, "web"), plain.testserver(other, "other")];
    plain.manifests.service(&Plain::service("web", "http").to(web));
    plain.manifests.service(&Plain::service("other", "http").to(other));
    plain.manifests.route("web", "web", rules);
    let at = plain.listen("web");
    plain.start();
    (plain, at, servers)
}

fn ask(to: SocketAddr, head: &str) -> Response {
    let mut conn = Plain::connect(to);
    conn.send(format!("{head}\r\nConnection: close\r\n\r\n")).unwrap();
    conn.response().unwrap()
}

/// What curl is told over HTTP/2: head and body.
fn ask_http2(plain: &Plain, to: SocketAddr, path: &str) -> String {
    let url = format!("http://{to}{path}");
    plain.place().ok("curl", &["-sS", "-i", "--http2-prior-knowledge", &url])
}

#[test]
fn a_redirect_is_answered_without_a_backend() {
    let (plain, web, _servers) = ruled(
        "
- matches: [{path: {value: /host}}]
  filters: [{type: RequestRedirect, requestRedirect: {hostname: example.org}}]
- matches: [{path: {value: /tls}}]
  filters: [{type: RequestRedirect, requestRedirect: {scheme: https, statusCode: 301}}]
- matches: [{path: {value: /port}}]
  filters:
  - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-by, value: route}]}}
  - {type: RequestRedirect, requestRedirect: {port: 8080, statusCode: 308}}
- matches: [{path: {value: /old}}]
  filters:
  - type: RequestRedirect
    requestRedirect: {statusCode: 307, path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}}
- matches: [{path: {value: /full}}]
  filters:
  - type: RequestRedirect
    requestRedirect: {statusCode: 303, path: {type: ReplaceFullPath, replaceFullPath: /}}
- matches: [{path: {value: /share}}]
  backendRefs:
  - name: other
    port: 80
    filters: [{type: RequestRedirect, requestRedirect: {hostname: example.net}}]
",
    );
    for (path, status, location) in [
        ("/host/a?b=c", 302, "http://example.org/host/a?b=c"),
        ("/tls", 301, "https://web.shop/tls"),
        ("/port", 308, "http://web.shop:8080/port"),
        ("/old/a//b/?c", 307, "http://web.shop/new/a//b/?c"),
        ("/full/a?b", 303, "http://web.shop/?b"),
        ("/share", 302, "http://example.net/share"),
    ] {
        let response = ask(web, &format!("GET {path} HTTP/1.1\r\nHost: web.shop:81"));
        assert_eq!((response.status, response.header("location")), (status, Some(location)));
        assert_eq!(response.body, b"", "{path}");
        assert_eq!(response.header("x-by"), (path == "/port").then_some("route"));
    }
    let told = ask_http2(&plain, web, "/old/x?y");
    assert!(told.starts_with("HTTP/2 307"), "{told}");
    let location = format!("location: http://{}/new/x?y", web.ip());
    assert!(told.contains(&location), "{told}");
    assert_eq!(ask(web, "GET /tls HTTP/1.0").status, 400, "nobody knows whom it was for");
}

#[test]
fn a_rewrite_changes_host_and_path_and_nothing_else() {
    let (plain, web, _servers) = ruled(
        "
- matches: [{path: {value: /old}}]
  filters:
  - {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-a, value: '1'}]}}
  - type: URLRewrite
    urlRewrite:
      hostname: one.example.org
      path: {type: ReplacePrefixMatch, replacePrefixMatch: /new}
  backendRefs: [{name: web, port: 80}]
- matches: [{path: {value: /strip}}]
  filters:
  - type: URLRewrite
    urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}
  backendRefs: [{name: web, port: 80}]
- matches: [{path: {value: /share}}]
  backendRefs:
  - name: other
    port: 80
    filters:
    - type: URLRewrite
      urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /full}}
",
    );
    let seen = |told: &serde_json::Value| -> [String; 4] {
        let headers = told["headers"].as_array().unwrap();
        let host = headers.iter().find(|pair| pair[0] == "host");
        let host = host.map_or(&told["authority"], |pair| &pair[1]);
        let text = |value: &serde_json::Value| value.as_str().unwrap_or("").to_owned();
        [text(&told["version"]), text(host), text(&told["path"]), text(&told["query"])]
    };
    for (path, expected) in [
        ("/old/a?b=/old", ["web", "one.example.org", "/new/a", "b=/old"]),
        ("/old", ["web", "one.example.org", "/new", ""]),
        ("/strip/a//b/", ["web", "web.shop", "/a//b/", ""]),
        ("/strip", ["web", "web.shop", "/", ""]),
        ("/share/a?b", ["other", "web.shop", "/full", "b"]),
    ] {
        let response = ask(web, &format!("GET {path} HTTP/1.1\r\nHost: web.shop"));
        assert_eq!(seen(&response.json()), expected, "{path}");
        let told = ask_http2(&plain, web, path);
        let (head, body) = told.split_once("\r\n\r\n").unwrap();
        let mut over_http2 = expected.map(str::to_owned);
        if over_http2[1] == "web.shop" {
            over_http2[1] = web.to_string();
        }
        assert_eq!(seen(&serde_json::from_str(body).unwrap()), over_http2, "{path}: {head}");
    }
}

#[test]
fn browsers_are_told_who_may_read_what() {
    let (_plain, web, _servers) = ruled(
        "
- filters:
  - type: CORS
    cors:
      allowOrigins: ['https://www.foo.com', 'https://*.bar.com']
      allowMethods: [GET, OPTIONS]
      allowHeaders: [x-header-1, x-header-2]
      exposeHeaders: [x-version]
      allowCredentials: true
      maxAge: 3600
  backendRefs: [{name: web, port: 80}]
",
    );
    let preflight = |origin: &str| {
        ask(
            web,
            &format!(
                "OPTIONS /x HTTP/1.1\r\nHost: web\r\nOrigin: {origin}\r\n\
                 Access-Control-Request-Method: GET\r\nAccess-Control-Request-Headers: x-header-1"
            ),
        )
    };
    let told = preflight("https://a.b.bar.com");
    assert_eq!((told.status, told.header("x-pod")), (200, None), "an endpoint was asked");
    for (name, value) in [
        ("allow-origin", "https://a.b.bar.com"),
        ("allow-methods", "GET, OPTIONS"),
        ("allow-headers", "x-header-1, x-header-2"),
        ("allow-credentials", "true"),
        ("max-age", "3600"),
    ] {
        assert_eq!(told.header(&format!("access-control-{name}")), Some(value), "{name}");
    }
    let told = preflight("https://foobar.com");
    assert_eq!((told.status, told.header("access-control-allow-origin")), (200, None));
    let get = |origin: &str| ask(web, &format!("GET / HTTP/1.1\r\nHost: web\r\nOrigin: {origin}"));
    let told = get("https://www.foo.com");
    assert_eq!(told.header("access-control-allow-origin"), Some("https://www.foo.com"));
    assert_eq!(told.header("access-control-expose-headers"), Some("x-version"));
    let told = get("https://foobar.com");
    assert_eq!((told.status, told.header("access-control-allow-origin")), (200, None));
    let told = ask(web, "OPTIONS / HTTP/1.1\r\nHost: web\r\nOrigin: https://www.foo.com");
    assert_eq!(told.header("x-pod"), Some("web"), "an ordinary OPTIONS is the endpoint's");
}

#[test]
fn a_filter_that_is_not_understood_fails_closed_for_its_share() {
    let (_plain, web, _servers) = ruled(
        "
- matches: [{path: {value: /rule}}]
  filters: [{type: ExtensionRef, extensionRef: {group: example.net, kind: Limit, name: slow}}]
  backendRefs: [{name: web, port: 80}]
- matches: [{path: {value: /auth}}]
  filters:
  - {type: ExternalAuth, externalAuth: {protocol: HTTP, backendRef: {name: other, port: 80}}}
  backendRefs: [{name: web, port: 80}]
- matches: [{path: {value: /share}}]
  backendRefs:
  - name: web
    port: 80
    weight: 1
    filters: [{type: ExtensionRef, extensionRef: {group: example.net, kind: Limit, name: slow}}]
  - {name: other, port: 80, weight: 1}
- backendRefs: [{name: web, port: 80}]
",
    );
    let status = |path: &str| ask(web, &format!("GET {path} HTTP/1.1\r\nHost: web")).status;
    assert_eq!([status("/rule"), status("/auth"), status("/other")], [500, 500, 200]);
    let failed = (0..100).filter(|_| status("/share") == 500).count();
    assert!((25..=75).contains(&failed), "{failed} of 100");
}
