//! Responses of our own.
//!
//! Whoever speaks gRPC is answered in gRPC: its clients do not look at a status of HTTP, and would tell
//! their callers of a broken server.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::body::ResponseBody;
use super::record::Record;
use crate::upstream::Version;

const GRPC: &[u8] = b"application/grpc";
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

/// How a client wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// By a status of HTTP and a text for people.
    Text,
    /// By a status of gRPC, with the text as its message.
    Grpc,
}

/// A short text for people. It names what went wrong in general: details of the configuration are
/// for the log, not for clients. The record keeps `status`, whatever form it takes.
pub(super) fn text(
    form: Form,
    status: StatusCode,
    text: &'static str,
    record: Option<Record>,
) -> Response<ResponseBody> {
    if form == Form::Grpc {
        return grpc(status, text, record);
    }
    let mut response =
        Response::new(ResponseBody::full(Bytes::from_static(text.as_bytes()), record));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// Like [`text`], and nothing more is read from this connection.
pub(super) fn last_text(
    form: Form,
    status: StatusCode,
    reason: &'static str,
) -> Response<ResponseBody> {
    let mut response = text(form, status, reason, None);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// What a filter has answered: a head, and no body.
pub(super) fn answer(answer: Response<()>, record: Record) -> Response<ResponseBody> {
    answer.map(|()| ResponseBody::full(Bytes::new(), Some(record)))
}

/// "Trailers-Only" of gRPC's protocol over HTTP/2: the status stands in the head, and there is no body.
fn grpc(status: StatusCode, text: &str, record: Option<Record>) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::full(Bytes::new(), record));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(GRPC_STATUS, HeaderValue::from(grpc_status(status)));
    if let Ok(message) = HeaderValue::try_from(grpc_message(text.trim_end())) {
        headers.insert(GRPC_MESSAGE, message);
    }
    response
}

/// gRPC's own mapping of HTTP's statuses ("HTTP to gRPC Status Code Mapping"), and Gateway API's
/// (`GRPCRouteRule`): an invalid backend is UNAVAILABLE. A request that took too long is told as what it is.
fn grpc_status(status: StatusCode) -> u16 {
    match status.as_u16() {
        400 => 13,                   // INTERNAL
        401 => 16,                   // UNAUTHENTICATED
        403 => 7,                    // PERMISSION_DENIED
        404 => 12,                   // UNIMPLEMENTED
        504 => 4,                    // DEADLINE_EXCEEDED
        413 | 431 => 8,              // RESOURCE_EXHAUSTED
        429 | 500 | 502 | 503 => 14, // UNAVAILABLE
        _ => 2,                      // UNKNOWN
    }
}

/// Percent-encoded as gRPC's protocol has it: all but visible ASCII, and `%` itself.
fn grpc_message(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for octet in text.bytes() {
        match octet {
            b' '..=b'~' if octet != b'%' => encoded.push(char::from(octet)),
            _ => encoded.push_str(&format!("%{octet:02X}")),
        }
    }
    encoded
}

// === impl Form ===

impl Form {
    /// By what a request says of itself: gRPC is HTTP/2, with a content type of its own, or one that
    /// names its encoding too (`application/grpc+proto`). gRPC-Web is not gRPC.
    pub(super) fn of(version: Version, headers: &HeaderMap) -> Self {
        let kind = match version {
            Version::Http1 => None,
            Version::Http2 => headers.get(CONTENT_TYPE),
        };
        match kind.and_then(|kind| kind.as_bytes().split_at_checked(GRPC.len())) {
            Some((kind, [] | [b'+' | b';' | b' ', ..])) if kind.eq_ignore_ascii_case(GRPC) => {
                Self::Grpc
            }
            _ => Self::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_is_known_by_its_content_type() {
        for (kind, expected) in [
            ("application/grpc", Form::Grpc),
            ("application/grpc+proto", Form::Grpc),
            ("Application/gRPC; a=b", Form::Grpc),
            ("application/grpc-web", Form::Text),
            ("application/grpcs", Form::Text),
            ("application/json", Form::Text),
            ("", Form::Text),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_str(kind).unwrap());
            assert_eq!(Form::of(Version::Http2, &headers), expected, "{kind}");
            assert_eq!(Form::of(Version::Http1, &headers), Form::Text, "{kind}");
        }
        assert_eq!(Form::of(Version::Http2, &HeaderMap::new()), Form::Text);
    }

    #[test]
    fn a_grpc_answer_is_a_head_alone() {
        let response = text(Form::Grpc, StatusCode::NOT_FOUND, "no route\n", None);
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/grpc");
        assert_eq!(response.headers()[GRPC_STATUS], "12");
        assert_eq!(response.headers()[GRPC_MESSAGE], "no route");
        assert!(http_body::Body::is_end_stream(response.body()));
    }

    #[test]
    fn a_message_is_percent_encoded() {
        assert_eq!(grpc_message("50 % of é\n"), "50 %25 of %C3%A9%0A");
    }
}
