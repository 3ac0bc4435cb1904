//! What is beyond a policy's limits is refused at once, and what is within them is served.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hyper::Request;
use nodeway_tests::http::{self, Conn, Response, ended};
use nodeway_tests::{Plain, Script, backend, h2, http2, wait};

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

    fn hold(&self) {
        self.open.store(false, Ordering::SeqCst);
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

fn world<const N: usize>(policy: &str, protocol: &'static str) -> (Plain, SocketAddr, [Holder; N]) {
    let mut plain = Plain::new();
    let at = [(); N].map(|()| Plain::backend());
    let service = Plain::service("web", protocol).ip("10.96.0.9");
    let service = at.iter().fold(service, |service, at| service.to(*at));
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
    // The reset may come before `connect` has returned.
    let ask = || {
        let mut conn = Conn::open(web)?;
        // Nor may it leave the time to ask.
        let _ = conn.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n");
        conn.response()
    };
    assert!(ended(&ask().unwrap_err()));
    server.let_go();
    assert_eq!(first.response().unwrap().status, 200);
    drop(first);
    wait::eventually(SOON, "there is room again", || {
        ask().is_ok_and(|response| response.status == 200)
    });
    assert!(overflows(&mut plain, "active", "backend") >= 1.0);
}

/// What the snapshot says of what is under way with `web`: active, pending, retries, and of its endpoints.
fn under_way(plain: &mut Plain) -> [u64; 4] {
    let snapshot = http::get(plain.node().admin_at, "/snapshot").unwrap().json();
    let web = &snapshot["frontends"][0];
    let endpoints = web["endpoints"].as_array().unwrap();
    let of = |name: &str| web["under_way"][name].as_u64().unwrap();
    let active = endpoints.iter().map(|endpoint| endpoint["active"].as_u64().unwrap()).sum();
    [of("active"), of("pending"), of("retries"), active]
}

#[test]
fn a_limit_that_comes_later_finds_room_for_whoever_waits() {
    let (mut plain, web, [server]) = world("circuitBreaker: {}", "http");
    server.let_go();
    // More than one, and idle.
    let mut conns = [(); 4].map(|()| asked(web));
    for conn in &mut conns {
        assert_eq!(conn.response().unwrap().status, 200);
    }
    plain.manifests.backend_policy("web", "circuitBreaker: {maxConnections: 1}");
    wait::eventually(SOON, "the idle ones are closed", || connections(&mut plain) <= 1);
    for conn in &mut conns {
        conn.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
        assert_eq!(conn.response().unwrap().status, 200);
        assert!(connections(&mut plain) <= 1);
    }
}

fn connections(plain: &mut Plain) -> u64 {
    let snapshot = http::get(plain.node().admin_at, "/snapshot").unwrap().json();
    snapshot["frontends"][0]["under_way"]["connections"].as_u64().unwrap()
}

#[test]
fn streams_of_http2_are_limited_as_requests_are_and_grpc_is_told_in_its_own_words() {
    let mut plain = Plain::new();
    let at = Plain::backend();
    let endpoint = http2::Endpoint::start(at, http2::Script::default());
    plain.manifests.service(&Plain::service("web", "kubernetes.io/h2c").ip("10.96.0.9").to(at));
    plain.manifests.backend_policy("web", "circuitBreaker: {maxRequests: 2}");
    let web = plain.listen("web");
    plain.start();
    http2::run(async {
        let mut client = http2::connect(web).await;
        let mut ask = |path: &str, kind: &str| {
            let request = Request::get(format!("http://web{path}")).header("content-type", kind);
            client.send_request(request.body(()).unwrap(), true).unwrap().0
        };
        let held = [ask("/hold", "a/b"), ask("/hold", "a/b")];
        while endpoint.open() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let refused = http2::read(ask("/", "a/b")).await.unwrap();
        assert_eq!(refused.head.status(), 503);
        // Trailers-Only: UNAVAILABLE, in the head.
        let told = http2::read(ask("/", "application/grpc")).await.unwrap();
        let field = |name: &str| told.head.headers()[name].to_str().unwrap().to_owned();
        assert_eq!((told.head.status().as_u16(), field("grpc-status")), (200, "14".to_owned()));
        assert_eq!(field("grpc-message"), "too much is under way");
        assert!(told.body.is_empty() && told.trailers.is_empty());
        endpoint.release();
        for held in held {
            assert_eq!(http2::read(held).await.unwrap().head.status(), 200);
        }
        assert_eq!(http2::read(ask("/", "a/b")).await.unwrap().head.status(), 200);
    });
    assert_eq!(endpoint.requests(), 3, "who was refused was not sent");
    assert!((overflows(&mut plain, "active", "backend") - 2.0).abs() < 0.1);
}

#[test]
fn a_retry_budget_of_nothing_allows_no_retry() {
    for (budget, sent) in [("{percent: 0, minConcurrent: 0}", 1), ("{percent: 100}", 3)] {
        let mut plain = Plain::new();
        let at = Plain::backend();
        let script = Script::statuses(at, &[503]);
        plain.manifests.service(&Plain::service("web", "http").to(at));
        let retry = "retry: {codes: [503], attempts: 2, backoff: 1ms}";
        let rule = format!("- {retry}\n  backendRefs: [{{name: web, port: 80}}]");
        plain.manifests.route("web", "web", &rule);
        plain.manifests.backend_policy("web", &format!("retryBudget: {budget}"));
        let web = plain.listen("web");
        plain.start();
        assert_eq!(asked(web).response().unwrap().status, 503);
        assert_eq!(script.asked().len(), sent, "{budget}");
        let refused = overflows(&mut plain, "retries", "backend");
        assert!((refused - if sent == 1 { 1.0 } else { 0.0 }).abs() < 0.1, "{refused}");
        let flagged = [("response_flags", "URX"), ("response_code", "503")];
        let counted = plain.node().metrics().sum("nodeway_requests_total", &flagged);
        assert!((counted - 1.0).abs() < 0.1, "{counted}");
    }
}

#[test]
fn an_adaptive_limit_refuses_what_a_server_cannot_bear_and_nothing_without_load() {
    let policy = "circuitBreaker: {adaptiveConcurrency: {minRequests: 2, maxRequests: 8}}";
    let (mut plain, web, [server]) = world(policy, "http");
    let mut under_way = vec![asked(web)];
    wait::eventually(SOON, "it is under way", || server.requests() == 1);
    server.let_go();
    assert_eq!(under_way.pop().unwrap().response().unwrap().status, 200);
    for _ in 0..20 {
        assert_eq!(asked(web).response().unwrap().status, 200);
    }
    let refused = overflows(&mut plain, "adaptive", "backend");
    assert!(refused < 0.1, "nothing was refused without load: {refused}");
    // More than may ever be.
    server.hold();
    let mut many: Vec<_> = (0..20).map(|_| asked(web)).collect();
    wait::eventually(SOON, "it is too much", || {
        overflows(&mut plain, "adaptive", "backend") > 11.0
    });
    server.let_go();
    let served = many.iter_mut().filter_map(|conn| conn.response().ok());
    let served = served.filter(|response| response.status == 200).count();
    assert!((2..=8).contains(&served), "{served}");
}

#[test]
fn clients_that_reset_and_clients_that_go_at_any_time_leave_nothing_counted() {
    for (protocol, http2) in [("http", false), ("kubernetes.io/h2c", true)] {
        let mut plain = Plain::new();
        let at = Plain::backend();
        let _server = plain.testserver(at, "v1");
        plain.manifests.service(&Plain::service("web", protocol).ip("10.96.0.9").to(at));
        let policy = "circuitBreaker: {maxConnections: 2, perEndpoint: {maxRequests: 20}}";
        plain.manifests.backend_policy("web", policy);
        let web = plain.listen("web");
        plain.start();
        thread::scope(|scope| {
            for client in 0..4_u64 {
                scope.spawn(move || {
                    for round in 0..40_u64 {
                        // Each goes at another time, some before they are served and some after.
                        let pause = Duration::from_micros((client * 41 + round * 97) % 4_000);
                        // Whatever comes of it is not this test's to say.
                        let _ = if http2 { reset(web, pause) } else { hang_up(web, pause) };
                    }
                });
            }
        });
        wait::eventually(SOON, "nothing is under way", || under_way(&mut plain) == [0; 4]);
        let answered = if http2 {
            http2::run(async {
                let request = Request::get("http://web/").body(()).unwrap();
                let sent = http2::connect(web).await.send_request(request, true).unwrap();
                http2::read(sent.0).await.unwrap().head.status().as_u16()
            })
        } else {
            asked(web).response().unwrap().status
        };
        assert_eq!(answered, 200);
    }
}

/// Asks, and is gone after so long, in the middle of its request every other time.
fn hang_up(web: SocketAddr, pause: Duration) -> std::io::Result<()> {
    let mut conn = Conn::open(web)?;
    let body = "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 100\r\n\r\nhalf";
    let whole = "GET / HTTP/1.1\r\nHost: web\r\n\r\n";
    conn.send(if pause.as_micros().is_multiple_of(2) { body } else { whole })?;
    thread::sleep(pause);
    Ok(())
}

/// Asks on some streams, resets them after so long, and asks again; then it is gone.
fn reset(web: SocketAddr, pause: Duration) -> std::io::Result<()> {
    let mut conn = h2::H2::open(web, &[])?;
    for stream in [1, 3, 5] {
        conn.send(h2::get(stream, "/"))?;
    }
    thread::sleep(pause);
    for stream in [1, 3, 5] {
        conn.send(h2::cancel(stream))?;
    }
    conn.send(h2::get(7, "/"))
}
