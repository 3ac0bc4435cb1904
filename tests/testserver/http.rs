//! HTTP/1.1 and HTTP/2 (prior knowledge) on one port: says what arrived, as one line of JSON.

use std::array;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Empty, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue, UPGRADE};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use nodeway_tests::pattern::{Checksum, Pattern};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::told::{self, Answer as Instead, Told};
use crate::{Identity, grpc, health, websocket};

/// How every HTTP/2 connection starts.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";
/// What a gRPC request and its answer are made of.
const GRPC: &str = "application/grpc";

type Answer = Response<UnsyncBoxBody<Bytes, hyper::Error>>;

/// Serves one connection to its end.
pub(crate) async fn serve(stream: TcpStream, from: SocketAddr, me: Arc<Identity>) {
    let http2 = speaks_http2(&stream).await;
    serve_on(stream, http2, from, me).await;
}

/// Serves one connection, of which it is known what is spoken.
pub(crate) async fn serve_on<S>(stream: S, http2: bool, from: SocketAddr, me: Arc<Identity>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let me = Arc::clone(&me);
        async move { answer(request, from, &me).await }
    });
    // A connection that ends badly is its client's story.
    if http2 {
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        server.serve_connection(TokioIo::new(stream), service).await.ok();
    } else {
        let server = hyper::server::conn::http1::Builder::new();
        server.serve_connection(TokioIo::new(stream), service).with_upgrades().await.ok();
    }
}

async fn speaks_http2(stream: &TcpStream) -> bool {
    let mut start = [0; PREFACE.len()];
    loop {
        match stream.peek(&mut start).await {
            Ok(count @ 1..) if PREFACE.starts_with(&start[..count]) => {
                if count == PREFACE.len() {
                    return true;
                }
                // A piece of the preface: there is no event for "more to peek at".
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            _ => return false,
        }
    }
}

async fn answer(
    mut request: Request<Incoming>,
    from: SocketAddr,
    me: &Identity,
) -> Result<Answer, std::io::Error> {
    let told = told::told(request.headers());
    let path = request.uri().path().to_owned();
    let (what, argument) = path[1..].split_once('/').unwrap_or((&path[1..], ""));
    if websocket::is_asked_for(request.headers()) {
        return Ok(websocket(request, from, me).await);
    }
    if path == health::CHECK {
        let asked = request.into_body().collect().await.unwrap_or_default().to_bytes();
        return Ok(grpc_answer(health::serving(from.ip(), &grpc::said(&asked))));
    }
    let is_grpc = request.headers().get(CONTENT_TYPE).is_some_and(|value| value == GRPC);
    let mut response = match what {
        _ if told.is_some() || is_grpc => {
            // On record before anything else: who waits for the answer may lose patience.
            let said = describe(request, from, me).await;
            let Told { delay, answer } = told.unwrap_or_default();
            if let Some(delay) = delay {
                tokio::time::sleep(delay).await;
            }
            match answer {
                Some(Instead::Status(code)) => status(code.as_u16()),
                Some(Instead::Reset) => return Err(std::io::ErrorKind::ConnectionReset.into()),
                None if is_grpc => in_grpc(&said),
                None => body(Full::from(said + "\n")),
            }
        }
        "health" => {
            health::be(argument);
            status(200)
        }
        "healthz" => status(health::status(from.ip())),
        "checked" => body(Full::from(health::checked())),
        "bytes" => body(Stream(Pattern::new(argument.parse().unwrap_or(0)))),
        "sink" => body(Full::from(sink(request.into_body()).await + "\n")),
        "echo" => Response::new(request.into_body().boxed_unsync()),
        "trailers" => with_trailers(),
        "status" => status(argument.parse().unwrap_or(500)),
        "hang" => std::future::pending().await,
        // An error from the service makes hyper drop the connection without an answer.
        "reset" => return Err(std::io::ErrorKind::ConnectionReset.into()),
        "upgrade" => upgrade(&mut request),
        // Answers without having asked for the body: no 100 goes out.
        "refuse" => status(417),
        "big" => with_large_header(),
        _ => {
            let line = describe(request, from, me).await + "\n";
            body(Full::from(line))
        }
    };
    let headers = response.headers_mut();
    let tls = me.tls.as_ref().map(|tls| ("x-tls", tls));
    for (name, value) in [("x-pod", &me.name), ("x-version", &me.version)].into_iter().chain(tls) {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

fn body<B: Body<Data = Bytes, Error = Infallible> + Send + 'static>(body: B) -> Answer {
    Response::new(body.map_err(|never| match never {}).boxed_unsync())
}

async fn describe(request: Request<Incoming>, from: SocketAddr, me: &Identity) -> String {
    let pairs = |map: &HeaderMap| -> Vec<Value> {
        map.iter()
            .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
            .collect()
    };
    let (request, body) = request.into_parts();
    let body = body.collect().await.unwrap_or_default();
    let said = json!({
        "pod": me.name,
        "version": me.version,
        "source": from.to_string(),
        "method": request.method.as_str(),
        "authority": request.uri.authority().map(ToString::to_string),
        "path": request.uri.path(),
        "query": request.uri.query(),
        "protocol": format!("{:?}", request.version),
        "headers": pairs(&request.headers),
        "trailers": body.trailers().map(pairs),
        "body": body.to_bytes().len(),
    });
    let said = said.to_string();
    told::record(&request.headers, &said);
    said
}

/// A message, and a good end in the trailers.
fn in_grpc(said: &str) -> Answer {
    grpc_answer(grpc::message(said))
}

fn grpc_answer(message: Bytes) -> Answer {
    let mut fields = HeaderMap::new();
    fields.insert("grpc-status", HeaderValue::from_static("0"));
    let frames = [Frame::data(message), Frame::trailers(fields)];
    let mut response = body(Frames(frames.into_iter()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(GRPC));
    response
}

/// Reads everything; count and checksum.
async fn sink(mut body: Incoming) -> String {
    let mut sum = Checksum::default();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            sum.update(data);
        }
    }
    sum.finish()
}

fn status(code: u16) -> Answer {
    let mut response = body(Empty::new());
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST);
    response
}

