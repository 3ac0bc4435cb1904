//! One request and its response.

use std::rc::Rc;
use std::time::Instant;

use http::header::{EXPECT, ORIGIN, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use nodeway_core::balance::Active;
use nodeway_core::model::AppProtocol;
use nodeway_core::snapshot::{
    Backend, Caller, Choice, Context, Frontend, HashKey, MirrorTo, NewCookie, RequestHead, Routed,
    Rule, WeightedBackend,
};

use super::attempt::{self, Answer, Order};
use super::body::ResponseBody;
use super::headers::{strip_hop_by_hop, translate};
use super::mirror::Copies;
use super::record::{Detail, Path, Record};
use super::reply::Form;
use super::session::Stay;
use super::spelling::normalise;
use super::upgrade::Tunnel;
use super::{Conn, reply, upgrade, wellformed};
use crate::streams::Inbound;
use crate::telemetry::Flag;
use crate::upstream::{ContinueGate, Informer, RequestBody, Version};

/// Envoy's, for those who ask for it.
const OVERLOADED: HeaderName = HeaderName::from_static("x-envoy-overloaded");

/// What was decided for a request.
#[derive(Clone, Copy)]
struct Decision<'a> {
    backend: &'a Backend,
    rule: Option<&'a Rule>,
    weighted: Option<&'a WeightedBackend>,
    stay: Option<Stay<'a>>,
}

/// Why a request goes to no endpoint.
enum Ended<'a> {
    /// Something is missing.
    Refused { status: StatusCode, text: &'static str, flag: Flag, rule: Option<&'a Rule> },
    /// One of the route's filters has answered it.
    Answered { rule: &'a Rule, answer: Response<()> },
}

/// What a client's request asked of this hop.
struct Hop {
    tunnel: Option<Tunnel>,
    /// It holds its body back until it is asked for it.
    expects: bool,
}

/// Answers `request`, which came over `conn`.
pub(super) async fn handle(
    conn: Rc<Conn>,
    mut request: Request<Inbound>,
    informer: Option<Informer>,
) -> Response<ResponseBody> {
    let start = Instant::now();
    let form = Form::of(conn.version, request.headers());
    if let Some(reason) = wellformed::fault(&request, conn.version) {
        conn.worker.metrics.counters.protocol_errors.add(1);
        return match conn.version {
            Version::Http1 => reply::last_text(form, StatusCode::BAD_REQUEST, reason),
            // RFC 9113, 8.1.1: the stream's error, not the connection's.
            Version::Http2 => reply::text(form, StatusCode::BAD_REQUEST, reason, None),
        };
    }
    // One snapshot from here to the last choice: a change in between concerns the next request.
    let view = conn.worker.view();
    let detail = Detail::of(&conn, &request);
    let Some(frontend) = conn.target.frontend(&view) else {
        return reply::last_text(form, StatusCode::SERVICE_UNAVAILABLE, "the Service is gone\n");
    };
    if frontend.is_routed_for(conn.client.namespace.as_deref()) && !normalise(&mut request) {
        return reply::last_text(
            form,
            StatusCode::BAD_REQUEST,
            "the request's path is malformed\n",
        );
    }
    let path = Path { generation: view.generation(), frontend, rule: None, backend: None };
    let routed = route(&conn, frontend, &request);
    let (mut request, mut hop) = receive(&conn, request, informer);
    let origin = origin(routed, &request);
    let mut copies = Copies::default();
    let decision = match decide(&conn, frontend, routed, &mut request, &mut copies) {
        Ok(decision) => decision,
        Err(Ended::Refused { status, text, flag, rule }) => {
            let record = Record::new(&conn, start, Path { rule, ..path }, status, flag, detail);
            return reply::text(form, status, text, Some(record));
        }
        Err(Ended::Answered { rule, answer }) => {
            let path = Path { rule: Some(rule), ..path };
            let record = Record::new(&conn, start, path, answer.status(), Flag::None, detail);
            return reply::answer(answer, record);
        }
    };
    let path = Path { rule: decision.rule, backend: Some(decision.backend), ..path };
    let version = decision.version(&conn, hop.tunnel.as_ref());
    if hop.tunnel.is_none() {
        copies.send(&conn, &mut request);
    }
    send_off(&conn, &mut request, version, &mut hop);
    let Decision { backend, rule, stay, .. } = decision;
    let endpoint = stay.and_then(|stay| stay.brought).map(|brought| brought.endpoint);
    let (caller, cookie) = decision.caller(&conn, &request);
    let order = Order { start, backend, endpoint, rule, version, caller };
    match attempt::send(&conn, order, request).await {
        Ok(answer) => {
            let status = answer.response.status();
            let record = Record::new(&conn, start, path, status, answer.flag, detail);
            let mut response =
                respond(&conn, decision, answer, hop.tunnel, origin.as_ref(), record);
            if let Some(field) = cookie.as_ref().and_then(NewCookie::field) {
                // The endpoint may have cookies of its own.
                response.headers_mut().append(SET_COOKIE, field);
            }
            response
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
                Flag::Overflow => (StatusCode::SERVICE_UNAVAILABLE, "too much is under way\n"),
                Flag::UpstreamTls => {
                    (StatusCode::SERVICE_UNAVAILABLE, "no endpoint could be trusted\n")
                }
                _ => (StatusCode::SERVICE_UNAVAILABLE, "no endpoint could be reached\n"),
            };
            let record = Record::new(&conn, start, path, status, flag, detail);
            let mut response = reply::text(form, status, text, Some(record));
            if flag == Flag::Overflow && backend.settings().limits.tell {
                response.headers_mut().insert(OVERLOADED, HeaderValue::from_static("true"));
            }
            response
        }
    }
}

