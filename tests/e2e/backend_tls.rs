//! What a BackendTLSPolicy asks for is what happens, or nothing does.

use std::fs;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nodeway_tests::http::{Conn, Response};
use nodeway_tests::mesh::{VIP4, VIP6};
use nodeway_tests::tls::{Authority, Names, policy};
use nodeway_tests::{Mesh, Plain, Proc, Service, backend, binaries, eventually};

const SOON: Duration = Duration::from_secs(30);
/// Believes the ConfigMap `ca`, and asks for `web.example.com`.
const USUAL: &str =
    "{caCertificateRefs: [{group: \"\", kind: ConfigMap, name: ca}], hostname: web.example.com}";
const WEB: Names<'_> = Names { dns: &["web.example.com"], uris: &[], expired: false };

/// A test server that speaks TLS with the certificate of these names.
fn server(plain: &Plain, at: SocketAddr, mode: &str, certificate: &str, alpn: &str) -> Proc {
    let file = plain.manifests.dir().with_file_name(format!("{}.pem", at.ip()));
    fs::write(&file, certificate).unwrap();
    let (at, file) = (at.to_string(), file.to_str().unwrap());
    let args =
        [mode, "--name", "v1", "--version", "v1", "--tls", file, "--alpn", alpn, "--listen", &at];
    plain.place().start(binaries::testserver(), &args).until_it_says("listening")
}

/// The Service `web` under the policy `validation`, its server's certificate signed by the authority in
/// the ConfigMap `ca`; the listener of `web`.
fn world(
    app_protocol: &'static str,
    names: &Names<'_>,
    alpn: &str,
    validation: &str,
) -> (Plain, SocketAddr, Proc) {
    let (mut plain, authority) = (Plain::new(), Authority::new("authority"));
    let backend = Plain::backend();
    let server = server(&plain, backend, "http", &authority.issue(names), alpn);
    plain.manifests.service(&Plain::service("web", app_protocol).to(backend));
    plain.manifests.put("ca.yaml", &Authority::config_map("ca", &[&authority]));
    plain.manifests.put("policy.yaml", &policy("tls", "web", validation));
    let web = plain.listen("web");
    plain.start();
    (plain, web, server)
}

fn get(conn: &mut Conn) -> Response {
    conn.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
    conn.response().unwrap()
}

fn once(to: SocketAddr) -> Response {
    get(&mut Plain::connect(to))
}

