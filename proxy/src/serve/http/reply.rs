//! Responses of our own.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};

use super::body::ResponseBody;
use super::record::Record;

/// A short text for people. It names what went wrong in general: details of the configuration are
/// for the log, not for clients.
pub(super) fn text(
    status: StatusCode,
    text: &'static str,
    record: Option<Record>,
) -> Response<ResponseBody> {
    let mut response =
        Response::new(ResponseBody::full(Bytes::from_static(text.as_bytes()), record));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

/// Like [`text`], and nothing more is read from this connection.
pub(super) fn last_text(status: StatusCode, reason: &'static str) -> Response<ResponseBody> {
    let mut response = text(status, reason, None);
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
