//! Endpoints that health checks find ill get no requests, and nobody is asked who is not used.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nodeway_tests::http::{Conn, Response};
use nodeway_tests::mesh::VIP4;
use nodeway_tests::tls::{Authority, Names, policy};
use nodeway_tests::wait::over;
use nodeway_tests::{Mesh, MeshLabel, Plain, Pod, Proc, binaries, eventually};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);
/// Documentation's (RFC 5737): routed nowhere.
const EXTERNAL: &str = "192.0.2.10";

/// `interval` x `unhealthyThreshold` is 600 ms.
const CHECK: &str = "healthyThreshold: 2, unhealthyThreshold: 3, interval: 200ms, timeout: 1s, \
                     jitterPercent: 0";

/// The Service `web` on two servers under a policy with this probe, and where it is reached.
struct World {
    plain: Plain,
    web: SocketAddr,
    one: SocketAddr,
    two: SocketAddr,
    _servers: [Proc; 2],
}

impl World {
    fn new(protocol: &'static str, probe: &str) -> Self {
        let mut plain = Plain::new();
        let (one, two) = (Plain::backend(), Plain::backend());
        let servers = [plain.testserver(one, "one"), plain.testserver(two, "two")];
        plain.manifests.service(&Plain::service("web", protocol).to(one).to(two));
        // Too few to be sure: what is found ill is left out all the same.
        plain.manifests.backend_policy(
            "web",
            &format!(
                "loadBalancing: {{algorithm: RoundRobin, panicThresholdPercent: 0}}\nhealthCheck: {{{probe}, {CHECK}}}"
            ),
        );
        let web = plain.listen("web");
        plain.start();
        Self { plain, web, one, two, _servers: servers }
    }

    /// Who answers, `n` times.
    fn answers(&self, n: usize) -> Vec<String> {
        let one = |_| {
            let response = get(self.web, "/");
            assert_eq!(response.status, 200);
            response.header("x-version").unwrap_or_default().to_owned()
        };
        (0..n).map(one).collect()
    }

    fn both_are_used(&self) -> bool {
        let answers = self.answers(20);
        answers.iter().any(|who| who == "one") && answers.iter().any(|who| who == "two")
    }
}

fn get(at: SocketAddr, path: &str) -> Response {
    let mut conn = Plain::connect(at);
    conn.send(format!("GET {path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")).unwrap();
    conn.response().unwrap()
}

fn checks(at: SocketAddr) -> u64 {
    get(at, "/checked").json()["checks"].as_u64().unwrap()
}

fn be(at: SocketAddr, status: u16) {
    assert_eq!(get(at, &format!("/health/{status}")).status, 200);
}

/// From well to ill and back, while both go on answering requests.
fn out_and_back(mut world: World) {
    assert!(world.both_are_used());
    eventually(SOON, "both are asked", || checks(world.one) > 3 && checks(world.two) > 3);
    assert!(world.both_are_used());
    be(world.two, 503);
    let turned = Instant::now();
    eventually(SOON, "the ill one is left out", || !world.answers(20).contains(&"two".to_owned()));
    // 600 ms are promised; the rest is this machine's, and the requests'.
    assert!(turned.elapsed() < Duration::from_secs(4), "{:?}", turned.elapsed());
    let answers = world.answers(50);
    assert!(answers.iter().all(|who| who == "one"), "{answers:?}");
    let metrics = world.plain.node().metrics();
    let of = |name: &str, value: &str, label| {
        let labels = [("backend_name", "web"), (label, value)];
        metrics.sum(name, &labels)
    };
    assert!(of("nodeway_health_checks_total", "failed", "result") >= 3.0);
    assert!(of("nodeway_health_checks_total", "ok", "result") >= 6.0);
    assert!((of("nodeway_health_changes_total", "ill", "to") - 1.0).abs() < 0.1);
    let log = world.plain.node().log();
    let line = log.lines().find(|line| line.contains("health checks in a row have failed"));
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("3 health checks") && line.contains(&world.two.to_string()), "{line}");
    be(world.two, 200);
    eventually(SOON, "the other one is back", || world.both_are_used());
    assert!(world.plain.node().log().contains("2 health checks in a row have succeeded"));
}

