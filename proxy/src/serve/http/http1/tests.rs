//! Requests out of octets, beside what hyper makes of them; and responses into octets.

use std::cell::RefCell;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response};
use http_body::SizeHint;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::AsyncWriteExt as _;

use super::*;
use crate::http1::{Content, Heads, Piece};
use crate::serve::http::MAX_HEAD;

/// The requests that come in `parts`, in words that do not tell where the reads ended.
fn told(parts: &[&[u8]]) -> Result<Vec<String>, Malformed> {
    let (mut heads, mut read) = (Heads::new(MAX_HEAD as usize), BytesMut::new());
    let (mut content, mut body) = (Content::End, Vec::new());
    let (mut said, mut line) = (Vec::new(), None);
    let mut parts = parts.iter();
    loop {
        let short = if line.is_none() {
            match RequestHead::next(&mut heads, &mut read, &mut HeaderMap::new())? {
                None => true,
                Some(head) => {
                    line = Some(words(&head.request));
                    content = head.content;
                    false
                }
            }
        } else {
            match content.next(&mut read)? {
                Piece::Short => true,
                Piece::Data(data) => {
                    body.extend_from_slice(&data);
                    false
                }
                Piece::End(trailers) => {
                    let line = line.take().unwrap_or_default();
                    let body = std::mem::take(&mut body);
                    said.push(format!("{line} {trailers:?} {:?}", String::from_utf8_lossy(&body)));
                    false
                }
            }
        };
        if short {
            let Some(part) = parts.next() else { return Ok(said) };
            read.extend_from_slice(part);
        }
    }
}

fn words<B>(request: &Request<B>) -> String {
    let (method, uri, fields) = (request.method(), request.uri(), request.headers());
    format!("{method} {uri} {:?} {fields:?}", request.version())
}

/// What hyper makes of it.
async fn hypers(said: &[u8]) -> Vec<String> {
    let (mut client, server) = tokio::io::duplex(1 << 20);
    let heard = RefCell::new(Vec::new());
    let service = service_fn(|request: Request<Incoming>| async {
        let line = words(&request);
        let body = request.into_body().collect().await?;
        let (trailers, body) = (body.trailers().cloned(), body.to_bytes());
        heard
            .borrow_mut()
            .push(format!("{line} {trailers:?} {:?}", String::from_utf8_lossy(&body)));
        Ok::<_, hyper::Error>(Response::new(Empty::<Bytes>::new()))
    });
    client.write_all(said).await.unwrap();
    client.shutdown().await.unwrap();
    let mut builder = http1::Builder::new();
    builder.half_close(true).max_buf_size(MAX_HEAD as usize);
    // What it does not understand ends the connection.
    let _ = builder.serve_connection(TokioIo::new(server), service).await;
    heard.into_inner()
}

const SAMPLES: [&str; 6] = [
    "GET /a?b HTTP/1.1\r\nHost: web\r\nX-A: b\r\nConnection: keep-alive\r\n\r\n",
    "POST http://web/ HTTP/1.1\r\nhost: web\r\nContent-Length: 5\r\n\r\nhello",
    "PUT / HTTP/1.1\r\nHost: web\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nX-T: 1\r\n\r\n",
    "\r\nGET / HTTP/1.0\r\nX: \t a b \t\r\n\r\n",
    "OPTIONS * HTTP/1.1\nHost: a\n\n",
    "CONNECT web:80 HTTP/1.1\r\nHost: web:80\r\n\r\n",
];

