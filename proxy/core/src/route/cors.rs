//! Answers browsers' preflight questions, and tells them which responses a page may read (GEP-1767;
//! Fetch, 3.2). It guards pages' users: what is not allowed is not refused here, browsers do that.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN,
    VARY,
};
use http::{HeaderMap, Method, Request, Response};

use crate::model::{Allowed, AllowedOrigin, Cors};

/// How long a browser keeps a preflight's answer if nobody says, seconds (Gateway API,
/// `HTTPCORSFilter.maxAge`).
const MAX_AGE: u64 = 5;

/// A CORS filter, with what it says laid out.
#[derive(Debug)]
pub struct CorsPolicy {
    /// What it was made of.
    pub spec: Cors,
    methods: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
    max_age: HeaderValue,
}

// === impl CorsPolicy ===

impl CorsPolicy {
    pub(super) fn new(spec: &Cors) -> Self {
        Self {
            spec: spec.clone(),
            methods: list(&spec.methods, Method::as_str),
            headers: list(&spec.headers, HeaderName::as_str),
            expose: list(&spec.expose, HeaderName::as_str),
            max_age: spec.max_age.map_or(MAX_AGE, |age| age.as_secs()).into(),
        }
    }

    /// The answer to `request`, if it is a browser's preflight question. From an origin that is not
    /// allowed it gets one that allows nothing.
    pub(super) fn preflight<B>(&self, request: &Request<B>) -> Option<Response<()>> {
        if *request.method() != Method::OPTIONS {
            return None;
        }
        let asked = request.headers();
        let (origin, method) = (asked.get(ORIGIN)?, asked.get(ACCESS_CONTROL_REQUEST_METHOD)?);
        let mut response = Response::new(());
        let headers = response.headers_mut();
        if self.allows(origin) {
            // The question's own words instead of `*`: that counts for requests with credentials too.
            let methods = match self.spec.methods {
                Allowed::Any => Some(method),
                Allowed::These(_) => self.methods.as_ref(),
            };
            let fields = match self.spec.headers {
                Allowed::Any => asked.get(ACCESS_CONTROL_REQUEST_HEADERS),
                Allowed::These(_) => self.headers.as_ref(),
            };
            let exposed = match self.spec.expose {
                Allowed::Any => (!self.spec.credentials).then_some(ANY),
                Allowed::These(_) => self.expose.clone(),
            };
            for (name, value) in [
                (ACCESS_CONTROL_ALLOW_METHODS, methods.cloned()),
                (ACCESS_CONTROL_ALLOW_HEADERS, fields.cloned()),
                (ACCESS_CONTROL_EXPOSE_HEADERS, exposed),
                (ACCESS_CONTROL_MAX_AGE, Some(self.max_age.clone())),
            ] {
                if let Some(value) = value {
                    headers.insert(name, value);
                }
            }
            self.allow(origin, headers);
        }
        vary(headers);
        Some(response)
    }

    /// Says in a response to a request from `origin` who may read it. What the endpoint says of that
    /// does not count: two answers would be none to a browser.
    pub(super) fn response(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        for name in [
            ACCESS_CONTROL_ALLOW_ORIGIN,
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            ACCESS_CONTROL_EXPOSE_HEADERS,
        ] {
            headers.remove(name);
        }
        if let Some(origin) = origin.filter(|origin| self.allows(origin)) {
            let exposed = match self.spec.expose {
                Allowed::These(_) => self.expose.clone(),
                Allowed::Any if !self.spec.credentials => Some(ANY),
                // With credentials a `*` is a name like any other: all are named.
                Allowed::Any => joined(headers.keys().map(HeaderName::as_str)),
            };
            if let Some(exposed) = exposed {
                headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
            }
            self.allow(origin, headers);
        }
        vary(headers);
    }