#[test]
fn an_endpoint_that_says_it_is_ill_is_out_although_it_answers_and_comes_back() {
    out_and_back(World::new("http", "http: {path: /healthz, expectedStatuses: ['200', '204']}"));
}

#[test]
fn the_same_over_http_2() {
    out_and_back(World::new("kubernetes.io/h2c", "http: {path: /healthz}"));
}

#[test]
fn grpc_servers_are_asked_in_grpc() {
    let world = World::new("http", "grpc: {service: shop.Cart}");
    assert!(world.both_are_used());
    eventually(SOON, "they are asked about the service", || {
        get(world.one, "/checked").json()["asked"] == "shop.Cart"
    });
    out_and_back(world);
}

#[test]
fn an_endpoint_that_takes_no_connection_is_out_before_its_first_request_fails() {
    let mut plain = Plain::new();
    let (good, bad) = (Plain::backend(), Plain::backend());
    let _good = plain.testserver(good, "good");
    plain.manifests.service(&Plain::service("web", "http").to(good));
    // Nothing but checks may leave it out.
    plain.manifests.backend_policy(
        "web",
        &format!(
            "loadBalancing: {{algorithm: RoundRobin, panicThresholdPercent: 0}}\nhealthCheck: {{tcp: {{}}, {CHECK}}}\n\
             outlierDetection: {{maxEjectionPercent: 0}}"
        ),
    );
    let web = plain.listen("web");
    plain.start();
    assert_eq!(get(web, "/").status, 200);
    plain.manifests.service(&Plain::service("web", "http").to(good).to(bad));
    let ill = |plain: &mut Plain| {
        let labels = [("backend_name", "web"), ("to", "ill")];
        plain.node().metrics().sum("nodeway_health_changes_total", &labels)
    };
    eventually(SOON, "it is found ill without a request", || ill(&mut plain) > 0.5);
    let failures = |plain: &mut Plain| {
        let labels = [("result", "failed")];
        plain.node().metrics().sum("nodeway_upstream_connects_total", &labels)
    };
    let before = failures(&mut plain);
    for _ in 0..50 {
        assert_eq!(get(web, "/").status, 200);
    }
    assert!((failures(&mut plain) - before).abs() < 0.5, "a request has met it");
    let _bad = plain.testserver(bad, "bad");
    eventually(SOON, "it is used", || get(web, "/").header("x-version") == Some("bad"));
}

#[test]
fn nobody_is_asked_who_is_not_used_or_has_no_check() {
    let mut plain = Plain::new();
    let (used, unused, unchecked) = (Plain::backend(), Plain::backend(), Plain::backend());
    let _servers = [(used, "used"), (unused, "unused"), (unchecked, "unchecked")]
        .map(|(at, name)| plain.testserver(at, name));
    let policy = format!("healthCheck: {{http: {{path: /healthz}}, {CHECK}}}");
    for (name, at) in [("used", used), ("unused", unused), ("unchecked", unchecked)] {
        plain.manifests.service(&Plain::service(name, "http").to(at));
        if name != "unchecked" {
            plain.manifests.backend_policy(name, &policy);
        }
    }
    let at = ["used", "unused", "unchecked"].map(|name| plain.listen(name));
    plain.start();
    assert_eq!((get(at[0], "/").status, get(at[2], "/").status), (200, 200));
    eventually(SOON, "the used one is asked", || checks(used) > 10);
    assert_eq!((checks(unused), checks(unchecked)), (0, 0));
    // The policy goes: so do checks.
    plain.manifests.remove("policy-used.yaml");
    eventually(SOON, "checks end", || {
        let (before, after) = over(Duration::from_secs(1), || checks(used));
        before == after
    });
}

