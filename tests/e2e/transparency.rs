//! Unmodified programs work through a ClusterIP as if nothing stood between.

use std::net::SocketAddr;
use std::time::Duration;

use nodeway_tests::mesh::{VIP4, VIP6};
use nodeway_tests::{Mesh, Pod, Service, skip};
use serde_json::Value;

/// What one endpoint's JSON line says.
fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// Whether the server saw the pod itself, by either of its addresses.
fn is_from(said: &Value, pod: &Pod) -> bool {
    let source: SocketAddr = said["source"].as_str().unwrap().parse().unwrap();
    source.ip() == pod.ipv4 || source.ip() == pod.ipv6
}

#[test]
fn curl_works_over_both_families_and_the_server_sees_the_pod() {
    let Some((mut mesh, _server)) = Mesh::with_web() else { return };
    for host in [VIP4.to_owned(), format!("[{VIP6}]")] {
        let said = json(&mesh.client.curl(&[&format!("http://{host}/a?b")]));
        assert_eq!((&said["pod"], &said["path"]), (&"web-1".into(), &"/a".into()));
        assert!(is_from(&said, &mesh.client), "{said}");
    }
    let through = mesh.node().metrics().sum("nodeway_requests_total", &[("parent_name", "web")]);
    assert!((through - 2.0).abs() < f64::EPSILON, "{through} of 2 went through the proxy");
}

#[test]
fn python_http_client_works() {
    let Some((mesh, _server)) = Mesh::with_web() else { return };
    let code = "import http.client, sys\n\
                c = http.client.HTTPConnection(sys.argv[1], 80, timeout=10)\n\
                for n in range(3):\n\
                \x20   c.request('POST', '/p', body=b'x' * 1000)\n\
                \x20   r = c.getresponse(); print(r.status, r.read().decode().strip())\n";
    for host in [VIP4, VIP6] {
        let ran = mesh.client.place.python(code, &[host]);
        assert!(ran.ok, "{}", ran.err);
        let lines: Vec<&str> = ran.out.lines().collect();
        assert_eq!(lines.len(), 3);
        for line in lines {
            let said = json(line.strip_prefix("200 ").unwrap());
            assert_eq!(said["method"], "POST");
        }
    }
}

#[test]
fn an_ipv4_mapped_address_is_the_ipv4_service() {
    let Some((mesh, _server)) = Mesh::with_web() else { return };
    // What Java and Go do: one AF_INET6 socket for both families.
    let code = "import socket, sys\n\
                s = socket.socket(socket.AF_INET6); s.settimeout(10)\n\
                s.connect(('::ffff:' + sys.argv[1], 80))\n\
                s.sendall(b'GET / HTTP/1.0\\r\\nHost: web\\r\\n\\r\\n')\n\
                print(s.makefile().read().strip())\n";
    let ran = mesh.client.place.python(code, &[VIP4]);
    assert!(ran.ok, "{}", ran.err);
    let said = json(ran.out.lines().last().unwrap());
    assert_eq!(said["pod"], "web-1");
    assert!(is_from(&said, &mesh.client), "{said}");
}

#[test]
fn an_app_that_binds_its_own_address_first_gets_through() {
    let Some((mesh, _server)) = Mesh::with_web() else { return };
    let said = mesh.client.curl(&[
        "--interface",
        &mesh.client.ipv4.to_string(),
        &format!("http://{VIP4}/"),
    ]);
    assert_eq!(json(&said)["pod"], "web-1");
}

