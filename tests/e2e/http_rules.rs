//! HTTP passes as RFC 9110 and its companions say.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nodeway_tests::{Proc, binaries};

use crate::shop::{Plain, field};

fn plain() -> Option<(Plain, Proc)> {
    plain_with("appProtocol: http")
}

fn plain_with(extra: &str) -> Option<(Plain, Proc)> {
    let plain = Plain::open(extra)?;
    let args = ["http", "--name", "e", "--version", "v1", &plain.endpoint.to_string()];
    let server = plain.world.host.start(binaries::testserver(), &args).until_it_says("listening");
    Some((plain, server))
}

/// All that comes back for `request` until the connection ends.
fn say(plain: &Plain, request: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", plain.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn curl(plain: &Plain, args: &[&str], path: &str) -> String {
    let mut all = vec!["-sS", "--max-time", "20"];
    all.extend(args);
    let url = format!("http://127.0.0.1:{}{path}", plain.port);
    all.push(&url);
    plain.world.host.ok("curl", &all)
}

#[test]
fn what_is_of_this_hop_stays_here_and_the_rest_passes_untouched() {
    let Some((plain, _server)) = plain() else { return };
    let answer = say(
        &plain,
        "GET /a?b=c HTTP/1.1\r\nhost: shop\r\nconnection: close, x-hop\r\nx-hop: 1\r\n\
         keep-alive: timeout=9\r\nproxy-connection: keep-alive\r\nte: trailers\r\n\
         x-forwarded-for: 192.0.2.7\r\nx-request-id: id-1\r\n\
         traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n",
    );
    for kept in [
        "> host: shop",
        "> x-forwarded-for: 192.0.2.7\n",
        "> x-request-id: id-1",
        "> traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "> te: trailers",
        "request: GET /a?b=c",
    ] {
        assert!(answer.contains(kept), "{kept} is missing: {answer}");
    }
    for gone in ["> x-hop", "> keep-alive", "> proxy-connection", "via:"] {
        assert!(!answer.contains(gone), "{gone} got through: {answer}");
    }
}

#[test]
fn keep_alive_pipelines_and_http_1_0_work() {
    let Some((plain, _server)) = plain() else { return };
    let pipelined = "GET /1 HTTP/1.1\r\nhost: a\r\n\r\nGET /2 HTTP/1.1\r\nhost: a\r\n\r\n\
                     GET /3 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answer = say(&plain, pipelined);
    let order: Vec<usize> =
        (1..=3).map(|i| answer.find(&format!("request: GET /{i}")).unwrap()).collect();
    assert!(order.is_sorted(), "{answer}");
    let answer = say(&plain, "GET /old HTTP/1.0\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.0 200") || answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("request: GET /old"), "{answer}");
    // Many requests over few upstream connections.
    curl(&plain, &[], "/[1-50]");
    let connects = plain.nodeway.metric("nodeway_upstream_connects_total", &["ok"]);
    assert!(connects <= 6.0, "{connects} connections for 54 requests");
}

