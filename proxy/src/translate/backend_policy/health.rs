//! `spec.healthCheck`: how endpoints are asked how they are.
//!
//! Not what becomes of their answers: that is `balance` and `health`.

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderName, HeaderValue};
use nodeway_core::model::{HealthCheck, Probe};

use super::super::fields::Fields;
use super::{HOUR, MINUTE, milliseconds};

pub(super) fn check(fields: &mut Fields<'_>) -> Option<HealthCheck> {
    if fields.count(&["http", "tcp", "grpc"]) != 1 {
        fields.fault("", "must have one of http, tcp and grpc");
    }
    let http = fields.object("http", http);
    let tcp = fields.object("tcp", |_| Probe::Tcp);
    let grpc = fields.object("grpc", |grpc| Probe::Grpc {
        service: grpc.text("service", 253).unwrap_or_default().into(),
    });
    let port = fields.integer("port", 1_u16..=65535).and_then(NonZeroU16::new);
    let interval = fields.duration("interval", milliseconds(100, HOUR));
    let timeout = fields.duration("timeout", milliseconds(10, 5 * MINUTE));
    let jitter = fields.integer("jitterPercent", 0..=100);
    let healthy = fields.integer("healthyThreshold", 1_u32..=100).and_then(NonZeroU32::new);
    let unhealthy = fields.integer("unhealthyThreshold", 1_u32..=100).and_then(NonZeroU32::new);
    let check = HealthCheck::of(http.or(tcp).or(grpc)?);
    Some(HealthCheck {
        port,
        interval: interval.unwrap_or(check.interval),
        timeout: timeout.unwrap_or(check.timeout),
        jitter: jitter.unwrap_or(check.jitter),
        healthy: healthy.unwrap_or(check.healthy),
        unhealthy: unhealthy.unwrap_or(check.unhealthy),
        ..check
    })
}

fn http(fields: &mut Fields<'_>) -> Probe {
    let path = fields.parsed("path", 1024, path);
    let host = fields.parsed("host", 259, host);
    let headers = fields.objects("headers", 16, header);
    let statuses = fields.texts("expectedStatuses", 16, statuses);
    Probe::Http {
        path: path.unwrap_or_else(|| "/".into()),
        host,
        headers: headers.into(),
        statuses: statuses.into(),
    }
}

fn path(text: &str) -> Result<Arc<str>, &'static str> {
    let parsed = text.parse::<PathAndQuery>().ok();
    let whole = parsed.filter(|path| path.as_str() == text && text.starts_with('/'));
    whole.map(|_| text.into()).ok_or("must be a path that begins with /, and may have a query")
}

fn host(text: &str) -> Result<HeaderValue, &'static str> {
    const MUST: &str = "must be a host's name or address, and may have a port";
    let authority: Authority = text.parse().map_err(|_| MUST)?;
    if text.contains('@') || authority.host().is_empty() {
        return Err(MUST);
    }
    HeaderValue::from_str(text).map_err(|_| MUST)
}

fn header(fields: &mut Fields<'_>) -> Option<(HeaderName, HeaderValue)> {
    fields.require("name");
    fields.require("value");
    let name = fields.parsed("name", 256, |name| {
        let name = name.parse::<HeaderName>().map_err(|_| "must be a header's name")?;
        let framing = [CONNECTION, CONTENT_LENGTH, TE, TRANSFER_ENCODING, UPGRADE];
        if name == HOST {
            return Err("is the field host's");
        }
        if framing.contains(&name) { Err("has a meaning of its own in HTTP") } else { Ok(name) }
    });
    let value = fields.parsed("value", 4096, HeaderValue::from_str);
    Some((name?, value?))
}

/// `200` or `200-299`.
fn statuses(text: &str) -> Result<(u16, u16), &'static str> {
    const MUST: &str =
        "must be a status from 100 to 599, or two with a dash between, such as 200-299";
    let status = |text: &str| {
        let digits = text.len() == 3 && text.bytes().all(|b| b.is_ascii_digit());
        let status = text.parse::<u16>().ok().filter(|_| digits);
        status.filter(|status| (100..600).contains(status)).ok_or(MUST)
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (status(first)?, status(last)?);
    if first > last { Err(MUST) } else { Ok((first, last)) }
}
