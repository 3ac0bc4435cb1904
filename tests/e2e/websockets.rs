//! A WebSocket is a WebSocket, whichever HTTP its client and its endpoint speak: real octets both ways, and each
//! side ends its own direction.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use h2::ext::Protocol;
use hyper::http::{Request, Response};
use nodeway_tests::http2::{self, Endpoint, Script};
use nodeway_tests::{Plain, backend, wait};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// The sample of RFC 6455, section 1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
/// More than all windows and buffers on the way.
const MUCH: usize = 24 << 20;

/// The heads that an endpoint of HTTP/1.1 has had.
type Heads = Arc<Mutex<Vec<String>>>;

fn world(protocol: &'static str, start: impl FnOnce(SocketAddr)) -> (Plain, SocketAddr) {
    let mut plain = Plain::new();
    let at = Plain::backend();
    start(at);
    plain.manifests.service(&Plain::service("web", protocol).to(at));
    let web = plain.listen("web");
    plain.start();
    (plain, web)
}

fn http2_world() -> (Plain, SocketAddr) {
    let script = Script { extended_connect: true, ..Script::default() };
    world("kubernetes.io/h2c", |at| drop(Endpoint::start(at, script)))
}

/// An endpoint of HTTP/1.1 that gives all octets back; `honest`: it says that it has understood.
fn http1_world(honest: bool) -> (Plain, SocketAddr, Heads) {
    let heads = Heads::default();
    let seen = Arc::clone(&heads);
    let (plain, web) = world("kubernetes.io/ws", move |at| {
        backend::serve(at, move |mut stream| {
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
                head.push(byte[0]);
            }
            let head = String::from_utf8_lossy(&head).into_owned();
            let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: "));
            let text = format!("{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key.unwrap_or_default());
            let accept = STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()));
            let accept = if honest { accept } else { "nonsense".to_owned() };
            seen.lock().unwrap().push(head);
            let said = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                 Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
            );
            stream.write_all(said.as_bytes()).ok();
            let mut buffer = vec![0; 64 << 10];
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                if stream.write_all(&buffer[..count]).is_err() {
                    return;
                }
            }
            stream.shutdown(Shutdown::Write).ok();
        });
    });
    (plain, web, heads)
}

fn upgrade(web: SocketAddr) -> nodeway_tests::http::Conn {
    let mut conn = Plain::connect(web);
    conn.send(format!(
        "GET /chat HTTP/1.1\r\nHost: web\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ))
    .unwrap();
    conn
}

/// Sends much and half-closes; all of it comes back, and then the end.
fn echoes_to_http1(web: SocketAddr) {
    let mut conn = upgrade(web);
    let granted = conn.response().unwrap();
    assert_eq!((granted.status, granted.header("sec-websocket-accept")), (101, Some(ACCEPT)));
    assert_eq!(granted.header("upgrade"), Some("websocket"));
    conn.send("first").unwrap();
    assert_eq!(conn.exactly(5).unwrap(), b"first");
    let mut writing = conn.socket().try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        writing.write_all(&vec![b'x'; MUCH]).unwrap();
        writing.shutdown(Shutdown::Write).unwrap();
    });
    assert_eq!(conn.rest().unwrap().len(), MUCH);
    writer.join().unwrap();
}

async fn extended_connect(
    web: SocketAddr,
    protocol: &'static str,
) -> (Response<h2::RecvStream>, h2::SendStream<Bytes>) {
    let mut client = http2::connect(web).await;
    while !client.is_extended_connect_protocol_enabled() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut request = Request::connect(format!("http://{web}/chat"))
        .header("sec-websocket-version", "13")
        .body(())
        .unwrap();
    request.extensions_mut().insert(Protocol::from_static(protocol));
    let (response, out) = client.send_request(request, false).unwrap();
    (response.await.unwrap(), out)
}

