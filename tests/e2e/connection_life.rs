//! Connections to endpoints end, by either side's will, and no request notices.

use std::collections::HashMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use hyper::http::Request;
use nodeway_tests::http::Conn;
use nodeway_tests::{Plain, backend, http2, wait};

const SOON: Duration = Duration::from_secs(30);

/// How a server ends a connection after its last response.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// It has said `Connection: close` in it.
    Announced,
    /// Without a word.
    Sudden,
}

/// A server of HTTP/1.1 that closes each connection after so many responses.
#[derive(Clone, Default)]
struct Closer {
    open: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    /// How often each path was asked for.
    asked: Arc<Mutex<HashMap<String, usize>>>,
    /// Begins bodies and does not end them.
    hangs: Arc<AtomicBool>,
}

// === impl Closer ===

impl Closer {
    fn start(at: SocketAddr, most: usize, end: End) -> Self {
        let this = Self::default();
        let server = this.clone();
        backend::serve(at, move |stream| {
            server.connections.fetch_add(1, Ordering::SeqCst);
            server.open.fetch_add(1, Ordering::SeqCst);
            // Who hangs up is no failure.
            let _ = server.answer(stream, most, end);
            server.open.fetch_sub(1, Ordering::SeqCst);
        });
        this
    }

    fn answer(&self, stream: TcpStream, most: usize, end: End) -> std::io::Result<()> {
        let mut out = stream.try_clone()?;
        let mut conn = Conn::from(stream);
        for left in (0..most).rev() {
            let asked = conn.request()?;
            let path = asked.head.split(' ').nth(1).unwrap_or_default().to_owned();
            *self.asked.lock().unwrap().entry(path).or_default() += 1;
            if self.hangs.load(Ordering::SeqCst) {
                out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok")?;
                return conn.rest().map(|_| ());
            }
            let close =
                if left == 0 && end == End::Announced { "connection: close\r\n" } else { "" };
            out.write_all(
                format!("HTTP/1.1 200 OK\r\n{close}content-length: 2\r\n\r\nok").as_bytes(),
            )?;
        }
        Ok(())
    }

    fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }
}

fn world(most: usize, end: End, policy: &str) -> (Plain, SocketAddr, Closer, SocketAddr) {
    let mut plain = Plain::new();
    let at = Plain::backend();
    let server = Closer::start(at, most, end);
    plain.manifests.service(&Plain::service("web", "http").to(at));
    if !policy.is_empty() {
        plain.manifests.backend_policy("web", policy);
    }
    let web = plain.listen("web");
    plain.start();
    (plain, web, server, at)
}

/// 64 clients at once, each asks so often, never twice for one path; the statuses.
fn storm(web: SocketAddr, method: &'static str, times: usize) -> HashMap<u16, usize> {
    let clients: Vec<_> = (0..64)
        .map(|client| {
            thread::spawn(move || {
                let mut conn = Plain::connect(web);
                let mut statuses = Vec::new();
                for nth in 0..times {
                    let (length, body) = if method == "GET" { (0, "") } else { (4, "buy!") };
                    let request = format!(
                        "{method} /{client}-{nth} HTTP/1.1\r\nHost: web\r\nContent-Length: {length}\r\n\r\n{body}"
                    );
                    conn.send(request).unwrap();
                    statuses.push(conn.response().unwrap().status);
                }
                statuses
            })
        })
        .collect();
    let mut counts = HashMap::new();
    for status in clients.into_iter().flat_map(|client| client.join().unwrap()) {
        *counts.entry(status).or_default() += 1;
    }
    counts
}

#[test]
fn a_server_that_announces_the_end_of_its_connections_costs_no_request() {
    for method in ["GET", "POST"] {
        let (_plain, web, server, _) = world(3, End::Announced, "");
        assert_eq!(storm(web, method, 40), HashMap::from([(200, 64 * 40)]), "{method}");
        assert!(server.connections.load(Ordering::SeqCst) >= 64 * 40 / 3);
        assert!(server.asked.lock().unwrap().values().all(|times| *times == 1), "{method}");
    }
}

#[test]
fn a_server_that_closes_its_connections_without_a_word_costs_no_request_that_may_be_sent_again() {
    let (_plain, web, server, _) = world(3, End::Sudden, "");
    assert_eq!(storm(web, "GET", 40), HashMap::from([(200, 64 * 40)]));
    assert!(server.connections.load(Ordering::SeqCst) >= 64 * 40 / 3);
}

#[test]
fn what_may_be_sent_only_once_is_sent_only_once_and_is_seldom_lost() {
    let (_plain, web, server, _) = world(3, End::Sudden, "");
    let statuses = storm(web, "POST", 40);
    let answered = statuses.get(&200).copied().unwrap_or_default();
    // The end may be on its way while the request is on its own.
    assert!(answered >= 64 * 40 * 9 / 10, "{statuses:?}");
    assert_eq!(answered + statuses.get(&502).copied().unwrap_or_default(), 64 * 40, "{statuses:?}");
    assert!(server.asked.lock().unwrap().values().all(|times| *times == 1));
}

