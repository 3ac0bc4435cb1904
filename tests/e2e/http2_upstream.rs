//! HTTP/2 to endpoints: their limits are kept, and what they have not looked at is sent again.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hyper::http::Request;
use nodeway_tests::h2::{self as frames, Event, H2};
use nodeway_tests::http2::{self, Endpoint, Script};
use nodeway_tests::{Plain, http, wait};

const SOON: Duration = Duration::from_secs(30);

fn world(script: Script) -> (Plain, SocketAddr, Endpoint) {
    let mut plain = Plain::new();
    let at = Plain::backend();
    let endpoint = Endpoint::start(at, script);
    plain.manifests.service(&Plain::service("web", "kubernetes.io/h2c").ip("10.96.0.9").to(at));
    let web = plain.listen("web");
    plain.start();
    (plain, web, endpoint)
}

fn get(web: SocketAddr, path: &str) -> Request<()> {
    Request::get(format!("http://{web}{path}")).body(()).unwrap()
}

fn post(web: SocketAddr, path: &str) -> Request<()> {
    Request::post(format!("http://{web}{path}")).body(()).unwrap()
}

/// Asks `count` times at once over one connection; each must be answered with 200.
async fn ask_at_once(web: SocketAddr, path: &str, count: usize) {
    let mut client = http2::connect(web).await;
    let mut answers = Vec::new();
    for _ in 0..count {
        let (response, _) = client.send_request(get(web, path), true).unwrap();
        answers.push(tokio::spawn(http2::read(response)));
    }
    for answer in answers {
        let answer = answer.await.unwrap().unwrap();
        assert_eq!(answer.head.status(), 200, "{}", answer.text());
    }
}

#[test]
fn an_endpoints_limit_of_streams_is_kept_on_each_of_several_connections() {
    for limit in [1, 3] {
        let script = Script { max_streams: Some(limit), ..Script::default() };
        let (_plain, web, endpoint) = world(script);
        http2::run(async {
            let asking = tokio::spawn(ask_at_once(web, "/hold", 60));
            // 16 connections at most, and all of them full.
            let room = 16 * limit as usize;
            let full = wait_for(|| endpoint.open() >= room.min(60));
            full.await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            assert_eq!(endpoint.open(), room.min(60), "limit {limit}");
            endpoint.release();
            asking.await.unwrap();
        });
        assert_eq!((endpoint.requests(), endpoint.refused()), (60, 0));
        assert_eq!(endpoint.most_open_of_one(), limit as usize);
        assert!(endpoint.connections() <= 16, "{} connections", endpoint.connections());
    }
}

