//! HTTPRoutes (Gateway API v1) with parents of kind Service.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};
use regex::Regex;

use super::ObjectName;

/// An HTTPRoute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpRoute {
    /// Namespace and name.
    pub name: ObjectName,
    /// `metadata.creationTimestamp`, seconds since the epoch; older routes win ties. Absent counts as newest.
    pub created: Option<i64>,
    /// The Services it attaches to.
    pub parents: Vec<ParentRef>,
    /// Its rules, in the order of the manifest.
    pub rules: Vec<HttpRule>,
}

/// The Service, or one port of it, that a route attaches to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParentRef {
    /// The Service.
    pub service: ObjectName,
    /// Only this port; all ports if absent.
    pub port: Option<u16>,
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

/// How a path is matched (the path as received, without the query).
#[derive(Debug, Clone)]
pub enum PathMatch {
    /// Equal, octet for octet.
    Exact(Arc<str>),
    /// Equal, element by element, as far as this goes; no trailing slash but for `/` itself.
    Prefix(Arc<str>),
    /// The whole path matches (anchored at both ends by `translate`).
    Regex(Regex),
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

/// What happens to a request or response on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// `RequestHeaderModifier`.
    RequestHeaders(HeaderModifier),
    /// `ResponseHeaderModifier`.
    ResponseHeaders(HeaderModifier),
    /// A filter that is not understood: requests of its rule (or backend) are answered with 500.
    Invalid {
        /// What is wrong, for people.
        message: Arc<str>,
    },
}

/// Changes to a set of headers: first `set`, then `add`, then `remove`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderModifier {
    /// Overwrites.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Appends.
    pub add: Vec<(HeaderName, HeaderValue)>,
    /// Takes away.
    pub remove: Vec<HeaderName>,
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
        /// What is wrong, for people.
        message: Arc<str>,
    },
}

// Two patterns are the same if they are written the same: an update that changes nothing must be seen as one.

impl PartialEq for PathMatch {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(a), Self::Exact(b)) | (Self::Prefix(a), Self::Prefix(b)) => a == b,
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
