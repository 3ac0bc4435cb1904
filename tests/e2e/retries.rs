//! What a rule's `retry` asks for is done, within its time and no more.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nodeway_tests::http::{self, Conn, Response};
use nodeway_tests::script::{Act, status};
use nodeway_tests::{Plain, Script, backend, eventually};

const SOON: Duration = Duration::from_secs(20);

/// `web` with these endpoints and one rule; its listener.
fn web(rule: &str, endpoints: &[SocketAddr]) -> (Plain, SocketAddr) {
    let mut plain = Plain::new();
    let service = Plain::service("web", "kubernetes.io/ws").ip("10.96.0.7");
    let service = endpoints.iter().fold(service, |service, at| service.to(*at));
    plain.manifests.service(&service);
    plain.manifests.route(
        "web",
        "web",
        &format!("- {rule}\n  backendRefs: [{{name: web, port: 80}}]"),
    );
    let web = plain.listen("web");
    plain.start();
    (plain, web)
}

fn get(web: SocketAddr) -> Response {
    get_over(&mut Plain::connect(web))
}

fn get_over(conn: &mut Conn) -> Response {
    conn.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
    conn.response().unwrap()
}

fn post(conn: &mut Conn, body: &str) -> Response {
    let length = body.len();
    let head = format!("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: {length}\r\n\r\n");
    conn.send(head + body).unwrap();
    conn.response().unwrap()
}

/// The metric has come to this.
#[track_caller]
fn counted(plain: &mut Plain, metric: &str, labels: &[(&str, &str)], expected: u32) {
    let sum = plain.node().metrics().sum(metric, labels);
    assert!((sum - f64::from(expected)).abs() < f64::EPSILON, "{metric}: {sum}, not {expected}");
}

/// What is under way, endpoint by endpoint.
fn active(plain: &mut Plain) -> Vec<u64> {
    let snapshot = http::get(plain.node().admin_at, "/snapshot").unwrap().json();
    let endpoints = snapshot["frontends"][0]["endpoints"].as_array().unwrap();
    endpoints.iter().map(|endpoint| endpoint["active"].as_u64().unwrap()).collect()
}

#[test]
fn a_listed_status_is_tried_again_up_to_the_attempts() {
    let at = Plain::backend();
    let script = Script::statuses(at, &[503, 503, 200, 503, 503, 503, 503, 500, 200]);
    let (mut plain, web) = web("retry: {codes: [503], attempts: 2, backoff: 20ms}", &[at]);
    let mut conn = Plain::connect(web);
    assert_eq!((get_over(&mut conn).status, script.asked().len()), (200, 3));
    counted(&mut plain, "nodeway_retries_total", &[], 2);
    // The last response is the client's, as it is.
    let response = get_over(&mut conn);
    assert_eq!((response.status, response.text(), script.asked().len()), (503, "body\n".into(), 6));
    counted(&mut plain, "nodeway_requests_total", &[("response_flags", "URX")], 1);
    let waits: Vec<Duration> = script.asked().windows(2).map(|two| two[1].at - two[0].at).collect();
    assert!(
        waits[0] >= Duration::from_millis(20) && waits[1] >= Duration::from_millis(40),
        "{waits:?}"
    );
    // Others are the endpoint's answer.
    assert_eq!((get_over(&mut conn).status, script.asked().len()), (500, 8));
    // Answers that nobody wanted were read to their end: one connection did for all of it.
    assert_eq!(script.connections(), 1);
}

#[test]
fn a_body_is_sent_again_whole() {
    let at = Plain::backend();
    let script = Script::statuses(at, &[503, 503, 200]);
    let (_plain, web) = web("retry: {codes: [503], backoff: 1ms}", &[at]);
    let body = "0123456789".repeat(6_000);
    assert_eq!(post(&mut Plain::connect(web), &body).status, 200);
    let bodies: Vec<bool> = script.asked().iter().map(|a| a.body == body.as_bytes()).collect();
    assert_eq!(bodies, [true; 3], "each attempt had the whole body");
}