#[test]
fn requests_are_read_the_same_wherever_reads_end() {
    let said = SAMPLES.concat();
    let said = said.as_bytes();
    let whole = told(&[said]).unwrap();
    assert_eq!(whole.len(), SAMPLES.len());
    for cut in 0..said.len() {
        assert_eq!(told(&[&said[..cut], &said[cut..]]).as_ref(), Ok(&whole), "{cut}");
    }
    assert_eq!(told(&said.chunks(1).collect::<Vec<_>>()), Ok(whole));
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    for fields in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "TRANSFER-ENCODING: chunked\r\ncontent-length: 3\r\n",
        "transfer-encoding : chunked\r\n",
        "transfer-encoding:\r\n chunked\r\n",
        "content-length\t: 3\r\n",
        "content-length: 3\r\ncontent-length: 4\r\n",
        "content-length: 3, 4\r\n",
        "content-length: 3, 3\r\n",
        "content-length: +3\r\n",
        "content-length: 0x3\r\n",
        "content-length: \r\n",
        "content-length: 9223372036854775808\r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: gzip\r\n",
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: , chunked\r\n",
        "transfer-encoding: xchunked\r\n",
        "x: a\rb\r\n",
        "x: a\r\r\n",
        "x: a\0\r\n",
        " folded: a\r\n",
    ] {
        let said = format!("POST / HTTP/1.1\r\n{fields}\r\n");
        assert!(told(&[said.as_bytes()]).is_err(), "{fields:?}");
    }
    assert!(told(&[b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n"]).is_err());
}

#[test]
fn what_is_only_unusual_is_read() {
    for (said, end) in [
        ("POST / HTTP/1.1\r\nContent-Length: 1\r\ncontent-length:1\r\n\r\nx", "None \"x\""),
        ("POST / HTTP/1.1\r\ntransfer-encoding:\t Chunked \r\n\r\n0\r\n\r\n", "None \"\""),
        ("POST / HTTP/1.1\r\n\r\n", "None \"\""),
    ] {
        let told = told(&[said.as_bytes()]).unwrap();
        assert!(told.len() == 1 && told[0].ends_with(end), "{said:?}: {told:?}");
        assert!(told[0].matches("content-length").count() <= 1, "{told:?}");
    }
}

#[test]
fn a_head_that_is_too_large_is_told_from_one_that_makes_no_sense() {
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "a".repeat(MAX_HEAD as usize));
    assert_eq!(told(&[long.as_bytes()]), Err(TOO_LONG));
    let without_end = long.trim_end().as_bytes();
    assert_eq!(told(&without_end.chunks(1000).collect::<Vec<_>>()), Err(TOO_LONG));
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101));
    assert_eq!(told(&[many.as_bytes()]), Err(TOO_MANY));
}

