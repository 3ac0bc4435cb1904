//! How a client's requests stay with one endpoint (GEP-1619): which one a request names, and what its
//! response says so that the next one can.
//!
//! Not by the client's address: that is `sessionAffinity`, in `balance`.

mod cookie;
mod token;

use std::sync::Arc;
use std::time::Duration;

use http::header::SET_COOKIE;
use http::{HeaderMap, HeaderName, HeaderValue};

pub(super) use self::cookie::values as cookies;
use self::token::{Claims, Fingerprint, Key};
use super::WeightedBackend;
use crate::balance::{Backend, Endpoint, Family, Millis};
use crate::model::{HttpRule, Kind, ObjectName, PathMatch, SessionCarrier, SessionPersistence};

/// Cookies of one name that are looked at: each costs a decryption.
const MOST_TRIED: usize = 8;

/// `sessionPersistence` of a rule or of a Service's policy, ready for use.
#[derive(Debug)]
pub struct Session {
    carrier: Carrier,
    /// After so long it is over, milliseconds.
    absolute: Option<u64>,
    /// When unused for so long it is over, milliseconds.
    idle: Option<u64>,
    key: Key,
}

#[derive(Debug)]
enum Carrier {
    Header(HeaderName),
    Cookie {
        name: Box<str>,
        /// With `Max-Age`.
        permanent: bool,
        /// `Path`, for each of the rule's matches; none if it belongs to the Service ("MUST be left unset").
        paths: Option<Box<[Box<str>]>>,
    },
}

/// The session that a request belongs to.
#[derive(Debug, Clone, Copy)]
pub struct Brought<'a> {
    /// The backend that it stays with, whatever the weights say now.
    pub backend: &'a WeightedBackend,
    /// The endpoint that it stays with.
    pub endpoint: &'a Arc<Endpoint>,
    began: u64,
    used: u64,
}

// === impl Session ===

impl Session {
    /// That of the rule at `place` of the route, if it has one, or if a policy for one of its backends is
    /// `given`, which then is for all of them (GEP-1619, "Traffic Splitting with BackendLBPolicy attached to
    /// some Backends"). Two rules never share a session, whatever they are called.
    pub(crate) fn of(
        kind: Kind,
        route: &ObjectName,
        place: usize,
        rule: &HttpRule,
        given: Option<&SessionPersistence>,
    ) -> Option<Self> {
        let own = rule.persistence.as_ref();
        let spec = own.or(given)?;
        let place = place.to_string();
        // A name outlives a change of order.
        let (how, which) = match &rule.name {
            Some(name) => ("name", &**name),
            None => ("place", &*place),
        };
        let names = [&kind.to_string(), &*route.namespace, &*route.name, how, which];
        let paths = rule.matches.iter().map(|m| cookie_path(&m.path).into());
        Self::new(spec, &names, own.map(|_| paths.collect()))
    }

    /// That of a Service's port without routes, as a policy asks for it.
    pub(crate) fn of_service(
        (service, port): &(ObjectName, u16),
        spec: &SessionPersistence,
    ) -> Option<Self> {
        let names = ["Service", &*service.namespace, &*service.name, "port", &port.to_string()];
        Self::new(spec, &names, None)
    }

    fn new(
        spec: &SessionPersistence,
        names: &[&str],
        paths: Option<Box<[Box<str>]>>,
    ) -> Option<Self> {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Some(Self {
            carrier: Carrier::of(spec, paths, || {
                format!("nodeway-session-{}", Fingerprint::of(names).short())
            })?,
            absolute: spec.absolute_timeout.map(millis),
            idle: spec.idle_timeout.map(millis),
            key: Key::new(&spec.secret, names)?,
        })
    }

