//! One request and its response.

use std::rc::Rc;
use std::time::Instant;

use http::header::EXPECT;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use nodeway_core::model::{AppProtocol, HeaderModifier};
use nodeway_core::snapshot::{
    Backend, Choice, Frontend, RequestHead, Routed, Rule, WeightedBackend,
};

use super::attempt::{self, Answer, Order};
use super::body::ResponseBody;
use super::headers::{strip_hop_by_hop, translate, wants_upgrade};
use super::record::{Detail, Path, Record};
use super::spelling::normalise;
use super::{Conn, reply, upgrade, wellformed};
use crate::telemetry::Flag;
use crate::upstream::{ContinueGate, RequestBody, Version};

/// What was decided for a request.
#[derive(Clone, Copy)]
struct Decision<'a> {
    backend: &'a Backend,
    rule: Option<&'a Rule>,
    weighted: Option<&'a WeightedBackend>,
}

/// What a client waits for that has asked to leave HTTP.
struct Tunnel {
    client: OnUpgrade,
    connect: bool,
}

/// Answers `request`, which came over `conn`.
pub(super) async fn handle(
    conn: Rc<Conn>,
    mut request: Request<Incoming>,
) -> Response<ResponseBody> {
    let start = Instant::now();
    let index = conn.requests.get();
    conn.requests.set(index + 1);
    if let Some(reason) = malformed(&conn, index, &request) {
        conn.worker.metrics.counters.protocol_errors.add(1);
        return match conn.version {
            Version::Http1 => reply::last_text(StatusCode::BAD_REQUEST, reason),
            // RFC 9113, 8.1.1: the stream's error, not the connection's.
            Version::Http2 => reply::text(StatusCode::BAD_REQUEST, reason, None),
        };
    }
    // One snapshot from here to the last choice: a change in between concerns the next request.
    let view = conn.worker.view();
    let detail = Detail::of(&conn, &request);
    let Some(frontend) = conn.target.frontend(&view) else {
        return reply::last_text(StatusCode::SERVICE_UNAVAILABLE, "the Service is gone\n");
    };
    if frontend.is_routed_for(conn.client.namespace.as_deref()) && !normalise(&mut request) {
        return reply::last_text(StatusCode::BAD_REQUEST, "the request's path is malformed\n");
    }
    let path = Path { generation: view.generation(), frontend, rule: None, backend: None };
    let decision = match decide(&conn, frontend, &request) {
        Ok(decision) => decision,
        Err((status, text, flag, rule)) => {
            let path = Path { rule, ..path };
            let record = Record::new(&conn, start, path, status, flag, detail);
            return reply::text(status, text, Some(record));
        }
    };
    let path = Path { rule: decision.rule, backend: Some(decision.backend), ..path };
    let (request, tunnel, version) = prepare(&conn, decision, request);
    let Decision { backend, rule, .. } = decision;
    match attempt::send(&conn, Order { start, backend, rule, version }, request).await {
        Ok(answer) => {
            let status = answer.response.status();
            let record = Record::new(&conn, start, path, status, answer.flag, detail);
            respond(&conn, decision, answer, tunnel, record)
        }
        Err(flag) => {
            let (status, text) = match flag {
                Flag::DownstreamProtocol => {
                    (StatusCode::BAD_REQUEST, "the request's body did not come whole\n")
                }
                Flag::UpstreamReset => {
                    (StatusCode::BAD_GATEWAY, "the endpoint ended the connection\n")
                }
                Flag::TimedOut => (StatusCode::GATEWAY_TIMEOUT, "the request took too long\n"),
                Flag::NoHealthyUpstream => {
                    (StatusCode::SERVICE_UNAVAILABLE, "no endpoint is ready\n")
                }
                Flag::UpstreamTls => {
                    (StatusCode::SERVICE_UNAVAILABLE, "no endpoint could be trusted\n")
                }
                _ => (StatusCode::SERVICE_UNAVAILABLE, "no endpoint could be reached\n"),
            };
            let record = Record::new(&conn, start, path, status, flag, detail);
            reply::text(status, text, Some(record))
        }
    }
}

/// Why a request must be refused before anybody looks at what it wants (RFC 9112, 6.3; see `wellformed`).
fn malformed(conn: &Conn, index: u64, request: &Request<Incoming>) -> Option<&'static str> {
    if conn.faults.as_ref().is_some_and(|faults| faults.spoil(index)) {
        return Some("the request's framing is ambiguous\n");
    }
    wellformed::fault(request, conn.version)
}

