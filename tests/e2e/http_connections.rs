//! Connections are kept, shared and streamed over as HTTP promises.

use std::io::{ErrorKind, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use nodeway_tests::backend::Flood;
use nodeway_tests::http::Conn;
use nodeway_tests::{Plain, wait};

const MIB: u64 = 1 << 20;
/// More than all socket buffers on the way can hold.
const MUCH: u64 = 256 * MIB;
/// What all buffers on the way may hold: four sockets' at most, of up to 6 MiB, and ours.
const BUFFERS: u64 = 40 * MIB;

fn flood_world(backend: SocketAddr) -> (Plain, SocketAddr) {
    let mut plain = Plain::new();
    plain.manifests.service(&Plain::service("web", "http").to(backend));
    let web = plain.listen("web");
    plain.start();
    (plain, web)
}

#[test]
fn a_connection_serves_many_requests_on_both_sides() {
    let (mut plain, web, _server) = Plain::with_testserver("http");
    let mut conn = Plain::connect(web);
    let mut sources = Vec::new();
    for n in 0..50 {
        conn.send(format!("GET /{n} HTTP/1.1\r\nHost: web\r\n\r\n")).unwrap();
        let said = conn.response().unwrap().json();
        assert_eq!(said["path"], format!("/{n}"));
        sources.push(said["source"].as_str().unwrap().to_owned());
    }
    sources.dedup();
    assert_eq!(sources.len(), 1, "upstream connections are not kept: {sources:?}");
    let connects = plain.node().metrics();
    let connects = connects.sum("nodeway_upstream_connects_total", &[("result", "ok")]);
    assert!((connects - 1.0).abs() < f64::EPSILON, "{connects} upstream connections");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (_plain, web, _server) = Plain::with_testserver("http");
    let mut conn = Plain::connect(web);
    let get = |n: u32| format!("GET /{n} HTTP/1.1\r\nHost: web\r\n\r\n");
    let post = "POST /sink HTTP/1.1\r\nHost: web\r\nContent-Length: 3\r\n\r\nabc";
    conn.send(get(1) + post + &get(2) + &get(3)).unwrap();
    assert_eq!(conn.response().unwrap().json()["path"], "/1");
    assert!(conn.response().unwrap().text().starts_with("3 "));
    assert_eq!(conn.response().unwrap().json()["path"], "/2");
    assert_eq!(conn.response().unwrap().json()["path"], "/3");
}

#[test]
fn an_upgraded_connection_carries_anything_both_ways() {
    let (_plain, web, _server) = Plain::with_testserver("http");
    let mut conn = Plain::connect(web);
    // The first bytes of the new protocol ride along with the request, as eager clients do.
    conn.send("GET /upgrade HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        .unwrap();
    let response = conn.response().unwrap();
    assert_eq!((response.status, response.header("upgrade")), (101, Some("echo")));
    for message in [&b"\x00\x01binary\xff"[..], b"GET / HTTP/1.1\r\n\r\n"] {
        conn.send(message).unwrap();
        assert_eq!(conn.exactly(message.len()).unwrap(), message);
    }
}

#[test]
fn request_and_response_stream_at_the_same_time() {
    let (_plain, web, _server) = Plain::with_testserver("http");
    let mut conn = Plain::connect(web);
    conn.send("POST /echo HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    conn.send("5\r\nfirst\r\n").unwrap();
    assert!(conn.line().unwrap().starts_with("HTTP/1.1 200"));
    conn.fields().unwrap();
    assert_eq!(conn.chunk().unwrap().unwrap(), b"first");
    // The answer has begun; the request has not ended.
    conn.send("6\r\nsecond\r\n").unwrap();
    assert_eq!(conn.chunk().unwrap().unwrap(), b"second");
    conn.send("0\r\n\r\n").unwrap();
    assert_eq!(conn.chunk().unwrap(), None);
}

#[test]
fn a_client_that_does_not_read_holds_the_server_back() {
    let backend = Plain::backend();
    let flood = Flood::sends(backend, MUCH);
    let (mut plain, web) = flood_world(backend);
    let idle = plain.node().rss();
    let mut conn = Plain::connect(web);
    conn.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
    wait::eventually(Duration::from_secs(30), "the flood begins", || flood.sent() > 0);
    let sent = wait::settled(Duration::from_secs(20), Duration::from_secs(1), || flood.sent());
    assert!(sent < BUFFERS, "{} MiB went where nobody reads", sent / MIB);
    let grown = plain.node().rss().saturating_sub(idle);
    assert!(grown < 16 * MIB, "the proxy holds {} MiB", grown / MIB);
    assert_eq!(conn.response().unwrap().body.len() as u64, MUCH, "and then all of it comes");
}

#[test]
fn a_server_that_does_not_read_holds_the_client_back() {
    let backend = Plain::backend();
    let flood = Flood::takes(backend, MUCH);
    let (mut plain, web) = flood_world(backend);
    let idle = plain.node().rss();
    let mut conn = Plain::connect(web);
    conn.send(format!("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: {MUCH}\r\n\r\n")).unwrap();
    let sent = fill(&conn, MUCH);
    assert!(sent < BUFFERS, "{} MiB went where nobody reads", sent / MIB);
    let grown = plain.node().rss().saturating_sub(idle);
    assert!(grown < 16 * MIB, "the proxy holds {} MiB", grown / MIB);
    flood.read_on();
    conn.socket().set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    let rest = vec![b'x'; usize::try_from(MIB).unwrap()];
    let mut left = MUCH - sent;
    while left > 0 {
        let piece = usize::try_from(left.min(MIB)).unwrap();
        conn.send(&rest[..piece]).unwrap();
        left -= piece as u64;
    }
    assert_eq!(conn.response().unwrap().text(), MUCH.to_string());
}

/// Writes until nobody has taken anything for a second; how much went in.
fn fill(conn: &Conn, limit: u64) -> u64 {
    let mut socket = conn.socket();
    socket.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let block = [b'x'; 64 * 1024];
    let mut sent = 0;
    while sent < limit {
        match socket.write(&block) {
            Ok(count) => sent += count as u64,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                break;
            }
            Err(error) => panic!("after {sent} bytes: {error}"),
        }
    }
    sent
}

#[test]
fn a_client_that_goes_away_takes_its_request_along() {
    let backend = Plain::backend();
    let flood = Flood::sends(backend, u64::MAX);
    let (mut plain, web) = flood_world(backend);
    let mut conn = Plain::connect(web);
    conn.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
    wait::eventually(Duration::from_secs(30), "the flood begins", || flood.sent() > 0);
    drop(conn);
    wait::settled(Duration::from_secs(10), Duration::from_millis(500), || flood.sent());
    wait::eventually(Duration::from_secs(30), "no connection is left", || {
        plain.node().metrics().sum("nodeway_downstream_connections_active", &[]) < 1.0
    });
}

#[test]
fn a_server_that_breaks_off_is_not_taken_for_a_whole_body() {
    let backend = Plain::backend();
    nodeway_tests::backend::serve(backend, |mut stream| {
        std::io::Read::read(&mut stream, &mut [0; 4096]).ok();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf").ok();
    });
    let (_plain, web) = flood_world(backend);
    let mut conn = Plain::connect(web);
    conn.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
    let result = conn.response();
    // Either the break is passed on, or it was seen before the head went out.
    assert!(result.as_ref().map_or(true, |r| r.status == 502), "taken for whole: {result:?}");
}