fn route<'a>(conn: &Conn, frontend: &'a Frontend, request: &Request<Inbound>) -> Routed<'a> {
    frontend.route(&RequestHead {
        method: request.method(),
        path: request.uri().path(),
        query: request.uri().query(),
        headers: request.headers(),
        client: conn.client.namespace.as_deref(),
    })
}

/// What is spoken to endpoints of `backend` for a client that speaks `version`.
pub(super) fn spoken(backend: &Backend, version: Version) -> Version {
    match backend.protocol {
        AppProtocol::Http2 => Version::Http2,
        AppProtocol::Http1 => Version::Http1,
        _ => version,
    }
}

/// Takes from a client's request what is for this hop alone.
fn receive(
    conn: &Conn,
    mut request: Request<Inbound>,
    informer: Option<Informer>,
) -> (Box<Request<RequestBody>>, Hop) {
    let tunnel = Tunnel::asked(conn, &mut request);
    let upgrading = tunnel.as_ref().is_some_and(|tunnel| !tunnel.is_connect());
    let expects = request
        .headers()
        .get(EXPECT)
        .is_some_and(|e| e.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    let (parts, incoming) = request.into_parts();
    // Boxed: it is handed on often from here, and some hundred octets would be copied each time.
    let mut request =
        Box::new(Request::from_parts(parts, RequestBody::new(incoming).telling(informer)));
    request.extensions_mut().clear();
    strip_hop_by_hop(request.headers_mut(), upgrading);
    (request, Hop { tunnel, expects })
}

/// The request's origin as it came, if a filter will ask for it.
fn origin<B>(routed: Routed<'_>, request: &Request<B>) -> Option<HeaderValue> {
    match routed {
        Routed::Rule(rule, _) if rule.wants_origin() => request.headers().get(ORIGIN).cloned(),
        _ => None,
    }
}

/// Where the request goes, after the filters of its rule and of the backend have had it; or what it is
/// answered with here.
fn decide<'a>(
    conn: &Conn,
    frontend: &'a Frontend,
    routed: Routed<'a>,
    request: &mut Request<RequestBody>,
    copies: &mut Copies,
) -> Result<Decision<'a>, Ended<'a>> {
    let refused = |status, text, flag, rule| Ended::Refused { status, text, flag, rule };
    let (rule, matched) = match routed {
        Routed::Service(backend) => {
            let stay = Stay::with_service(conn, frontend, request.headers());
            return Ok(Decision { backend, rule: None, weighted: None, stay });
        }
        Routed::Rule(rule, matched) => (rule, matched),
        Routed::NotFound => {
            return Err(refused(StatusCode::NOT_FOUND, "no route matches\n", Flag::NoRoute, None));
        }
    };
    let invalid = |message: &str| {
        tracing::debug!(route = %rule.route, message, "the request's share has no valid backend");
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        refused(status, "the route's backend is invalid\n", Flag::InvalidRoute, Some(rule))
    };
    if let Some(message) = rule.filters.invalid() {
        return Err(invalid(message));
    }
    // Before a filter changes what the client has said.
    let stay = Stay::of(conn, rule, matched.place, request.headers());
    let mut context = Context { prefix: matched.prefix_len, port: frontend.port };
    let mut mirror = |to: &MirrorTo, request: &Request<RequestBody>| {
        copies.note(&conn.worker, to, request);
    };
    if let Some(answer) = rule.filters.request(request, &mut context, &mut mirror) {
        return Err(Ended::of(rule, None, request, answer));
    }
    let choice = match stay.and_then(|stay| stay.brought) {
        Some(brought) => Choice::Backend(brought.backend),
        None => rule.backend(conn.worker.with_random(|random| random.u64(..))),
    };
    match choice {
        Choice::Backend(weighted) => {
            if let Some(answer) = weighted.filters.request(request, &mut context, &mut mirror) {
                return Err(Ended::of(rule, Some(weighted), request, answer));
            }
            let (rule, backend) = (Some(rule), &*weighted.backend);
            Ok(Decision { backend, rule, weighted: Some(weighted), stay })
        }
        Choice::Invalid(message) => Err(invalid(message)),
    }
}