#[test]
fn a_chunked_body_is_sent_again_whole_over_either_version() {
    let at = Plain::backend();
    let script = Script::start(at, |nth, _| Act::Say(status(if nth % 2 == 0 { 503 } else { 200 })));
    let (plain, web) = web("retry: {codes: [503], attempts: 1, backoff: 1ms}", &[at]);
    let url = format!("http://{web}/");
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let upload = format!(
            "head -c 50000 /dev/zero | curl -sS -o /dev/null -w '%{{http_code}}' {version} -T - {url}"
        );
        assert_eq!(plain.place().ok("sh", &["-c", &upload]), "200", "{version}");
    }
    let lengths: Vec<usize> = script.asked().iter().map(|asked| asked.body.len()).collect();
    assert_eq!(lengths, [50_000; 4]);
}

#[test]
fn an_endpoint_that_speaks_http2_is_tried_again_too() {
    let (mut plain, web, _server) = Plain::with_testserver("kubernetes.io/h2c");
    let rule = "- retry: {codes: [503], attempts: 2, backoff: 1ms}\n  backendRefs: [{name: web, port: 80}]";
    plain.manifests.route("web", "web", rule);
    let url = format!("http://{web}/status/503");
    eventually(SOON, "the rule is in force", || {
        let args = ["-sS", "--http2-prior-knowledge", "-w", "%{http_code}", "-d", "a body", &url];
        assert_eq!(plain.place().ok("curl", &args), "503");
        plain.node().metrics().sum("nodeway_retries_total", &[]) > 0.0
    });
    counted(&mut plain, "nodeway_retries_total", &[], 2);
}

#[test]
fn a_body_that_waits_to_be_asked_for_waits_for_the_attempt_that_asks() {
    let at = Plain::backend();
    let nth = AtomicUsize::new(0);
    // The first refuses by the head alone; the second asks for the body.
    backend::serve(at, move |stream| {
        let (mut writer, mut conn) = (stream.try_clone().unwrap(), Conn::from(stream));
        let Ok(fields) = conn.line().and_then(|_| conn.fields()) else { return };
        assert!(fields.iter().any(|(name, value)| name == "expect" && value == "100-continue"));
        if nth.fetch_add(1, Ordering::SeqCst) == 0 {
            writer.write_all(status(503).as_bytes()).ok();
            conn.rest().ok();
            return;
        }
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        let body = conn.exactly(4).unwrap();
        writer.write_all(status(if body == b"body" { 200 } else { 400 }).as_bytes()).unwrap();
    });
    let (_plain, web) = web("retry: {codes: [503], attempts: 1, backoff: 1ms}", &[at]);
    let mut conn = Plain::connect(web);
    let head = "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    conn.send(head).unwrap();
    let interim = conn.line().unwrap();
    assert!(interim.contains("100"), "{interim}");
    conn.fields().unwrap();
    conn.send("body").unwrap();
    assert_eq!(conn.response().unwrap().status, 200);
}

#[test]
fn a_body_that_is_too_large_to_keep_is_sent_once() {
    let at = Plain::backend();
    let script = Script::statuses(at, &[503, 200]);
    let (plain, web) = web("retry: {codes: [503], backoff: 1ms}", &[at]);
    assert_eq!(post(&mut Plain::connect(web), &"x".repeat(70_000)).status, 503);
    assert_eq!(script.asked().len(), 1);
    let script = format!(
        "head -c 70000 /dev/zero | curl -sS -o /dev/null -w '%{{http_code}}' -H 'x-late: 503' -T - http://{web}/"
    );
    assert_eq!(
        plain.place().ok("sh", &["-c", &script]),
        "200",
        "nothing is wrong with a large body"
    );
}

