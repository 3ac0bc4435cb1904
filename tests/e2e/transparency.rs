//! Unmodified programs work through a ClusterIP, and see what they would see without us.

use std::time::Duration;

use nodeway_tests::{eventually, manifests as m};

use crate::shop::{Shop, V4, V6, field, have};

#[test]
fn curl_sees_the_server_and_the_server_sees_the_pod() {
    let Some(shop) = Shop::open(80, "", &[]) else { return };
    let _server = shop.server.serve("v1", 80);
    for url in [format!("http://{V4}/a?b"), format!("http://[{V6}]/a?b")] {
        let answer = shop.client.curl(&[&url]);
        assert_eq!(field(&answer, "source"), shop.client.ip4, "the slice's addresses are IPv4");
        assert_eq!(field(&answer, "request"), "GET /a?b");
    }
    // IPv6 endpoints: the pod's IPv6 address is the source.
    let slice = m::slice("web-4", "web", "IPv6", &[&shop.server.ip6], 80);
    m::put(&shop.world.manifests, "web.yaml", &(m::service("web", &[V4, V6], 80, "") + &slice));
    eventually(Duration::from_secs(10), "the IPv6 endpoint is in force", || {
        field(&shop.client.curl(&[&format!("http://[{V6}]/")]), "source") == shop.client.ip6
    });
    shop.nodeway.until_metric("nodeway_requests_total", &["parent_name=\"web\""], 3.0);
}

const PYTHON: &str = r#"
import http.client, socket, sys
for family, host in ((socket.AF_INET, "10.96.0.10"), (socket.AF_INET6, "fd00:96::10"),
                     (socket.AF_INET6, "::ffff:10.96.0.10")):
    connection = http.client.HTTPConnection(host, 80, timeout=20)
    connection.sock = socket.socket(family, socket.SOCK_STREAM)
    connection.sock.settimeout(20)
    connection.sock.connect((host, 80))
    print("peer:", connection.sock.getpeername()[:2])
    for _ in range(3):
        connection.request("GET", "/")
        response = connection.getresponse()
        body = response.read().decode()
        assert response.status == 200 and "source: 10.1.0.1" in body, body
# A socket that binds the pod's address first, and one that connects a second time.
bound = socket.create_connection(("10.96.0.10", 80), 20, (sys.argv[1], 0))
bound.sendall(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
assert b"200 OK" in bound.makefile("rb").read()
# UDP to the Service's address is none of our business.
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.connect(("10.96.0.10", 80))
print("udp:", udp.getpeername())
"#;

#[test]
fn python_sees_the_address_it_dialled_in_every_form() {
    let Some(shop) = Shop::open(80, "", &[]) else { return };
    let _server = shop.server.serve("v1", 80);
    let ran = shop.client.place.python(PYTHON, &[&shop.client.ip4]);
    assert!(ran.ok, "{}{}", ran.out, ran.err);
    for peer in ["('10.96.0.10', 80)", "('fd00:96::10', 80)", "('::ffff:10.96.0.10', 80)"] {
        assert!(ran.out.contains(&format!("peer: {peer}")), "{peer}: {}", ran.out);
    }
    assert!(ran.out.contains("udp: ('10.96.0.10', 80)"), "{}", ran.out);
    shop.nodeway.until_metric("nodeway_ebpf_connects_total", &["redirected"], 4.0);
    shop.nodeway.until_metric("nodeway_ebpf_connects_total", &["not_tcp"], 1.0);
}

#[test]
fn an_http2_client_with_prior_knowledge_is_served_http2_end_to_end() {
    let Some(shop) = Shop::open(80, "", &[]) else { return };
    if !have(&["nghttp"]) {
        return;
    }
    let _server = shop.server.serve("v1", 80);
    for host in [V4.to_owned(), format!("[{V6}]")] {
        let answer = shop.client.place.ok("nghttp", &["--no-dep", &format!("http://{host}/x")]);
        assert_eq!(field(&answer, "http"), "2");
        assert_eq!(field(&answer, "source"), shop.client.ip4);
    }
}

#[test]
fn redis_stays_itself() {
    let Some(shop) = Shop::open(6379, "", &[]) else { return };
    if !have(&["redis-server", "redis-cli"]) {
        return;
    }
    let redis = shop.server.place.start(
        "redis-server",
        &[
            "--port",
            "6379",
            "--bind",
            "0.0.0.0",
            "--protected-mode",
            "no",
            "--save",
            "",
            "--dir",
            "/tmp",
        ],
    );
    let redis = redis.until_it_says("Ready to accept connections");
    let cli = |args: &[&str]| {
        let mut all = vec!["-h", V4];
        all.extend(args);
        shop.client.place.ok("redis-cli", &all)
    };
    assert_eq!(cli(&["ping"]).trim(), "PONG");
    assert_eq!(cli(&["set", "key", "value"]).trim(), "OK");
    assert_eq!(shop.client.place.ok("redis-cli", &["-h", V6, "get", "key"]).trim(), "value");
    assert!(cli(&["client", "list"]).contains(&format!("addr={}:", shop.client.ip4)));
    drop(redis);
    shop.nodeway.until_metric("nodeway_tcp_connections_total", &["parent_name=\"web\""], 4.0);
}

const GREETED: &str = r#"
import socket, sys, time
for host in sys.argv[1:]:
    begin = time.monotonic()
    connection = socket.create_connection((host, 7000), 20)
    lines = connection.makefile("rb")
    print("greeting:", lines.readline().decode().strip())
    assert time.monotonic() - begin < 2, "the greeting was kept waiting"
    connection.sendall(b"EHLO pod\r\n")
    print("answer:", lines.readline().decode().strip())
    connection.shutdown(socket.SHUT_WR)
    assert lines.read() == b""
"#;

#[test]
fn a_server_that_speaks_first_is_heard_at_once_on_a_port_that_declares_nothing() {
    let Some(shop) = Shop::open(7000, "", &[]) else { return };
    let _server = shop.server.testserver(&["banner", "7000"]);
    let ran = shop.client.place.python(GREETED, &[V4, V6]);
    assert!(ran.ok, "{}{}", ran.out, ran.err);
    let greeting = format!("greeting: 220 mail ready for {}", shop.client.ip4);
    assert_eq!(ran.out.matches(&greeting).count(), 2, "{}", ran.out);
    assert_eq!(ran.out.matches("answer: 250 EHLO pod").count(), 2, "{}", ran.out);
}