#[test]
fn nghttp_speaks_http2_with_prior_knowledge() {
    if !skip::has("nghttp") {
        return;
    }
    let Some(mut mesh) = Mesh::new() else { return };
    let pod = mesh.world.pod("web-1");
    let h2c = Service::new("web").ip(VIP4).port(80, 8080, Some("kubernetes.io/h2c"));
    mesh.manifests.service(&h2c.to_pod(&pod));
    let _server = pod.serve("http", "v1", 8080);
    mesh.start(&[]);
    let out = mesh.client.place.ok("nghttp", &["-v", &format!("http://{VIP4}/trailers")]);
    assert!(out.contains(":status: 200"), "{out}");
    assert!(out.contains("with trailers"), "{out}");
    assert!(out.contains("x-trailer: the end"), "{out}");
    let out = mesh.client.place.ok("nghttp", &[&format!("http://{VIP4}/")]);
    assert_eq!(json(&out)["protocol"], "HTTP/2.0", "upstream speaks what the Service declares");
}

#[test]
fn redis_works_unmodified() {
    if !skip::has("redis-server") {
        return;
    }
    let Some(mut mesh) = Mesh::new() else { return };
    let pod = mesh.world.pod("redis");
    let service = Service::new("redis").ip(VIP4).ip(VIP6).port(6379, 6379, None);
    mesh.manifests.service(&service.to_pod(&pod));
    let (v4, v6) = (pod.ipv4.to_string(), pod.ipv6.to_string());
    let args = ["--port", "6379", "--bind", &v4, &v6, "--save", "", "--protected-mode", "no"];
    let _server = pod.place.start("redis-server", &args).until_it_says("Ready to accept");
    mesh.start(&[]);
    for host in [VIP4, VIP6] {
        let cli =
            |args: &[&str]| mesh.client.place.ok("redis-cli", &[&["-h", host], args].concat());
        assert_eq!(cli(&["SET", "key", "value"]).trim(), "OK");
        assert_eq!(cli(&["GET", "key"]).trim(), "value");
    }
}

#[test]
fn a_server_that_speaks_first_is_heard_at_once() {
    let Some(mut mesh) = Mesh::new() else { return };
    let pod = mesh.world.pod("mail");
    // Nothing says what is spoken on this port.
    mesh.manifests.service(&Service::new("mail").ip(VIP4).port(2626, 2626, None).to_pod(&pod));
    let _server = pod.serve("banner", "v1", 2626);
    mesh.start(&[]);
    let code = "import socket, sys, time\n\
                start = time.monotonic()\n\
                s = socket.create_connection((sys.argv[1], 2626), timeout=10)\n\
                f = s.makefile('rw', newline='\\r\\n')\n\
                print(f.readline().strip()); print(time.monotonic() - start)\n\
                f.write('HELO me\\r\\n'); f.flush(); print(f.readline().strip())\n\
                f.write('QUIT\\r\\n'); f.flush(); print(f.readline().strip()); print(repr(f.read()))\n";
    let ran = mesh.client.place.python(code, &[VIP4]);
    assert!(ran.ok, "{}", ran.err);
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!((lines[0], lines[2]), ("220 mail ready", "250 got HELO me"));
    assert_eq!((lines[3], lines[4]), ("221 bye", "''"), "the end comes through as well");
    let waited = Duration::from_secs_f64(lines[1].parse().unwrap());
    assert!(waited < Duration::from_secs(1), "the banner took {waited:?}: detection stalls");
}

#[test]
fn a_half_closed_connection_still_carries_the_answer() {
    let Some(mut mesh) = Mesh::new() else { return };
    let pod = mesh.world.pod("echo");
    mesh.manifests.service(&Service::new("echo").ip(VIP4).port(7777, 7777, None).to_pod(&pod));
    let _server = pod.serve("tcp-echo", "v1", 7777);
    mesh.start(&[]);
    let code = "import socket, sys\n\
                s = socket.create_connection((sys.argv[1], 7777), timeout=10)\n\
                s.sendall(b'x' * 100000); s.shutdown(socket.SHUT_WR)\n\
                got = 0\n\
                while True:\n\
                \x20   part = s.recv(65536)\n\
                \x20   if not part: break\n\
                \x20   got += len(part)\n\
                print(got)\n";
    let ran = mesh.client.place.python(code, &[VIP4]);
    assert_eq!(ran.out.trim(), "100000", "{}", ran.err);
}