#[test]
fn endpoints_are_spoken_to_in_tls_by_the_name_that_the_policy_gives() {
    let (_plain, web, _server) = world("http", &WEB, "h2,http/1.1", USUAL);
    let mut conn = Plain::connect(web);
    for _ in 0..3 {
        let response = get(&mut conn);
        assert_eq!((response.status, response.text().is_empty()), (200, false));
        assert_eq!(response.header("x-tls"), Some("web.example.com http/1.1 full"));
        let headers = response.json()["headers"].to_string();
        assert!(headers.contains(r#"["host","web"]"#), "{headers}");
    }
}

#[test]
fn a_second_connection_resumes_the_session() {
    let (mut plain, web, _server) = world("http", &WEB, "http/1.1", USUAL);
    let told = |response: Response| response.header("x-tls").unwrap_or_default().to_owned();
    assert!(told(once(web)).ends_with("full"));
    // A request without an answer keeps its connection: the next one needs another.
    let mut hanging = Vec::new();
    eventually(SOON, "another connection resumes", || {
        let mut conn = Plain::connect(web);
        conn.send("GET /hang HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
        hanging.push(conn);
        told(once(web)).ends_with("resumed")
    });
    let connects =
        plain.node().metrics().sum("nodeway_upstream_connects_total", &[("result", "ok")]);
    assert!(connects >= 2.0, "{connects}");
}

#[test]
fn whoever_is_not_who_the_policy_asks_for_gets_no_request() {
    let other = Authority::new("other");
    let ca = "caCertificateRefs: [{group: \"\", kind: ConfigMap, name: ca}]";
    let wrong = [
        (
            "another name",
            Names { dns: &["other.example.com"], ..Names::default() },
            USUAL.to_owned(),
        ),
        ("expired", Names { expired: true, ..WEB }, USUAL.to_owned()),
        (
            "none of the names",
            WEB,
            format!(
                "{{{ca}, hostname: web.example.com, subjectAltNames: [{{type: Hostname, hostname: other.example.com}}]}}"
            ),
        ),
        (
            "another URI",
            Names { uris: &["spiffe://a/b"], ..WEB },
            format!(
                "{{{ca}, hostname: web.example.com, subjectAltNames: [{{type: URI, uri: \"spiffe://a/c\"}}]}}"
            ),
        ),
        (
            "no CA of the system's",
            WEB,
            "{wellKnownCACertificates: System, hostname: web.example.com}".to_owned(),
        ),
    ];
    for (what, names, validation) in wrong {
        let (mut plain, web, _server) = world("http", &names, "http/1.1", &validation);
        let response = once(web);
        assert_eq!(response.status, 503, "{what}: {}", response.text());
        let metrics = plain.node().metrics();
        let flagged = metrics.sum("nodeway_requests_total", &[("response_flags", "UTLS")]);
        assert!(flagged > 0.0, "{what}");
    }
    let (mut plain, authority) = (Plain::new(), Authority::new("authority"));
    let backend = Plain::backend();
    let _server = server(&plain, backend, "http", &authority.issue(&WEB), "http/1.1");
    plain.manifests.service(&Plain::service("web", "http").to(backend));
    plain.manifests.put("ca.yaml", &Authority::config_map("ca", &[&other]));
    plain.manifests.put("policy.yaml", &policy("tls", "web", USUAL));
    let web = plain.listen("web");
    plain.start();
    // So many that a server would be left out, if that were its fault: it is not.
    for _ in 0..20 {
        assert_eq!(once(web).status, 503);
    }
    plain.manifests.put("ca.yaml", &Authority::config_map("ca", &[&other, &authority]));
    eventually(SOON, "the right authority is believed", || once(web).status == 200);
}

#[test]
fn one_of_the_names_is_enough_and_the_hostname_is_then_none_of_them() {
    let ca = "caCertificateRefs: [{group: \"\", kind: ConfigMap, name: ca}]";
    let right = [
        (
            Names { dns: &["b.example.com"], ..Names::default() },
            "{type: Hostname, hostname: b.example.com}",
        ),
        (
            Names { dns: &["*.example.com"], ..Names::default() },
            "{type: Hostname, hostname: b.example.com}",
        ),
        (
            Names { dns: &["b.example.com"], ..Names::default() },
            "{type: Hostname, hostname: \"*.example.com\"}",
        ),
        (
            Names { uris: &["spiffe://a/b"], ..Names::default() },
            "{type: URI, uri: \"spiffe://a/b\"}",
        ),
        (
            Names { uris: &["spiffe://a/b"], ..Names::default() },
            "{type: Hostname, hostname: c.example.com}, {type: URI, uri: \"spiffe://a/b\"}",
        ),
    ];
    for (names, alt) in right {
        let validation = format!("{{{ca}, hostname: asked.example.com, subjectAltNames: [{alt}]}}");
        let (_plain, web, _server) = world("http", &names, "http/1.1", &validation);
        let response = once(web);
        assert_eq!(
            response.header("x-tls"),
            Some("asked.example.com http/1.1 full"),
            "{alt}: {}",
            response.text()
        );
    }
}

#[test]
fn what_is_spoken_is_what_is_declared_or_else_what_the_server_likes() {
    let cases = [
        ("http", "h2,http/1.1", "http/1.1", "HTTP/1.1"),
        ("kubernetes.io/h2c", "h2,http/1.1", "h2", "HTTP/2.0"),
        ("https", "h2,http/1.1", "h2", "HTTP/2.0"),
        ("https", "http/1.1", "http/1.1", "HTTP/1.1"),
        ("https", "", "-", "HTTP/1.1"),
    ];
    for (declared, alpn, agreed, version) in cases {
        let (_plain, web, _server) = world(declared, &WEB, alpn, USUAL);
        let mut conn = Plain::connect(web);
        for _ in 0..3 {
            let response = get(&mut conn);
            let tls = response.header("x-tls").unwrap_or_default().to_owned();
            assert_eq!(tls, format!("web.example.com {agreed} full"), "{declared} {alpn}");
            assert_eq!(response.json()["protocol"], version);
        }
    }
}

#[test]
fn an_http2_client_is_served_whatever_the_server_likes() {
    for (declared, alpn, agreed, version) in [
        ("http", "h2,http/1.1", "h2", "HTTP/2.0"),
        ("http", "http/1.1", "http/1.1", "HTTP/1.1"),
        ("grpc", "h2", "h2", "HTTP/2.0"),
        ("https", "http/1.1", "http/1.1", "HTTP/1.1"),
    ] {
        let (plain, web, _server) = world(declared, &WEB, alpn, USUAL);
        let url = format!("http://{web}/some/path?q");
        let args = ["-sS", "-i", "--http2-prior-knowledge", "-d", "0123456789", &url];
        // What the server has chosen is known the second time.
        for _ in 0..2 {
            let said = plain.place().ok("curl", &args);
            let tls = format!("x-tls: web.example.com {agreed} ");
            assert!(said.contains(&tls), "{declared} {alpn}: {said}");
            let answer = said.lines().find(|line| line.starts_with('{')).expect("JSON");
            let answer: serde_json::Value = serde_json::from_str(answer).unwrap();
            assert_eq!((&answer["protocol"], &answer["body"]), (&version.into(), &10.into()));
            assert_eq!((&answer["path"], &answer["query"]), (&"/some/path".into(), &"q".into()));
        }
    }
}

#[test]
fn an_upgrade_is_granted_over_tls_whatever_the_server_likes_best() {
    let (_plain, web, _server) = world("https", &WEB, "h2,http/1.1", USUAL);
    assert_eq!(once(web).status, 200);
    let mut conn = Plain::connect(web);
    conn.send("GET /upgrade HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        .unwrap();
    assert_eq!(conn.response().unwrap().status, 101);
    conn.send("ping").unwrap();
    let mut heard = [0; 4];
    conn.socket().read_exact(&mut heard).unwrap();
    assert_eq!(&heard, b"ping");
}

#[test]
fn authorities_are_rotated_without_a_failed_request() {
    let (mut plain, old, new) = (Plain::new(), Authority::new("old"), Authority::new("new"));
    let (first, second) = (Plain::backend(), Plain::backend());
    let _first = server(&plain, first, "http", &old.issue(&WEB), "http/1.1");
    let _second = server(&plain, second, "http", &new.issue(&WEB), "http/1.1");
    plain.manifests.service(&Plain::service("web", "http").to(first));
    plain.manifests.put("ca.yaml", &Authority::config_map("ca", &[&old]));
    plain.manifests.put("policy.yaml", &policy("tls", "web", USUAL));
    let web = plain.listen("web");
    plain.start();
    let mut conn = Plain::connect(web);
    let mut fine = || assert_eq!(get(&mut conn).status, 200);
    fine();
    let bundles: [&[&Authority]; 3] = [&[&old, &new], &[&new, &old], &[&new]];
    for (step, bundle) in bundles.into_iter().enumerate() {
        plain.manifests.put("ca.yaml", &Authority::config_map("ca", bundle));
        if step == 1 {
            // The first is not ready, and still there: connections to it are kept.
            plain.manifests.service(&Plain::service("web", "http").to(second).unready(first));
        }
        for _ in 0..200 {
            fine();
        }
    }
    // What was agreed under the old authority is not used any more.
    plain.manifests.service(&Plain::service("web", "http").to(first));
    eventually(SOON, "the old authority is believed no longer", || get(&mut conn).status == 503);
}

#[test]
fn a_bad_policy_closes_its_target_and_nothing_else() {
    let bad = [
        "{caCertificateRefs: [{group: \"\", kind: ConfigMap, name: gone}], hostname: web.example.com}",
        "{caCertificateRefs: [{group: \"\", kind: Secret, name: ca}], hostname: web.example.com}",
        "{caCertificateRefs: [{group: \"\", kind: ConfigMap, name: ca}], hostname: \"*\"}",
        "{wellKnownCACertificates: Mine, hostname: web.example.com}",
        "{hostname: 7}",
    ];
    let (mut plain, web, _server) = Plain::with_testserver("http");
    let clear = Plain::backend();
    let _clear = plain.testserver(clear, "clear");
    assert_eq!(once(web).status, 200);
    for validation in bad {
        // The server would answer in the clear.
        plain.manifests.put("policy.yaml", &policy("tls", "web", validation));
        eventually(SOON, "nobody is asked", || once(web).status == 503);
        plain.manifests.remove("policy.yaml");
        eventually(SOON, "all is as before", || once(web).status == 200);
    }
    plain.node();
}

#[test]
fn octets_that_are_not_http_are_relayed_in_tls_too() {
    let (mut plain, authority) = (Plain::new(), Authority::new("authority"));
    let backend = Plain::backend();
    let _server = server(&plain, backend, "tcp-echo", &authority.issue(&WEB), "");
    plain.manifests.service(&Plain::service("web", "tcp").to(backend));
    plain.manifests.put("ca.yaml", &Authority::config_map("ca", &[&authority]));
    plain.manifests.put("policy.yaml", &policy("tls", "web", USUAL));
    let web = plain.listen("web");
    plain.start();
    let mut stream = TcpStream::connect(web).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let much = vec![7; 1 << 20];
    let mut writer = stream.try_clone().unwrap();
    let sent = much.clone();
    let writing = std::thread::spawn(move || {
        writer.write_all(&sent).unwrap();
        writer.shutdown(std::net::Shutdown::Write).unwrap();
    });
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).unwrap();
    writing.join().unwrap();
    assert!(heard == much, "{} octets", heard.len());

    plain.manifests.put("ca.yaml", &Authority::config_map("ca", &[&Authority::new("other")]));
    eventually(SOON, "who is not believed hears nothing", || {
        // The reset may come before `connect` has returned.
        let heard = TcpStream::connect(web).and_then(|mut stream| {
            stream.set_read_timeout(Some(SOON))?;
            stream.write_all(b"x").ok();
            stream.read(&mut [0; 8])
        });
        matches!(heard, Err(error) if error.kind() == ErrorKind::ConnectionReset)
    });
}

#[test]
fn a_pods_plain_requests_leave_it_in_tls() {
    let Some(mut mesh) = Mesh::new() else { return };
    let authority = Authority::new("authority");
    let pod = mesh.world.pod("web-1");
    let file = mesh.manifests.dir().with_file_name("web-1.pem");
    fs::write(&file, authority.issue(&WEB)).unwrap();
    let args = ["http", "--name", "v1", "--version", "v1", "--alpn", "h2,http/1.1"];
    let at = [pod.v4(8443).to_string(), pod.v6(8443).to_string()];
    let rest = ["--tls", file.to_str().unwrap(), "--listen", &at[0], "--listen", &at[1]];
    let args: Vec<&str> = args.into_iter().chain(rest).collect();
    let _server = pod.place.start(binaries::testserver(), &args).until_it_says("listening");
    let secured = Service::new("web").ip(VIP4).ip(VIP6).port(443, 8443, Some("https"));
    mesh.manifests.service(&secured.to_pod(&pod));
    mesh.manifests.put("ca.yaml", &Authority::config_map("ca", &[&authority]));
    mesh.manifests.put("policy.yaml", &policy("tls", "web", USUAL));
    // A route of another Service leads there too.
    let front = Service::new("front").ip("10.96.0.11").http();
    mesh.manifests.service(&front);
    mesh.manifests.route("front", "front", "- backendRefs: [{name: web, port: 443}]");
    mesh.start(&[]);
    let curl = |args: &[&str]| {
        let always =
            ["-s", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code} %header{x-tls}"];
        let args: Vec<&str> = always.iter().chain(args).copied().collect();
        mesh.client.place.run("curl", &args).out
    };
    for url in [
        format!("http://{VIP4}:443/"),
        format!("http://[{VIP6}]:443/"),
        "http://10.96.0.11/".to_owned(),
    ] {
        let said = curl(&[&url]);
        assert!(said.starts_with("200 web.example.com"), "{url}: {said}");
    }
    // Who speaks TLS itself sees the server's own certificate, and is left alone.
    let ca = mesh.manifests.dir().with_file_name("ca.pem");
    fs::write(&ca, authority.pem()).unwrap();
    let resolve = format!("web.example.com:443:{VIP4}");
    let own = ["--cacert", ca.to_str().unwrap(), "--resolve", &resolve, "https://web.example.com/"];
    assert!(curl(&own).starts_with("200 web.example.com"), "{}", curl(&own));
}

#[test]
fn who_speaks_tls_itself_is_left_alone_where_no_route_applies() {
    for declared in ["https", "http"] {
        let (plain, web, _server) = world(declared, &WEB, "http/1.1", USUAL);
        let url = format!("https://{web}/");
        let args = ["-sk", "--max-time", "5", "-o", "/dev/null", "-w", "%{http_code}", &url];
        let asked = || plain.place().run("curl", &args).out;
        assert_eq!(asked(), "200", "{declared}");
        plain.manifests.route("web", "web", "- backendRefs: [{name: web, port: 80}]");
        eventually(SOON, "it cannot be told which rule applies", || asked() == "000");
        assert_eq!(once(web).status, 200, "{declared}");
    }
}

#[test]
fn an_endpoint_whose_tls_fails_is_left_out_and_costs_no_connection_that_is_not_http() {
    let (mut plain, authority) = (Plain::new(), Authority::new("authority"));
    let (good, bad) = (Plain::backend(), Plain::backend());
    let _server = server(&plain, good, "tcp-echo", &authority.issue(&WEB), "");
    // It takes connections, and none of them becomes TLS.
    backend::serve(bad, drop);
    plain.manifests.service(&Plain::service("web", "tcp").to(good).to(bad));
    plain.manifests.put("ca.yaml", &Authority::config_map("ca", &[&authority]));
    plain.manifests.put("policy.yaml", &policy("tls", "web", USUAL));
    let web = plain.listen("web");
    plain.start();
    for _ in 0..100 {
        let mut conn = Plain::connect(web);
        conn.send("ping").unwrap();
        assert_eq!(conn.exactly(4).unwrap(), b"ping");
    }
    let metrics = plain.node().metrics();
    assert!(metrics.sum("nodeway_endpoint_ejections_total", &[]) >= 1.0, "nobody noticed");
}
