//! `nodeway explain` tells what happens: by a folder, by the node that runs, and as it then does.

use std::net::SocketAddr;
use std::time::Duration;

use nodeway_tests::http::Response;
use nodeway_tests::{Plain, Proc, binaries, eventually};
use serde_json::Value;

const POD: &str = "apiVersion: v1\nkind: Pod\n\
    metadata: {name: client, namespace: default, labels: {nodeway.dev/mesh: enabled}}\n\
    spec: {nodeName: node-a, containers: [{name: main, image: none}]}\n";

/// Service `web` with an endpoint that answers and one that is gone, and its listener.
fn world(rules: &str) -> (Plain, SocketAddr, Proc) {
    let mut plain = Plain::new();
    let (there, gone) = (Plain::backend(), Plain::backend());
    let server = plain.testserver(there, "v1");
    plain.manifests.service(&Plain::service("web", "http").to(there));
    plain.manifests.service(&Plain::service("gone", "http").to(gone));
    plain.manifests.route("web", "web", rules);
    plain.manifests.put("client.yaml", POD);
    let web = plain.listen("web");
    plain.start();
    (plain, web, server)
}

fn ask(to: SocketAddr, path: &str) -> Response {
    let mut conn = Plain::connect(to);
    conn.send(format!("GET {path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")).unwrap();
    conn.response().unwrap()
}

/// What the running node says.
fn live(plain: &mut Plain, request: &[&str]) -> Value {
    let admin = plain.node().admin_at.to_string();
    let args = [&["explain", "--admin", &admin, "--from", "default/client", "-o", "json"], request];
    let ran = plain.place().run(binaries::nodeway(), &args.concat());
    serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}\n{}{}", ran.out, ran.err))
}

/// What a folder says.
fn folder(plain: &Plain, request: &[&str]) -> Value {
    let dir = plain.manifests.dir().to_str().unwrap();
    let args =
        [&["explain", "--manifests", dir, "--from", "default/client", "-o", "json"], request];
    let ran = plain.place().run(binaries::nodeway(), &args.concat());
    serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}\n{}{}", ran.out, ran.err))
}

/// What nobody knows who has asked no endpoint.
fn without_latency(mut told: Value) -> Value {
    for backend in told["backends"].as_array_mut().unwrap() {
        for endpoint in backend["endpoints"].as_array_mut().unwrap() {
            endpoint["latencyMs"] = Value::Null;
        }
    }
    told
}

#[test]
fn what_is_explained_is_what_happens() {
    let (mut plain, web, _server) = world(
        "
- name: moved
  matches: [{path: {type: PathPrefix, value: /old}}]
  filters: [{type: RequestRedirect, requestRedirect: {hostname: new.example, statusCode: 302}}]
- name: rewritten
  matches: [{path: {type: PathPrefix, value: /a}}]
  filters: [{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /b}}}]
  backendRefs: [{name: web, port: 80}]
- name: nobody
  matches: [{path: {type: Exact, value: /nobody}}]
  backendRefs: [{name: nothing, port: 80}]
",
    );
    for (path, verdict, status) in [
        ("/a/x", "sent", 200),
        ("/x/../%61/x", "sent", 200),
        ("/old/a", "answered", 302),
        ("/nobody", "refused", 500),
        ("/none", "refused", 404),
    ] {
        let url = format!("http://web.default{path}");
        let told = live(&mut plain, &["GET", &url]);
        assert_eq!(without_latency(told.clone()), folder(&plain, &[&url]), "{path}");
        assert_eq!(told["verdict"], verdict, "{path}: {told:#}");
        let response = ask(web, path);
        assert_eq!(response.status, status, "{path}: {told:#}");
        match status {
            200 => {
                let reached = response.json()["path"].as_str().unwrap().to_owned();
                let becomes = told["rule"]["becomes"].as_str().unwrap();
                assert_eq!(becomes, format!("GET {reached}, host: web.default"));
            }
            302 => assert_eq!(told["rule"]["answer"], "302, location: http://new.example/old/a"),
            _ => {}
        }
    }
}

#[test]
fn a_running_node_tells_which_endpoint_is_left_out() {
    let rules =
        "- backendRefs: [{name: web, port: 80, weight: 0}, {name: gone, port: 80, weight: 1}]";
    let (mut plain, web, _server) = world(rules);
    let endpoint = |told: &Value| told["backends"][1]["endpoints"][0].clone();
    let before = live(&mut plain, &["http://web/"]);
    assert_eq!(endpoint(&before)["why"], "ready", "{before:#}");
    let mut told = Value::Null;
    eventually(Duration::from_secs(30), "the endpoint that is gone is ejected", || {
        assert_eq!(ask(web, "/").status, 503);
        told = live(&mut plain, &["http://web/"]);
        endpoint(&told)["why"].as_str().is_some_and(|why| why.starts_with("ejected for "))
    });
    assert_eq!(endpoint(&folder(&plain, &["http://web/"]))["why"], "ready", "{told:#}");
}

#[test]
fn what_cannot_be_told_is_an_error_that_says_why() {
    let (mut plain, _, _server) = world("- backendRefs: [{name: web, port: 80}]");
    let admin = plain.node().admin_at.to_string();
    let dir = plain.manifests.dir().to_str().unwrap().to_owned();
    for place in [["--admin", &admin], ["--manifests", &dir]] {
        for (from, request, code, word) in [
            ("default/client", "http://web/", 0, "to Service default/web, port 80"),
            ("default/nobody", "http://web/", 2, "no Pod default/nobody"),
            ("default/client", "http://nothing/", 2, "no Service default/nothing"),
            ("default/client", "http://web:81/", 2, "no TCP port 81, but 80"),
            ("client", "http://web/", 2, "NAMESPACE/POD"),
            ("default/client", "http://a b/", 2, "a b"),
        ] {
            let args = ["explain", place[0], place[1], "--from", from, request];
            let ran = plain.place().run(binaries::nodeway(), &args);
            let told = format!("{}{}", ran.out, ran.err);
            assert_eq!(ran.status.code(), Some(code), "{request} from {from}: {told}");
            assert!(told.contains(word), "{request} from {from}: {told}");
        }
    }
}

#[test]
fn no_spelling_of_a_path_gets_around_a_rule() {
    let (_plain, web, _server) = world(
        "
- matches: [{path: {type: PathPrefix, value: /admin}}]
  backendRefs: [{name: nothing, port: 80}]
- backendRefs: [{name: web, port: 80}]
",
    );
    for path in [
        "/admin",
        "/x/../admin",
        "/x/%2e%2E/admin/",
        "/%61dmin/x",
        "/x/..\\admin",
        "/./admin?q=/..",
    ] {
        assert_eq!(ask(web, path).status, 500, "{path}");
    }
    for (path, reached) in [
        ("/admin/../x", "/x"),
        ("/x/..;/admin", "/x/..;/admin"),
        ("/x%2fadmin", "/x%2Fadmin"),
        ("/a//b?q=/../admin", "/a//b"),
        ("/adminx", "/adminx"),
    ] {
        let response = ask(web, path);
        assert_eq!(response.status, 200, "{path}");
        assert_eq!(response.json()["path"], reached, "{path}");
    }
}
