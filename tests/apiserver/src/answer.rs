//! Answers, and refusals as the API words them.

use std::io;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::kinds::Resource;

pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// A refusal: an API `Status`.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
    /// When to ask again, in seconds.
    pub(crate) retry_after: Option<u64>,
}

// === impl Refusal ===

impl Refusal {
    pub(crate) fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), retry_after: None }
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        let message = format!("{} \"{name}\" not found", resource.qualified());
        Self::new(404, "NotFound", message)
    }

    pub(crate) fn conflict(resource: &Resource, name: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{name}\": the object has been modified; please apply your changes to the latest version and try again",
            resource.qualified()
        );
        Self::new(409, "Conflict", message)
    }

    pub(crate) fn gone(version: u64, compacted: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {version} ({compacted})"))
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", message)
    }

    pub(crate) fn status(&self) -> Value {
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code})
    }

    pub(crate) fn answer(&self) -> Response<Body> {
        let code = StatusCode::from_u16(self.code).expect("a status code");
        let mut answer = json_answer(code, &self.status());
        if let Some(seconds) = self.retry_after {
            answer.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
        }
        answer
    }
}

pub(crate) fn json_answer(status: StatusCode, value: &Value) -> Response<Body> {
    bytes_answer(status, Bytes::from(value.to_string()))
}

pub(crate) fn bytes_answer(status: StatusCode, bytes: Bytes) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Full::new(bytes).map_err(|never| match never {}).boxed())
        .expect("an answer")
}

/// What a path that leads nowhere is answered with.
pub(crate) fn nowhere() -> Response<Body> {
    let text = Bytes::from_static(b"404 page not found\n");
    Response::builder()
        .status(StatusCode::NOT_FOUND)
        .header(http::header::CONTENT_TYPE, "text/plain; charset=utf-8")
        .body(Full::new(text).map_err(|never| match never {}).boxed())
        .expect("an answer")
}