fn with_trailers() -> Answer {
    let mut fields = HeaderMap::new();
    fields.insert("x-trailer", HeaderValue::from_static("the end"));
    let frames = [Frame::data(Bytes::from("with trailers\n")), Frame::trailers(fields)];
    let mut response = body(Frames(frames.into_iter()));
    response.headers_mut().insert("trailer", HeaderValue::from_static("x-trailer"));
    response
}

fn with_large_header() -> Answer {
    let mut response = status(200);
    if let Ok(value) = HeaderValue::from_str(&"x".repeat(20_000)) {
        response.headers_mut().insert("x-big", value);
    }
    response
}

/// 101, then every byte back.
fn upgrade(request: &mut Request<Incoming>) -> Answer {
    let upgraded = hyper::upgrade::on(request);
    tokio::spawn(async move {
        let Ok(upgraded) = upgraded.await else { return };
        let mut stream = TokioIo::new(upgraded);
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer).await {
            if stream.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    });
    let mut response = status(101);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("echo"));
    response
}

/// 101, then every text back with who has seen it.
async fn websocket(mut request: Request<Incoming>, from: SocketAddr, me: &Identity) -> Answer {
    let key = request.headers().get("sec-websocket-key").and_then(|key| key.to_str().ok());
    let accept = websocket::accept(key.unwrap_or_default());
    let upgraded = hyper::upgrade::on(&mut request);
    let said = describe(request, from, me).await;
    tokio::spawn(async move {
        let Ok(upgraded) = upgraded.await else { return };
        let mut stream = TokioIo::new(upgraded);
        while let Ok(Some(text)) = websocket::read(&mut stream).await {
            let mut answer: Value = serde_json::from_str(&said).unwrap_or_default();
            answer["text"] = json!(text);
            let frame = websocket::frame(&answer.to_string(), false);
            if stream.write_all(&frame).await.is_err() {
                return;
            }
        }
    });
    let mut response = status(101);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::from_str(&accept) {
        response.headers_mut().insert("sec-websocket-accept", accept);
    }
    response
}

/// A body of no known length: with one, HTTP/1 has no place for trailers.
struct Frames(array::IntoIter<Frame<Bytes>, 2>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(Ok))
    }
}

/// The pattern as a body of known length.
struct Stream(Pattern);

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let block = self.0.block();
        Poll::Ready((!block.is_empty()).then(|| Ok(Frame::data(block.into()))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.left())
    }
}
