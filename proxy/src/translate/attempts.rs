//! A rule's `timeouts`, `retry` and `sessionPersistence`.
//!
//! What the CRDs' schema and rules ask for is asked for here too: a folder has no API server before it.

use std::time::Duration;

use gateway_api::experimental::httproutes::{HttpRouteRulesRetry, HttpRouteRulesTimeouts};
use http::header::{CONNECTION, COOKIE, HOST, SET_COOKIE, TE, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, StatusCode};
use nodeway_core::model::{Retry, SessionCarrier, SessionPersistence, Timeouts};

use super::Faults;
use super::duration::duration;

/// `sessionName` at most, characters.
const MOST_SESSION_NAME: usize = 128;
/// `retry.attempts` at most: a request is not sent again for as long as its client waits.
const MOST_ATTEMPTS: u32 = 10;
/// `retry.backoff` at least: an endpoint that fails at once is not asked at once again.
const LEAST_BACKOFF: Duration = Duration::from_millis(5);

/// A rule's `sessionPersistence`, as both kinds of routes have it.
#[derive(Debug, Clone, Copy)]
pub(super) struct SessionSpec<'a> {
    pub(super) name: Option<&'a str>,
    /// `type: Header`; else it is a cookie.
    pub(super) header: bool,
    /// `cookieConfig.lifetimeType: Permanent`, if there is a `cookieConfig`.
    pub(super) permanent: Option<bool>,
    pub(super) absolute_timeout: Option<&'a str>,
    pub(super) idle_timeout: Option<&'a str>,
}

/// `spec.rules[].sessionPersistence` of either kind.
macro_rules! session {
    ($spec:expr, $type:ident, $lifetime:ident, $field:expr, $faults:expr) => {
        $spec.as_ref().and_then(|spec| {
            let spec = $crate::translate::attempts::SessionSpec {
                name: spec.session_name.as_deref(),
                header: spec.r#type == Some($type::Header),
                permanent: spec
                    .cookie_config
                    .as_ref()
                    .map(|config| config.lifetime_type == Some($lifetime::Permanent)),
                absolute_timeout: spec.absolute_timeout.as_deref(),
                idle_timeout: spec.idle_timeout.as_deref(),
            };
            let field = format!("{}.sessionPersistence", $field);
            $crate::translate::attempts::session_persistence(spec, &field, $faults)
        })
    };
}
pub(super) use session;

/// `spec.rules[].timeouts`; 0 is no timeout.
pub(super) fn timeouts(
    spec: Option<&HttpRouteRulesTimeouts>,
    field: &str,
    faults: &mut Faults,
) -> Timeouts {
    let Some(spec) = spec else { return Timeouts::default() };
    let field = format!("{field}.timeouts");
    let request = time(spec.request.as_deref(), format!("{field}.request"), faults);
    let backend_request =
        time(spec.backend_request.as_deref(), format!("{field}.backendRequest"), faults);
    if let (Some(request), Some(backend)) = (request, backend_request)
        && backend > request
    {
        let message = format!(
            "{:?}: must not be longer than the request's own timeout, {:?}",
            spec.backend_request.as_deref().unwrap_or_default(),
            spec.request.as_deref().unwrap_or_default()
        );
        faults.add(format!("{field}.backendRequest"), message);
    }
    Timeouts { request, backend_request }
}

/// `spec.rules[].retry`.
pub(super) fn retry(
    spec: Option<&HttpRouteRulesRetry>,
    field: &str,
    faults: &mut Faults,
) -> Option<Retry> {
    let spec = spec?;
    let field = format!("{field}.retry");
    let mut codes = Vec::new();
    for (i, code) in spec.codes.iter().flatten().enumerate() {
        let parsed = u16::try_from(*code).ok().filter(|code| (400..600).contains(code));
        match parsed.and_then(|code| StatusCode::from_u16(code).ok()) {
            Some(code) if codes.contains(&code) => {}
            Some(code) => codes.push(code),
            None => {
                faults
                    .add(format!("{field}.codes[{i}]"), format!("{code}: must be from 400 to 599"));
            }
        }
    }
    let attempts = spec.attempts.and_then(|attempts| {
        let field = format!("{field}.attempts");
        let parsed = u64::try_from(attempts).map_err(|_| "must be 0 or more");
        let parsed = faults.check(&field, attempts, parsed)?;
        let kept = u32::try_from(parsed).map_or(MOST_ATTEMPTS, |n| n.min(MOST_ATTEMPTS));
        if parsed > u64::from(kept) {
            faults.note(field, format!("{attempts}: taken as {kept}, the most there are"));
        }
        Some(kept)
    });
    let backoff = spec.backoff.as_deref().and_then(|text| {
        let field = format!("{field}.backoff");
        let parsed = faults.check(&field, text, duration(text))?;
        if parsed < LEAST_BACKOFF {
            faults.note(field, format!("{text:?}: taken as {LEAST_BACKOFF:?}, the least there is"));
        }
        Some(parsed.max(LEAST_BACKOFF))
    });
    Some(Retry { codes, attempts, backoff })
}

/// The session, or none and its fault.
pub(super) fn session_persistence(
    spec: SessionSpec<'_>,
    field: &str,
    faults: &mut Faults,
) -> Option<SessionPersistence> {
    let absolute_timeout = time(spec.absolute_timeout, format!("{field}.absoluteTimeout"), faults);
    let idle_timeout = time(spec.idle_timeout, format!("{field}.idleTimeout"), faults);
    let carrier = match (spec.header, spec.permanent) {
        (true, Some(_)) => {
            faults.add(format!("{field}.cookieConfig"), "must not stand beside type Header");
            return None;
        }
        (true, None) => SessionCarrier::Header,
        (false, Some(true)) => {
            if absolute_timeout.is_none() {
                let message =
                    "must be given, and more than 0, where cookieConfig.lifetimeType is Permanent";
                faults.add(format!("{field}.absoluteTimeout"), message);
                return None;
            }
            SessionCarrier::PermanentCookie
        }
        (false, _) => SessionCarrier::SessionCookie,
    };
    let name = match spec.name.filter(|name| !name.is_empty()) {
        None => None,
        Some(name) => {
            let checked = session_name(name, carrier);
            Some(faults.check(format!("{field}.sessionName"), name, checked)?.into())
        }
    };
    let secret = "".into();
    Some(SessionPersistence { name, carrier, absolute_timeout, idle_timeout, secret })
}

/// A cookie's name is a token as a header's is (RFC 6265, 4.1.1); a header must not be one that HTTP
/// itself lives by.
fn session_name(name: &str, carrier: SessionCarrier) -> Result<&str, &'static str> {
    if name.len() > MOST_SESSION_NAME {
        return Err("must not be longer than 128 characters");
    }
    let token = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| "must have the characters of a header's or cookie's name only")?;
    let framing = [
        CONNECTION,
        http::header::CONTENT_LENGTH,
        COOKIE,
        HOST,
        SET_COOKIE,
        TE,
        TRANSFER_ENCODING,
        UPGRADE,
    ];
    if carrier == SessionCarrier::Header && framing.contains(&token) {
        return Err("must not be a header with a meaning of its own in HTTP");
    }
    Ok(name)
}

/// A time; none if there is none, if it is 0 (which means the same), or if it is wrong.
fn time(text: Option<&str>, field: String, faults: &mut Faults) -> Option<Duration> {
    let text = text?;
    faults.check(field, text, duration(text)).filter(|time| !time.is_zero())
}
