//! TCPRoutes and TLSRoutes: whole connections go to backends by weight, or by the server's name.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use nodeway_tests::{Mesh, Plain, Pod, Proc, Service, backend, binaries, eventually};

const SOON: Duration = Duration::from_secs(30);
/// The ClusterIP of the Service `db`.
const DB: &str = "10.96.0.20";

/// A TCPRoute, or a TLSRoute with these hostnames, on the Service `parent`; `backends` is a YAML list.
fn route(name: &str, parent: &str, hostnames: &str, backends: &str) -> String {
    let (kind, version, hostnames) = match hostnames {
        "" => ("TCPRoute", "v1alpha2", String::new()),
        names => ("TLSRoute", "v1", format!("  hostnames: {names}\n")),
    };
    format!(
        "apiVersion: gateway.networking.k8s.io/{version}\nkind: {kind}\n\
         metadata: {{name: {name}, namespace: default}}\nspec:\n\
         \x20 parentRefs: [{{group: \"\", kind: Service, name: {parent}}}]\n{hostnames}\
         \x20 rules: [{{backendRefs: {backends}}}]\n"
    )
}

/// A server that says its name, hears what the client says until its end, and says it back.
fn says(name: &'static str) -> SocketAddr {
    let at = Plain::backend();
    backend::serve(at, move |mut stream| {
        stream.write_all(name.as_bytes()).ok();
        let mut said = Vec::new();
        stream.read_to_end(&mut said).ok();
        stream.write_all(&said).ok();
    });
    at
}

/// What a client hears that says this and then nothing more: or that it was reset.
fn hears(to: SocketAddr, says: &[u8]) -> String {
    let mut heard = Vec::new();
    // A reset may come before `connect` has returned.
    let talk = TcpStream::connect(to).and_then(|mut stream| {
        stream.set_read_timeout(Some(SOON))?;
        stream.write_all(says)?;
        stream.shutdown(std::net::Shutdown::Write)?;
        stream.read_to_end(&mut heard)
    });
    match talk {
        Ok(_) => String::from_utf8_lossy(&heard).into_owned(),
        Err(error)
            if [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe, ErrorKind::NotConnected]
                .contains(&error.kind()) =>
        {
            "reset".to_owned()
        }
        Err(error) => panic!("{error}"),
    }
}

/// The status of the answer to a request that no server may take. Its client stays: who hangs up at once may be
/// taken to have gone.
fn answer_to_no_host(to: SocketAddr) -> u16 {
    let mut conn = Plain::connect(to);
    conn.send("GET / HTTP/1.1\r\n\r\n").unwrap();
    conn.response().unwrap().status
}

/// `web`, with the protocol that it declares, and the Services `v1` and `v2`.
fn two_servers(app_protocol: &'static str, route: &str) -> (Plain, SocketAddr) {
    let mut plain = Plain::new();
    let (v1, v2) = (says("v1 "), says("v2 "));
    plain.manifests.service(&Plain::service("web", app_protocol).to(says("web ")));
    plain.manifests.service(&Plain::service("v1", "tcp").to(v1));
    plain.manifests.service(&Plain::service("v2", "tcp").to(v2));
    plain.manifests.put("l4.yaml", route);
    let web = plain.listen("web");
    plain.start();
    (plain, web)
}

#[test]
fn a_tcp_route_relays_whatever_is_spoken_and_may_come_and_go() {
    for protocol in ["tcp", "http"] {
        let to_v2 = route("db", "web", "", "[{name: v2, port: 80}]");
        let (plain, web) = two_servers(protocol, &to_v2);
        assert_eq!(hears(web, b"GET / HTTP/1.1\r\n\r\n"), "v2 GET / HTTP/1.1\r\n\r\n");
        assert_eq!(hears(web, b""), "v2 ", "the server may speak first");
        plain.manifests.put("l4.yaml", &route("db", "web", "", "[{name: v1, port: 80}]"));
        eventually(SOON, "the other backend", || hears(web, b"x") == "v1 x");
        plain.manifests.remove("l4.yaml");
        eventually(SOON, "no route", || hears(web, b"x") != "v1 x");
        match protocol {
            "tcp" => assert_eq!(hears(web, b"x"), "web x"),
            _ => assert_eq!(answer_to_no_host(web), 400, "it is read as HTTP"),
        }
    }
}