#[test]
fn trailers_head_and_bodiless_answers_pass() {
    let Some((plain, _server)) = plain() else { return };
    let request =
        "GET /trailers HTTP/1.1\r\nhost: a\r\nte: trailers\r\nconnection: te, close\r\n\r\n";
    let answer = say(&plain, request);
    assert!(answer.ends_with("0\r\nx-sum: 42\r\n\r\n"), "{answer:?}");
    let request = "POST /x HTTP/1.1\r\nhost: a\r\nconnection: close\r\ntrailer: x-t\r\n\
                   transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 7\r\n\r\n";
    let answer = say(&plain, request);
    assert!(answer.contains("trailer x-t: 7") && answer.contains("body: 3"), "{answer}");
    let head = curl(&plain, &["-I"], "/bytes/1000");
    assert!(head.contains("200") && head.to_lowercase().contains("content-length: 1000"), "{head}");
    for status in ["204", "304"] {
        let answer = curl(&plain, &["-i"], &format!("/status/{status}"));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    let big = curl(&plain, &["-i"], "/big");
    assert!(big.contains(&"x".repeat(20_000)), "a large response header passes");
}

#[test]
fn expect_100_continue_is_decided_by_the_endpoint() {
    let Some((plain, _server)) = plain() else { return };
    let begin = Instant::now();
    let body = "x".repeat(100_000);
    let sum = curl(&plain, &["-v", "-HExpect: 100-continue", "-d", &body], "/sink");
    assert!(sum.starts_with("100000 "), "{sum}");
    assert!(begin.elapsed() < Duration::from_millis(900), "the 100 came from the endpoint");
    // Refused without a body having been asked for.
    let mut stream = TcpStream::connect(("127.0.0.1", plain.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head =
        "POST /refuse HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut buffer = [0; 1024];
    let n = stream.read(&mut buffer).unwrap();
    let answer = String::from_utf8_lossy(&buffer[..n]);
    assert!(answer.starts_with("HTTP/1.1 417"), "{answer}");
}

#[test]
fn an_upgraded_connection_is_a_tunnel() {
    let Some((plain, _server)) = plain() else { return };
    let mut stream = TcpStream::connect(("127.0.0.1", plain.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let ask = "GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n";
    stream.write_all(ask.as_bytes()).unwrap();
    let mut heard = String::new();
    let mut buffer = [0; 1024];
    while !heard.contains("\r\n\r\n") {
        let n = stream.read(&mut buffer).unwrap();
        assert!(n > 0, "{heard}");
        heard += &String::from_utf8_lossy(&buffer[..n]);
    }
    assert!(heard.starts_with("HTTP/1.1 101"), "{heard}");
    assert!(heard.to_lowercase().contains("upgrade: echo"), "{heard}");
    for word in ["not http at all \r\n\r\n", "\0\x01\x02"] {
        stream.write_all(word.as_bytes()).unwrap();
        let mut echoed = vec![0; word.len()];
        stream.read_exact(&mut echoed).unwrap();
        assert_eq!(echoed, word.as_bytes());
    }
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut buffer).unwrap(), 0);
}

#[test]
fn http1_and_http2_translate_into_each_other() {
    // Clients of either version, an endpoint that is declared to speak HTTP/2.
    let Some((plain, _server)) = plain_with("appProtocol: kubernetes.io/h2c") else { return };
    let answer = curl(&plain, &["-Hhost: shop"], "/x");
    assert_eq!((field(&answer, "http"), field(&answer, "request")), ("2", "GET http://shop/x"));
    let answer = curl(&plain, &["--http2-prior-knowledge", "-d", "abc"], "/x");
    assert_eq!((field(&answer, "http"), field(&answer, "body")), ("2", "3"));
    drop(plain);
    // And one that is declared to speak HTTP/1.1.
    let Some((plain, _server)) = plain_with("appProtocol: kubernetes.io/ws") else { return };
    let args = ["--http2-prior-knowledge", "-Hcookie: a=1", "-d", "abc"];
    let answer = curl(&plain, &args, "/x");
    assert_eq!((field(&answer, "http"), field(&answer, "request")), ("1.1", "POST /x"));
    assert_eq!(field(&answer, "> host"), format!("127.0.0.1:{}", plain.port));
    let answer = curl(&plain, &["--http2-prior-knowledge", "-i"], "/trailers");
    assert!(answer.starts_with("HTTP/2 200") && answer.contains("body"), "{answer}");
}

#[test]
fn operators_endpoints_answer() {
    let Some((plain, _server)) = plain() else { return };
    curl(&plain, &[], "/");
    assert_eq!(plain.nodeway.get("/livez"), (200, "ok\n".into()));
    assert_eq!(plain.nodeway.get("/readyz").0, 200);
    assert_eq!(plain.nodeway.get("/nothing").0, 404);
    let labels = ["parent_namespace=\"shop\"", "parent_name=\"web\"", "backend_name=\"web\""];
    plain.nodeway.until_metric("nodeway_requests_total", &labels, 1.0);
    plain.nodeway.until_metric("nodeway_request_duration_seconds_count", &labels, 1.0);
    let (_, page) = plain.nodeway.get("/metrics");
    assert!(!page.contains("response_code=\"0\""), "{page}");
    let (status, snapshot) = plain.nodeway.get_admin("/snapshot");
    assert!(status == 200 && snapshot.contains("\"generation\""), "{snapshot}");
}
