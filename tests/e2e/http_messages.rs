//! HTTP messages arrive as they were meant: what is whose header, which bodies there are.

use std::net::SocketAddr;
use std::time::Duration;

use nodeway_tests::http::Response;
use nodeway_tests::{Plain, skip};
use serde_json::json;

/// A request on its own connection.
fn ask(to: SocketAddr, request: &str) -> Response {
    let mut conn = Plain::connect(to);
    conn.send(request).unwrap();
    conn.response().unwrap_or_else(|error| panic!("{error}: {request}"))
}

/// The values of the request header `name` that the server saw.
fn seen(response: &Response, name: &str) -> Vec<String> {
    let said = response.json();
    let pairs = said["headers"].as_array().unwrap().iter();
    pairs.filter(|pair| pair[0] == name).map(|p| p[1].as_str().unwrap().to_owned()).collect()
}

#[test]
fn hop_by_hop_headers_stop_here_and_others_pass_untouched() {
    let (_plain, web, _server) = Plain::with_testserver("http");
    let response = ask(
        web,
        "GET / HTTP/1.1\r\nHost: shop.example\r\nConnection: x-foo, keep-alive\r\nX-Foo: mine\r\n\
         Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nX-Forwarded-For: 192.0.2.7\r\n\
         X-Request-Id: abc-123\r\nCookie: a=1\r\nCookie: b=2\r\n\
         Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\r\n",
    );
    for name in ["x-foo", "keep-alive", "proxy-connection"] {
        assert_eq!(seen(&response, name), Vec::<String>::new(), "{name} was passed on");
    }
    assert_eq!(seen(&response, "host"), ["shop.example"]);
    assert_eq!(seen(&response, "x-forwarded-for"), ["192.0.2.7"]);
    assert_eq!(seen(&response, "x-request-id"), ["abc-123"]);
    assert_eq!(seen(&response, "cookie").join("; "), "a=1; b=2");
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    assert_eq!(seen(&response, "traceparent"), [trace]);
}

#[test]
fn nothing_is_added_that_names_the_client_or_the_proxy() {
    let (_plain, web, _server) = Plain::with_testserver("http");
    let response = ask(web, "GET / HTTP/1.1\r\nHost: web\r\n\r\n");
    for name in ["x-forwarded-for", "via", "forwarded", "x-real-ip"] {
        assert_eq!(seen(&response, name), Vec::<String>::new(), "{name} was added");
    }
    assert_eq!(response.header("via"), None);
}

#[test]
fn paths_and_queries_pass_as_they_are() {
    let (_plain, web, _server) = Plain::with_testserver("http");
    for target in ["/a%2Fb/../c//d?x=%20&y=1+2&&z", "/%E2%82%AC", "/?", "/a;b=c?d:e@f"] {
        let said = ask(web, &format!("GET {target} HTTP/1.1\r\nHost: web\r\n\r\n")).json();
        let mut arrived = said["path"].as_str().unwrap().to_owned();
        if let Some(query) = said["query"].as_str() {
            arrived = format!("{arrived}?{query}");
        }
        assert_eq!(arrived, target);
    }
}

#[test]
fn an_absolute_target_is_understood() {
    let (_plain, web, _server) = Plain::with_testserver("http");
    let said = ask(web, "GET http://other.example/x?y HTTP/1.1\r\nHost: web\r\n\r\n");
    assert_eq!(said.status, 200);
    // RFC 9112, 3.2.2: the target's authority replaces the Host field.
    assert_eq!(
        (said.json()["path"].clone(), seen(&said, "host")),
        ("/x".into(), vec!["other.example".into()])
    );
}

