//! Where routes of HTTP apply there is no way around them; where none do, everything else still works.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nodeway_tests::{Plain, backend, eventually};

const SOON: Duration = Duration::from_secs(30);
/// Says nothing about what is spoken.
const NOTHING: &str = "example.com/unheard-of";
/// How a client begins that speaks TLS.
const CLIENT_HELLO: &[u8] =
    b"\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x03 and then thirty-two octets of chance\0\x00\x02\x13\x01\x01\x00";
const ONLY_OPEN: &str =
    "- matches: [{path: {value: /open}}]\n  backendRefs: [{name: web, port: 80}]";

/// `web`, declared to speak this, with one endpoint that greets who connects, counts him, and tells what he
/// says back.
fn world(app_protocol: &'static str, rules: Option<&str>) -> (Plain, SocketAddr, Arc<AtomicUsize>) {
    let (mut plain, at) = (Plain::new(), Plain::backend());
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    backend::serve(at, move |mut stream| {
        count.fetch_add(1, Ordering::SeqCst);
        stream.write_all(b"220 ready\r\n").ok();
        let mut octets = [0; 1024];
        while let Ok(n @ 1..) = stream.read(&mut octets) {
            stream.write_all(&octets[..n]).ok();
        }
    });
    plain.manifests.service(&Plain::service("web", app_protocol).to(at));
    if let Some(rules) = rules {
        plain.manifests.route("web", "web", rules);
    }
    let web = plain.listen("web");
    plain.start();
    (plain, web, connections)
}

#[test]
fn nothing_passes_by_the_routes() {
    let many = "\r\n".repeat(40) + "GET /admin HTTP/1.1\r\nHost: web\r\n\r\n";
    let cases: [(&str, &[u8], &[u16]); 7] = [
        ("empty lines", b"\r\n\r\nGET /admin HTTP/1.1\r\nHost: web\r\n\r\n", &[404]),
        ("many empty lines", many.as_bytes(), &[404]),
        ("bare line feeds", b"\n\nGET /admin HTTP/1.1\r\nHost: web\r\n\r\n", &[400, 404]),
        ("a method in lower case", b"get /admin HTTP/1.1\r\nHost: web\r\n\r\n", &[400, 404]),
        ("noise", b"\x01\x02\x03\x04\r\n\r\n", &[400]),
        ("a text protocol", b"GET key\r\n\r\n", &[400]),
        ("half a ClientHello", &CLIENT_HELLO[..4], &[400]),
    ];
    for declared in [NOTHING, "http"] {
        let (mut plain, web, connections) = world(declared, Some(ONLY_OPEN));
        for (what, octets, right) in cases {
            let mut conn = Plain::connect(web);
            conn.send(octets).unwrap();
            if !octets.ends_with(b"\n") {
                conn.shut();
            }
            let told = conn.response().map(|response| response.status);
            // What is no request at all may also be closed without a word.
            let closed = !right.contains(&404) && told.is_err();
            let right = told.as_ref().is_ok_and(|status| right.contains(status));
            assert!(right || closed, "{declared}: {what}: {told:?}");
        }
        let errors =
            |plain: &mut Plain| plain.node().metrics().sum("nodeway_protocol_errors_total", &[]);
        let before = errors(&mut plain);
        let mut conn = Plain::connect(web);
        conn.send(CLIENT_HELLO).unwrap();
        assert_eq!(conn.rest().unwrap(), b"", "{declared}: TLS");
        eventually(SOON, "it is counted", || errors(&mut plain) > before);
        // A request that is to be refused waits for nobody's connection either.
        let mut conn = Plain::connect(web);
        conn.send("GET /admin HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
        assert_eq!(conn.response().unwrap().status, 404, "{declared}");
        assert_eq!(connections.load(Ordering::SeqCst), 0, "{declared}: the endpoint was reached");
        conn.send("GET /open HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
        assert_eq!(conn.response().unwrap().status, 502, "what it says is no HTTP");
        assert!(connections.load(Ordering::SeqCst) > 0);
    }
}

#[test]
fn without_routes_a_port_that_declares_nothing_carries_anything() {
    let (_plain, web, _connections) = world(NOTHING, None);
    let mut conn = Plain::connect(web);
    assert_eq!(conn.line().unwrap(), "220 ready", "who speaks first is heard");
    for said in [CLIENT_HELLO, b"\x01\x02\x03\x04"] {
        let mut conn = Plain::connect(web);
        conn.send(said).unwrap();
        let heard = conn.exactly("220 ready\r\n".len() + said.len()).unwrap();
        assert!(heard.ends_with(said), "{heard:?}");
    }
}

#[test]
fn without_routes_tls_passes_a_port_that_is_said_to_speak_http() {
    let (_plain, web, _connections) = world("http", None);
    let mut conn = Plain::connect(web);
    conn.send(CLIENT_HELLO).unwrap();
    let heard = conn.exactly("220 ready\r\n".len() + CLIENT_HELLO.len()).unwrap();
    assert!(heard.ends_with(CLIENT_HELLO), "{heard:?}");
}
