//! A rule's timeouts end what takes too long, and nothing else.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nodeway_tests::http::{Conn, ended};
use nodeway_tests::script::{Act, status};
use nodeway_tests::{Plain, Script, eventually};

const SOON: Duration = Duration::from_secs(8);
/// Of rules in these tests, and more than a busy machine takes for what does not hang; what must come after it is
/// looked for up to [`SOON`].
const TIMEOUT: Duration = Duration::from_secs(1);

/// `web` with one scripted endpoint and these rules; its listener.
fn web(
    rules: &str,
    act: impl Fn(&str) -> Act + Send + Sync + 'static,
) -> (Plain, SocketAddr, Script) {
    let mut plain = Plain::new();
    let at = Plain::backend();
    let script = Script::start(at, move |_, asked| act(&asked.head));
    plain.manifests.service(&Plain::service("web", "kubernetes.io/ws").to(at));
    plain.manifests.route("web", "web", rules);
    let web = plain.listen("web");
    plain.start();
    (plain, web, script)
}

/// `/hang`: nothing; `/begin`: a head and the first octets of a body; else 200.
fn hangs(head: &str) -> Act {
    match head {
        head if head.starts_with("get /hang") => Act::SayAndHang(String::new()),
        head if head.starts_with("get /begin") => {
            Act::SayAndHang("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nbegun".to_owned())
        }
        _ => Act::Say(status(200)),
    }
}

fn get(web: SocketAddr, path: &str) -> Conn {
    let mut conn = Plain::connect(web);
    conn.send(format!("GET {path} HTTP/1.1\r\nHost: web\r\n\r\n")).unwrap();
    conn
}

fn timed_out(plain: &mut Plain) -> f64 {
    plain.node().metrics().sum("nodeway_requests_total", &[("response_flags", "UT")])
}

#[test]
fn a_request_that_takes_too_long_is_504() {
    for timeouts in ["{request: 1s}", "{backendRequest: 1s}", "{request: 10s, backendRequest: 1s}"]
    {
        let rules = format!("- timeouts: {timeouts}\n  backendRefs: [{{name: web, port: 80}}]");
        let (mut plain, web, script) = web(&rules, hangs);
        let start = Instant::now();
        let mut conn = get(web, "/hang");
        let response = conn.response().unwrap();
        assert_eq!(response.status, 504, "{timeouts}");
        assert!((TIMEOUT..SOON).contains(&start.elapsed()), "{timeouts}: {:?}", start.elapsed());
        // The endpoint is not kept busy with what nobody waits for.
        eventually(SOON, "the endpoint is let go", || script.left() == 1);
        assert!((timed_out(&mut plain) - 1.0).abs() < f64::EPSILON);
        // The client's connection goes on, and so does the rule.
        conn.send("GET /quick HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
        assert_eq!(conn.response().unwrap().status, 200, "{timeouts}");
    }
}

#[test]
fn no_timeout_and_zero_are_for_ever() {
    let (mut plain, web, _script) = web(
        "
- matches: [{path: {value: /hang/zero}}]
  timeouts: {request: 0s, backendRequest: 0s}
  backendRefs: [{name: web, port: 80}]
- matches: [{path: {value: /hang/none}}]
  backendRefs: [{name: web, port: 80}]
- timeouts: {request: 1s}
  backendRefs: [{name: web, port: 80}]",
        hangs,
    );
    let waiting = [get(web, "/hang/zero"), get(web, "/hang/none")];
    assert_eq!(get(web, "/hang/time").response().unwrap().status, 504);
    for conn in waiting {
        conn.socket().set_read_timeout(Some(TIMEOUT)).unwrap();
        let mut socket = conn.socket();
        let read = std::io::Read::read(&mut socket, &mut [0]);
        assert!(read.is_err_and(|error| !ended(&error)), "somebody answered");
    }
    assert!((timed_out(&mut plain) - 1.0).abs() < f64::EPSILON);
}

#[test]
fn a_response_that_has_begun_is_cut() {
    for timeouts in ["{request: 1s}", "{backendRequest: 1s}"] {
        let rules = format!("- timeouts: {timeouts}\n  backendRefs: [{{name: web, port: 80}}]");
        let (mut plain, web, script) = web(&rules, hangs);
        let mut conn = get(web, "/begin");
        assert!(conn.line().unwrap().contains("200"), "{timeouts}");
        let start = Instant::now();
        assert!(conn.rest().unwrap().ends_with(b"begun"), "{timeouts}");
        assert!(start.elapsed() < SOON, "{timeouts}");
        eventually(SOON, "the endpoint is let go", || script.left() == 1);
        eventually(SOON, "it is counted", || timed_out(&mut plain) >= 1.0);
        // HTTP/2: the stream is reset, the connection goes on.
        let args = ["-sS", "--http2-prior-knowledge", &format!("http://{web}/begin")];
        let ran = plain.place().run("curl", &args);
        assert!(!ran.ok && ran.err.contains("stream"), "{timeouts}: {}", ran.err);
    }
}

#[test]
fn a_client_that_sends_its_body_too_slowly_is_told() {
    let rules = "- timeouts: {request: 1s}\n  backendRefs: [{name: web, port: 80}]";
    let (_plain, web, _script) = web(rules, hangs);
    let mut conn = Plain::connect(web);
    conn.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 10\r\n\r\n12345").unwrap();
    assert_eq!(conn.response().unwrap().status, 504);
}

#[test]
fn an_upgraded_connection_lasts_as_long_as_it_likes() {
    let rules = "- timeouts: {request: 1s}\n  backendRefs: [{name: web, port: 80}]";
    let (_plain, web, _script) = web(rules, |_| {
        Act::Say("HTTP/1.1 101 On\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n".to_owned())
    });
    let mut conn = Plain::connect(web);
    conn.send("GET / HTTP/1.1\r\nHost: web\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        .unwrap();
    assert_eq!(conn.response().unwrap().status, 101);
    conn.socket().set_read_timeout(Some(2 * TIMEOUT)).unwrap();
    let read = conn.exactly(1);
    assert!(read.is_err_and(|error| !ended(&error)), "the tunnel was closed");
    // What the script reads as its next request.
    conn.socket().set_read_timeout(Some(SOON)).unwrap();
    conn.send("GET / HTTP/1.1\r\n\r\n").unwrap();
    assert!(conn.line().unwrap().contains("101"), "nothing came through the tunnel");
}