#[test]
fn a_connection_takes_no_more_requests_than_policy_says() {
    let (_plain, web, server, _) = world(usize::MAX, End::Sudden, "connection: {maxRequests: 5}");
    assert_eq!(storm(web, "POST", 20), HashMap::from([(200, 64 * 20)]));
    assert!(server.connections.load(Ordering::SeqCst) >= 64 * 20 / 5);
}

#[test]
fn the_idle_connections_to_an_endpoint_that_is_gone_are_closed_at_once() {
    let (plain, web, server, at) = world(usize::MAX, End::Sudden, "");
    let other = Plain::backend();
    let stays = Closer::start(other, usize::MAX, End::Sudden);
    assert_eq!(storm(web, "GET", 5), HashMap::from([(200, 64 * 5)]));
    assert!(server.open() > 0);
    plain.manifests.service(&Plain::service("web", "http").unready(at).to(other));
    // Not after a minute of idleness.
    wait::eventually(SOON, "they are closed", || server.open() == 0);
    assert_eq!(storm(web, "GET", 5), HashMap::from([(200, 64 * 5)]));
    assert!(stays.open() > 0 && server.open() == 0);
}

#[test]
fn what_is_under_way_with_an_endpoint_that_is_gone_is_cut_in_the_time_of_the_policy() {
    let policy = "connection: {drainTimeout: 200ms}";
    let (mut plain, web, server, _) = world(usize::MAX, End::Sudden, policy);
    server.hangs.store(true, Ordering::SeqCst);
    let mut conn = Plain::connect(web);
    conn.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
    while !conn.line().unwrap().is_empty() {}
    assert_eq!(conn.exactly(2).unwrap(), b"ok");
    plain.manifests.service(&Plain::service("web", "http"));
    assert!(conn.exactly(7).is_err(), "the body is cut");
    wait::eventually(SOON, "the endpoint is left", || server.open() == 0);
    let cut = [("response_flags", "LR")];
    assert!(plain.node().metrics().sum("nodeway_requests_total", &cut) >= 1.0);
}

#[test]
fn without_a_time_to_drain_what_is_under_way_goes_on() {
    let (plain, web, server, _) = world(usize::MAX, End::Sudden, "");
    server.hangs.store(true, Ordering::SeqCst);
    let mut conn = Plain::connect(web);
    conn.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
    while !conn.line().unwrap().is_empty() {}
    server.hangs.store(false, Ordering::SeqCst);
    plain.manifests.service(&Plain::service("web", "http"));
    wait::eventually(SOON, "it is gone", || {
        nodeway_tests::http::get(web, "/").is_ok_and(|answer| answer.status == 503)
    });
    wait::eventually(SOON, "what is idle is closed", || server.open() == 1);
    thread::sleep(Duration::from_millis(300));
    assert_eq!(server.open(), 1);
}

#[test]
fn an_http2_server_that_says_goaway_under_load_costs_no_request() {
    let mut plain = Plain::new();
    let at = Plain::backend();
    let script = http2::Script { go_away_after: Some(7), ..http2::Script::default() };
    let server = http2::Endpoint::start(at, script);
    plain.manifests.service(&Plain::service("web", "kubernetes.io/h2c").to(at));
    let web = plain.listen("web");
    plain.start();
    http2::run(async {
        let mut client = http2::connect(web).await;
        for round in 0..20 {
            let mut answers = Vec::new();
            for _ in 0..64 {
                let post = Request::post(format!("http://{web}/")).body(()).unwrap();
                let (response, mut out) = client.send_request(post, false).unwrap();
                out.send_data(Bytes::from_static(b"buy!"), true).unwrap();
                answers.push(tokio::spawn(http2::read(response)));
            }
            for answer in answers {
                let answer = answer.await.unwrap().unwrap();
                assert_eq!(answer.head.status(), 200, "round {round}: {}", answer.text());
                assert!(answer.text().contains("body: 4\n"));
            }
        }
    });
    assert_eq!(server.requests(), 20 * 64);
}

#[test]
fn a_relayed_connection_to_an_endpoint_that_is_gone_is_reset_in_the_time_of_the_policy() {
    let mut plain = Plain::new();
    let at = Plain::backend();
    backend::serve(at, |mut stream| {
        stream.write_all(b"hello").unwrap();
        let _ = stream.read(&mut [0; 8]);
    });
    plain.manifests.service(&Plain::service("web", "tcp").to(at));
    plain.manifests.backend_policy("web", "connection: {drainTimeout: 200ms}");
    let web = plain.listen("web");
    plain.start();
    let mut conn = Plain::connect(web);
    assert_eq!(conn.exactly(5).unwrap(), b"hello");
    plain.manifests.service(&Plain::service("web", "tcp"));
    let end = conn.socket().read(&mut [0; 8]).unwrap_err();
    assert_eq!(end.kind(), std::io::ErrorKind::ConnectionReset);
    let cut = [("response_flags", "LR")];
    wait::eventually(SOON, "it is counted", || {
        plain.node().metrics().sum("nodeway_tcp_connections_total", &cut) >= 1.0
    });
}
