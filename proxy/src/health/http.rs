//! Questions in HTTP/1.1 and HTTP/2.
//!
//! Not how connections are made. Nothing is kept: a connection serves one question, so that each check sees
//! whether the endpoint takes new ones.

use std::fmt::Display;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use h2::{RecvStream, client};
use http::header::{CONNECTION, CONTENT_TYPE, HOST, TE, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use nodeway_core::model::ObjectName;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::{Outcome, grpc};
use crate::errors::chain;
use crate::upstream::{Transport, Version};

/// What servers see in their logs.
const AGENT: HeaderValue =
    HeaderValue::from_static(concat!("nodeway/", env!("CARGO_PKG_VERSION"), " health check"));
/// As much of a body is read, so that servers see their answers taken; nobody looks at it.
const MOST_READ: usize = 64 << 10;
/// For so long.
const PATIENCE: Duration = Duration::from_millis(500);
/// A connection is closed in order, if that takes no longer.
const GOODBYE: Duration = Duration::from_millis(250);
/// The messages of gRPC's answers have two octets.
const MOST_GRPC: usize = 4 << 10;

/// A `GET`, and which answers are good.
pub(super) struct Get<'a> {
    pub(super) path: &'a str,
    pub(super) host: Option<&'a HeaderValue>,
    pub(super) headers: &'a [(HeaderName, HeaderValue)],
    /// 200 to 299 if there are none.
    pub(super) statuses: &'a [(u16, u16)],
}

/// A connection's task: when the question is over it may say goodbye, and ends.
struct Running {
    _over: oneshot::Sender<()>,
}

/// Asks by a `GET`.
pub(super) async fn get(
    transport: Transport,
    version: Version,
    service: &ObjectName,
    secured: bool,
    asked: &Get<'_>,
) -> Outcome {
    let status = match version {
        Version::Http1 => match asked.in_http1(service) {
            Ok(request) => get_http1(transport, request).await,
            Err(why) => return Outcome::Unfit(why),
        },
        Version::Http2 => match asked.in_http2(service, secured) {
            Ok(request) => get_http2(transport, request).await,
            Err(why) => return Outcome::Unfit(why),
        },
    };
    match status {
        Ok(status) if asked.wants(status) => Outcome::Well,
        Ok(status) => Outcome::Ill(format!("HTTP status {}", status.as_u16())),
        Err(outcome) => outcome,
    }
}

/// Asks by `grpc.health.v1.Health/Check`.
pub(super) async fn grpc(
    transport: Transport,
    service: &ObjectName,
    secured: bool,
    about: &str,
) -> Outcome {
    let request = uri(&dns(service), grpc::PATH, secured).and_then(|uri| {
        let request = Request::post(uri)
            .header(CONTENT_TYPE, grpc::GRPC)
            .header(TE, "trailers")
            .header(USER_AGENT, AGENT);
        request.body(()).map_err(|error| error.to_string())
    });
    let request = match request {
        Ok(request) => request,
        Err(why) => return Outcome::Unfit(why),
    };
    match call(transport, request, grpc::request(about)).await {
        Ok(outcome) | Err(outcome) => outcome,
    }
}

async fn get_http1(
    transport: Transport,
    request: Request<Empty<Bytes>>,
) -> Result<StatusCode, Outcome> {
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(transport)).await.map_err(unreached)?;
    let _running = Running::start(connection);
    let response = sender.send_request(request).await.map_err(unreached)?;
    let status = response.status();
    // The head has said it all.
    let _ = timeout(PATIENCE, drain(response)).await;
    Ok(status)
}

async fn get_http2(transport: Transport, request: Request<()>) -> Result<StatusCode, Outcome> {
    let (sender, connection) = client::handshake(transport).await.map_err(unreached)?;
    let _running = Running::start(connection);
    let mut sender = sender.ready().await.map_err(unreached)?;
    let (response, _) = sender.send_request(request, true).map_err(unreached)?;
    let (head, mut body) = response.await.map_err(unreached)?.into_parts();
    let _ = timeout(PATIENCE, read(&mut body, MOST_READ)).await;
    Ok(head.status)
}

async fn call(
    transport: Transport,
    request: Request<()>,
    message: Bytes,
) -> Result<Outcome, Outcome> {
    let (sender, connection) = client::handshake(transport).await.map_err(unreached)?;
    let _running = Running::start(connection);
    let mut sender = sender.ready().await.map_err(unreached)?;
    let (response, mut stream) = sender.send_request(request, false).map_err(unreached)?;
    // More than any window there is would take another kind of name.
    stream.send_data(message, true).map_err(unreached)?;
    let (head, mut body) = response.await.map_err(unreached)?.into_parts();
    let octets = read(&mut body, MOST_GRPC).await.map_err(unreached)?;
    let Some(octets) = octets else {
        return Ok(Outcome::Ill("the response is longer than any should be".to_owned()));
    };
    let trailers = body.trailers().await.map_err(unreached)?;
    Ok(grpc::outcome(head.status, &head.headers, &octets, trailers.as_ref()))
}

/// The body; none if there is more of it than `most`.
async fn read(body: &mut RecvStream, most: usize) -> Result<Option<Bytes>, h2::Error> {
    let mut octets = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        if octets.len() + data.len() > most {
            return Ok(None);
        }
        octets.extend_from_slice(&data);
    }
    Ok(Some(octets.freeze()))
}

async fn drain(response: Response<Incoming>) {
    let (mut body, mut left) = (response.into_body(), MOST_READ);
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len);
        let Some(rest) = left.checked_sub(length) else { return };
        left = rest;
    }
}