    /// The session that these headers belong to, if it is not over and its endpoint may serve who has dialled
    /// this family. `wall` is the time of day, milliseconds since the epoch: nodes differ a little in what it
    /// is.
    pub(crate) fn brought<'a>(
        &self,
        headers: &HeaderMap,
        backends: impl Iterator<Item = &'a WeightedBackend> + Clone,
        family: Option<Family>,
        (wall, now): (u64, Millis),
    ) -> Option<Brought<'a>> {
        let brought = |token: &[u8]| {
            let claims = self.key.open(token).filter(|claims| self.lasts(claims, wall))?;
            let mut backends = backends.clone();
            backends.find_map(|weighted| {
                let endpoint = weighted.backend.at(claims.address)?;
                let same = fingerprint(&weighted.backend, endpoint) == claims.fingerprint;
                let kept = same && weighted.backend.keeps(endpoint, now, family);
                kept.then_some(Brought {
                    backend: weighted,
                    endpoint,
                    began: claims.began,
                    used: claims.used,
                })
            })
        };
        match &self.carrier {
            Carrier::Header(name) => headers
                .get_all(name)
                .iter()
                .take(MOST_TRIED)
                .find_map(|value| brought(value.as_bytes().trim_ascii())),
            Carrier::Cookie { name, .. } => cookie::values(headers, name)
                .filter(|value| value.len() == token::LENGTH)
                .take(MOST_TRIED)
                .find_map(brought),
        }
    }

    /// The field that a response needs so that the next request finds `endpoint`, which gave it; none if
    /// the client has what it needs. `matched`: which of the rule's matches it was.
    pub fn field(
        &self,
        brought: Option<Brought<'_>>,
        matched: usize,
        backend: &Backend,
        endpoint: &Endpoint,
        wall: u64,
    ) -> Option<(HeaderName, HeaderValue)> {
        let goes_on = brought.filter(|brought| brought.endpoint.id == endpoint.id);
        let (began, used) = match goes_on {
            None => (wall, wall),
            Some(Brought { began, .. }) if self.idle.is_some() => (began, wall.max(began)),
            // A client has one place for cookies, but may have many for headers.
            Some(_) if matches!(self.carrier, Carrier::Cookie { .. }) => return None,
            Some(Brought { began, used, .. }) => (began, used),
        };
        let fingerprint = fingerprint(backend, endpoint);
        let claims = Claims { address: endpoint.address, fingerprint, began, used };
        let token = self.key.seal(&claims)?;
        match &self.carrier {
            Carrier::Header(name) => Some((name.clone(), HeaderValue::try_from(token).ok()?)),
            Carrier::Cookie { name, permanent, paths } => {
                let mut cookie = format!("{name}={token}");
                if let Some(paths) = paths {
                    let path = paths.get(matched).map_or("/", |path| path);
                    cookie.push_str(&format!("; Path={path}"));
                }
                cookie.push_str("; HttpOnly; SameSite=Strict");
                if let Some(absolute) = self.absolute.filter(|_| *permanent) {
                    let left = began.saturating_add(absolute).saturating_sub(wall);
                    cookie.push_str(&format!("; Max-Age={}", left.div_ceil(1000).max(1)));
                }
                Some((SET_COOKIE, HeaderValue::try_from(cookie).ok()?))
            }
        }
    }

    fn lasts(&self, claims: &Claims, wall: u64) -> bool {
        // What another node has just sealed may be of the future here.
        let within = |since: u64, time: Option<u64>| {
            time.is_none_or(|time| wall.saturating_sub(since) < time)
        };
        within(claims.began, self.absolute) && within(claims.used, self.idle)
    }
}

/// Who answers at this address for this Service.
fn fingerprint(backend: &Backend, endpoint: &Endpoint) -> Fingerprint {
    let pod = endpoint.pod.as_ref();
    Fingerprint::of(&[
        &backend.service.namespace,
        &backend.service.name,
        &backend.port.to_string(),
        pod.map_or("", |pod| &pod.namespace),
        pod.map_or("", |pod| &pod.name),
    ])
}

// === impl Carrier ===

impl Carrier {
    fn of(
        spec: &SessionPersistence,
        paths: Option<Box<[Box<str>]>>,
        name: impl FnOnce() -> String,
    ) -> Option<Self> {
        let name = spec.name.as_ref().map_or_else(name, ToString::to_string);
        let permanent = match spec.carrier {
            SessionCarrier::Header => {
                return HeaderName::try_from(name).ok().map(Self::Header);
            }
            SessionCarrier::PermanentCookie => true,
            SessionCarrier::SessionCookie => false,
        };
        Some(Self::Cookie { name: name.into(), permanent, paths })
    }
}

/// The paths that the cookie is for: those of the match, as far as a cookie can say it (RFC 6265, 5.1.4).
fn cookie_path(path: &PathMatch) -> &str {
    let whole = |path: &str| path.rsplit_once('/').map_or(0, |(before, _)| before.len());
    let path = match path {
        PathMatch::Exact(path) | PathMatch::Prefix(path) => &**path,
        // Of any service.
        PathMatch::GrpcMethod(_) => "/",
        PathMatch::Regex(pattern) => {
            // The elements before the first that is not plain; `translate` anchors a pattern.
            let pattern = pattern.as_str();
            let text = pattern.strip_prefix("^(?:").unwrap_or(pattern);
            let plain =
                |c: char| c == '/' || c == '-' || c == '_' || c == '~' || c.is_ascii_alphanumeric();
            let text = &text[..text.find(|c| !plain(c)).unwrap_or(text.len())];
            // With alternatives nothing is sure.
            if pattern.contains('|') { "" } else { &text[..whole(text)] }
        }
    };
    // A semicolon ends an attribute.
    let path = path.find(';').map_or(path, |at| &path[..whole(&path[..at])]);
    match path.trim_end_matches('/') {
        "" => "/",
        path => path,
    }
}

#[cfg(test)]
mod tests;
