//! What a route's filters ask for (Gateway API v1, `HTTPRouteFilter` and `GRPCRouteFilter`).

use std::sync::Arc;
use std::time::Duration;

use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::{BackendTarget, RefFault};

/// What happens to a request or response on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// `RequestHeaderModifier`.
    RequestHeaders(HeaderModifier),
    /// `ResponseHeaderModifier`.
    ResponseHeaders(HeaderModifier),
    /// `RequestRedirect`.
    Redirect(Redirect),
    /// `URLRewrite`.
    Rewrite(Rewrite),
    /// `RequestMirror`.
    Mirror(Mirror),
    /// `CORS`.
    Cors(Cors),
    /// A filter that is not understood: requests of its rule (or backend) are answered with 500.
    Invalid {
        /// What is wrong, for people.
        message: Arc<str>,
        /// What is wrong, for machines, if it refers to something that is not known; else the filter
        /// itself is of a kind that we do not have.
        fault: Option<RefFault>,
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

/// Answers with another place to ask. What is absent is the request's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// `http` or `https`.
    pub scheme: Option<Scheme>,
    /// The host, without a port.
    pub hostname: Option<Arc<str>>,
    /// Absent: the scheme's own if a scheme is given, else the port that was dialled.
    pub port: Option<u16>,
    /// The path.
    pub path: Option<PathModifier>,
    /// 301, 302, 303, 307 or 308.
    pub status: StatusCode,
}

/// Changes what an endpoint is asked for. What is absent stays as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// The host, without a port: the whole of `Host` or `:authority`.
    pub hostname: Option<HeaderValue>,
    /// The path.
    pub path: Option<PathModifier>,
}

/// How a path changes; the query stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathModifier {
    /// `ReplaceFullPath`.
    Full(Arc<str>),
    /// `ReplacePrefixMatch`: instead of the prefix that the rule's match names.
    Prefix(Arc<str>),
}

/// Sends a copy of each request, or of a share of them, to somebody else too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// To whom.
    pub target: BackendTarget,
    /// Which share of the requests, from 0 to 1, as a fraction: numerator and denominator (above 0).
    pub share: (u32, u32),
}

/// Answers browsers' questions, and tells them what they may read (GEP-1767; Fetch, 3.3).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cors {
    /// `allowOrigins`.
    pub origins: Vec<AllowedOrigin>,
    /// `allowCredentials`.
    pub credentials: bool,
    /// `allowMethods`.
    pub methods: Allowed<Method>,
    /// `allowHeaders`.
    pub headers: Allowed<HeaderName>,
    /// `exposeHeaders`.
    pub expose: Allowed<HeaderName>,
    /// `maxAge`, whole seconds; absent: the field's default, 5 s.
    pub max_age: Option<Duration>,
}

/// An origin, or a pattern of origins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowedOrigin {
    /// `*`.
    Any,
    /// Equal, octet for octet.
    Exact(Arc<str>),
    /// `https://*.example.com:8443`: what is before and behind the `*`, which stands for one character or
    /// more of a host's name.
    Wildcard {
        /// Before the `*`.
        before: Arc<str>,
        /// Behind it.
        behind: Arc<str>,
    },
}

/// A list, or `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Allowed<T> {
    /// `*`.
    Any,
    /// These.
    These(Vec<T>),
}

// === impl Allowed ===

impl<T> Default for Allowed<T> {
    fn default() -> Self {
        Self::These(Vec::new())
    }
}
