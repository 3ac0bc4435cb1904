//! Routes of all kinds (Gateway API) with parents of kind Service, and the rules of HTTPRoutes and GRPCRoutes.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method, StatusCode};
use regex::Regex;

use super::{Filter, Hostname, Kind, L4Rule, ObjectName};

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// A route's.
    pub kind: Kind,
    /// Namespace and name.
    pub name: ObjectName,
    /// `metadata.generation`: which version of the spec this is; 0 where nobody counts.
    pub generation: i64,
    /// `metadata.creationTimestamp`, seconds since the epoch; older routes win ties. Absent counts as newest.
    pub created: Option<i64>,
    /// The Services it attaches to.
    pub parents: Vec<ParentRef>,
    /// What it asks for.
    pub rules: Rules,
}

/// A route's rules, in the order of the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rules {
    /// Of an HTTPRoute or a GRPCRoute.
    Http(Vec<HttpRule>),
    /// Of a TLSRoute: for connections whose clients ask for a server of one of these names.
    Tls {
        /// Never empty.
        hostnames: Vec<Hostname>,
        /// Never empty; only the first has any effect.
        rules: Vec<L4Rule>,
    },
    /// Of a TCPRoute: never empty; only the first has any effect.
    Tcp(Vec<L4Rule>),
}

/// The Service, or one port of it, that a route attaches to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ParentRef {
    /// Which of `spec.parentRefs` this is, counted from 0.
    pub place: usize,
    /// The Service.
    pub service: ObjectName,
    /// Whether the manifest gives the namespace (the status repeats the reference as it was given).
    pub namespaced: bool,
    /// Only this port; all ports if absent.
    pub port: Option<u16>,
    /// `sectionName`: only the port of this name.
    pub section: Option<Arc<str>>,
}

/// A route that is not valid in itself: for its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedRoute {
    /// A route's.
    pub kind: Kind,
    /// Namespace and name.
    pub name: ObjectName,
    /// `metadata.generation`.
    pub generation: i64,
    /// The Services it wants to attach to.
    pub parents: Vec<ParentRef>,
    /// What is wrong, for people.
    pub message: Arc<str>,
}

/// One rule: a request that meets any of `matches` passes `filters` and goes to one of `backends`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRule {
    /// `name`, if the rule has one.
    pub name: Option<Arc<str>>,
    /// Any of these; never empty (an empty list in a manifest means "prefix /").
    pub matches: Vec<HttpMatch>,
    /// Applied in order to each request or response.
    pub filters: Vec<Filter>,
    /// Chosen among by weight. Empty: the rule answers 500.
    pub backends: Vec<BackendRef>,
    /// `timeouts`.
    pub timeouts: Timeouts,
    /// `retry`, if given.
    pub retry: Option<Retry>,
    /// `sessionPersistence`, if given.
    pub persistence: Option<SessionPersistence>,
}

/// How long a rule's requests may take (GEP-1742). Absent, or 0 in a manifest: as long as they like.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// From the request's head to the end of its response, retries and all.
    pub request: Option<Duration>,
    /// From the moment that one attempt is sent to its response's end.
    pub backend_request: Option<Duration>,
}

/// When a request is sent again (GEP-1731).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retry {
    /// Statuses of responses after which it is, besides connection errors.
    pub codes: Vec<StatusCode>,
    /// How often at most, not counting the first time. Absent: left to us.
    pub attempts: Option<u32>,
    /// How long to wait at least before each time. Absent: left to us.
    pub backoff: Option<Duration>,
}

/// How a client's requests stay with one endpoint (GEP-1619).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionPersistence {
    /// The cookie's or header's name, if given.
    pub name: Option<Arc<str>>,
    /// What carries the session.
    pub carrier: SessionCarrier,
    /// The session ends so long after it began.
    pub absolute_timeout: Option<Duration>,
    /// The session ends when nothing was asked for so long.
    pub idle_timeout: Option<Duration>,
    /// What every node knows of the route and clients do not: its `metadata.uid`. Empty where there is
    /// none (in a folder): there who knows the route's name can make up and read its tokens.
    pub secret: Arc<str>,
}

/// What carries a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionCarrier {
    /// A cookie that lives as long as the client's own session.
    SessionCookie,
    /// A cookie with `Max-Age`: the absolute timeout, which is given then.
    PermanentCookie,
    /// A header, in responses and, if the client repeats it, in requests.
    Header,
}

