//! HTTPRoutes decide who answers, and may change while traffic flows.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use nodeway_tests::http::{Conn, Response};
use nodeway_tests::{Plain, Proc, binaries, eventually};

const SOON: Duration = Duration::from_secs(30);

/// `web` with both versions behind it, and a Service for each version; the listener of `web`.
fn two_versions(rules: &str) -> (Plain, SocketAddr, [Proc; 2]) {
    let mut plain = Plain::new();
    let (v1, v2) = (Plain::backend(), Plain::backend());
    let servers = [plain.testserver(v1, "v1"), plain.testserver(v2, "v2")];
    plain.manifests.service(&Plain::service("web", "http").to(v1).to(v2));
    plain.manifests.service(&Plain::service("web-v1", "http").to(v1));
    plain.manifests.service(&Plain::service("web-v2", "http").to(v2));
    // By latency two hundred quick requests may all go to the one that happens to be quicker.
    plain.manifests.backend_policy("web", "loadBalancing: {algorithm: LeastRequest}");
    plain.manifests.route("web", "web", rules);
    let web = plain.listen("web");
    plain.start();
    (plain, web, servers)
}

fn ask(to: SocketAddr, head: &str) -> Response {
    let mut conn = Plain::connect(to);
    conn.send(format!("{head}\r\nHost: web\r\nConnection: close\r\n\r\n")).unwrap();
    conn.response().unwrap()
}

fn version(to: SocketAddr, head: &str) -> String {
    let response = ask(to, head);
    response.header("x-version").map_or_else(|| response.status.to_string(), str::to_owned)
}

/// How many of `count` requests each version answers.
fn split(to: SocketAddr, count: usize) -> BTreeMap<String, usize> {
    let mut conn = Conn::open(to).unwrap();
    let mut split = BTreeMap::new();
    for _ in 0..count {
        conn.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
        let response = conn.response().unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
        *split.entry(response.header("x-version").unwrap().to_owned()).or_default() += 1;
    }
    split
}

#[test]
fn path_header_method_and_query_choose_the_backend() {
    let (_plain, web, _servers) = two_versions(
        "
- matches: [{path: {type: PathPrefix, value: /api}, headers: [{name: x-version, value: '2'}]}]
  backendRefs: [{name: web-v2, port: 80}]
- matches: [{path: {type: Exact, value: /exact}}]
  backendRefs: [{name: web-v2, port: 80}]
- matches: [{path: {type: RegularExpression, value: '/items/[0-9]+'}}]
  backendRefs: [{name: web-v2, port: 80}]
- matches: [{method: DELETE}, {queryParams: [{name: beta, value: 'on'}]}]
  backendRefs: [{name: web-v2, port: 80}]
- backendRefs: [{name: web-v1, port: 80}]
",
    );
    for (head, expected) in [
        ("GET / HTTP/1.1", "v1"),
        ("GET /api HTTP/1.1", "v1"),
        ("GET /api HTTP/1.1\r\nX-Version: 2", "v2"),
        ("GET /api/deep?x HTTP/1.1\r\nx-version: 2", "v2"),
        ("GET /apish HTTP/1.1\r\nx-version: 2", "v1"),
        ("GET /api HTTP/1.1\r\nx-version: 22", "v1"),
        ("GET /exact HTTP/1.1", "v2"),
        ("GET /exact/ HTTP/1.1", "v1"),
        ("GET /items/42 HTTP/1.1", "v2"),
        ("GET /items/x HTTP/1.1", "v1"),
        ("DELETE /thing HTTP/1.1", "v2"),
        ("GET /thing?beta=on HTTP/1.1", "v2"),
        ("GET /thing?a=b&beta=on HTTP/1.1", "v2"),
        ("GET /thing?beta=off HTTP/1.1", "v1"),
    ] {
        assert_eq!(version(web, head), expected, "{head}");
    }
}

#[test]
fn a_request_that_no_rule_matches_is_404() {
    let (_plain, web, _servers) = two_versions(
        "- matches: [{path: {type: PathPrefix, value: /only}}]\n  backendRefs: [{name: web-v1, port: 80}]",
    );
    assert_eq!(version(web, "GET /only HTTP/1.1"), "v1");
    assert_eq!(version(web, "GET /other HTTP/1.1"), "404");
}

