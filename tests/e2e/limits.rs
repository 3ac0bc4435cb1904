//! What is beyond a policy's limits is refused at once, and what is within them is served.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nodeway_tests::http::{Conn, Response, ended};
use nodeway_tests::{Plain, backend, wait};

const SOON: Duration = Duration::from_secs(10);

/// A server of HTTP/1.1 that holds its answers back until it is let go.
#[derive(Clone, Default)]
struct Holder {
    requests: Arc<AtomicUsize>,
    open: Arc<AtomicBool>,
}

// === impl Holder ===

impl Holder {
    fn start(at: SocketAddr) -> Self {
        let this = Self::default();
        let server = this.clone();
        backend::serve(at, move |stream| {
            // Who hangs up is no failure.
            let _ = server.answer(stream);
        });
        this
    }

    fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut out = stream.try_clone()?;
        let mut conn = Conn::from(stream);
        loop {
            conn.request()?;
            self.requests.fetch_add(1, Ordering::SeqCst);
            let end = Instant::now() + SOON;
            while !self.open.load(Ordering::SeqCst) && Instant::now() < end {
                thread::sleep(Duration::from_millis(5));
            }
            out.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")?;
        }
    }

    fn let_go(&self) {
        self.open.store(true, Ordering::SeqCst);
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn world<const N: usize>(policy: &str, protocol: &'static str) -> (Plain, SocketAddr, [Holder; N]) {
    let mut plain = Plain::new();
    let at = [(); N].map(|()| Plain::backend());
    let service = at.iter().fold(Plain::service("web", protocol), |service, at| service.to(*at));
    plain.manifests.service(&service);
    plain.manifests.backend_policy("web", policy);
    let web = plain.listen("web");
    plain.start();
    (plain, web, at.map(Holder::start))
}

/// A request that is on its way.
fn asked(web: SocketAddr) -> Conn {
    let mut conn = Plain::connect(web);
    conn.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
    conn
}

/// What a request is answered with at once.
fn refused(web: SocketAddr) -> Response {
    let start = Instant::now();
    let response = asked(web).response().unwrap();
    assert_eq!(response.status, 503);
    assert!(start.elapsed() < SOON / 4, "at once");
    response
}

fn overflows(plain: &mut Plain, limit: &str, of: &str) -> f64 {
    let labels = [("backend_name", "web"), ("limit", limit), ("of", of)];
    plain.node().metrics().sum("nodeway_overflows_total", &labels)
}

#[test]
fn what_is_beyond_a_backend_s_limit_is_refused_at_once_and_told_so_if_asked_for() {
    let policy = "circuitBreaker: {maxRequests: 1, overloadedHeader: true}";
    let (mut plain, web, [server]) = world(policy, "http");
    let mut first = asked(web);
    wait::eventually(SOON, "it is under way", || server.requests() == 1);
    for _ in 0..3 {
        assert_eq!(refused(web).header("x-envoy-overloaded"), Some("true"));
    }
    server.let_go();
    assert_eq!(first.response().unwrap().status, 200);
    assert_eq!(asked(web).response().unwrap().status, 200);
    assert_eq!(server.requests(), 2, "nobody else got through");
    assert!((overflows(&mut plain, "active", "backend") - 3.0).abs() < 0.1);
    let flagged = [("response_flags", "UO"), ("response_code", "503")];
    let counted = plain.node().metrics().sum("nodeway_requests_total", &flagged);
    assert!((counted - 3.0).abs() < 0.1);
    let told = plain.node().log().matches("too much is under way").count();
    assert!((1..=2).contains(&told), "{told} lines");
}

#[test]
fn an_endpoint_that_is_full_is_passed_over_until_all_are() {
    let policy = "circuitBreaker: {perEndpoint: {maxRequests: 1}}";
    let (mut plain, web, servers) = world::<3>(policy, "http");
    let held = [(); 3].map(|()| asked(web));
    wait::eventually(SOON, "each has one", || servers.iter().all(|server| server.requests() == 1));
    assert_eq!(refused(web).header("x-envoy-overloaded"), None);
    servers.iter().for_each(Holder::let_go);
    for mut conn in held {
        assert_eq!(conn.response().unwrap().status, 200);
    }
    assert!((overflows(&mut plain, "active", "endpoint") - 1.0).abs() < 0.1);
}

#[test]
fn who_finds_no_connection_waits_for_one_and_no_more_than_may() {
    let policy = "circuitBreaker: {maxConnections: 1, maxPendingRequests: 2}";
    let (mut plain, web, [server]) = world(policy, "http");
    let mut under_way = vec![asked(web)];
    wait::eventually(SOON, "it is under way", || server.requests() == 1);
    // Those who come wait, or are refused because two wait already: in any order.
    under_way.extend([asked(web), asked(web)]);
    let mut counted = 0.0;
    wait::eventually(SOON, "two wait", || {
        refused_if_full(web, &mut under_way);
        counted = overflows(&mut plain, "pending", "backend");
        counted > 0.5
    });
    server.let_go();
    let mut statuses: Vec<_> =
        under_way.iter_mut().map(|conn| conn.response().unwrap().status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses[..3], [200; 3]);
    assert!(statuses[3..].iter().all(|status| *status == 503), "{statuses:?}");
    assert_eq!(server.requests(), 3, "who was refused was not sent");
}

/// Asks once more; its answer, whichever it is, is looked at later.
fn refused_if_full(web: SocketAddr, under_way: &mut Vec<Conn>) {
    under_way.push(asked(web));
    thread::sleep(Duration::from_millis(20));
}

#[test]
fn a_connection_that_is_relayed_beyond_the_limit_is_reset() {
    let (mut plain, web, [server]) = world("circuitBreaker: {maxRequests: 1}", "tcp");
    let mut first = asked(web);
    wait::eventually(SOON, "it is under way", || server.requests() == 1);
    let mut second = Plain::connect(web);
    let _ = second.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n");
    assert!(ended(&second.response().unwrap_err()));
    server.let_go();
    assert_eq!(first.response().unwrap().status, 200);
    drop(first);
    wait::eventually(SOON, "there is room again", || {
        asked(web).response().is_ok_and(|response| response.status == 200)
    });
    assert!(overflows(&mut plain, "active", "backend") >= 1.0);
}