async fn wait_for(condition: impl Fn() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[test]
fn an_endpoint_without_a_limit_has_one_connection() {
    let (_plain, web, endpoint) = world(Script::default());
    http2::run(ask_at_once(web, "/", 100));
    assert_eq!((endpoint.requests(), endpoint.connections()), (100, 1));
}

#[test]
fn requests_wait_in_the_order_in_which_they_came_and_one_who_leaves_holds_nobody_up() {
    let script = Script { max_streams: Some(1), ..Script::default() };
    let (mut plain, web, endpoint) = world(script);
    let admin = plain.node().admin_at;
    // Those who wait count too.
    let under_way = || {
        let snapshot = http::get(admin, "/snapshot").unwrap().json();
        snapshot["frontends"][0]["endpoints"][0]["active"].as_u64().unwrap()
    };
    http2::run(async {
        let mut client = http2::connect(web).await;
        let mut held = Vec::new();
        for _ in 0..16 {
            let (response, _) = client.send_request(get(web, "/hold"), true).unwrap();
            held.push(tokio::spawn(http2::read(response)));
        }
        wait_for(|| endpoint.open() == 16).await;
        let (gone, mut gone_stream) = client.send_request(get(web, "/gone"), true).unwrap();
        let (response, _) = client.send_request(get(web, "/waits"), true).unwrap();
        wait_for(|| under_way() == 18).await;
        gone_stream.send_reset(h2::Reason::CANCEL);
        drop(gone);
        wait_for(|| under_way() == 17).await;
        endpoint.release();
        assert_eq!(http2::read(response).await.unwrap().head.status(), 200);
        for held in held {
            assert_eq!(held.await.unwrap().unwrap().head.status(), 200);
        }
    });
    // The one who left was never sent.
    assert_eq!(endpoint.requests(), 17);
}

#[test]
fn a_refused_stream_is_sent_again_whatever_its_method_and_with_its_body() {
    let script = Script { refuse: 2, ..Script::default() };
    let (_plain, web, endpoint) = world(script);
    http2::run(async {
        let mut client = http2::connect(web).await;
        let (response, mut out) = client.send_request(post(web, "/"), false).unwrap();
        http2::send(&mut out, Bytes::from_static(b"hello ")).await.unwrap();
        wait_for(|| endpoint.refused() == 2).await;
        http2::send(&mut out, Bytes::from_static(b"world")).await.unwrap();
        out.send_data(Bytes::new(), true).unwrap();
        let answer = http2::read(response).await.unwrap();
        assert_eq!(answer.head.status(), 200, "{}", answer.text());
        assert!(answer.text().contains("body: 11\n"), "{}", answer.text());
    });
    assert_eq!((endpoint.refused(), endpoint.requests()), (2, 1));
}

#[test]
fn a_refused_request_without_a_body_is_sent_again_as_it_was() {
    let script = Script { refuse: 3, ..Script::default() };
    let (_plain, web, endpoint) = world(script);
    http2::run(async {
        let mut client = http2::connect(web).await;
        let mut request = get(web, "/here?a=b");
        request.headers_mut().insert("x-mine", "kept".parse().unwrap());
        let (response, _) = client.send_request(request, true).unwrap();
        let answer = http2::read(response).await.unwrap();
        let text = answer.text();
        assert!(text.starts_with("GET http://"), "{text}");
        assert!(text.contains("/here?a=b\nbody: 0\n") && text.contains("x-mine: kept\n"), "{text}");
    });
    assert_eq!((endpoint.refused(), endpoint.requests()), (3, 1));
}

#[test]
fn a_graceful_goaway_costs_no_request() {
    let script = Script { go_away_after: Some(5), ..Script::default() };
    let (_plain, web, endpoint) = world(script);
    http2::run(async {
        let mut client = http2::connect(web).await;
        for round in 0..20 {
            let mut answers = Vec::new();
            for _ in 0..20 {
                let (response, mut out) = client.send_request(post(web, "/"), false).unwrap();
                out.send_data(Bytes::from_static(b"abc"), true).unwrap();
                answers.push(tokio::spawn(http2::read(response)));
            }
            for answer in answers {
                let answer = answer.await.unwrap().unwrap();
                assert_eq!(answer.head.status(), 200, "round {round}: {}", answer.text());
                assert!(answer.text().contains("body: 3\n"));
            }
        }
    });
    assert_eq!(endpoint.requests(), 400);
    assert!(endpoint.connections() >= 20, "{} connections", endpoint.connections());
}

#[test]
fn what_is_under_way_on_a_connection_that_says_goaway_is_finished() {
    let script = Script { go_away_after: Some(1), ..Script::default() };
    let (_plain, web, endpoint) = world(script);
    http2::run(async {
        let mut client = http2::connect(web).await;
        let (held, _) = client.send_request(get(web, "/hold"), true).unwrap();
        wait_for(|| endpoint.open() == 1).await;
        // Others go over connections of their own meanwhile.
        ask_at_once(web, "/", 3).await;
        endpoint.release();
        assert_eq!(http2::read(held).await.unwrap().head.status(), 200);
    });
}

#[test]
fn a_client_that_leaves_ends_its_stream_and_no_other() {
    let (_plain, web, endpoint) = world(Script::default());
    http2::run(async {
        let mut client = http2::connect(web).await;
        let (stays, _) = client.send_request(get(web, "/hold"), true).unwrap();
        let (leaves, mut out) = client.send_request(post(web, "/echo"), false).unwrap();
        wait_for(|| endpoint.open() == 2).await;
        out.send_reset(h2::Reason::CANCEL);
        drop(leaves);
        wait_for(|| endpoint.open() == 1).await;
        endpoint.release();
        assert_eq!(http2::read(stays).await.unwrap().head.status(), 200);
    });
    wait::eventually(SOON, "no stream is left", || endpoint.open() == 0);
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn a_request_after_one_that_left_is_sent_whole_though_the_next_comes_at_once() {
    let script = Script { max_streams: Some(1), ..Script::default() };
    let (_plain, web, endpoint) = world(script);
    let mut client = H2::open(web, &[]).unwrap();
    let fields = [(":method", "POST"), (":scheme", "http"), (":authority", "web"), (":path", "/")];
    client.send(frames::get(1, "/hold")).unwrap();
    wait::eventually(SOON, "the first is under way", || endpoint.open() == 1);
    // The stream of the first is free before the endpoint knows: that of the second opens when it does.
    let mut octets = frames::cancel(1);
    for stream in [3, 5] {
        octets.extend(frames::headers(stream, &fields, false));
        octets.extend(frames::data(stream, b"abc", true));
    }
    client.send(octets).unwrap();
    let mut answered = Vec::new();
    while answered.len() < 2 {
        match client.event().expect("both are answered") {
            Event::Status(stream, 200 | 0) => answered.push(stream),
            other => panic!("{other:?}"),
        }
    }
    answered.sort_unstable();
    assert_eq!(answered, [3, 5]);
}

#[test]
fn who_waits_while_an_endpoint_refuses_connections_is_served_when_it_takes_them_again() {
    let script = Script { max_streams: Some(1), ..Script::default() };
    let (_plain, web, endpoint) = world(script);
    http2::run(async {
        let mut client = http2::connect(web).await;
        let (held, _) = client.send_request(get(web, "/hold"), true).unwrap();
        wait_for(|| endpoint.open() == 1).await;
        endpoint.be_deaf(true);
        let (leaves, mut out) = client.send_request(post(web, "/"), false).unwrap();
        let (first, _) = client.send_request(get(web, "/"), true).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        // Who has been refused need not be there any more.
        out.send_reset(h2::Reason::CANCEL);
        drop(leaves);
        endpoint.be_deaf(false);
        let answer = tokio::time::timeout(SOON, http2::read(first)).await;
        assert_eq!(answer.expect("an answer soon").unwrap().head.status(), 200);
        endpoint.release();
        assert_eq!(http2::read(held).await.unwrap().head.status(), 200);
    });
}