fn unreached(error: impl std::error::Error) -> Outcome {
    Outcome::Unreached(chain(&error))
}

/// The Service's name in DNS, as its clients say it.
fn dns(service: &ObjectName) -> String {
    format!("{}.{}.svc", service.name, service.namespace)
}

fn uri(host: &str, path: &str, secured: bool) -> Result<Uri, String> {
    let invalid = |what: &str, why: &dyn Display| format!("healthCheck.http.{what}: {why}");
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(if secured { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(Authority::try_from(host).map_err(|why| invalid("host", &why))?);
    parts.path_and_query = Some(PathAndQuery::try_from(path).map_err(|why| invalid("path", &why))?);
    Uri::from_parts(parts).map_err(|why| invalid("path", &why))
}

// === impl Get ===

impl Get<'_> {
    fn wants(&self, status: StatusCode) -> bool {
        match self.statuses {
            [] => status.is_success(),
            ranges => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&status.as_u16()))
            }
        }
    }

    /// What all versions have in common; a policy's own fields go before ours.
    fn head<B>(&self, uri: Uri, body: B) -> Request<B> {
        let mut request = Request::new(body);
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        headers.insert(USER_AGENT, AGENT);
        for (name, value) in self.headers {
            headers.insert(name, value.clone());
        }
        request
    }

    fn in_http1(&self, service: &ObjectName) -> Result<Request<Empty<Bytes>>, String> {
        let path = PathAndQuery::try_from(self.path);
        let uri = path.map_err(|why| format!("healthCheck.http.path: {why}"))?.into();
        let mut request = self.head(uri, Empty::new());
        let host = match self.host {
            Some(host) => host.clone(),
            None => HeaderValue::try_from(dns(service)).map_err(|why| why.to_string())?,
        };
        let headers = request.headers_mut();
        headers.insert(HOST, host);
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        Ok(request)
    }

    fn in_http2(&self, service: &ObjectName, secured: bool) -> Result<Request<()>, String> {
        let default = dns(service);
        let host = match self.host {
            Some(host) => host.to_str().map_err(|why| format!("healthCheck.http.host: {why}"))?,
            None => &default,
        };
        let mut request = self.head(uri(host, self.path, secured)?, ());
        // Of a connection, not of a request, and said in the authority (RFC 9113, 8.2.2 and 8.3.1).
        for name in [CONNECTION, HOST, http::header::UPGRADE, http::header::TRANSFER_ENCODING] {
            request.headers_mut().remove(name);
        }
        Ok(request)
    }
}

// === impl Running ===

impl Running {
    fn start(connection: impl Future + 'static) -> Self {
        let (over, is_over) = oneshot::channel::<()>();
        tokio::task::spawn_local(async move {
            tokio::select! {
                _ = connection => {}
                () = async {
                    let _ = is_over.await;
                    tokio::time::sleep(GOODBYE).await;
                } => {}
            }
        });
        Self { _over: over }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(statuses: &'a [(u16, u16)], headers: &'a [(HeaderName, HeaderValue)]) -> Get<'a> {
        Get { path: "/healthz?deep=1", host: None, headers, statuses }
    }

    #[test]
    fn statuses_are_in_their_ranges_or_two_hundred_and_some() {
        let status = |code| StatusCode::from_u16(code).unwrap();
        let wants = |ranges: &[(u16, u16)], code| asked(ranges, &[]).wants(status(code));
        for (code, wanted) in [(199, false), (200, true), (204, true), (299, true), (300, false)] {
            assert_eq!(wants(&[], code), wanted, "{code}");
        }
        let ranges = [(200, 200), (401, 403)];
        for (code, wanted) in
            [(200, true), (201, false), (400, false), (401, true), (403, true), (404, false)]
        {
            assert_eq!(wants(&ranges, code), wanted, "{code}");
        }
    }

    #[test]
    fn a_question_names_the_service_unless_a_policy_names_another_host() {
        let service = ObjectName::new("shop", "web");
        let fields = [(USER_AGENT, HeaderValue::from_static("mine"))];
        let one = asked(&[], &fields).in_http1(&service).unwrap();
        assert_eq!(one.uri(), "/healthz?deep=1");
        assert_eq!(one.headers()[HOST], "web.shop.svc");
        assert_eq!(one.headers()[USER_AGENT], "mine");
        assert_eq!(one.headers()[CONNECTION], "close");
        let two = asked(&[], &[]).in_http2(&service, true).unwrap();
        assert_eq!(two.uri(), "https://web.shop.svc/healthz?deep=1");
        assert!(two.headers().get(CONNECTION).is_none());
        let host = HeaderValue::from_static("health.example");
        let named = Get { host: Some(&host), ..asked(&[], &[]) };
        assert_eq!(named.in_http1(&service).unwrap().headers()[HOST], "health.example");
        let uri = named.in_http2(&service, false).unwrap();
        assert_eq!(uri.uri(), "http://health.example/healthz?deep=1");
    }

    #[test]
    fn what_cannot_be_asked_names_its_field() {
        let service = ObjectName::new("shop", "web");
        let bad = Get { path: "/a b", ..asked(&[], &[]) };
        assert!(bad.in_http1(&service).unwrap_err().contains("healthCheck.http.path"));
        let host = HeaderValue::from_static("a b");
        let bad = Get { host: Some(&host), ..asked(&[], &[]) };
        assert!(bad.in_http2(&service, false).unwrap_err().contains("healthCheck.http.host"));
    }
}