    fn allow(&self, origin: &HeaderValue, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        if self.spec.credentials {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }

    fn allows(&self, origin: &HeaderValue) -> bool {
        let origin = without_default_port(origin.as_bytes());
        self.spec.origins.iter().any(|allowed| match allowed {
            AllowedOrigin::Any => true,
            AllowedOrigin::Exact(text) => text.as_bytes() == origin,
            AllowedOrigin::Wildcard { before, behind } => origin
                .strip_prefix(before.as_bytes())
                .and_then(|rest| rest.strip_suffix(behind.as_bytes()))
                .is_some_and(|labels| !labels.is_empty() && labels.iter().all(|c| is_of_host(*c))),
        })
    }
}

const ANY: HeaderValue = HeaderValue::from_static("*");

/// An origin's port is left out if it is its scheme's own: browsers do so, others may not.
fn without_default_port(origin: &[u8]) -> &[u8] {
    let port: &[u8] = if origin.starts_with(b"https:") { b":443" } else { b":80" };
    origin.strip_suffix(port).unwrap_or(origin)
}

fn is_of_host(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_')
}

/// The response is another one for another origin: caches must know.
fn vary(headers: &mut HeaderMap) {
    let said = headers.get_all(VARY).iter().filter_map(|value| value.to_str().ok());
    let mut said = said.flat_map(|value| value.split(',')).map(str::trim);
    if !said.any(|name| name == "*" || name.eq_ignore_ascii_case("origin")) {
        headers.append(VARY, HeaderValue::from_static("origin"));
    }
}

fn list<T>(allowed: &Allowed<T>, name: impl Fn(&T) -> &str) -> Option<HeaderValue> {
    match allowed {
        Allowed::Any => None,
        Allowed::These(list) => joined(list.iter().map(name)),
    }
}

fn joined<'a>(names: impl Iterator<Item = &'a str>) -> Option<HeaderValue> {
    let names: Vec<&str> = names.collect();
    (!names.is_empty()).then(|| names.join(", ")).and_then(|text| HeaderValue::try_from(text).ok())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn exact(origin: &str) -> AllowedOrigin {
        AllowedOrigin::Exact(origin.into())
    }

    fn wildcard(before: &str, behind: &str) -> AllowedOrigin {
        AllowedOrigin::Wildcard { before: before.into(), behind: behind.into() }
    }

    fn policy(spec: Cors) -> CorsPolicy {
        CorsPolicy::new(&spec)
    }

    fn shop() -> Cors {
        let header = |name| HeaderName::from_static(name);
        Cors {
            origins: vec![exact("https://www.foo.com"), wildcard("https://", ".bar.com")],
            credentials: true,
            methods: Allowed::These(vec![Method::GET, Method::OPTIONS]),
            headers: Allowed::These(vec![header("x-header-1"), header("x-header-2")]),
            expose: Allowed::These(vec![header("x-header-3"), header("x-header-4")]),
            max_age: Some(Duration::from_secs(3600)),
        }
    }

    /// The answer's headers, without `Access-Control-`.
    fn asked(policy: &CorsPolicy, fields: &[(&str, &str)]) -> Option<Vec<String>> {
        let mut request = Request::options("/x");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let response = policy.preflight(&request.body(()).unwrap())?;
        assert_eq!(response.status(), 200);
        Some(told(response.headers()))
    }

    fn told(headers: &HeaderMap) -> Vec<String> {
        let field = |(name, value): (&HeaderName, &HeaderValue)| {
            let name = name.as_str().trim_start_matches("access-control-");
            format!("{name}: {}", value.to_str().unwrap())
        };
        let mut told: Vec<_> = headers.iter().map(field).collect();
        told.sort();
        told
    }

    #[test]
    fn a_preflight_question_is_answered() {
        let policy = policy(shop());
        let answer = asked(
            &policy,
            &[
                ("origin", "https://a.b.bar.com"),
                ("access-control-request-method", "GET"),
                ("access-control-request-headers", "x-header-1, x-other"),
            ],
        );
        assert_eq!(
            answer.unwrap(),
            [
                "allow-credentials: true",
                "allow-headers: x-header-1, x-header-2",
                "allow-methods: GET, OPTIONS",
                "allow-origin: https://a.b.bar.com",
                "expose-headers: x-header-3, x-header-4",
                "max-age: 3600",
                "vary: origin",
            ]
        );
    }

    #[test]
    fn who_is_not_allowed_learns_nothing() {
        let fields = [("origin", "https://foobar.com"), ("access-control-request-method", "GET")];
        assert_eq!(asked(&policy(shop()), &fields).unwrap(), ["vary: origin"]);
    }

    #[test]
    fn a_wildcard_gives_back_what_was_asked_for() {
        let any = Cors {
            origins: vec![AllowedOrigin::Any],
            methods: Allowed::Any,
            headers: Allowed::Any,
            expose: Allowed::Any,
            ..Cors::default()
        };
        let fields = [
            ("origin", "null"),
            ("access-control-request-method", "PUT"),
            ("access-control-request-headers", "x-a"),
        ];
        let answer = asked(&policy(any.clone()), &fields).unwrap();
        let common = ["allow-headers: x-a", "allow-methods: PUT", "allow-origin: null"];
        assert_eq!(answer[..3], common);
        assert_eq!(answer[3..], ["expose-headers: *", "max-age: 5", "vary: origin"]);
        let credentials = policy(Cors { credentials: true, ..any });
        let answer = asked(&credentials, &fields[..2]).unwrap();
        assert_eq!(
            answer,
            [
                "allow-credentials: true",
                "allow-methods: PUT",
                "allow-origin: null",
                "max-age: 5",
                "vary: origin"
            ]
        );
    }

    #[test]
    fn other_requests_are_no_preflight() {
        let policy = policy(shop());
        assert!(asked(&policy, &[("origin", "https://www.foo.com")]).is_none());
        assert!(asked(&policy, &[("access-control-request-method", "GET")]).is_none());
        let get = Request::get("/")
            .header("origin", "https://www.foo.com")
            .header("access-control-request-method", "GET");
        assert!(policy.preflight(&get.body(()).unwrap()).is_none());
    }

    #[test]
    fn the_policys_word_replaces_the_endpoints() {
        let policy = policy(shop());
        let said = || -> HeaderMap {
            [
                ("access-control-allow-origin", "*"),
                ("access-control-allow-credentials", "true"),
                ("vary", "accept"),
                ("x-a", "1"),
            ]
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
        };
        let mut headers = said();
        policy.response(Some(&HeaderValue::from_static("https://www.foo.com")), &mut headers);
        assert_eq!(
            told(&headers),
            [
                "allow-credentials: true",
                "allow-origin: https://www.foo.com",
                "expose-headers: x-header-3, x-header-4",
                "vary: accept",
                "vary: origin",
                "x-a: 1"
            ]
        );
        for origin in [None, Some(HeaderValue::from_static("https://foobar.com"))] {
            let mut headers = said();
            policy.response(origin.as_ref(), &mut headers);
            assert_eq!(told(&headers), ["vary: accept", "vary: origin", "x-a: 1"]);
        }
    }

    #[test]
    fn with_credentials_all_headers_are_exposed_by_name() {
        let spec = Cors { expose: Allowed::Any, ..shop() };
        let mut headers = HeaderMap::new();
        headers.insert("x-a", HeaderValue::from_static("1"));
        headers.insert("vary", HeaderValue::from_static("*"));
        let origin = HeaderValue::from_static("https://www.foo.com");
        policy(spec).response(Some(&origin), &mut headers);
        assert_eq!(headers[ACCESS_CONTROL_EXPOSE_HEADERS], "x-a, vary");
        assert_eq!(headers.get_all(VARY).iter().count(), 1);
    }

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port() {
        for (allowed, origin, expected) in [
            (exact("https://foo.com"), "https://foo.com", true),
            (exact("https://foo.com"), "https://foo.com:443", true),
            (exact("https://foo.com"), "https://foo.com:80", false),
            (exact("http://foo.com"), "http://foo.com:80", true),
            (exact("https://foo.com"), "http://foo.com", false),
            (exact("https://foo.com"), "https://foo.com.evil.com", false),
            (exact("https://foo.com:8443"), "https://foo.com:8443", true),
            (wildcard("https://", ".foo.com"), "https://a.foo.com", true),
            (wildcard("https://", ".foo.com"), "https://foo.com", false),
            (wildcard("https://", ".foo.com"), "https://.foo.com", false),
            (wildcard("https://", ".foo.com"), "https://evil.com/.foo.com", false),
            (wildcard("https://", ".foo.com"), "https://a.foo.com:8443", false),
            (wildcard("https://", ".foo.com:8443"), "https://a.foo.com:8443", true),
            (wildcard("https://", ""), "https://a.foo.com", true),
            (wildcard("https://", ""), "https://a.foo.com:8443", false),
            (wildcard("https://", ""), "http://a.foo.com", false),
        ] {
            let policy = policy(Cors { origins: vec![allowed.clone()], ..Cors::default() });
            let told = policy.allows(&HeaderValue::from_str(origin).unwrap());
            assert_eq!(told, expected, "{allowed:?} {origin}");
        }
    }

    proptest! {
        #[test]
        fn only_an_allowed_origin_is_ever_named(
            origin in prop_oneof![
                "https?://(a|b|www)(\\.(foo|bar|evil)){0,2}\\.com(:(80|443|8443))?",
                "[ -~]{0,20}",
            ],
            credentials: bool,
        ) {
            let policy = policy(Cors { credentials, ..shop() });
            let origin = HeaderValue::from_str(&origin).unwrap();
            let mut headers = HeaderMap::new();
            policy.response(Some(&origin), &mut headers);
            let bare = origin.to_str().unwrap();
            let bare = bare.strip_suffix(":443").unwrap_or(bare);
            let sub = bare.strip_prefix("https://").and_then(|r| r.strip_suffix(".bar.com"));
            let wanted = bare == "https://www.foo.com"
                || sub.is_some_and(|s| !s.is_empty() && s.bytes().all(is_of_host));
            prop_assert_eq!(headers.get(ACCESS_CONTROL_ALLOW_ORIGIN), wanted.then_some(&origin));
            let told = headers.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS);
            prop_assert_eq!(told, wanted && credentials);
        }
    }
}