#[test]
fn checks_come_from_the_pods_that_use_the_backend() {
    let Some((mut mesh, _server)) = Mesh::with_web() else { return };
    let pod = mesh.world.pod("web-2");
    let _server = pod.serve("http", "v2", 8080);
    mesh.manifests.service(&Mesh::web_service().to(pod.v4(0)));
    let spec = format!("healthCheck: {{http: {{path: /healthz}}, {CHECK}}}");
    mesh.manifests.backend_policy("web", &spec);
    let checked = |mesh: &Mesh| -> Value {
        // To the pod itself: no Service, no mesh.
        let url = format!("http://{}:8080/checked", pod.ipv4);
        serde_json::from_str(&mesh.client.place.ok("curl", &["-sS", &url])).unwrap()
    };
    eventually(SOON, "the client uses the pod, which is asked", || {
        Mesh::who_answers(&mesh.client, VIP4) == "web-2" && checked(&mesh)["checks"] != 0
    });
    eventually(SOON, "often", || checked(&mesh)["checks"].as_u64() > Some(10));
    let from = &checked(&mesh)["from"];
    assert_eq!(*from, serde_json::json!([mesh.client.ipv4]), "{from}");
    drop(mesh.node().log());
}

#[test]
fn a_connection_is_not_kept_waiting_by_checks_that_hang() {
    let mut plain = Plain::new();
    let (good, deaf) = (Plain::backend(), Plain::backend());
    let _good = plain.testserver(good, "good");
    // Accepts, and says nothing.
    let _deaf = std::net::TcpListener::bind(deaf).unwrap();
    plain.manifests.service(&Plain::service("web", "http").to(good).to(deaf));
    plain.manifests.backend_policy(
        "web",
        "loadBalancing: {algorithm: RoundRobin, panicThresholdPercent: 0}\n\
         healthCheck: {http: {path: /healthz}, timeout: 300ms, interval: 300ms, jitterPercent: 0}",
    );
    plain.manifests.service(&Plain::service("other", "http").to(good));
    let (web, other) = (plain.listen("web"), plain.listen("other"));
    plain.start();
    // Whoever meets the silent one waits for it: a connection that tells that it is used is enough.
    let mut first: Vec<Conn> = (0..4).map(|_| Plain::connect(web)).collect();
    for conn in &mut first {
        conn.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
    }
    eventually(SOON, "its silence is noticed", || {
        plain.node().log().contains("3 health checks in a row have failed")
    });
    for _ in 0..30 {
        assert_eq!(get(web, "/").header("x-version"), Some("good"));
        assert_eq!(get(other, "/").status, 200);
    }
}

#[test]
fn a_pod_that_may_not_reach_an_endpoint_does_not_make_it_ill_for_another_pod() {
    let Some(mut mesh) = Mesh::new() else { return };
    let (web, denied) = (mesh.world.pod("web-1"), mesh.world.pod("denied"));
    let _server = web.serve("http", "v1", 8080);
    mesh.manifests.service(&Mesh::web_service().to(web.v4(0)));
    mesh.manifests.pod(&denied, MeshLabel::Enabled);
    // Nothing but checks may leave it out.
    let spec = format!(
        "loadBalancing: {{panicThresholdPercent: 0}}\noutlierDetection: {{maxEjectionPercent: 0}}\n\
         healthCheck: {{http: {{path: /healthz}}, {CHECK}}}"
    );
    mesh.manifests.backend_policy("web", &spec);
    denied.place.ok("ip", &["route", "add", "unreachable", &format!("{}/32", web.ipv4)]);
    mesh.start(&[]);
    eventually(SOON, "one reaches it", || Mesh::who_answers(&mesh.client, VIP4) == "web-1");
    eventually(SOON, "the other one is noticed not to", || {
        let _ = Mesh::who_answers(&denied, VIP4);
        mesh.node().log().contains("a pod does not reach an endpoint that another one reaches")
    });
    let checks = |mesh: &mut Mesh| {
        mesh.node().metrics().sum("nodeway_health_checks_total", &[("result", "ok")])
    };
    let before = checks(&mut mesh);
    eventually(SOON, "checks go on", || checks(&mut mesh) > before + 5.0);
    assert_eq!(Mesh::who_answers(&mesh.client, VIP4), "web-1");
    let changes = mesh.node().metrics().sum("nodeway_health_changes_total", &[]);
    assert!(changes < 0.5, "{}", mesh.node().log());
}