/// All of these must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpMatch {
    /// The path's match.
    pub path: PathMatch,
    /// All of these headers.
    pub headers: Vec<HeaderMatch>,
    /// All of these query parameters.
    pub queries: Vec<QueryMatch>,
    /// The method, if given.
    pub method: Option<Method>,
}

/// How a path is matched (without the query; see `route::normalised`).
#[derive(Debug, Clone)]
pub enum PathMatch {
    /// Equal, octet for octet.
    Exact(Arc<str>),
    /// Equal, element by element, as far as this goes; no trailing slash but for `/` itself.
    Prefix(Arc<str>),
    /// The whole path matches (anchored at both ends by `translate`).
    Regex(Regex),
    /// This gRPC method of whichever service: `/SERVICE/METHOD`.
    GrpcMethod(Arc<str>),
}

/// How a header's or query parameter's value is matched.
#[derive(Debug, Clone)]
pub enum TextMatch {
    /// Equal, octet for octet.
    Exact(Arc<str>),
    /// The whole value matches (anchored at both ends by `translate`).
    Regex(Regex),
}

/// A header's match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderMatch {
    /// The header's name (case-insensitive by type).
    pub name: HeaderName,
    /// Its value. Several fields of one name count as one, joined by commas (RFC 9110, 5.3).
    pub value: TextMatch,
}

/// A query parameter's match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryMatch {
    /// The parameter's name, after percent-decoding.
    pub name: Arc<str>,
    /// Its value; of several parameters of one name the first counts.
    pub value: TextMatch,
}

/// A backend with its share of the traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendRef {
    /// Its share, relative to the sum of the rule's weights; 0 gets none.
    pub weight: u32,
    /// Where the share goes.
    pub target: BackendTarget,
    /// Applied after the rule's, to what goes to this backend only.
    pub filters: Vec<Filter>,
}

/// Where a backend's share goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendTarget {
    /// A Service's port (whether it exists is found at compile time).
    Service {
        /// The Service.
        service: ObjectName,
        /// Its port.
        port: u16,
    },
    /// Not a usable reference: its share is answered with 500.
    Invalid {
        /// What is wrong, for machines.
        fault: RefFault,
        /// What is wrong, for people.
        message: Arc<str>,
    },
}

/// Why a reference is not usable: the reasons of Gateway API's condition `ResolvedRefs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefFault {
    /// Another namespace's, and no ReferenceGrant there allows it.
    RefNotPermitted,
    /// Not of a kind that can be a backend.
    InvalidKind,
    /// There is no such Service, or it has no such port.
    BackendNotFound,
}

// === impl Rules ===

impl Rules {
    /// The rules of an HTTPRoute or a GRPCRoute; none of another route.
    pub fn http(&self) -> &[HttpRule] {
        match self {
            Self::Http(rules) => rules,
            Self::Tls { .. } | Self::Tcp(_) => &[],
        }
    }

    /// The same, to be changed.
    pub fn http_mut(&mut self) -> &mut [HttpRule] {
        match self {
            Self::Http(rules) => rules,
            Self::Tls { .. } | Self::Tcp(_) => &mut [],
        }
    }

    /// The rules of a TLSRoute or a TCPRoute; none of another route.
    pub fn l4(&self) -> &[L4Rule] {
        match self {
            Self::Tls { rules, .. } | Self::Tcp(rules) => rules,
            Self::Http(_) => &[],
        }
    }

    /// All backends of all rules.
    pub fn backends(&self) -> impl Iterator<Item = &BackendRef> {
        let http = self.http().iter().flat_map(|rule| &rule.backends);
        http.chain(self.l4().iter().flat_map(|rule| &rule.backends))
    }
}

// === impl ParentRef ===

impl ParentRef {
    /// All ports of `service`, by the first parentRef.
    pub fn new(service: ObjectName) -> Self {
        Self { place: 0, service, namespaced: true, port: None, section: None }
    }
}

// Two patterns are the same if they are written the same: an update that changes nothing must be seen as one.

impl PartialEq for PathMatch {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b))
            | (Self::Prefix(a), Self::Prefix(b))
            | (Self::GrpcMethod(a), Self::GrpcMethod(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

impl Eq for PathMatch {}

impl PartialEq for TextMatch {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

impl Eq for TextMatch {}