#[test]
fn a_share_without_a_backend_is_reset() {
    let nobody = |backends: &str| route("db", "web", "", backends);
    for backends in ["[]", "[{name: v1, port: 80, weight: 0}]", "[{name: none, port: 80}]"] {
        let (_plain, web) = two_servers("tcp", &nobody(backends));
        assert_eq!(hears(web, b"x"), "reset", "{backends}");
    }
    let half = "[{name: v1, port: 80}, {name: v2, port: 80, weight: 0}, {name: none, port: 80}]";
    let (mut plain, web) = two_servers("tcp", &nobody(half));
    let mut heard: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..100 {
        *heard.entry(hears(web, b"")).or_default() += 1;
    }
    assert_eq!(heard.keys().collect::<Vec<_>>(), ["reset", "v1 "], "{heard:?}");
    assert!(heard["reset"].abs_diff(50) < 25, "{heard:?}");
    let counted = |plain: &mut Plain, labels: &[(&str, &str)]| {
        plain.node().metrics().sum("nodeway_tcp_connections_total", labels)
    };
    let served = [("route_name", "db"), ("backend_name", "v1"), ("response_flags", "-")];
    eventually(SOON, "all are counted", || {
        let lost = counted(&mut plain, &[("route_name", "db"), ("response_flags", "IR")]);
        let all = [lost, counted(&mut plain, &served)].map(f64::round);
        all == [f64::from(heard["reset"]), f64::from(heard["v1 "])]
    });
}