#[test]
fn messages_without_a_body_have_none() {
    let (_plain, web, _server) = Plain::with_testserver("http");
    let mut conn = Plain::connect(web);
    // All on one connection: a body that was wrongly sent would be taken for the next answer.
    conn.send("HEAD /bytes/1000 HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
    let head = conn.head().unwrap();
    assert_eq!((head.status, head.header("content-length")), (200, Some("1000")));
    for status in [204, 304] {
        conn.send(format!("GET /status/{status} HTTP/1.1\r\nHost: web\r\n\r\n")).unwrap();
        assert_eq!(conn.response().unwrap().status, status);
    }
    conn.send("GET /last HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
    assert_eq!(conn.response().unwrap().json()["path"], "/last");
}

#[test]
fn an_http_1_0_client_is_served_and_its_connection_closed() {
    let (_plain, web, _server) = Plain::with_testserver("http");
    let mut conn = Plain::connect(web);
    conn.send("GET /old HTTP/1.0\r\n\r\n").unwrap();
    let response = conn.response().unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    assert_ne!(response.header("transfer-encoding"), Some("chunked"), "1.0 knows no chunks");
    assert_eq!(conn.rest().unwrap(), b"", "the connection stays open");
}

#[test]
fn http_1_0_gets_a_body_of_unknown_length_by_close() {
    let (_plain, web, _server) = Plain::with_testserver("http");
    let mut conn = Plain::connect(web);
    conn.send("GET /trailers HTTP/1.0\r\nHost: web\r\n\r\n").unwrap();
    let response = conn.response().unwrap();
    assert_eq!((response.status, response.text().as_str()), (200, "with trailers\n"));
}

#[test]
fn trailers_pass_over_http_1() {
    let (_plain, web, _server) = Plain::with_testserver("http");
    let response =
        ask(web, "GET /trailers HTTP/1.1\r\nHost: web\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    assert_eq!(response.text(), "with trailers\n");
    assert_eq!(response.trailers, [("x-trailer".to_owned(), "the end".to_owned())]);
}

#[test]
fn trailers_of_a_request_pass() {
    let (_plain, web, _server) = Plain::with_testserver("http");
    let request = "POST / HTTP/1.1\r\nHost: web\r\nTrailer: x-t\r\nTransfer-Encoding: chunked\r\n\r\n\
                   3\r\nabc\r\n0\r\nx-t: 7\r\n\r\n";
    let said = ask(web, request).json();
    assert_eq!((&said["body"], &said["trailers"]), (&3.into(), &json!([["x-t", "7"]])));
}

#[test]
fn a_large_response_header_passes() {
    let (_plain, web, _server) = Plain::with_testserver("http");
    let response = ask(web, "GET /big HTTP/1.1\r\nHost: web\r\n\r\n");
    assert_eq!(response.header("x-big").map(str::len), Some(20_000));
}

#[test]
fn http_1_and_http_2_translate_into_each_other() {
    for (declared, upstream) in [("kubernetes.io/h2c", "HTTP/2.0"), ("http", "HTTP/1.1")] {
        let (plain, web, _server) = Plain::with_testserver(declared);
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let url = format!("http://{web}/x?y");
            let args = [version, "-sS", "-H", "cookie: a=1", "-d", "abc", &url];
            let said = plain.place().ok("curl", &args);
            let said: serde_json::Value = serde_json::from_str(&said).unwrap();
            let case = format!("{version} to {declared}: {said}");
            assert_eq!((&said["body"], &said["method"]), (&3.into(), &"POST".into()), "{case}");
            assert_eq!((&said["path"], &said["query"]), (&"/x".into(), &"y".into()), "{case}");
            if declared == "kubernetes.io/h2c" || version == "--http1.1" {
                assert_eq!(said["protocol"], upstream, "{case}");
            }
            let host = said["authority"].as_str().map_or_else(
                || {
                    let pairs = said["headers"].as_array().unwrap().iter();
                    pairs.filter(|p| p[0] == "host").map(|p| p[1].to_string()).collect()
                },
                |authority| format!("\"{authority}\""),
            );
            assert_eq!(host, format!("\"{web}\""), "{case}");
        }
    }
}

#[test]
fn trailers_pass_over_http_2() {
    if !skip::has("nghttp") {
        return;
    }
    let (plain, web, _server) = Plain::with_testserver("kubernetes.io/h2c");
    let out = plain.place().ok("nghttp", &["-v", &format!("http://{web}/trailers")]);
    assert!(out.contains("x-trailer: the end"), "{out}");
}

#[test]
fn many_streams_share_one_http_2_connection() {
    if !skip::has("nghttp") {
        return;
    }
    let (mut plain, web, _server) = Plain::with_testserver("http");
    let out = plain.place().ok("nghttp", &["-m", "50", "-s", &format!("http://{web}/")]);
    let lines = out.lines().filter(|line| line.contains("\"pod\"")).count();
    assert_eq!(lines, 50, "{out}");
    let active = plain.node().metrics();
    let http2 = active.sum("nodeway_downstream_connections_total", &[("protocol", "http2")]);
    assert!((http2 - 1.0).abs() < f64::EPSILON, "{http2} connections");
}

#[test]
fn an_upload_waits_for_100_continue() {
    let (plain, web, _server) = Plain::with_testserver("http");
    let mut conn = Plain::connect(web);
    conn.send(
        "POST /sink HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    )
    .unwrap();
    assert!(conn.line().unwrap().starts_with("HTTP/1.1 100"));
    assert!(conn.fields().unwrap().is_empty());
    conn.send("hello").unwrap();
    let response = conn.response().unwrap();
    assert_eq!((response.status, response.text().starts_with("5 ")), (200, true));

    // Whether to ask for the body is the endpoint's to say.
    let refused =
        "POST /refuse HTTP/1.1\r\nHost: web\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    assert_eq!(ask(web, refused).status, 417);

    // curl waits a second for it before it goes on without.
    let command = format!(
        "head -c 100000 /dev/zero | curl -sS -H 'Expect: 100-continue' --expect100-timeout 30 \
         --data-binary @- -w '%{{time_total}}' http://{web}/sink"
    );
    let out = plain.place().ok("sh", &["-c", &command]);
    let (sum, seconds) = out.split_once('\n').unwrap();
    assert!(sum.starts_with("100000 "), "{out}");
    let took = Duration::from_secs_f64(seconds.parse().unwrap());
    assert!(took < Duration::from_secs(10), "nobody said 100 for {took:?}");
}