type Refusal<'a> = (StatusCode, &'static str, Flag, Option<&'a Rule>);

fn decide<'a>(
    conn: &Conn,
    frontend: &'a Frontend,
    request: &Request<Incoming>,
) -> Result<Decision<'a>, Refusal<'a>> {
    let head = RequestHead {
        method: request.method(),
        path: request.uri().path(),
        query: request.uri().query(),
        headers: request.headers(),
        client: conn.client.namespace.as_deref(),
    };
    let rule = match frontend.route(&head) {
        Routed::Service(backend) => return Ok(Decision { backend, rule: None, weighted: None }),
        Routed::Rule(rule, _) => rule,
        Routed::NotFound => {
            return Err((StatusCode::NOT_FOUND, "no route matches\n", Flag::NoRoute, None));
        }
    };
    match rule.backend(conn.worker.with_random(|random| random.u64(..))) {
        Choice::Backend(weighted) => {
            Ok(Decision { backend: &weighted.backend, rule: Some(rule), weighted: Some(weighted) })
        }
        Choice::Invalid(message) => {
            tracing::debug!(route = %rule.route, message, "the request's share has no valid backend");
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            Err((status, "the route's backend is invalid\n", Flag::InvalidRoute, Some(rule)))
        }
    }
}

/// Makes of a client's request one for the endpoint; also what is needed to tunnel if it is granted.
fn prepare(
    conn: &Conn,
    decision: Decision<'_>,
    mut request: Request<Incoming>,
) -> (Request<RequestBody>, Option<Tunnel>, Version) {
    let connect = *request.method() == Method::CONNECT;
    let upgrading = conn.version == Version::Http1 && (connect || wants_upgrade(request.headers()));
    let version = match decision.backend.protocol {
        _ if upgrading => Version::Http1,
        AppProtocol::Http2 => Version::Http2,
        AppProtocol::Http1 => Version::Http1,
        _ => conn.version,
    };
    let tunnel = upgrading.then(|| Tunnel { client: hyper::upgrade::on(&mut request), connect });
    let expects = request
        .headers()
        .get(EXPECT)
        .is_some_and(|e| e.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let (parts, incoming) = request.into_parts();
    let mut request = Request::from_parts(parts, RequestBody::new(incoming));
    request.extensions_mut().clear();
    strip_hop_by_hop(request.headers_mut(), upgrading && !connect);
    for modifier in request_modifiers(decision) {
        modifier.apply(request.headers_mut());
    }
    translate(&mut request, conn.version, version);
    if expects {
        // RFC 9110, 10.1.1: the body waits until the endpoint asks for it. The client is told to go on when
        // its body is first wanted (hyper does so), so that the endpoint's word decides end to end.
        request = request.map(|body| body.behind(ContinueGate::default()));
    }
    (request, tunnel, version)
}

fn respond(
    conn: &Rc<Conn>,
    decision: Decision<'_>,
    answer: Answer,
    tunnel: Option<Tunnel>,
    record: Record,
) -> Response<ResponseBody> {
    let Answer { mut response, lease, active, deadline, .. } = answer;
    if let Some(Tunnel { client, connect }) = tunnel
        && upgrade::granted(connect, response.status())
    {
        let endpoint = hyper::upgrade::on(&mut response);
        upgrade::tunnel(conn, client, endpoint, active, record);
        strip_hop_by_hop(response.headers_mut(), !connect);
        return response.map(|_| ResponseBody::full(bytes::Bytes::new(), None));
    }
    strip_hop_by_hop(response.headers_mut(), false);
    for modifier in response_modifiers(decision) {
        modifier.apply(response.headers_mut());
    }
    *response.version_mut() = match conn.version {
        Version::Http1 => http::Version::HTTP_11,
        Version::Http2 => http::Version::HTTP_2,
    };
    response.map(|incoming| ResponseBody::relayed(incoming, conn, lease, active, deadline, record))
}

fn request_modifiers<'a>(decision: Decision<'a>) -> impl Iterator<Item = &'a HeaderModifier> {
    let rule = decision.rule.map_or(&[][..], |rule| &rule.request_headers);
    rule.iter().chain(decision.weighted.map_or(&[][..], |backend| &backend.request_headers))
}

fn response_modifiers<'a>(decision: Decision<'a>) -> impl Iterator<Item = &'a HeaderModifier> {
    // On the way back the filters nearest to the endpoint come first.
    let backend = decision.weighted.map_or(&[][..], |backend| &backend.response_headers);
    backend.iter().chain(decision.rule.map_or(&[][..], |rule| &rule.response_headers))
}
