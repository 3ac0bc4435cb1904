//! A small HTTP/1 server on hyper.

use std::convert::Infallible;
use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use super::{Admin, Asked};

/// Octets of a question.
const MOST_ASKED: usize = 256 << 10;

/// Which of the two it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `--metrics`: what a cluster's monitoring and kubelet ask.
    Metrics,
    /// `--admin`: what a person on the node asks.
    Admin,
}

/// Serves until it is dropped. Each connection is a task of the local set it runs in.
///
/// # Errors
/// The event loop cannot take the listener.
pub async fn serve(listener: TcpListener, role: Role, admin: Admin) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on an operators' endpoint");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            Some(_) = connections.join_next() => continue,
        };
        let admin = admin.clone();
        connections.spawn_local(async move {
            let service = service_fn(|request: Request<Incoming>| async {
                Ok::<_, Infallible>(match (role, request.uri().path()) {
                    (Role::Admin, "/explain") => explain(&admin, request).await,
                    _ => answer(role, &admin, &request),
                })
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(30))
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "an operator's connection broke");
            }
        });
    }
}

fn answer(role: Role, admin: &Admin, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return text(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
    }
    match (role, request.uri().path()) {
        (Role::Metrics, "/metrics") => {
            with_type(StatusCode::OK, admin.metrics.render(), "text/plain; version=0.0.4")
        }
        (Role::Metrics, "/livez") => text(StatusCode::OK, "ok\n"),
        (Role::Metrics, "/readyz") if admin.ready.get() => text(StatusCode::OK, "ok\n"),
        (Role::Metrics, "/readyz") => {
            text(StatusCode::SERVICE_UNAVAILABLE, "the first full state is not in force yet\n")
        }
        (Role::Metrics, "/") => text(
            StatusCode::OK,
            Admin::index(&[
                ("/metrics", "Prometheus text format"),
                ("/livez", "200 while the process runs"),
                ("/readyz", "200 once the first full state is in force"),
            ]),
        ),
        (Role::Admin, "/snapshot") => {
            let body = format!("{:#}\n", admin.snapshot());
            with_type(StatusCode::OK, body, "application/json")
        }
        (Role::Admin, "/") => text(
            StatusCode::OK,
            Admin::index(&[
                ("/snapshot", "frontends and endpoints in force, as JSON"),
                ("/explain", "what would happen to a request: POST it, as nodeway explain does"),
            ]),
        ),
        _ => text(StatusCode::NOT_FOUND, "not found; ask for /\n"),
    }
}

/// What would happen to the request that is posted.
async fn explain(admin: &Admin, request: Request<Incoming>) -> Response<Full<Bytes>> {
    if request.method() != Method::POST {
        return text(StatusCode::METHOD_NOT_ALLOWED, "POST only\n");
    }
    let body = match Limited::new(request.into_body(), MOST_ASKED).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    };
    let asked: Asked = match serde_json::from_slice(&body) {
        Ok(asked) => asked,
        Err(error) => return text(StatusCode::BAD_REQUEST, format!("{error}\n")),
    };
    match admin.explain(&asked) {
        Err(why) => text(StatusCode::UNPROCESSABLE_ENTITY, format!("{why}\n")),
        Ok(explanation) => match serde_json::to_vec_pretty(&explanation) {
            Ok(body) => with_type(StatusCode::OK, body, "application/json"),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    with_type(status, body, "text/plain; charset=utf-8")
}

fn with_type(
    status: StatusCode,
    body: impl Into<Bytes>,
    content_type: &'static str,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
