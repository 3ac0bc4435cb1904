//! What breaks the protocol is refused, costs nobody else anything, and never reaches a backend.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nodeway_tests::Plain;
use nodeway_tests::backend::Recorder;
use nodeway_tests::http::{Conn, ended};

/// A world whose only backend records every byte.
fn recorded() -> (Plain, SocketAddr, Recorder) {
    let mut plain = Plain::new();
    let backend = Plain::backend();
    let recorder = Recorder::start(backend);
    plain.manifests.service(&Plain::service("web", "http").to(backend));
    let web = plain.listen("web");
    plain.start();
    (plain, web, recorder)
}

/// What became of a connection: the status of the first answer, or none for a close without one.
fn outcome(to: SocketAddr, bytes: &[u8]) -> Option<u16> {
    let mut conn = Conn::open(to).unwrap();
    // A refusal may come before all was sent.
    match conn.send(bytes) {
        Err(error) if !ended(&error) => panic!("{error}"),
        _ => {}
    }
    match conn.response() {
        Ok(response) => Some(response.status),
        Err(error) if ended(&error) || error.kind() == ErrorKind::InvalidData => None,
        Err(error) => {
            let start = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
            panic!("neither answered nor closed: {error}: {start:?}")
        }
    }
}

fn assert_still_serves(plain: &mut Plain, web: SocketAddr) {
    assert_eq!(outcome(web, b"GET /good HTTP/1.1\r\nHost: web\r\n\r\n"), Some(200));
    assert_eq!(plain.node().status("/livez"), Some(200));
    assert!(!plain.node().log().contains("panicked"), "{}", plain.node().log());
}