fn echoes_to_http2(web: SocketAddr) {
    http2::run(async {
        let (response, mut out) = extended_connect(web, "websocket").await;
        assert_eq!(response.status(), 200);
        for name in ["upgrade", "connection", "sec-websocket-accept"] {
            assert!(!response.headers().contains_key(name), "{name} in {response:?}");
        }
        let mut incoming = response.into_body();
        let writer = tokio::spawn(async move {
            http2::send(&mut out, Bytes::from(vec![b'x'; MUCH])).await.unwrap();
            out.send_data(Bytes::new(), true).unwrap();
        });
        let mut back = 0;
        while let Some(data) = incoming.data().await {
            let data = data.unwrap();
            back += data.len();
            incoming.flow_control().release_capacity(data.len()).unwrap();
        }
        assert_eq!(back, MUCH);
        writer.await.unwrap();
    });
}

#[test]
fn an_http_1_client_talks_to_an_http_1_endpoint() {
    let (_plain, web, _heads) = http1_world(true);
    echoes_to_http1(web);
}

#[test]
fn an_http_1_client_talks_to_an_http_2_endpoint() {
    let (_plain, web) = http2_world();
    echoes_to_http1(web);
}

#[test]
fn an_http_2_client_talks_to_an_http_2_endpoint() {
    let (_plain, web) = http2_world();
    echoes_to_http2(web);
}

#[test]
fn an_http_2_client_talks_to_an_http_1_endpoint_which_is_asked_as_rfc_6455_says() {
    let (_plain, web, heads) = http1_world(true);
    echoes_to_http2(web);
    let head = heads.lock().unwrap()[0].clone();
    assert!(head.starts_with("GET /chat HTTP/1.1\r\n"), "{head}");
    let key = head.lines().find_map(|line| line.strip_prefix("sec-websocket-key: ")).unwrap();
    assert_eq!(STANDARD.decode(key).unwrap().len(), 16);
    for field in ["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13"] {
        assert!(head.lines().any(|line| line.eq_ignore_ascii_case(field)), "{field} in {head}");
    }
    assert!(!head.contains("transfer-encoding"), "{head}");
}

#[test]
fn an_endpoint_that_has_not_understood_opens_nothing_for_an_http_2_client() {
    let (_plain, web, _heads) = http1_world(false);
    let (response, _) = http2::run(extended_connect(web, "websocket"));
    assert_eq!(response.status(), 502);
}

#[test]
fn a_protocol_that_would_lead_past_the_rules_is_not_connected_to() {
    let (_plain, web, heads) = http1_world(true);
    let (response, _) = http2::run(extended_connect(web, "h2c"));
    assert_eq!(response.status(), 501);
    assert!(heads.lock().unwrap().is_empty());
}

#[test]
fn an_http_2_endpoint_without_extended_connect_is_asked_in_http_1() {
    // Speaks both on one port, and takes an upgrade in HTTP/1.1 only.
    let (_plain, web, _server) = Plain::with_testserver("kubernetes.io/h2c");
    let mut conn = upgrade(web);
    let granted = conn.response().unwrap();
    assert_eq!((granted.status, granted.header("sec-websocket-accept")), (101, Some(ACCEPT)));
    let (response, _) = http2::run(extended_connect(web, "websocket"));
    assert_eq!(response.status(), 200);
}

#[test]
fn a_client_that_does_not_read_its_socket_holds_the_endpoint_back() {
    let (mut plain, web) = http2_world();
    let idle = plain.node().rss();
    let mut conn = upgrade(web);
    assert_eq!(conn.response().unwrap().status, 101);
    let mut writing = conn.socket().try_clone().unwrap();
    writing.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    let block = vec![b'x'; 64 << 10];
    let mut sent = 0;
    while let Ok(count) = writing.write(&block) {
        sent += count;
        assert!(sent < 64 << 20, "{sent} octets went where nobody reads");
    }
    let grown = plain.node().rss().saturating_sub(idle);
    assert!(grown < 16 << 20, "the proxy holds {grown} octets");
}

#[test]
fn a_client_that_vanishes_ends_the_endpoints_side() {
    let script = Script { extended_connect: true, ..Script::default() };
    let mut endpoint = None;
    let (_plain, web) =
        world("kubernetes.io/h2c", |at| endpoint = Some(Endpoint::start(at, script)));
    let endpoint = endpoint.unwrap();
    let mut conn = upgrade(web);
    assert_eq!(conn.response().unwrap().status, 101);
    assert_eq!(endpoint.open(), 1);
    drop(conn);
    wait::eventually(Duration::from_secs(30), "the stream ends", || endpoint.open() == 0);
}