/// Makes of a request one for the endpoint, which speaks `version`.
fn send_off(conn: &Conn, request: &mut Request<RequestBody>, version: Version, hop: &mut Hop) {
    translate(request, conn.version, version);
    if version == Version::Http2
        && let Some(tunnel) = &mut hop.tunnel
    {
        tunnel.ask_in_http2(request);
    }
    if hop.expects {
        // RFC 9110, 10.1.1: the body waits until the endpoint asks for it. The client is told to go on when
        // its body is first wanted, so that the endpoint's word decides end to end.
        let body = std::mem::take(request.body_mut());
        *request.body_mut() = body.behind(ContinueGate::default());
    }
}

fn respond(
    conn: &Rc<Conn>,
    decision: Decision<'_>,
    answer: Answer,
    tunnel: Option<Tunnel>,
    origin: Option<&HeaderValue>,
    record: Record,
) -> Response<ResponseBody> {
    let Answer { mut response, lease, active, deadline, .. } = answer;
    if let Some(tunnel) = tunnel {
        match tunnel.is_granted(&response) {
            Ok(false) => {}
            Ok(true) => {
                strip_hop_by_hop(response.headers_mut(), !tunnel.is_connect());
                tell(decision, &active, &mut response);
                return tunnel.open(conn, response, upgrade::Parts { lease, active, record });
            }
            Err(text) => {
                return reply::text(Form::Text, StatusCode::BAD_GATEWAY, text, Some(record));
            }
        }
    }
    strip_hop_by_hop(response.headers_mut(), false);
    decision.response(response.headers_mut(), origin);
    tell(decision, &active, &mut response);
    *response.version_mut() = match conn.version {
        Version::Http1 => http::Version::HTTP_11,
        Version::Http2 => http::Version::HTTP_2,
    };
    let port = decision.backend.port;
    response.map(|incoming| {
        ResponseBody::relayed(incoming, conn, lease, active, deadline, record).telling(port)
    })
}

/// A session's word is the last: no filter knows of it.
fn tell<B>(decision: Decision<'_>, active: &Active, response: &mut Response<B>) {
    if let Some(stay) = decision.stay {
        stay.tell(decision.backend, active.endpoint(), response.headers_mut());
    }
}

// === impl Decision ===

impl Decision<'_> {
    /// What is spoken to the endpoint.
    fn version(self, conn: &Conn, tunnel: Option<&Tunnel>) -> Version {
        // To leave HTTP by is what HTTP/2 has few words for.
        if tunnel.is_some_and(|tunnel| !tunnel.can_be_extended()) {
            return Version::Http1;
        }
        spoken(self.backend, conn.version)
    }

    /// Who asks, and what the request goes by, as the endpoint will see it, where the backend hashes; with
    /// the cookie that its client is to come back with then.
    #[inline]
    fn caller<B>(&self, conn: &Conn, request: &Request<B>) -> (Caller, Option<NewCookie<'_>>) {
        let caller = conn.target.caller;
        let Some(hash_on) = self.backend.hash_on() else { return (caller, None) };
        let random = || conn.worker.with_random(|random| random.u64(..));
        let source = caller.hash.unwrap_or(caller.client);
        let (path, headers) = (request.uri().path(), request.headers());
        let key = HashKey::of(hash_on, path, headers, source, random);
        (Caller { hash: Some(key.hash), ..caller }, key.cookie)
    }

    /// On the way back the filters nearest to the endpoint come first.
    fn response(self, headers: &mut HeaderMap, origin: Option<&HeaderValue>) {
        if let Some(weighted) = self.weighted {
            weighted.filters.response(headers, origin);
        }
        if let Some(rule) = self.rule {
            rule.filters.response(headers, origin);
        }
    }
}

// === impl Ended ===

impl<'a> Ended<'a> {
    /// A filter's answer, on its way back through the filters.
    fn of<B>(
        rule: &'a Rule,
        weighted: Option<&'a WeightedBackend>,
        request: &Request<B>,
        mut answer: Response<()>,
    ) -> Self {
        // A preflight's answer is its policy's own, word for word.
        if answer.status().is_redirection() {
            let origin = request.headers().get(ORIGIN);
            if let Some(weighted) = weighted {
                weighted.filters.response(answer.headers_mut(), origin);
            }
            rule.filters.response(answer.headers_mut(), origin);
        }
        Self::Answered { rule, answer }
    }
}