#[test]
fn malformed_heads_are_refused_and_never_forwarded() {
    let (mut plain, web, recorder) = recorded();
    let many: String = (0..1000).map(|n| format!("X-{n}: y\r\n")).collect();
    let many = format!("GET / HTTP/1.1\r\nHost: web\r\n{many}\r\n");
    let large = format!("GET / HTTP/1.1\r\nHost: web\r\nX: {}\r\n\r\n", "y".repeat(1 << 20));
    let long = format!("GET /{} HTTP/1.1\r\nHost: web\r\n\r\n", "y".repeat(1 << 20));
    let endless = format!("GET / HTTP/1.1\r\nHost: web\r\n{}", "X: y\r\n".repeat(200_000));
    // What was sent, and which statuses are right; a close without a word is always right.
    let cases: &[(&str, &str, &[u16])] = &[
        (
            "length before chunked",
            "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            &[400],
        ),
        (
            "chunked before length",
            "POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            &[400],
        ),
        (
            "two lengths",
            "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
            &[400],
        ),
        (
            "a list of lengths",
            "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 5, 6\r\n\r\nabcdef",
            &[400],
        ),
        (
            "a signed length",
            "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: +5\r\n\r\nabcde",
            &[400],
        ),
        (
            "a length that is none",
            "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: five\r\n\r\n",
            &[400],
        ),
        (
            "an enormous length",
            "POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            &[400, 413],
        ),
        (
            "chunked not last",
            "POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
            &[400, 501],
        ),
        (
            "an unknown coding",
            "POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            &[400, 501],
        ),
        (
            "chunked in 1.0",
            "POST / HTTP/1.0\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            &[400],
        ),
        ("a space before the colon", "GET / HTTP/1.1\r\nHost : web\r\n\r\n", &[400]),
        ("a space before a name", "GET / HTTP/1.1\r\n Host: web\r\n\r\n", &[400]),
        ("a folded line", "GET / HTTP/1.1\r\nHost: web\r\nX: a\r\n b\r\n\r\n", &[400]),
        ("a NUL in a value", "GET / HTTP/1.1\r\nHost: web\r\nX: a\0b\r\n\r\n", &[400]),
        ("a bare CR in a value", "GET / HTTP/1.1\r\nHost: web\r\nX: a\rb\r\n\r\n", &[400]),
        ("an empty name", "GET / HTTP/1.1\r\nHost: web\r\n: y\r\n\r\n", &[400]),
        ("no Host", "GET / HTTP/1.1\r\n\r\n", &[400]),
        ("two Hosts", "GET / HTTP/1.1\r\nHost: web\r\nHost: other\r\n\r\n", &[400]),
        ("no target", "GET HTTP/1.1\r\nHost: web\r\n\r\n", &[400]),
        ("a space in the target", "GET /a b HTTP/1.1\r\nHost: web\r\n\r\n", &[400]),
        ("an unknown version", "GET / HTTP/3.7\r\nHost: web\r\n\r\n", &[400, 505]),
        ("HTTP/0.9", "GET /\r\n\r\n", &[400, 505]),
        ("a method that is none", "G@T / HTTP/1.1\r\nHost: web\r\n\r\n", &[400]),
        ("a bad preface", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", &[400]),
        (
            "a preface and garbage",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nthis is no frame at all",
            &[400],
        ),
        ("noise", "\x01\x02\x03\x04\x05\x06\x07\x0e\x0f\r\n\r\n", &[400]),
        ("a large header", &large, &[431]),
        ("many headers", &many, &[431]),
        ("headers without end", &endless, &[431]),
        ("a long target", &long, &[400, 414, 431]),
    ];
    for (what, bytes, right) in cases {
        let started = Instant::now();
        let outcome = outcome(web, bytes.as_bytes());
        assert!(outcome.is_none_or(|status| right.contains(&status)), "{what}: {outcome:?}");
        let took = started.elapsed();
        assert!(took < Duration::from_secs(5), "{what}: refused only after {took:?}");
        let arrived = String::from_utf8_lossy(&recorder.bytes()).into_owned();
        assert_eq!(arrived, "", "{what} reached the backend");
    }
    for (what, bytes) in [("large", &large), ("many", &many)] {
        assert_eq!(outcome(web, bytes.as_bytes()), Some(431), "{what}: the client is told");
    }
    assert_still_serves(&mut plain, web);
}

#[test]
fn connect_reaches_the_service_that_was_dialled_and_no_other() {
    // A Service may be a forward proxy; what CONNECT names is its business, never ours.
    let (mut plain, web, recorder) = recorded();
    let asked = b"CONNECT elsewhere.example:80 HTTP/1.1\r\nHost: elsewhere.example:80\r\n\r\n";
    let mut conn = Plain::connect(web);
    conn.send(asked).unwrap();
    let granted = conn.head().unwrap();
    // RFC 9110, 9.3.6: what follows is no content, whatever the endpoint says of its length.
    assert_eq!((granted.status, granted.header("content-length")), (200, None));
    let arrived = String::from_utf8_lossy(&recorder.bytes()).into_owned();
    assert!(arrived.starts_with("CONNECT elsewhere.example:80 HTTP/1.1\r\n"), "{arrived}");
    assert_still_serves(&mut plain, web);
}

#[test]
fn a_bare_line_feed_is_refused_or_mended_but_never_passed_on() {
    let (mut plain, web, recorder) = recorded();
    let outcome = outcome(web, b"GET / HTTP/1.1\nHost: web\nX: y\n\n");
    assert!(matches!(outcome, None | Some(200 | 400)), "{outcome:?}");
    let arrived = recorder.bytes();
    let bare = arrived.iter().enumerate().any(|(i, b)| *b == b'\n' && arrived[i - 1] != b'\r');
    assert!(!bare, "{}", String::from_utf8_lossy(&arrived));
    assert_still_serves(&mut plain, web);
}

#[test]
fn bad_chunks_end_the_request_and_nothing_after_them_counts() {
    let (mut plain, web, recorder) = recorded();
    for chunk in
        ["ZZ\r\nabc", "-1\r\nabc", "FFFFFFFFFFFFFFFFF\r\nabc", "3\r\nabcXX", "3 \x01\r\nabc"]
    {
        let smuggled = "\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: web\r\n\r\n";
        let head = "POST / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n";
        let outcome = outcome(web, format!("{head}{chunk}{smuggled}").as_bytes());
        assert!(outcome.is_none_or(|status| status >= 400), "{chunk:?}: {outcome:?}");
    }
    let arrived = String::from_utf8_lossy(&recorder.bytes()).into_owned();
    assert!(!arrived.contains("/smuggled"), "{arrived}");
    assert_still_serves(&mut plain, web);
}

#[test]
fn a_head_that_never_ends_is_given_up_on() {
    let (mut plain, web, recorder) = recorded();
    // All wait at once: the limit is half a minute.
    let unfinished =
        ["GET", "GET / HTTP/1.1\r\nHo", "GET / HTTP/1.1\r\nHost: web\r\n", "PRI * HTTP/2.0\r\n"];
    std::thread::scope(|scope| {
        for bytes in unfinished {
            scope.spawn(move || {
                let outcome = outcome(web, bytes.as_bytes());
                assert!(matches!(outcome, None | Some(400 | 408)), "{bytes:?}: {outcome:?}");
            });
        }
    });
    assert_eq!(recorder.bytes(), b"");
    assert_still_serves(&mut plain, web);
}

#[test]
fn a_malformed_answer_is_a_502() {
    for answer in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
    ] {
        let mut plain = Plain::new();
        let backend = Plain::backend();
        nodeway_tests::backend::serve(backend, move |mut stream| {
            std::io::Read::read(&mut stream, &mut [0; 4096]).ok();
            std::io::Write::write_all(&mut stream, answer.as_bytes()).ok();
        });
        plain.manifests.service(&Plain::service("web", "http").to(backend));
        let web = plain.listen("web");
        plain.start();
        assert_eq!(outcome(web, b"GET / HTTP/1.1\r\nHost: web\r\n\r\n"), Some(502), "{answer:?}");
        assert_eq!(plain.node().status("/livez"), Some(200));
    }
}
