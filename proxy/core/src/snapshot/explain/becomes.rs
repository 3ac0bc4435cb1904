//! What filters make of a request: by running them.
//!
//! Nothing is mirrored or sent by that.

use http::header::HOST;
use http::{HeaderValue, Request};

use super::Question;
use crate::route::{Context, Plan};

/// A request on its way through filters.
#[derive(Clone)]
pub(super) struct Passing {
    request: Request<()>,
    context: Context,
}

// === impl Passing ===

impl Passing {
    /// The request as a client sends it, with the path that routes see.
    pub(super) fn new(question: &Question, path: &str, context: Context) -> Option<Self> {
        let query = question.url.query().map(|query| format!("?{query}")).unwrap_or_default();
        let mut request = Request::new(());
        *request.method_mut() = question.method.clone();
        *request.uri_mut() = format!("{path}{query}").parse().ok()?;
        request.headers_mut().clone_from(&question.headers);
        if !request.headers().contains_key(HOST) {
            let host = question.url.authority()?.as_str();
            let host = host.strip_suffix(":80").unwrap_or(host);
            request.headers_mut().insert(HOST, HeaderValue::from_str(host).ok()?);
        }
        Some(Self { request, context })
    }

    /// What becomes of it by these filters: an answer, if they give one, or what it is then if they
    /// change it.
    pub(super) fn through(&mut self, filters: &Plan) -> Result<Option<String>, String> {
        let before = self.text();
        if let Some(answer) = filters.request(&mut self.request, &mut self.context, |_, _| {}) {
            let headers = answer.headers().iter();
            let headers: Vec<String> = headers
                .map(|(name, value)| {
                    format!(", {name}: {}", String::from_utf8_lossy(value.as_bytes()))
                })
                .collect();
            return Err(format!("{}{}", answer.status().as_u16(), headers.concat()));
        }
        let now = self.text();
        Ok((now != before).then_some(now))
    }

    fn text(&self) -> String {
        let host = self.request.headers().get(HOST).map(HeaderValue::as_bytes);
        let host = String::from_utf8_lossy(host.unwrap_or_default());
        format!("{} {}, host: {host}", self.request.method(), self.request.uri())
    }
}