#[test]
fn who_does_not_speak_tls_is_reset_by_a_tls_route() {
    let to_v1 = route("tls", "web", "[a.test]", "[{name: v1, port: 80}]");
    let (_plain, web) = two_servers("tls", &to_v1);
    assert_eq!(hears(web, b"GET / HTTP/1.1\r\n\r\n"), "reset");
    assert_eq!(hears(web, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"), "reset", "a broken hello");
}

/// `db` on both pods by a route, each of which says its name first.
fn database(app_protocol: Option<&'static str>) -> Option<(Mesh, [Pod; 2])> {
    let mut mesh = Mesh::new()?;
    let pods = ["db-1", "db-2"].map(|name| mesh.world.pod(name));
    mesh.manifests.service(&Service::new("db").ip(DB).port(5432, 5432, app_protocol));
    for pod in &pods {
        let service = Service::new(&pod.name).port(5432, 5432, Some("tcp"));
        mesh.manifests.service(&service.to_pod(pod));
    }
    mesh.start(&[]);
    Some((mesh, pods))
}

#[test]
fn connections_are_split_by_weight_through_ebpf() {
    let Some((mesh, pods)) = database(None) else { return };
    let _servers: [Proc; 2] = [0, 1].map(|i: usize| pods[i].serve("banner", "v", 5432));
    let weights = "[{name: db-1, port: 5432, weight: 80}, {name: db-2, port: 5432, weight: 20}]";
    mesh.manifests.put("route.yaml", &route("db", "db", "", weights));
    let code = "import collections, socket, sys\n\
                count = collections.Counter()\n\
                for n in range(int(sys.argv[2])):\n\
                \x20   try:\n\
                \x20       with socket.create_connection((sys.argv[1], 5432), 10) as s:\n\
                \x20           count[s.recv(99).split()[1].decode()] += 1\n\
                \x20   except OSError: count['reset'] += 1\n\
                print(count['db-1'], count['db-2'], count['reset'])\n";
    let count = |number: &str| -> Vec<i32> {
        let ran = mesh.client.place.python(code, &[DB, number]);
        assert!(ran.ok, "{}", ran.err);
        ran.out.split_whitespace().map(|number| number.parse().unwrap()).collect()
    };
    // Before the route is there, nobody serves.
    eventually(SOON, "the route", || count("1")[2] == 0);
    // 5 % of all are nearly three standard deviations: chance may have three tries.
    let tries: Vec<_> = (0..3).map(|_| count("500")).collect();
    let fair = |counted: &Vec<i32>| counted[0].abs_diff(400) <= 25;
    assert!(tries.iter().all(|counted| counted[0] + counted[1] == 500), "{tries:?}");
    assert!(tries.iter().any(fair), "{tries:?}");
}

#[test]
fn tls_goes_to_the_server_that_is_named_and_is_not_opened() {
    let Some((mesh, pods)) = database(Some("tls")) else { return };
    let scratch = mesh.world.scratch();
    let server = "import socket, ssl, sys\n\
                  context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
                  context.load_cert_chain(sys.argv[2], sys.argv[3])\n\
                  s = socket.create_server((sys.argv[4], 5432))\n\
                  print('listening', flush=True)\n\
                  while True:\n\
                  \x20   try:\n\
                  \x20       c = context.wrap_socket(s.accept()[0], server_side=True)\n\
                  \x20       c.sendall(sys.argv[1].encode()); c.close()\n\
                  \x20   except OSError: pass\n";
    let mut servers = Vec::new();
    for pod in &pods {
        let [cert, key] = ["crt", "key"].map(|part| scratch.join(format!("{}.{part}", pod.name)));
        let [cert, key] = [cert, key].map(|path| path.to_str().unwrap().to_owned());
        let name = format!("DNS:{0}.test,DNS:*.{0}.test", pod.name);
        let subject = [format!("/CN={}", pod.name), format!("subjectAltName={name}")];
        mesh.world.node().ok(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
                "-subj",
                &subject[0],
                "-addext",
                &subject[1],
                "-keyout",
                &key,
                "-out",
                &cert,
            ],
        );
        let ip = pod.ipv4.to_string();
        let args = ["-c", server, &pod.name, &cert, &key, &ip];
        servers.push(pod.place.start(binaries::python(), &args).until_it_says("listening"));
    }
    mesh.manifests.put(
        "a.yaml",
        &route("a", "db", "[db-1.test, '*.db-1.test']", "[{name: db-1, port: 5432}]"),
    );
    mesh.manifests.put("b.yaml", &route("b", "db", "['*.test']", "[{name: db-2, port: 5432}]"));
    // The server's own certificate is trusted, and no other: nobody in between can answer.
    let client = "import socket, ssl, sys\n\
                  context = ssl.create_default_context(cafile=sys.argv[3])\n\
                  try:\n\
                  \x20   s = socket.create_connection((sys.argv[1], 5432), 10)\n\
                  \x20   print(context.wrap_socket(s, server_hostname=sys.argv[2] or None).recv(99).decode())\n\
                  except ConnectionResetError: print('reset')\n\
                  except ssl.SSLEOFError: print('reset')\n\
                  except ssl.SSLCertVerificationError: print('another')\n";
    let asks = |name: &str, trusted: &str| {
        let cert = scratch.join(format!("{trusted}.crt"));
        let ran = mesh.client.place.python(client, &[DB, name, cert.to_str().unwrap()]);
        assert!(ran.ok, "{}", ran.err);
        ran.out.trim().to_owned()
    };
    eventually(SOON, "the routes", || asks("db-2.test", "db-2") == "db-2");
    eventually(SOON, "the routes", || asks("db-1.test", "db-1") == "db-1");
    assert_eq!(asks("x.db-1.test", "db-1"), "db-1");
    assert_eq!(asks("x.db-2.test", "db-2"), "db-2");
    assert_eq!(asks("db-1.test", "db-2"), "another");
    assert_eq!(asks("db-1.example", "db-1"), "reset", "no route has the name");
}
