//! Requests go where the routes say, and manifests are followed as they change.

use std::collections::BTreeMap;
use std::time::Duration;

use nodeway_tests::{Nodeway, Pod, Proc, World, eventually, manifests as m};

use crate::shop::{V4, field};

struct Versions {
    client: Pod,
    nodeway: Nodeway,
    world: World,
    _servers: Vec<Proc>,
}

/// A Service `web` whose routes lead to Services `v1` and `v2`.
fn versions(rules: &str) -> Option<Versions> {
    let world = World::new()?;
    let client = world.pod("client");
    let mut text = m::service("web", &[V4], 80, "appProtocol: http") + &m::pod(&client, "enabled");
    let mut servers = Vec::new();
    for (version, ip) in [("v1", "10.96.0.11"), ("v2", "10.96.0.12")] {
        let pod = world.pod(version);
        servers.push(pod.serve(version, 80));
        text += &(m::service(version, &[ip], 80, "")
            + &m::slice(version, version, "IPv4", &[&pod.ip4], 80));
    }
    m::put(&world.manifests, "web.yaml", &text);
    m::put(&world.manifests, "route.yaml", &m::route("web", "web", rules));
    let nodeway = Nodeway::start(&world, &[]);
    nodeway.until_metric("nodeway_pods", &["enrolled"], 1.0);
    Some(Versions { client, nodeway, world, _servers: servers })
}

impl Versions {
    /// The versions that answer `n` requests.
    fn answers(&self, n: usize) -> BTreeMap<String, usize> {
        let urls = format!("http://{V4}/[1-{n}]");
        let text = self.client.curl(&[&urls]);
        let mut count = BTreeMap::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("version: ")) {
            *count.entry(line.to_owned()).or_default() += 1;
        }
        count
    }

    fn version(&self, args: &[&str]) -> String {
        let answer = self.client.curl(args);
        answer.lines().find_map(|l| l.strip_prefix("version: ")).unwrap_or(&answer).to_owned()
    }
}

const MATCHES: &str = "  - matches:
    - path: {value: /api}
      headers: [{name: X-Version, value: '2'}]
    - path: {type: Exact, value: /exact}
    - path: {type: RegularExpression, value: '/r[0-9]+'}
    - queryParams: [{name: v, value: '2'}]
    - method: POST
    backendRefs: [{name: v2, port: 80}]
  - matches: [{path: {value: /}}]
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier:
        set: [{name: x-set, value: by-route}]
        add: [{name: x-add, value: by-route}]
        remove: [x-remove]
    - type: ResponseHeaderModifier
      responseHeaderModifier: {set: [{name: x-answer, value: by-route}]}
    backendRefs: [{name: v1, port: 80}]
  - matches: [{path: {value: /nobody}}]
    backendRefs: [{name: nobody, port: 80}]
";

#[test]
fn path_header_method_and_query_choose_and_filters_change_headers() {
    let Some(world) = versions(MATCHES) else { return };
    let url = |path: &str| format!("http://{V4}{path}");
    for (args, expected) in [
        (vec![url("/api")], "v1"),
        (vec![url("/api/x"), "-Hx-version: 2".into()], "v2"),
        (vec![url("/apix"), "-Hx-version: 2".into()], "v1"),
        (vec![url("/exact")], "v2"),
        (vec![url("/exact/")], "v1"),
        (vec![url("/r42")], "v2"),
        (vec![url("/r42x")], "v1"),
        (vec![url("/?a=1&v=2")], "v2"),
        (vec![url("/"), "-d".into(), "x".into()], "v2"),
        (vec![url("/")], "v1"),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        assert_eq!(world.version(&args), expected, "{args:?}");
    }
    let answer =
        world.client.curl(&["-i", "-Hx-set: old", "-Hx-add: old", "-Hx-remove: x", &url("/")]);
    assert!(answer.contains("x-answer: by-route"), "{answer}");
    assert!(answer.contains("> x-set: by-route") && !answer.contains("> x-set: old"), "{answer}");
    assert!(answer.contains("> x-add: old") && answer.contains("> x-add: by-route"), "{answer}");
    assert!(!answer.contains("x-remove"), "{answer}");
    let code = world.client.curl(&["-o", "/dev/null", "-w", "%{http_code}", &url("/nobody")]);
    assert_eq!(code, "500", "a missing backend");
    let labels = [
        "route_name=\"web\"",
        "backend_name=\"v2\"",
        "backend_namespace=\"shop\"",
        "source_workload=\"client\"",
        "response_code=\"200\"",
        "response_flags=\"-\"",
    ];
    world.nodeway.until_metric("nodeway_requests_total", &labels, 5.0);
}

#[test]
fn weights_split_500_requests_within_5_percent_and_edits_take_effect() {
    let rules = |v1: u32, v2: u32| {
        format!(
            "  - backendRefs: [{{name: v1, port: 80, weight: {v1}}}, {{name: v2, port: 80, weight: {v2}}}]\n"
        )
    };
    let Some(world) = versions(&rules(90, 10)) else { return };
    let count = world.answers(500);
    assert!((425..=475).contains(&count["v1"]) && count["v1"] + count["v2"] == 500, "{count:?}");
    m::put(&world.world.manifests, "route.yaml", &m::route("web", "web", &rules(0, 1)));
    let soon = Duration::from_secs(10);
    eventually(soon, "the new weights are in force", || !world.answers(20).contains_key("v1"));
    // A bad edit: the last good version stays, and the log says which field it is.
    let bad = rules(1, 0).replace("port: 80", "port: eighty");
    m::put(&world.world.manifests, "route.yaml", &m::route("web", "web", &bad));
    world.nodeway.until_metric("nodeway_problems", &["manifests"], 1.0);
    assert!(!world.answers(20).contains_key("v1"));
    let log = world.nodeway.log();
    assert!(
        log.contains(
            "route.yaml: document 1 (line 1): HTTPRoute shop/web: spec.rules[0].backendRefs[0].port"
        ),
        "{log}"
    );
    // Mended, it takes effect.
    m::put(&world.world.manifests, "route.yaml", &m::route("web", "web", &rules(1, 0)));
    eventually(soon, "the mended route is in force", || !world.answers(20).contains_key("v2"));
    assert!(world.nodeway.metric("nodeway_problems", &["manifests"]) < 1.0);
    // Without routes the Service's own endpoints answer: it has none.
    std::fs::remove_file(world.world.manifests.join("route.yaml")).unwrap();
    let url = format!("http://{V4}/");
    eventually(soon, "the route is gone", || {
        world.client.curl(&["-o", "/dev/null", "-w", "%{http_code}", &url]) == "503"
    });
}

#[test]
fn a_request_that_no_rule_matches_is_404() {
    let Some(world) = versions(
        "  - matches: [{path: {value: /only}}]\n    backendRefs: [{name: v1, port: 80}]\n",
    ) else {
        return;
    };
    let code = |path: &str| {
        let url = format!("http://{V4}{path}");
        world.client.curl(&["-o", "/dev/null", "-w", "%{http_code}", &url])
    };
    assert_eq!((code("/only/this"), code("/other")), ("200".into(), "404".into()));
    // Other Services are none of the route's business.
    assert_eq!(field(&world.client.curl(&["http://10.96.0.12/other"]), "version"), "v2");
}
