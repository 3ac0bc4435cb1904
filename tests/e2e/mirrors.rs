//! Mirrors get copies of requests, and whatever they do with them costs the originals nothing.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nodeway_tests::backend::{Flood, HangsUp, Recorder};
use nodeway_tests::{Plain, Proc, eventually, within};

const SOON: Duration = Duration::from_secs(30);
/// What a request takes at most here, on a busy machine; a mirror is given longer to answer.
const AT_ONCE: Duration = Duration::from_secs(5);

/// `web` with these filters on its only rule, `mirror` and `second` being Services beside it.
fn mirrored(filters: &str, mirror: SocketAddr, second: SocketAddr) -> (Plain, SocketAddr, Proc) {
    let mut plain = Plain::new();
    let web = Plain::backend();
    let server = plain.testserver(web, "web");
    plain.manifests.service(&Plain::service("web", "http").to(web));
    plain.manifests.service(&Plain::service("mirror", "http").to(mirror));
    plain.manifests.service(&Plain::service("second", "http").to(second));
    let rules = format!("- filters: {filters}\n  backendRefs: [{{name: web, port: 80}}]\n");
    plain.manifests.route("web", "web", &rules);
    let at = plain.listen("web");
    plain.start();
    (plain, at, server)
}

fn to(name: &str, more: &str) -> String {
    format!(
        "{{type: RequestMirror, requestMirror: {{backendRef: {{name: {name}, port: 80}}{more}}}}}"
    )
}

/// How many copies ended so.
fn copies(plain: &mut Plain, result: &str) -> f64 {
    plain.node().metrics().sum("nodeway_mirrored_requests_total", &[("result", result)])
}

/// A request with a body of `length` octets is answered with that number, at once.
fn upload(to: SocketAddr, length: usize) {
    let start = Instant::now();
    let mut conn = Plain::connect(to);
    let head = format!("POST /x HTTP/1.1\r\nHost: web\r\nContent-Length: {length}\r\n\r\n");
    conn.send(head).unwrap();
    conn.send(vec![b'x'; length]).unwrap();
    let response = conn.response().unwrap();
    assert_eq!((response.status, response.json()["body"].as_u64()), (200, Some(length as u64)));
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
}

#[test]
fn mirrors_get_the_request_and_its_body() {
    let (mirror, second) = (Plain::backend(), Plain::backend());
    let (first_seen, second_seen) = (Recorder::start(mirror), Recorder::start(second));
    let rewrite =
        "{type: URLRewrite, urlRewrite: {path: {type: ReplaceFullPath, replaceFullPath: /new}}}";
    let filters = format!("[{}, {rewrite}, {}]", to("mirror", ""), to("second", ""));
    let (mut plain, web, _server) = mirrored(&filters, mirror, second);
    let mut conn = Plain::connect(web);
    // The recorder answers what ends like a head.
    conn.send(
        "POST /old?q HTTP/1.1\r\nHost: web.shop\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n\
         6\r\nhello \r\n5\r\nworld\r\n0\r\n\r\n",
    )
    .unwrap();
    let response = conn.response().unwrap();
    assert_eq!((&response.json()["path"], &response.json()["body"]), (&"/new".into(), &11.into()));
    for (seen, line) in
        [(&first_seen, "POST /old?q HTTP/1.1"), (&second_seen, "POST /new?q HTTP/1.1")]
    {
        let text = || String::from_utf8_lossy(&seen.bytes()).to_ascii_lowercase();
        eventually(SOON, "the copy is there", || text().ends_with("0\r\n\r\n"));
        let text = text();
        assert!(text.starts_with(&line.to_ascii_lowercase()), "{text}");
        assert!(text.contains("host: web.shop") && text.contains("x-a: 1"), "{text}");
        assert!(text.contains("hello ") && text.contains("world"), "{text}");
    }
    eventually(SOON, "both are counted", || copies(&mut plain, "ok") >= 2.0);
}

#[test]
fn a_share_is_mirrored_and_over_http_2_too() {
    let (mirror, nobody) = (Plain::backend(), Plain::backend());
    let filters = format!("[{}]", to("mirror", ", fraction: {numerator: 1, denominator: 4}"));
    let (mut plain, web, _server) = mirrored(&filters, mirror, nobody);
    let _mirror = plain.testserver(mirror, "mirror");
    let mut conn = Plain::connect(web);
    for _ in 0..400 {
        conn.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
        assert_eq!(conn.response().unwrap().header("x-pod"), Some("web"));
    }
    // At 100 the deviation is 9.
    eventually(SOON, "a quarter is mirrored", || copies(&mut plain, "ok") > 50.0);
    let share = copies(&mut plain, "ok");
    assert!(share < 150.0, "{share} of 400");

    let all =
        format!("- filters: [{}]\n  backendRefs: [{{name: web, port: 80}}]", to("mirror", ""));
    plain.manifests.route("web", "web", &all);
    let url = format!("http://{web}/x");
    let data = "x".repeat(100_000);
    eventually(SOON, "all are mirrored", || {
        let before = copies(&mut plain, "ok");
        for _ in 0..8 {
            let args = ["-sS", "--http2-prior-knowledge", "-d", &data, &url];
            let said: serde_json::Value =
                serde_json::from_str(&plain.place().ok("curl", &args)).unwrap();
            assert_eq!((&said["pod"], &said["body"]), (&"web".into(), &100_000.into()));
        }
        // In vain while the former share is in force.
        within(Duration::from_secs(2), || copies(&mut plain, "ok") - before >= 8.0)
    });
    assert!(copies(&mut plain, "failed") + copies(&mut plain, "dropped") < 1.0);
}

#[test]
fn a_mirror_that_refuses_or_is_not_there_is_counted_and_nothing_more() {
    let (refuses, hangs_up) = (Plain::backend(), Plain::backend());
    let _asked = HangsUp::start(hangs_up);
    let missing = to("nobody", "");
    let filters = format!("[{}, {}, {missing}]", to("mirror", ""), to("second", ""));
    let (mut plain, web, _server) = mirrored(&filters, refuses, hangs_up);
    for length in [0, 1 << 20] {
        upload(web, length);
    }
    eventually(SOON, "both are counted", || copies(&mut plain, "failed") >= 4.0);
    assert!(copies(&mut plain, "ok") < 1.0);
    assert!(plain.node().log().contains("nobody"), "the missing one is not told");
}

#[test]
fn a_mirror_that_reads_nothing_slows_nobody_and_is_given_up() {
    const LENGTH: usize = 16 << 20;
    let (mirror, nobody) = (Plain::backend(), Plain::backend());
    let _stuck = Flood::takes(mirror, LENGTH as u64);
    let (mut plain, web, _server) = mirrored(&format!("[{}]", to("mirror", "")), mirror, nobody);
    for _ in 0..3 {
        upload(web, LENGTH);
    }
    // What the kernel and a copy's bound do not hold breaks it off: nobody waits for its patience to end.
    eventually(SOON, "all are given up", || copies(&mut plain, "failed") >= 3.0);
}
