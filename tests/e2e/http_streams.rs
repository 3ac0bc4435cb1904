//! HTTP/2 from end to end: both directions at once, trailers, and nobody holds what another does not read.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use hyper::http::{HeaderMap, Request};
use nodeway_tests::Plain;
use nodeway_tests::http2::{self, Endpoint, Script};

const MIB: usize = 1 << 20;

fn world() -> (Plain, SocketAddr, Endpoint) {
    let mut plain = Plain::new();
    let at = Plain::backend();
    let endpoint = Endpoint::start(at, Script::default());
    plain.manifests.service(&Plain::service("web", "grpc").to(at));
    let web = plain.listen("web");
    plain.start();
    (plain, web, endpoint)
}

fn call(web: SocketAddr, path: &str) -> Request<()> {
    Request::post(format!("http://{web}{path}"))
        .header("te", "trailers")
        .header("content-type", "application/grpc")
        .body(())
        .unwrap()
}

#[test]
fn a_call_streams_both_ways_at_once_and_ends_with_trailers() {
    let (_plain, web, _endpoint) = world();
    http2::run(async {
        let mut client = http2::connect(web).await;
        let (response, mut out) = client.send_request(call(web, "/echo"), false).unwrap();
        let (head, mut incoming) = response.await.unwrap().into_parts();
        assert_eq!(head.status, 200, "the response begins before the request has ended");
        for n in 0..100_u32 {
            let message = Bytes::from(n.to_string());
            http2::send(&mut out, message.clone()).await.unwrap();
            let echoed = incoming.data().await.unwrap().unwrap();
            incoming.flow_control().release_capacity(echoed.len()).unwrap();
            assert_eq!(echoed, message);
        }
        out.send_data(Bytes::new(), true).unwrap();
        assert!(incoming.data().await.is_none());
        assert_eq!(incoming.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    });
}

#[test]
fn a_response_of_trailers_only_passes() {
    let (_plain, web, _endpoint) = world();
    http2::run(async {
        let mut client = http2::connect(web).await;
        let (response, mut out) = client.send_request(call(web, "/trailers-only"), false).unwrap();
        out.send_data(Bytes::from_static(b"abc"), true).unwrap();
        let answer = http2::read(response).await.unwrap();
        assert_eq!(answer.head.headers()["grpc-status"], "5");
        assert!(answer.body.is_empty() && answer.trailers.is_empty());
    });
}

#[test]
fn a_clients_trailers_and_its_te_reach_the_endpoint() {
    let (_plain, web, _endpoint) = world();
    http2::run(async {
        let mut client = http2::connect(web).await;
        let (response, mut out) = client.send_request(call(web, "/"), false).unwrap();
        out.send_data(Bytes::from_static(b"abc"), false).unwrap();
        let mut fields = HeaderMap::new();
        fields.insert("x-checksum", "1".parse().unwrap());
        fields.insert("content-length", "7654321".parse().unwrap());
        out.send_trailers(fields).unwrap();
        let said = http2::read(response).await.unwrap().text();
        assert!(said.contains("te: trailers\n") && said.contains("x-checksum: 1\n"), "{said}");
        assert!(!said.contains("7654321"), "a length comes too late in trailers: {said}");
    });
}

/// Sends until nothing goes for a second, which must be soon, and the proxy, which took `idle` octets of memory
/// before, must not have kept it all; says how many octets went.
async fn send_till_held_back(
    plain: &mut Plain,
    out: &mut h2::SendStream<Bytes>,
    idle: u64,
) -> usize {
    let block = Bytes::from(vec![b'x'; MIB / 4]);
    let mut sent = 0;
    while let Ok(done) =
        tokio::time::timeout(Duration::from_secs(1), http2::send(out, block.clone())).await
    {
        done.unwrap();
        sent += block.len();
        assert!(sent < 32 * MIB, "{sent} octets went where nobody reads");
    }
    let grown = plain.node().rss().saturating_sub(idle);
    assert!(grown < 16 * MIB as u64, "the proxy holds {grown} octets");
    sent
}

#[test]
fn an_endpoint_that_does_not_read_holds_an_http_2_client_back() {
    let (mut plain, web, endpoint) = world();
    let idle = plain.node().rss();
    http2::run(async {
        let mut client = http2::connect(web).await;
        let (response, mut out) = client.send_request(call(web, "/slow"), false).unwrap();
        send_till_held_back(&mut plain, &mut out, idle).await;
        assert_eq!(endpoint.taken(), 0);
        // Others are not held up by it.
        let (other, _) = client.send_request(call(web, "/"), true).unwrap();
        assert_eq!(http2::read(other).await.unwrap().head.status(), 200);
        endpoint.release();
        out.send_data(Bytes::new(), true).unwrap();
        assert_eq!(http2::read(response).await.unwrap().head.status(), 200);
    });
    assert!(endpoint.taken() >= MIB, "{} octets came", endpoint.taken());
}

#[test]
fn a_client_that_does_not_read_holds_an_http_2_endpoint_back() {
    let (mut plain, web, _endpoint) = world();
    let idle = plain.node().rss();
    http2::run(async {
        let mut client = http2::connect(web).await;
        let (response, mut out) = client.send_request(call(web, "/echo"), false).unwrap();
        let (_, mut incoming) = response.await.unwrap().into_parts();
        // What comes back is not read: in the end nothing goes in any more.
        let sent = send_till_held_back(&mut plain, &mut out, idle).await;
        let mut back = 0;
        while back < sent {
            let data = incoming.data().await.unwrap().unwrap();
            back += data.len();
            incoming.flow_control().release_capacity(data.len()).unwrap();
        }
    });
}