#[test]
fn a_head_says_what_becomes_of_its_connection() {
    let head = |said: &str| {
        let (mut heads, mut read) = (Heads::new(1 << 10), BytesMut::from(said));
        RequestHead::next(&mut heads, &mut read, &mut HeaderMap::new()).unwrap().unwrap()
    };
    for (line, fields, keep_alive) in [
        ("GET / HTTP/1.1", "", true),
        ("GET / HTTP/1.1", "Connection: x, Close\r\n", false),
        ("GET / HTTP/1.0", "", false),
        ("GET / HTTP/1.0", "Connection: keep-alive\r\n", true),
    ] {
        assert_eq!(
            head(&format!("{line}\r\n{fields}\r\n")).keep_alive,
            keep_alive,
            "{line} {fields}"
        );
    }
    let expect = "Expect: 100-Continue\r\n";
    assert!(head(&format!("PUT / HTTP/1.1\r\n{expect}Content-Length: 1\r\n\r\n")).expects);
    assert!(!head(&format!("PUT / HTTP/1.0\r\n{expect}Content-Length: 1\r\n\r\n")).expects);
    assert!(!head(&format!("PUT / HTTP/1.1\r\n{expect}\r\n")).expects, "nothing follows");
    assert!(head("GET / HTTP/1.1\r\nTE: deflate, trailers;q=1\r\n\r\n").trailers);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn valid_requests_are_read_as_hyper_reads_them(
        samples in prop::collection::vec(0..4_usize, 1..4),
        names in prop::collection::vec("[A-Za-z!#$%&'*+.^_`|~0-9-]{1,20}", 0..8),
        values in prop::collection::vec("[!-~\u{e4}][ -~\t]{0,40}", 8),
        body in "[a-z\r\n]{0,80}",
        cut in 0..400_usize,
    ) {
        // Those of HTTP/1.0 end their connection there.
        let mut said: String = samples.iter().filter(|n| **n < 3).map(|n| SAMPLES[*n]).collect();
        said.push_str("PATCH /%7e HTTP/1.1\r\n");
        for (name, value) in names.iter().zip(&values) {
            let others = ["content-length", "transfer-encoding", "connection", "expect", "upgrade"];
            if !others.contains(&name.to_ascii_lowercase().as_str()) {
                said.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        said.push_str(&format!("content-length: {}\r\n\r\n{body}", body.len()));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let expected = runtime.block_on(hypers(said.as_bytes()));
        let cut = cut.min(said.len());
        let ours = told(&[&said.as_bytes()[..cut], &said.as_bytes()[cut..]]);
        prop_assert_eq!(ours, Ok(expected), "{:?}", said);
    }

    #[test]
    fn nothing_is_read_that_hyper_does_not_read_and_nothing_panics(
        sample in 0..SAMPLES.len() - 1,
        changes in prop::collection::vec((0..200_usize, any::<u8>()), 1..4),
        cut in 0..200_usize,
    ) {
        let mut said = SAMPLES[sample].as_bytes().to_vec();
        for (at, octet) in changes {
            let at = at % said.len();
            said[at] = octet;
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let expected = runtime.block_on(hypers(&said));
        let cut = cut.min(said.len());
        // We may be stricter.
        if let Ok(ours) = told(&[&said[..cut], &said[cut..]]) {
            let first = ours.first();
            prop_assert!(first.is_none() || first == expected.first(), "{:?} {:?}", ours, expected);
        }
    }

    #[test]
    fn octets_make_nothing_panic(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..20),
    ) {
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        let _ = told(&parts);
    }
}

#[test]
fn a_response_says_once_where_its_body_ends() {
    const PLAIN: Asked =
        Asked { head: false, old: false, trailers: true, upgraded: false, keep_alive: true };
    let (none, known, unknown) =
        (SizeHint::with_exact(0), SizeHint::with_exact(7), SizeHint::default());
    let (head, old) = (Asked { head: true, ..PLAIN }, Asked { old: true, ..PLAIN });
    let upgraded = Asked { upgraded: true, ..PLAIN };
    let last = Asked { keep_alive: false, ..PLAIN };
    let length = ("content-length", "7");
    for (status, field, rest, asked, said, extent) in [
        (200, None, &none, PLAIN, "content-length: 0\r\n", Extent::Length(0)),
        (200, None, &known, PLAIN, "content-length: 7\r\n", Extent::Length(7)),
        (200, Some(length), &known, PLAIN, "content-length: 7\r\n", Extent::Length(7)),
        (200, None, &unknown, PLAIN, "transfer-encoding: chunked\r\n", Extent::Chunked(vec![])),
        (
            200,
            Some(("transfer-encoding", "chunked")),
            &unknown,
            PLAIN,
            "transfer-encoding: chunked\r\n",
            Extent::Chunked(vec![]),
        ),
        (200, None, &unknown, old, "connection: close\r\n", Extent::Close),
        (
            200,
            Some(length),
            &known,
            old,
            "content-length: 7\r\nconnection: keep-alive\r\n",
            Extent::Length(7),
        ),
        (200, Some(length), &none, head, "content-length: 7\r\n", Extent::None),
        (200, None, &none, head, "", Extent::None),
        (404, None, &known, head, "content-length: 7\r\n", Extent::None),
        (304, Some(length), &none, PLAIN, "content-length: 7\r\n", Extent::None),
        (204, Some(length), &none, PLAIN, "", Extent::None),
        (
            101,
            Some(("connection", "upgrade")),
            &none,
            upgraded,
            "connection: upgrade\r\n",
            Extent::None,
        ),
        (200, Some(length), &none, upgraded, "", Extent::None),
        (200, None, &none, last, "content-length: 0\r\nconnection: close\r\n", Extent::Length(0)),
        (
            200,
            Some(("connection", "close")),
            &none,
            PLAIN,
            "content-length: 0\r\nconnection: close\r\n",
            Extent::Length(0),
        ),
    ] {
        let mut response = Response::builder().status(status);
        if let Some((name, value)) = field {
            response = response.header(name, value);
        }
        let mut out = Vec::new();
        let answer = answer::head(&mut out, &response.body(()).unwrap(), rest, asked);
        let out = String::from_utf8(out).unwrap();
        let (_, fields) = out.split_once("\r\n").unwrap();
        assert_eq!(fields, format!("{said}\r\n"), "{status} {field:?} {asked:?}");
        assert_eq!(answer.extent, extent, "{status} {field:?} {asked:?}");
        assert_eq!(answer.keep_alive, asked.keep_alive && !fields.contains("close"));
    }
}

#[tokio::test]
async fn who_is_told_what_a_client_hears_first_keeps_no_connection_open() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let connecting = TcpStream::connect(listener.local_addr().unwrap());
    let (accepted, _client) = tokio::join!(listener.accept(), connecting);
    let wire = Wire::new(accepted.unwrap().0, Bytes::from_static(b"GET"));
    let informer = Informer::new(wire.teller() as Rc<dyn Inform>);
    let (_, said) = wire.into_parts().expect("nobody else has it");
    assert_eq!(said, "GET");
    drop(informer);
}
