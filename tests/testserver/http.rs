//! HTTP/1.1 and HTTP/2 with prior knowledge on one port.
//!
//! Any path: a line each for who answered, who asked, what came and its header fields.
//! `/bytes/N`: N octets. `POST /sink`: count and checksum of the body. `/trailers`: a body and a
//! trailer. `/status/N`. `/hang`: no answer. `/refuse`: 417 without reading the body. `/upgrade`:
//! 101, then an echo. `/quit`: the process ends before it answers. `/big`: a large header.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::net::{Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Version};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use nodeway_tests::pattern::{Checksum, Pattern};
use tokio::net::{TcpListener, TcpStream};

type Answer = Response<BoxBody<Bytes, Infallible>>;

struct Server {
    name: String,
    version: String,
}

/// Serves until it is killed.
pub(crate) fn serve(name: &str, version: &str, port: u16) {
    let server = Arc::new(Server { name: name.to_owned(), version: version.to_owned() });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).await.expect("a listener");
        println!("listening");
        loop {
            let Ok((stream, peer)) = listener.accept().await else { continue };
            tokio::spawn(connection(Arc::clone(&server), stream, peer));
        }
    });
}

async fn connection(server: Arc<Server>, stream: TcpStream, peer: SocketAddr) {
    stream.set_nodelay(true).ok();
    let mut first = [0; 4];
    let two =
        matches!(stream.peek(&mut first).await, Ok(n @ 1..) if b"PRI ".starts_with(&first[..n]));
    let service = service_fn(move |request| {
        let server = Arc::clone(&server);
        async move { answer(&server, request, peer).await }
    });
    let io = TokioIo::new(stream);
    if two {
        http2::Builder::new(TokioExecutor::new()).serve_connection(io, service).await.ok();
    } else {
        http1::Builder::new().serve_connection(io, service).with_upgrades().await.ok();
    }
}

async fn answer(
    server: &Server,
    request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Answer, std::io::Error> {
    let path = request.uri().path().to_owned();
    let number = |prefix: &str| path.strip_prefix(prefix).and_then(|n| n.parse::<u64>().ok());
    if let Some(octets) = number("/bytes/") {
        return Ok(bytes(octets));
    }
    if let Some(status) = number("/status/").and_then(|n| u16::try_from(n).ok()) {
        return Ok(text(StatusCode::from_u16(status).unwrap_or_default(), String::new()));
    }
    Ok(match path.as_str() {
        "/sink" => text(StatusCode::OK, sink(request).await),
        "/trailers" => trailers(),
        "/hang" => std::future::pending().await,
        "/refuse" => text(StatusCode::EXPECTATION_FAILED, "refused\n".to_owned()),
        "/quit" => std::process::exit(0),
        "/break" => return Err(std::io::Error::other("the handler breaks the connection")),
        "/upgrade" => upgrade(request),
        "/big" => {
            let mut response = text(StatusCode::OK, String::new());
            let value = HeaderValue::from_str(&"x".repeat(20_000)).expect("a value");
            response.headers_mut().insert("x-big", value);
            response
        }
        _ => text(StatusCode::OK, describe(server, request, peer).await),
    })
}

async fn describe(server: &Server, request: Request<Incoming>, peer: SocketAddr) -> String {
    let version = match request.version() {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    let mut text = format!(
        "pod: {}\nversion: {}\nsource: {}\nport: {}\nhttp: {version}\nrequest: {} {}\n",
        server.name,
        server.version,
        peer.ip().to_canonical(),
        peer.port(),
        request.method(),
        request.uri(),
    );
    for (name, value) in request.headers() {
        let _ = writeln!(text, "> {name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
    let collected = request.into_body().collect().await;
    if let Ok(body) = collected {
        for (name, value) in body.trailers().into_iter().flatten() {
            let _ = writeln!(text, "trailer {name}: {}", String::from_utf8_lossy(value.as_bytes()));
        }
        let _ = writeln!(text, "body: {}", body.to_bytes().len());
    }
    text
}

fn bytes(octets: u64) -> Answer {
    let mut response = Response::new(Octets(Pattern::new(octets)).boxed());
    response.headers_mut().insert("content-length", HeaderValue::from(octets));
    response
}

/// So many octets of the pattern, made as they are wanted.
struct Octets(Pattern);

impl Body for Octets {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let block = self.0.block();
        Poll::Ready((!block.is_empty()).then(|| Ok(Frame::data(Bytes::from(block)))))
    }
}

async fn sink(request: Request<Incoming>) -> String {
    let mut body = request.into_body();
    let mut sum = Checksum::default();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            sum.update(data);
        }
    }
    format!("{}\n", sum.finish())
}

fn trailers() -> Answer {
    let mut fields = HeaderMap::new();
    fields.insert("x-sum", HeaderValue::from_static("42"));
    let body = Full::new(Bytes::from_static(b"body\n"));
    let body = body.with_trailers(async move { Some(Ok(fields)) });
    let mut response = Response::new(body.boxed());
    response.headers_mut().insert("trailer", HeaderValue::from_static("x-sum"));
    response.headers_mut().insert("transfer-encoding", HeaderValue::from_static("chunked"));
    response
}

fn upgrade(request: Request<Incoming>) -> Answer {
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
        let (mut reader, mut writer) = tokio::io::split(TokioIo::new(upgraded));
        tokio::io::copy(&mut reader, &mut writer).await.ok();
    });
    let mut response = text(StatusCode::SWITCHING_PROTOCOLS, String::new());
    for (name, value) in [("connection", "upgrade"), ("upgrade", "echo")] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn text(status: StatusCode, text: String) -> Answer {
    let body = Full::new(Bytes::from(text));
    let mut response = Response::new(body.boxed());
    *response.status_mut() = status;
    response
}