#[test]
fn the_time_of_an_attempt_is_tried_again_and_ends_in_504() {
    let at = Plain::backend();
    let script = Script::start(at, |nth, _| match nth {
        0 | 1 => Act::SayAndHang(String::new()),
        2 => Act::Say(status(200)),
        _ => Act::SayAndHang(String::new()),
    });
    let rule = "retry: {attempts: 2, backoff: 10ms}\n  timeouts: {backendRequest: 600ms}";
    let (mut plain, web) = web(rule, &[at]);
    assert_eq!((get(web).status, script.asked().len()), (200, 3));
    let start = Instant::now();
    assert_eq!((get(web).status, script.asked().len()), (504, 6));
    assert!(
        (Duration::from_millis(1_800)..SOON).contains(&start.elapsed()),
        "{:?}",
        start.elapsed()
    );
    eventually(SOON, "no endpoint is kept waiting", || script.left() == 5);
    counted(&mut plain, "nodeway_requests_total", &[("response_flags", "UT")], 1);
}

#[test]
fn retries_end_with_the_request_s_time() {
    let at = Plain::backend();
    let script = Script::statuses(at, &[500]);
    let rule = "retry: {codes: [500], attempts: 100, backoff: 50ms}\n  timeouts: {request: 1s}";
    let (mut plain, web) = web(rule, &[at]);
    let start = Instant::now();
    // There is an answer, and no time for a better one.
    let response = get(web);
    assert_eq!((response.status, response.text()), (500, "body\n".to_owned()));
    counted(&mut plain, "nodeway_requests_total", &[("response_flags", "URX")], 1);
    assert!(start.elapsed() <= Duration::from_secs(1) + SOON / 2, "{:?}", start.elapsed());
    let asked = script.asked().len();
    assert!((2..=6).contains(&asked), "{asked} times");
}

#[test]
fn an_endpoint_that_refuses_is_followed_by_another() {
    let (good, refusing) = (Plain::backend(), Plain::backend());
    let script = Script::statuses(good, &[200]);
    let (_plain, web) = web("retry: {attempts: 1}", &[good, refusing]);
    for _ in 0..20 {
        assert_eq!(get(web).status, 200);
    }
    assert_eq!(script.asked().len(), 20);
}

#[test]
fn what_broke_off_is_sent_again_only_where_that_does_no_harm() {
    let at = Plain::backend();
    let script = Script::start(at, |nth, _| match nth {
        0 | 2 => Act::HangUp,
        _ => Act::Say(status(200)),
    });
    let (_plain, web) = web("retry: {attempts: 1, backoff: 1ms}", &[at]);
    assert_eq!((get(web).status, script.asked().len()), (200, 2));
    assert_eq!(post(&mut Plain::connect(web), "an order").status, 502);
    assert_eq!(script.asked().len(), 3, "an order was placed twice");
}

#[test]
fn no_attempts_are_no_retries() {
    let at = Plain::backend();
    let script = Script::statuses(at, &[503]);
    let (mut plain, web) = web("retry: {codes: [503], attempts: 0}", &[at]);
    assert_eq!((get(web).status, script.asked().len()), (503, 1));
    counted(&mut plain, "nodeway_retries_total", &[], 0);
}

#[test]
fn a_client_that_leaves_leaves_nothing_behind() {
    let at = Plain::backend();
    let script = Script::start(at, |nth, _| match nth {
        0 => Act::SayAndHang(String::new()),
        _ => Act::Say(status(503)),
    });
    let rule = "retry: {codes: [503], attempts: 9, backoff: 60s}\n  timeouts: {request: 600s, backendRequest: 60s}";
    let (mut plain, web) = web(rule, &[at]);
    // During an attempt, then during the wait after one.
    for (asked, under_way, left) in [(1, 1, 1), (2, 0, 1)] {
        let mut conn = Plain::connect(web);
        conn.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
        eventually(SOON, "it is asked", || script.asked().len() == asked);
        eventually(SOON, "it is under way, or waits", || active(&mut plain) == [under_way]);
        drop(conn);
        eventually(SOON, "the endpoint is let go", || script.left() == left);
    }
    let open = "nodeway_downstream_connections_active";
    eventually(SOON, "the clients are forgotten", || {
        plain.node().metrics().sum(open, &[]) < f64::EPSILON
    });
    eventually(SOON, "nothing is under way", || active(&mut plain) == [0]);
}
