//! What is remembered of a request until it has ended.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use http::{Method, StatusCode, Uri};
use nodeway_core::model::ObjectName;
use nodeway_core::snapshot::{Backend, Frontend, Rule};

use super::Conn;
use crate::telemetry::{Flag, RequestHandle, RequestKey, RequestLabels};

/// One request's entry in metrics and access log, made when its response's head is known and
/// written when the response has ended.
#[derive(Debug)]
pub(super) struct Record {
    conn: Rc<Conn>,
    start: Instant,
    series: RequestHandle,
    /// Method, target and endpoint for the access log, kept only if there is one.
    detail: Option<Box<Detail>>,
}

/// What only the access log wants to know.
#[derive(Debug)]
pub(super) struct Detail {
    pub method: Method,
    pub uri: Uri,
    pub request_id: Option<http::HeaderValue>,
}

/// Where a request went.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'a> {
    pub generation: u64,
    pub frontend: &'a Frontend,
    pub rule: Option<&'a Rule>,
    pub backend: Option<&'a Backend>,
}

// === impl Detail ===

impl Detail {
    /// The detail of `request`, if requests are logged.
    pub(super) fn of<B>(conn: &Conn, request: &http::Request<B>) -> Option<Box<Self>> {
        conn.worker.access_log.then(|| {
            Box::new(Self {
                method: request.method().clone(),
                uri: request.uri().clone(),
                request_id: request.headers().get("x-request-id").cloned(),
            })
        })
    }
}

// === impl Record ===

impl Record {
    /// The record of a request that came at `start`, went along `path` and is answered with `code`.
    pub(super) fn new(
        conn: &Rc<Conn>,
        start: Instant,
        path: Path<'_>,
        code: StatusCode,
        flag: Flag,
        detail: Option<Box<Detail>>,
    ) -> Self {
        let key = RequestKey {
            frontend: path.frontend.id,
            rule: path.rule.map_or(0, |rule| rule.id),
            backend: path.backend.map_or(0, |backend| backend.id),
            client: conn.client.id.0,
            code: code.as_u16(),
            flag,
        };
        let series = conn.worker.metrics.request(path.generation, key, start, || RequestLabels {
            parent: path.frontend.service.clone(),
            route: path.rule.map(|rule| rule.route.clone()),
            backend: path.backend.map(|backend| backend.service.clone()),
            source_workload: Arc::clone(&conn.client.workload),
            code: code.as_u16(),
            flag,
        });
        Self { conn: Rc::clone(conn), start, series, detail }
    }

    /// The Service that the request went to, if it went to one.
    pub(super) fn backend(&self) -> Option<&ObjectName> {
        self.series.labels.backend.as_ref()
    }

    /// The response has ended; `cut`: why, if before its time.
    pub(super) fn end(self, cut: Option<Flag>) {
        let now = Instant::now();
        let duration = now.saturating_duration_since(self.start);
        let metrics = &self.conn.worker.metrics;
        match cut {
            None => metrics.request_ended(&self.series, now, duration),
            Some(flag) => metrics.request_ended_with(&self.series, flag, now, duration),
        }
        if let Some(detail) = &self.detail {
            let labels = &self.series.labels;
            let none = String::new;
            tracing::info!(
                target: "access",
                method = %detail.method,
                path = %detail.uri.path(),
                code = labels.code,
                flags = cut.unwrap_or(labels.flag).as_str(),
                duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
                workload = %labels.source_workload,
                service = %labels.parent,
                route = labels.route.as_ref().map_or_else(none, ToString::to_string),
                backend = labels.backend.as_ref().map_or_else(none, ToString::to_string),
                request_id = detail.request_id.as_ref().and_then(|v| v.to_str().ok()).unwrap_or(""),
                "http"
            );
        }
    }
}
