//! What an endpoint says before its response reaches the client, whichever HTTP each of them speaks.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hyper::http::Request;
use nodeway_tests::http2::{self, Endpoint, Script};
use nodeway_tests::{Plain, backend, eventually};

/// A world with an endpoint that speaks HTTP/2, or one that speaks HTTP/1.1.
fn world(http2: bool) -> (Plain, SocketAddr) {
    let mut plain = Plain::new();
    let at = Plain::backend();
    if http2 {
        drop(Endpoint::start(at, Script::default()));
    } else {
        early_http1(at);
    }
    let protocol = if http2 { "kubernetes.io/h2c" } else { "kubernetes.io/ws" };
    plain.manifests.service(&Plain::service("web", protocol).to(at));
    let web = plain.listen("web");
    plain.start();
    (plain, web)
}

/// Two 103 and one that nobody has asked for, then a response.
fn early_http1(at: SocketAddr) {
    backend::serve(at, |mut stream| {
        while backend::read_head(&mut stream) {
            let said = "HTTP/1.1 100 Continue\r\n\r\n\
                        HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n\
                        HTTP/1.1 103 Early Hints\r\nLink: </b.js>\r\n\r\n\
                        HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nend";
            if stream.write_all(said.as_bytes()).is_err() {
                return;
            }
        }
    });
}

#[test]
fn early_hints_reach_http_1_clients_and_not_those_of_http_1_0() {
    for http2 in [false, true] {
        let (_plain, web) = world(http2);
        let mut conn = Plain::connect(web);
        // Twice, and the second one asked before the first is answered: each hint stands before its own response.
        let ask = "GET /early HTTP/1.1\r\nHost: web\r\n\r\n";
        conn.send([ask, ask].concat()).unwrap();
        for round in 0..2 {
            for link in ["</a.css>", "</b.js>"] {
                let hint = conn.response().unwrap();
                let case = format!("HTTP/2 endpoint: {http2}, round {round}: {hint:?}");
                assert_eq!((hint.status, hint.header("link")), (103, Some(link)), "{case}");
                assert_eq!(hint.headers.len(), 1, "{case}");
            }
            assert_eq!(conn.response().unwrap().status, 200);
        }
        let mut conn = Plain::connect(web);
        conn.send("GET /early HTTP/1.0\r\nHost: web\r\n\r\n").unwrap();
        assert_eq!(conn.response().unwrap().status, 200);
    }
}

#[test]
fn early_hints_reach_http_2_clients() {
    for http2 in [false, true] {
        let (_plain, web) = world(http2);
        let answer = http2::run(async {
            let mut client = http2::connect(web).await;
            let request = Request::get(format!("http://{web}/early")).body(()).unwrap();
            let (response, _) = client.send_request(request, true).unwrap();
            http2::read(response).await.unwrap()
        });
        let links: Vec<_> =
            answer.interim.iter().map(|i| (i.status(), &i.headers()["link"])).collect();
        let case = format!("HTTP/2 endpoint: {http2}: {answer:?}");
        assert_eq!(links.len(), 2, "{case}");
        assert!(links.iter().all(|(status, _)| status.as_u16() == 103), "{case}");
        assert_eq!(
            (links[0].1, links[1].1),
            (&"</a.css>".parse().unwrap(), &"</b.js>".parse().unwrap())
        );
        assert_eq!(answer.head.status(), 200);
    }
}

#[test]
fn an_http_2_endpoint_asks_an_http_1_client_for_the_body() {
    let (_plain, web) = world(true);
    let mut conn = Plain::connect(web);
    let head = "HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    conn.send(format!("POST /expect {head}")).unwrap();
    assert_eq!(conn.response().unwrap().status, 100);
    conn.send("hello").unwrap();
    let response = conn.response().unwrap();
    assert_eq!((response.status, response.text().contains("body: 5\n")), (200, true));
    // Or does not want it.
    conn.send(format!("POST /refuse {head}")).unwrap();
    assert_eq!(conn.response().unwrap().status, 417);
}

#[test]
fn an_http_2_client_is_asked_for_its_body_by_either_endpoint() {
    for http2 in [false, true] {
        let (plain, web, server);
        if http2 {
            (plain, web) = world(true);
            server = None;
        } else {
            let started = Plain::with_testserver("kubernetes.io/ws");
            (plain, web) = (started.0, started.1);
            server = Some(started.2);
        }
        http2::run(async {
            let mut client = http2::connect(web).await;
            let path = if http2 { "expect" } else { "sink" };
            let request = Request::post(format!("http://{web}/{path}"))
                .header("expect", "100-continue")
                .body(())
                .unwrap();
            let (mut response, mut out) = client.send_request(request, false).unwrap();
            let said = std::future::poll_fn(|cx| response.poll_informational(cx)).await;
            assert_eq!(said.unwrap().unwrap().status(), 100, "HTTP/2 endpoint: {http2}");
            out.send_data(Bytes::from_static(b"hello"), true).unwrap();
            let answer = http2::read(response).await.unwrap();
            assert_eq!(answer.head.status(), 200);
            assert!(answer.text().contains('5'), "{}", answer.text());
        });
        drop((plain, server));
    }
}

#[test]
fn an_endpoint_that_never_stops_hinting_is_given_up() {
    let (mut plain, at, ended) = (Plain::new(), Plain::backend(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&ended);
    backend::serve(at, move |mut stream| {
        let hint = format!("HTTP/1.1 103 Early Hints\r\nLink: {}\r\n\r\n", "x".repeat(8192));
        if backend::read_head(&mut stream) {
            while stream.write_all(hint.as_bytes()).is_ok() {}
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    plain.manifests.service(&Plain::service("web", "kubernetes.io/ws").to(at));
    let web = plain.listen("web");
    plain.start();
    let before = plain.node().rss();
    // They do not read.
    let mut clients: Vec<_> = (0..4).map(|_| Plain::connect(web)).collect();
    for conn in &mut clients {
        conn.send("POST / HTTP/1.1\r\nHost: web\r\nContent-Length: 0\r\n\r\n").unwrap();
    }
    eventually(Duration::from_secs(30), "the endpoint is hung up on", || {
        ended.load(Ordering::SeqCst) >= clients.len()
    });
    let grown = plain.node().peak_rss().saturating_sub(before);
    assert!(grown < 32 << 20, "{grown} octets more");
    for conn in &mut clients {
        let statuses: Vec<u16> = std::iter::from_fn(|| conn.response().ok())
            .map(|response| response.status)
            .take_while(|status| *status == 103)
            .collect();
        assert!((1..=16).contains(&statuses.len()), "{statuses:?}");
    }
}

#[test]
fn a_client_of_http_2_is_spared_hints_without_end() {
    let (_plain, web) = world(true);
    let answer = http2::run(async {
        let mut client = http2::connect(web).await;
        let request = Request::get(format!("http://{web}/babble")).body(()).unwrap();
        let (response, _) = client.send_request(request, true).unwrap();
        http2::read(response).await.unwrap()
    });
    assert_eq!(answer.head.status(), 502);
    assert!((1..=16).contains(&answer.interim.len()), "{} hints", answer.interim.len());
}