/// Policy `Local` is for cluster IPs, and no endpoint is of this node.
#[test]
fn endpoints_that_are_reached_by_an_external_address_alone_are_checked_too() {
    let Some(mut mesh) = Mesh::new() else { return };
    let pods = ["web-1", "web-2"].map(|name| mesh.world.pod(name));
    let _servers = pods.each_ref().map(|pod| pod.serve("http", "v1", 8080));
    let endpoint = |pod: &Pod| format!("- {{addresses: [{}], nodeName: far-away}}\n", pod.ipv4);
    mesh.manifests.put(
        "web.yaml",
        &format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: default}}\n\
             spec:\n  clusterIPs: [{VIP4}]\n  externalIPs: [{EXTERNAL}]\n  \
             internalTrafficPolicy: Local\n  ports: [{{port: 80, targetPort: 8080, appProtocol: http}}]\n\
             ---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
             metadata: {{name: web-1, namespace: default, labels: {{kubernetes.io/service-name: web}}}}\n\
             addressType: IPv4\nports: [{{port: 8080, appProtocol: http}}]\nendpoints:\n{}",
            pods.each_ref().map(endpoint).concat()
        ),
    );
    let spec = format!(
        "loadBalancing: {{panicThresholdPercent: 0}}\nhealthCheck: {{http: {{path: /healthz}}, {CHECK}}}"
    );
    mesh.manifests.backend_policy("web", &spec);
    mesh.start(&[]);
    eventually(SOON, "one answers", || !Mesh::who_answers(&mesh.client, EXTERNAL).is_empty());
    let checks = |mesh: &mut Mesh| {
        mesh.node().metrics().sum("nodeway_health_checks_total", &[("result", "ok")])
    };
    eventually(SOON, "both are checked", || checks(&mut mesh) > 5.0);
    let url = format!("http://{}:8080/health/503", pods[0].ipv4);
    pods[0].place.ok("curl", &["-s", "--max-time", "5", &url]);
    eventually(SOON, "the ill one is left out", || {
        (0..10).all(|_| Mesh::who_answers(&mesh.client, EXTERNAL) == "web-2")
    });
}

#[test]
fn checks_speak_tls_as_requests_do() {
    for (protocol, probe, alpn) in [
        ("http", "http: {path: /healthz}", "http/1.1"),
        ("http", "http: {path: /healthz}", "h2"),
        ("http", "grpc: {}", "h2,http/1.1"),
        ("tcp", "tcp: {}", ""),
    ] {
        let (mut plain, authority) = (Plain::new(), Authority::new("authority"));
        let (right, wrong) = (Plain::backend(), Plain::backend());
        let _servers =
            [(right, ["web.example.com"]), (wrong, ["other.example.com"])].map(|(at, name)| {
                let file = plain.manifests.dir().with_file_name(format!("{}.pem", at.ip()));
                std::fs::write(&file, authority.issue(&Names { dns: &name, ..Names::default() }))
                    .unwrap();
                let (at, file) = (at.to_string(), file.to_str().unwrap().to_owned());
                let args = ["http", "--tls", &file, "--alpn", alpn, "--listen", &at];
                plain.place().start(binaries::testserver(), &args).until_it_says("listening")
            });
        plain.manifests.service(&Plain::service("web", protocol).to(right).to(wrong));
        plain.manifests.put("ca.yaml", &Authority::config_map("ca", &[&authority]));
        let validation = "{caCertificateRefs: [{group: \"\", kind: ConfigMap, name: ca}], \
                          hostname: web.example.com}";
        plain.manifests.put("policy.yaml", &policy("tls", "web", validation));
        let spec = format!("healthCheck: {{{probe}, {CHECK}}}");
        plain.manifests.backend_policy("web", &spec);
        let web = plain.listen("web");
        plain.start();
        let mut conn = Plain::connect(web);
        conn.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
        eventually(SOON, "the right one is well and the wrong one is not", || {
            let metrics = plain.node().metrics();
            let ok = metrics.sum("nodeway_health_checks_total", &[("result", "ok")]);
            let ill = metrics.sum("nodeway_health_changes_total", &[("to", "ill")]);
            ok > 3.0 && ill > 0.5
        });
        let log = plain.node().log();
        let left_out = |line: &&str| line.contains("health checks in a row have failed");
        let lines: Vec<&str> = log.lines().filter(left_out).collect();
        let [line] = lines[..] else { panic!("{probe}: {log}") };
        assert!(line.contains(&wrong.to_string()) && line.contains("BackendTLSPolicy"), "{line}");
    }
}