#[test]
fn weights_are_kept_within_five_per_cent_and_may_change_live() {
    let weights = |one: u32, two: u32| {
        format!(
            "- backendRefs: [{{name: web-v1, port: 80, weight: {one}}}, {{name: web-v2, port: 80, weight: {two}}}]"
        )
    };
    let (plain, web, _servers) = two_versions(&weights(90, 10));
    let v2 = split(web, 500).get("v2").copied().unwrap_or_default();
    assert!((25..=75).contains(&v2), "{v2} of 500 at 10 %");

    plain.manifests.route("web", "web", &weights(0, 1));
    // At the old weights, so many in a row would be a miracle.
    eventually(SOON, "the new weights are in force", || split(web, 20).get("v2") == Some(&20));
    assert_eq!(split(web, 100), BTreeMap::from([("v2".to_owned(), 100)]), "weight 0 means none");
}

#[test]
fn a_backend_that_does_not_exist_keeps_its_share_and_answers_500() {
    let (_plain, web, _servers) = two_versions("- backendRefs: [{name: nowhere, port: 80}]");
    assert_eq!(version(web, "GET / HTTP/1.1"), "500");
}

#[test]
fn header_modifiers_set_add_and_remove() {
    let (_plain, web, _servers) = two_versions(
        "
- filters:
  - type: RequestHeaderModifier
    requestHeaderModifier:
      set: [{name: x-set, value: new}]
      add: [{name: x-add, value: more}]
      remove: [x-gone]
  - type: ResponseHeaderModifier
    responseHeaderModifier: {set: [{name: x-version, value: rewritten}], add: [{name: x-by, value: nodeway}]}
  backendRefs: [{name: web-v1, port: 80}]
",
    );
    let response = ask(web, "GET / HTTP/1.1\r\nX-Set: old\r\nX-Add: one\r\nX-Gone: here");
    let seen = response.json()["headers"].clone();
    let values = |name: &str| -> Vec<String> {
        let all = seen.as_array().unwrap().iter();
        all.filter(|pair| pair[0] == name).map(|p| p[1].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(values("x-set"), ["new"]);
    assert_eq!(values("x-add").join(", ").replace(",", ", ").replace("  ", " "), "one, more");
    assert_eq!(values("x-gone"), Vec::<String>::new());
    assert_eq!(response.header("x-version"), Some("rewritten"));
    assert_eq!(response.header("x-by"), Some("nodeway"));
}

#[test]
fn a_bad_manifest_keeps_the_last_good_one_and_is_named() {
    let (mut plain, web, _servers) = two_versions("- backendRefs: [{name: web-v1, port: 80}]");
    assert_eq!(version(web, "GET / HTTP/1.1"), "v1");
    let problems = |plain: &mut Plain| plain.node().metrics().sum("nodeway_problems", &[]);
    assert!(problems(&mut plain) < 1.0);

    plain.manifests.put("route-web.yaml", "kind: HTTPRoute\nthis is: [not yaml\n");
    eventually(SOON, "the log names the file", || plain.node().log().contains("route-web.yaml"));
    eventually(SOON, "the problem is counted", || problems(&mut plain) >= 1.0);
    assert_eq!(version(web, "GET / HTTP/1.1"), "v1", "the last good one is not in force");
    let said = plain
        .place()
        .run(binaries::nodeway(), &["validate".as_ref(), plain.manifests.dir().as_os_str()]);
    assert!(!said.ok && (said.out + &said.err).contains("route-web.yaml"));

    plain.manifests.route("web", "web", "- backendRefs: [{name: web-v2, port: 80}]");
    eventually(SOON, "the mended one is in force", || version(web, "GET / HTTP/1.1") == "v2");
    eventually(SOON, "and there is no problem left", || problems(&mut plain) < 1.0);
}

#[test]
fn requests_are_balanced_over_the_endpoints_of_a_service() {
    let (plain, web, _servers) = two_versions("- backendRefs: [{name: web, port: 80}]");
    let split = split(web, 200);
    assert!(split.values().all(|count| (60..=140).contains(count)), "{split:?}");
    drop(plain);
}
